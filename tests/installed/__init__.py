"""The package as people install it, away from the checkout: what it is made of, and that its commands run.

Here with the packages of these tests; `python -m tests.installed` does it on every Python of this machine
that the project supports, with packages from the index.
"""
