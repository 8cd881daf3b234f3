"""Planted defects, to show that the tests would notice real ones: `python -m tests.mutants`.

Each mutant changes a place or two of `atm/` in a copy of the tree and names the scripted test that must
fail there. A mutant that nothing catches is a hole in the tests; one whose place is no longer found, or
whose test is gone, fails as loudly. To write one, say what becomes what, and where:

    Mutant(
        name="vote forgotten by a restart",
        what="the term is read back from the disk and the vote in it is not",
        edits=(Edit("Raft.__init__", "Voter(saved_.term, saved_.voted_for)", "Voter(saved_.term, None)"),),
        caught_by="tests/raft/test_votes.py::test_a_vote_outlives_a_crash",
    )

`Raft.__init__` is found by name in any file of `atm/`. In it, exactly one place must match the pattern,
which is Python: layout, comments and quotes do not count; a name with `_` at its end, such as `saved_`,
stands for anything, the same each time; `...` stands for any statements, arguments or elements, or an
expression. Statements that are to go become `pass`; one of several conditions becomes `True` or `False`.
Use placeholders for all that is not the point. Then a mutant outlives renamed variables and moved files;
only if its symbol, a name that it still spells or its test is renamed does it have to follow. Name
what is put in from what was there: a name that nothing has is refused.

Trees are compared, and not lines, because lines change with every rename. They are those of `ast`, whose
positions tell which text to replace: the rest of the file stays as it is. A concrete syntax tree (libcst)
would keep comments inside of the replaced text too, which is of no use; it is slower, and one more
dependency.
"""
