"""Golden transcripts of the core: scenarios to read, each command followed by what happened.

`python -m tests.raft.transcripts` compares them with what happens now; with `--rewrite` it makes them again,
and `git diff` shows what a change of the core changes in what servers say. See docs/raft.md.
"""
