"""The course kit: an exercise, and a judge that runs seeds of a simulation on what a student wrote.

Outside of the product, and unknown to it; docs/course.md is the page about it.

- `exercise.py` is what a student copies and fills in; `interface.py` is all that it needs.
- `exam.py` is one seed: servers with the student's core on the loop, the network and the checks of the
  project's own simulation. `faults.py` is what happens to them, `stages.py` what each stage asks for.
- `judge.py` runs seeds up to the first that fails and makes it small; `rules.py` says which rule was broken.
- `reference.py` is the project's own core, which passes.
"""
