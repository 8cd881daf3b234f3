"""Planted defects of what a leader sends and applies at once, and which answers it looks at."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LEADER = "atm/raft/leader.py"
PIPELINE = "tests/raft/test_pipeline.py::"

PACE = (
    Mutant(
        name="one message for all",
        what="servers at different places of the log are sent the entries of the first one's",
        file=LEADER,
        edits=(("append = made.get(progress.next_index)", "append = next(iter(made.values()), None)"),),
        caught_by=PIPELINE + "test_servers_at_one_place_are_sent_one_message_and_those_elsewhere_another",
    ),
    Mutant(
        name="answers not looked at",
        what="a full window holds entries back, and the answer that makes room is left lying until a tick",
        file=LEADER,
        edits=(("progress.heard and progress.next_index <= last_index", "False"),),
        caught_by="tests/raft/test_answers.py::test_what_a_full_window_holds_back_makes_every_answer_count",
    ),
    Mutant(
        name="a load that lasts an election",
        what="as many entries are applied at once as there are, however long that takes",
        file="atm/raft/raft.py",
        edits=((", self.config.apply_bytes_max)", ")"),),
        caught_by=PIPELINE + "test_no_more_is_applied_at_once_than_leaves_time_to_go_on",
    ),
)
