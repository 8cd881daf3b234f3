"""Planted defects of the guards: due holds in pieces, ledgers compared, disk room, clocks."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

COMPARISON_TESTS = "tests/server/test_ledger_comparison.py::"
CLOCK_TESTS = "tests/server/test_clock_guard.py::"
ROUTER_TESTS = "tests/server/test_request_router.py::"
ROTTEN_TESTS = "tests/cluster/test_rotten_ledgers.py::"
HOLD_TESTS = "tests/ledger/test_holds.py::"

GUARDS = (
    Mutant(
        name="expiry without its limit",
        what="one entry ends all holds that are due, however few it says",
        edits=(Edit("expire_holds", "sorted(...)[:limit_]", "sorted(...)"),),
        caught_by=HOLD_TESTS + "test_a_limited_expiry_ends_those_that_were_due_first_and_leaves_the_others",
    ),
    Mutant(
        name="expiry depends on the batch",
        what="holds that were ended in the same batch use up the limit",
        edits=(Edit("_due_holds", "limit_ is None or len(rows_) < limit_ or unchanged_ >= limit_", "True"),),
        caught_by=HOLD_TESTS + "test_limited_expiries_in_one_batch_end_what_they_end_one_by_one",
    ),
    Mutant(
        name="limit unknown to the older release",
        what="a leader writes what a server of release 1.1 cannot read",
        edits=(Edit("RequestRouter._end_due_holds", "level_ >= EXPIRE_LIMIT_LEVEL", "True"),),
        caught_by="tests/server/test_router_over_ledger.py::"
        "test_holds_end_in_pieces_once_every_server_knows_how",
    ),
    Mutant(
        name="wrong ledger serves on",
        what="a server whose ledger a majority contradicts reports itself like another, and serves on",
        edits=(Edit("LedgerComparison._raise_alarm", "node_ == self._node", "False"),),
        caught_by=COMPARISON_TESTS
        + "test_a_row_at_rest_that_changed_is_found_by_its_own_server_and_told_by_the_others",
    ),
    Mutant(
        name="half of the ledgers is a majority",
        what="of two ledgers that differ one is called right without a third",
        edits=(
            Edit("LedgerComparison._wrong", "2 * count_ > len(voters_)", "2 * count_ >= len(voters_) - 1"),
        ),
        caught_by=COMPARISON_TESTS
        + "test_two_that_differ_without_a_third_are_told_and_neither_is_called_wrong",
    ),
    Mutant(
        name="learners vote on ledgers",
        what="servers without a vote decide which ledger is right",
        edits=(Edit("LedgerComparison._wrong", "node_ in voters_", "True"),),
        caught_by=COMPARISON_TESTS + "test_the_votes_of_learners_do_not_count",
    ),
    Mutant(
        name="compared past the index",
        what="a server hashes its ledger after the whole batch and not at the index that was named",
        edits=(
            Edit("LedgerComparison.decide", "check_.index >= records_[-1][0]", "True"),
            Edit(
                "LedgerComparison._compare_when_reached",
                "if self._ledger.decided_index > check_.index: return",
                "pass",
            ),
        ),
        caught_by=COMPARISON_TESTS + "test_a_server_stops_over_at_the_index_however_its_entries_come",
    ),
    Mutant(
        name="decisions of different spans compared",
        what="a server that was restarted is called wrong, as it has not decided the same entries",
        edits=(Edit("ledger_comparison:_ASPECTS", "told_.decided_from", "None"),),
        caught_by=COMPARISON_TESTS + "test_what_was_decided_before_a_restart_is_not_compared_and_the_rest_is",
    ),
    Mutant(
        name="refusals not hashed",
        what="ledgers that decide a command differently are equal as long as no money moves",
        edits=(Edit("Ledger.write", "self._decisions.update(unit_.new_records)", "pass"),),
        caught_by="tests/ledger/test_state_hash.py::"
        "test_each_entry_that_decides_something_else_changes_the_hash_of_decisions",
    ),
    Mutant(
        name="rows from the cache",
        what="a page that has rotted is not read again as long as it is remembered",
        edits=(Edit("Database.uncached_cursor", "self._second.release_memory()", "pass"),),
        caught_by="tests/ledger/test_state_hash.py::"
        "test_the_rows_are_read_from_the_file_past_what_the_ledger_remembers",
    ),
    Mutant(
        name="pieces never come round",
        what="only the first rows of the ledger are ever compared",
        edits=(Edit("LedgerComparison._compare_when_reached", "self._rows_from = state_.rows_to", "pass"),),
        caught_by=COMPARISON_TESTS + "test_rows_are_read_in_pieces_that_come_round_to_all_of_them",
    ),
    Mutant(
        name="reports to an older release",
        what="a server of release 1.1 gets messages that it does not know, and closes the connection",
        edits=(Edit("Links.send_report", "link_.speaks(PEER_REPORTS_PROTOCOL)", "link_.up"),),
        caught_by="tests/server/test_peer_server.py::"
        "test_what_a_node_says_about_itself_is_sent_to_peers_that_know_such_messages",
    ),
    Mutant(
        name="old write-ahead log left behind",
        what="the ledger is moved aside before its write-ahead log, which the new one would take for its own",
        edits=(Edit("move_ledger_aside", '("-wal", "")', '("", "-wal")'),),
        caught_by="tests/server/test_rebuild.py::test_the_write_ahead_log_goes_first",
    ),
    Mutant(
        name="room not asked for",
        what="a leader takes changes though the disks of a majority are nearly full",
        edits=(Edit("RequestRouter._propose", "self._advice.no_space", "str()"),),
        caught_by=ROUTER_TESTS + "test_without_room_no_change_is_taken_and_queries_are",
    ),
    Mutant(
        name="servers that are down have room",
        what="a server that is down counts among those that have room",
        edits=(
            Edit(
                "Guards.no_space",
                "2 * len(up_ - low_) <= len(voters_) < 2 * len(up_)",
                "2 * len(set(voters_) - low_) <= len(voters_)",
            ),
        ),
        caught_by="tests/server/test_guards.py::test_changes_are_refused_while_no_majority_has_room",
    ),
    Mutant(
        name="alarm of the disk comes and goes",
        what="the alarm ends as soon as the reserve is reached again",
        edits=(Edit("DiskGuard.look", "ENOUGH_AGAIN if was_low_ else 1", "1"),),
        caught_by="tests/server/test_disk_guard.py::"
        "test_the_alarm_says_how_much_is_left_and_ends_with_some_room_more_than_the_reserve",
    ),
    Mutant(
        name="handed over to the next full disk",
        what="a leader that should not lead hands over to a server that should not either",
        edits=(Edit("Administration.best_successor", "node_ not in unfit_", "True"),),
        caught_by=ROUTER_TESTS
        + "test_it_hands_over_to_none_that_should_not_lead_either_and_tries_again_later",
    ),
    Mutant(
        name="own clock believed",
        what="log time follows the leader's clock wherever it goes",
        edits=(Edit("Guards.time_us", "min(wall_us_, bound_us_)", "wall_us_"),),
        caught_by="tests/server/test_guards.py::test_the_time_is_this_machines_up_to_the_bound_of_the_others",
    ),
    Mutant(
        name="clocks that agree with nobody are all wrong",
        what="clocks that all differ are each called wrong, and nobody leads",
        edits=(
            Edit(
                "ClockGuard._error_us",
                "agreeing_[-1] - agreeing_[0] <= self._skew_us < abs(error_us_)",
                "self._skew_us < abs(error_us_)",
            ),
        ),
        caught_by=CLOCK_TESTS + "test_a_clock_is_wrong_if_a_majority_agrees_without_it",
    ),
    Mutant(
        name="late report taken for a slow clock",
        what="the last report of a server is believed, however late it came",
        edits=(
            Edit("ClockGuard._clock_of", "max(ahead_us_ for any_, ahead_us_ in reports_)", "reports_[-1][1]"),
        ),
        caught_by=CLOCK_TESTS + "test_reports_that_come_late_make_no_clock_wrong",
    ),
    Mutant(
        name="wrong clock takes over",
        what="a server whose clock is wrong takes leadership that is handed to it",
        edits=(
            Edit(
                "Raft._handle_timeout_now",
                "self._membership.is_voter(self.node_id) and not self._abstains",
                "self._membership.is_voter(self.node_id)",
            ),
        ),
        caught_by="tests/raft/test_pre_vote.py::test_a_server_that_abstains_does_not_take_over_either",
    ),
    Mutant(
        name="abstains for ever",
        what="nobody leads if the one server with the newest entries abstains",
        edits=(
            Edit(
                "Raft._campaign", "self._abstains and self._abstentions < ABSTENTIONS_MAX", "self._abstains"
            ),
        ),
        caught_by="tests/raft/test_pre_vote.py::"
        "test_a_server_that_abstains_campaigns_at_last_if_nobody_else_can_win",
    ),
    Mutant(
        name="own snapshot tried again",
        what="a node whose own snapshot holds the damage rebuilds the same wrong ledger for ever",
        edits=(Edit("server.main:_run", "time.monotonic() >= rebuilt_at_s_ + REBUILD_AGAIN_S", "True"),),
        caught_by=ROTTEN_TESTS
        + "test_a_snapshot_that_holds_the_damage_is_replaced_by_that_of_another_server",
    ),
    Mutant(
        name="asked for a snapshot again",
        what="a node with bad memory rebuilds its ledger for ever, and never stops",
        edits=(Edit("_rebuild_from_another", "peer_ in asked_", "False"),),
        caught_by=ROTTEN_TESTS + "test_a_ledger_that_is_wrong_again_and_again_is_rebuilt_from_each_other_"
        "server_and_then_stops_the_node",
    ),
    Mutant(
        name="snapshot of a later term taken over in the old one",
        what="the log holds a term that the node has not entered: it could vote in it twice",
        edits=(Edit("take_over_snapshot", "snapshot_.term > log_.hard_state.term", "False"),),
        caught_by=ROTTEN_TESTS
        + "test_a_snapshot_of_a_later_term_is_taken_over_with_that_term_and_without_a_vote",
    ),
    Mutant(
        name="too old a snapshot offered",
        what="a server gives the snapshot that it has, though it was asked for a newer one",
        edits=(
            Edit(
                "SnapshotServer._newest_since",
                "if newest_ is None or newest_.index < index_:\n    self.make()\n    newest_ = ...",
                "pass",
            ),
        ),
        caught_by="tests/server/test_snapshot_fetch.py::test_a_snapshot_that_is_too_old_is_made_anew",
    ),
)
