"""What `/learn` shows: the core, the ledger and the simulation of this project, watched step by step.

It runs the same under CPython and, in a browser, under Pyodide. Outside of the product, and unknown to it:
docs/learn.md is the page about it.

- `frames.py` is what a lesson hands to whoever draws it; `core_mirror.py` and `recorder.py` make frames of a
  run, `wording.py` the sentences in them.
- `seeds.py` runs a seed of the simulation, `playground.py` a cluster whose faults a person makes,
  `stories.py` the figures of the paper.
- `defects.py` plants a defect; `commit/` sets two- and three-phase commit beside Raft.
- `browser.py` is what the page calls.
"""
