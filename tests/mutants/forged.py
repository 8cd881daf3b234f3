"""Planted defects of what stands against a welcomed peer that lies: each rule taken out once."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

LIES = "tests/raft/test_rejections.py::"
GUARD_TESTS = "tests/server/test_entry_validator.py::"
PEERS_TESTS = "tests/server/test_peer_server.py::"
RECOVERY_TESTS = "tests/server/test_recovery.py::"
REPAIR_TESTS = "tests/office/test_repair.py::"

FORGED = (
    Mutant(
        name="any term believed",
        what="one frame with a term of 2^62 stops the cluster for ever",
        edits=(Edit("TermRateLimit.allows", "rise_ <= self.budget", "True"),),
        caught_by=LIES + "test_a_term_too_far_ahead_is_refused",
    ),
    Mutant(
        name="last term believed",
        what="a term is adopted from which the next campaign does not decode",
        edits=(Edit("TermRateLimit.allows", "term_ <= TERM_MAX", "True"),),
        caught_by=LIES + "test_no_message_raises_the_term_above_what_can_be_campaigned_from",
    ),
    Mutant(
        name="jump upon jump",
        what="a flood of messages raises the term by 2^32 each, until the number is used up",
        edits=(Edit("TermRateLimit.consume", "self.budget -= rise_", "pass"),),
        caught_by=LIES + "test_a_rise_uses_up_the_budget_and_time_refills_it",
    ),
    Mutant(
        name="room without end",
        what="the room grows while nothing happens, and after a quiet year one frame may use up the number",
        edits=(
            Edit(
                "TermRateLimit.tick",
                "min(self.budget + TERM_RISE_PER_TICK, TERM_JUMP_MAX)",
                "self.budget + TERM_RISE_PER_TICK",
            ),
        ),
        caught_by=LIES + "test_the_budget_does_not_grow_above_its_start_while_nothing_is_refused",
    ),
    Mutant(
        name="left behind for ever",
        what="a server that was raised further than a jump while it was alone is followed by no server",
        edits=(Edit("TermRateLimit.tick", "self.budget += TERM_RISE_PER_TICK", "pass"),),
        caught_by=LIES + "test_servers_adopt_a_forged_term_in_the_time_that_it_took_to_raise_it",
    ),
    Mutant(
        name="pre-vote uses room",
        what="a peer that only asks for pre-votes leaves no room for the term of a true leader",
        edits=(
            Edit(
                "Raft._adopt_term",
                """
                if message_.term > self.term and not _is_hypothetical(message_):
                    term_limit_.consume(message_.term - self.term)
                    ...
                """,
                """
                term_limit_.consume(message_.term - self.term)
                if message_.term > self.term and not _is_hypothetical(message_):
                    ...
                """,
            ),
        ),
        caught_by=LIES + "test_a_pre_vote_uses_no_budget",
    ),
    Mutant(
        name="second leader believed",
        what="an append in the name of a second leader of the term is taken",
        edits=(Edit("Raft._rejection_of_second_leader", "self.leader in (None, sender_)", "True"),),
        caught_by=LIES
        + "test_a_second_leader_of_the_term_is_refused_by_the_leader_and_by_a_follower_of_another",
    ),
    Mutant(
        name="unsound entries after their term",
        what="entries that no leader has are taken",
        edits=(Edit("_rejection_of_structure", "sound_ and term_ <= message_.term", "True"),),
        caught_by=LIES + "test_entries_that_no_leader_has_are_refused_before_their_term_is_adopted",
    ),
    Mutant(
        name="entry over the limit",
        what="a follower takes an entry that is larger than any may be",
        edits=(Edit("_rejection_of_structure", "len(entry_.data) > entry_bytes_max_", "False"),),
        caught_by=LIES + "test_entries_that_no_leader_has_are_refused_before_their_term_is_adopted",
    ),
    Mutant(
        name="round never sent",
        what="an answer to a later round than was ever sent confirms all reads to come",
        edits=(
            Edit(
                "Raft._rejection_of_answer",
                "index_ <= sent_index_ and answer_.round <= self._role.reads.round",
                "index_ <= sent_index_",
            ),
        ),
        caught_by=LIES + "test_an_answer_to_an_append_that_was_never_sent_is_refused",
    ),
    Mutant(
        name="entry_check not asked for",
        what="an entry that cannot be applied comes into the log, and ends the server when it is committed",
        edits=(
            Edit(
                "Raft._rejection_of_entries",
                "self._entry_check(new_entries_, log_.time_us_at(first_.index - 1))",
                "None",
            ),
        ),
        caught_by=LIES + "test_entries_that_fail_the_check_are_not_appended_and_not_answered",
    ),
    Mutant(
        name="invalid leader still heard",
        what="a leader whose clock is wrong keeps the leadership, and nothing is committed any more",
        edits=(Edit("Raft._handle_append_entries", "if self._role.rejects_leader: return None", "pass"),),
        caught_by=LIES + "test_entries_that_fail_the_check_are_not_appended_and_not_answered",
    ),
    Mutant(
        name="any stamp believed",
        what="an entry may be stamped so far ahead that no later stamp decodes",
        edits=(
            Edit(
                "EntryValidator.entry_check",
                "last_time_us_ < entry_.time_us <= latest_us_",
                "last_time_us_ < entry_.time_us",
            ),
        ),
        caught_by=GUARD_TESTS + "test_a_stamp_may_be_a_day_ahead_of_this_clock_and_no_more",
    ),
    Mutant(
        name="stamp against the clock alone",
        what="with the log's time ahead of all clocks, every entry is refused by everybody",
        edits=(Edit("EntryValidator._latest_us", "log_clock_.now_us()", "self._wall_clock_us()"),),
        caught_by=GUARD_TESTS + "test_a_stamp_may_be_a_day_ahead_of_the_logs_time_which_goes_on_with_time",
    ),
    Mutant(
        name="stamp that stands still",
        what="an entry is taken that is stamped before the one in front of it",
        edits=(
            Edit(
                "EntryValidator.entry_check",
                "not last_time_us_ < entry_.time_us <= latest_us_",
                "entry_.time_us > latest_us_",
            ),
        ),
        caught_by=GUARD_TESTS + "test_a_stamp_that_does_not_rise_is_refused",
    ),
    Mutant(
        name="another's command applied",
        what="the decoded command of an entry that was replaced is applied in its successor's place",
        edits=(Edit("EntryValidator.record", "kept_[0] == entry_", "True"),),
        caught_by=GUARD_TESTS + "test_another_entry_that_took_the_place_is_decoded_itself",
    ),
    Mutant(
        name="demoted by a stranger",
        what="a hello under another store id costs a living peer its vote",
        edits=(
            Edit(
                "PeerServer._replace_connection", "before_ is not None and before_.open and another_", "False"
            ),
        ),
        caught_by=PEERS_TESTS
        + "test_another_store_while_the_peer_is_connected_is_refused_and_reported_and_demotes_no_node",
    ),
    Mutant(
        name="dead connection counts as there",
        what="a peer that lost its disk is never let in again",
        edits=(
            Edit("PeerServer._replace_connection", "before_.open", "True"),
            Edit("PeerServer._forget_connection", "del self._current[peer_]", "pass"),
        ),
        caught_by=PEERS_TESTS + "test_a_peer_that_lost_its_disk_is_let_in_once_its_old_connection_is_gone",
    ),
    Mutant(
        name="machine gone unnoticed",
        what="a peer that lost its disk is refused for minutes, since its old connection is never probed",
        edits=(
            Edit(
                "PeerListener.connect",
                "tune(sock_, idle_s=PEER_IDLE_S, interval_s=PEER_PROBE_S, probes=PEER_PROBES)",
                "tune(sock_)",
            ),
        ),
        caught_by=PEERS_TESTS
        + "test_the_connection_of_a_machine_that_is_gone_without_a_word_is_noticed_in_time",
    ),
    Mutant(
        name="protocol violations not reported",
        what="what the core refuses is said nowhere",
        edits=(Edit("RunLoop._step", "refusals_.append(refusal_)", "pass"),),
        caught_by="tests/server/test_run_loop.py::test_what_the_core_rejects_is_reported_after_the_lock_is_free",
    ),
    Mutant(
        name="poisoned term served",
        what="a node starts with a term that no election can follow, and stands still without an error",
        edits=(Edit("recovery:recover", "log_.hard_state.term > TERM_MAX", "False"),),
        caught_by=RECOVERY_TESTS + "test_a_term_without_room_for_elections_is_one_line_with_the_way_out",
    ),
    Mutant(
        name="poisoned entry served",
        what="a node starts with an entry that cannot be applied, and ends when it is committed",
        edits=(Edit("recovery:recover", "_usable(entry_)", "pass"),),
        caught_by=RECOVERY_TESTS + "test_an_unusable_entry_is_one_line_committed_or_not",
    ),
    Mutant(
        name="sane term lowered",
        what="a repair makes a node forget votes of a term that a leader may have",
        edits=(
            Edit(
                "FolderState.term_min",
                "self.last_term if term_ > TERM_MAX else max(self.last_term, term_)",
                "self.last_term",
            ),
        ),
        caught_by=REPAIR_TESTS + "test_a_sane_term_is_never_lowered_and_its_vote_is_kept",
    ),
    Mutant(
        name="vote lost by a repair",
        what="a repair in the term that a node is in makes it forget its vote there",
        edits=(Edit("repair:_write", "old_.voted_for if old_.term == term_ else None", "None"),),
        caught_by=REPAIR_TESTS + "test_a_sane_term_is_never_lowered_and_its_vote_is_kept",
    ),
)
