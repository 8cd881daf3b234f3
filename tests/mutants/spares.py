"""Planted defects of whom a leader sends what is new at once, and whose answers it waits for."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LEADER = "atm/raft/leader.py"
TESTS = "tests/raft/test_spares.py::"

SPARES = (
    Mutant(
        name="the quick for ever",
        what="a dead server stays one of those waited for, and each entry waits for the next tick",
        file=LEADER,
        edits=(("if self.spares and commit_index < self.spare_index:", "if False:"),),
        caught_by=TESTS + "test_quick_ones_that_are_late_are_no_longer_waited_for",
    ),
    Mutant(
        name="spares forgotten",
        what="servers beyond a majority are sent what is new only when a heartbeat begins a race",
        file=LEADER,
        edits=(("self.spare_index, self.spare_round = last_index, self.round", "pass"),),
        caught_by=TESTS + "test_all_others_are_sent_what_is_new_in_one_piece_with_the_next_tick",
    ),
    Mutant(
        name="one message for all",
        what="servers at different places of the log are sent the entries of the first one's",
        file=LEADER,
        edits=(("append = made.get(progress.next_index)", "append = next(iter(made.values()), None)"),),
        caught_by=TESTS + "test_servers_at_one_place_are_sent_one_message_and_those_elsewhere_another",
    ),
    Mutant(
        name="a race won with old news",
        what="an answer to what was there before the race makes a server one of the quick",
        file=LEADER,
        edits=(("progress.match_index > self.race_index", "progress.match_index >= self.race_index"),),
        caught_by=TESTS + "test_each_heartbeat_begins_a_race_that_another_may_win",
    ),
    Mutant(
        name="a wiped disk among the quick",
        what="a server whose acknowledgements do not count is waited for",
        file="atm/raft/raft.py",
        edits=(
            (
                "if self.config.spare_ticks and response.sender not in self._learners:",
                "if self.config.spare_ticks:",
            ),
        ),
        caught_by=TESTS + "test_a_server_with_a_wiped_disk_is_never_one_of_the_quick",
    ),
    Mutant(
        name="answers not looked at",
        what="a full window holds entries back, and the answer that makes room is left lying until a tick",
        file=LEADER,
        edits=(("progress.heard and progress.next_index <= self._due(peer, last_index)", "False"),),
        caught_by=TESTS + "test_what_a_full_window_holds_back_makes_every_answer_count",
    ),
    Mutant(
        name="a load that lasts an election",
        what="as many entries are applied at once as there are, however long that takes",
        file="atm/raft/raft.py",
        edits=((", self.config.apply_bytes_max)", ")"),),
        caught_by="tests/raft/test_pipeline.py::test_no_more_is_applied_at_once_than_leaves_time_to_go_on",
    ),
)
