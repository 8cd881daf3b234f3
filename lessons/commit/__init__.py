"""Two-phase commit, three-phase commit and Raft, under the same fault at the same moment.

Five servers each keep a copy of one account, and customers pay in at all of them, a payment every tenth of a
second. The models are small and honest: each does what its protocol says, with the timeouts that textbooks
give it, and none is made to fail on purpose.

- `world.py` is their time, network and faults; a payment's way through each is in `two_phase.py` and
  `three_phase.py`; `on_raft.py` is the product's own servers in the simulation.
- `race.py` has the faults, and measures for how many seconds no payment was acknowledged.
"""
