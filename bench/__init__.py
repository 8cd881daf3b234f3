"""Measurements: real servers on this machine, on free loopback ports, in folders of their own.

`bin/bench` compares this project with others in one run; `python -m bench.guard` tells whether a change made
it slower; `python -m bench.growth` draws how cost grows. `python -m bench.distances` gives each server a
share of a processor and puts a distance between them, as users have it. `python -m bench.failover`, `.calm`,
`.large_log`, `.big_ledger`, `.startup` and `.ledger_apply` each look at one thing more. All but the guard
print what they saw and judge nothing.
"""
