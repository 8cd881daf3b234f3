"""Measurements, each a command: `python -m bench.failover`, `.calm`, `.throughput`,
`.large_log`, `.startup`.

They start real nodes on this machine, on free loopback ports, in a folder of their own, and stop them. These
are measurements, not tests: they print what they saw and judge nothing.
"""
