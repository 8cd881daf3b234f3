"""Two-phase commit, and where it blocks: `bin/two_phase_demo`.

Three branches keep accounts of their own and a coordinator moves money between them, each a real process:
`branch.py` and `coordinator.py` are the protocol, and short; `on_two_phase.py` kills the coordinator between
the phases, `on_raft.py` the leader of the product's five servers, and both measure how long customers wait.
"""
