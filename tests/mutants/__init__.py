"""Planted defects, to show that the tests would notice real ones: `python -m tests.mutants`.

Each mutant replaces a few lines of `atm/` in a copy of the tree and names the scripted test that must fail
there. A mutant that nothing catches is a hole in the tests; one whose lines are no longer found, or whose
test is gone, fails as loudly.
"""
