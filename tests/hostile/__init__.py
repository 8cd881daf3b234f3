"""Hostile input: whatever comes to a port, stands in a file or is typed, the answer is a refusal in order.

    python -m tests.hostile --inputs 100000

Each target takes one input at a time (`attempt`) and says in a word what became of it; anything that is
not in order raises AssertionError. `corpus/` keeps small inputs, good ones and ones that once did harm:
all of them are tried in every run, and new ones are made from them.
"""
