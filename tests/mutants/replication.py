"""Planted defects of replication and commitment: logs that part, acknowledgements, the commit index."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

COMMITMENT = "tests/raft/test_commitment.py::"
PIPELINE = "tests/raft/test_pipeline.py::"
TESTS = "tests/raft/test_replication.py::"

REPLICATION = (
    Mutant(
        name="older term committed by counting",
        what="an entry of an earlier term counts as committed by its copies alone (Figure 8)",
        edits=(Edit("Raft._advance_commit_index", "log_.term_at(agreed_index_) == self.term", "True"),),
        caught_by=COMMITMENT + "test_an_older_term_is_not_committed_by_counting",
    ),
    Mutant(
        name="committed past what matched",
        what="a follower commits its own divergent tail because the leader's commit index reaches over it",
        edits=(
            Edit(
                "Raft._handle_append_entries",
                "min(commit_index_, match_index_)",
                "min(commit_index_, self.last_index)",
            ),
        ),
        caught_by=TESTS + "test_a_heartbeat_that_matches_early_commits_no_divergent_tail",
    ),
    Mutant(
        name="own last index acknowledged",
        what="a follower vouches for entries that the leader has not compared",
        edits=(
            Edit(
                "Raft._handle_append_entries",
                "self._respond_to_append(..., match_index=match_index_)",
                "self._respond_to_append(..., match_index=self.last_index)",
            ),
        ),
        caught_by=TESTS + "test_a_follower_acknowledges_what_was_sent_and_not_its_own_last_index",
    ),
    Mutant(
        name="acknowledgements of old terms counted",
        what="what was acknowledged to an earlier leadership commits other entries in this one",
        edits=(
            Edit(
                "Raft.step",
                "message_.term < self.term",
                "message_.term < self.term and not isinstance(message_, AppendEntriesResponse)",
            ),
        ),
        caught_by=TESTS + "test_an_acknowledgement_of_an_older_term_is_ignored",
    ),
    Mutant(
        name="no no-op",
        what="a new leader cannot commit what its predecessor left until a client comes",
        edits=(Edit("Raft._become_leader", "self._append_own(EntryKind.NOOP, ...)", "pass"),),
        caught_by=COMMITMENT + "test_a_new_leader_commits_what_its_predecessor_left",
    ),
    Mutant(
        name="commit with two of five",
        what="what one server less than a majority holds counts as committed",
        edits=(
            Edit(
                "Majority.reached",
                "ranked_[self.needed - 1] if ... else 0",
                "ranked_[max(0, self.needed - 2)]",
            ),
        ),
        caught_by=COMMITMENT + "test_a_leader_does_not_commit_past_what_a_majority_holds",
    ),
    Mutant(
        name="leader counts itself before its sync",
        what="the leader's own copy counts while its disk may still lose it",
        edits=(
            Edit(
                "Raft._advance_commit_index",
                "self._role.matched(self._saved_index)",
                "self._role.matched(self.last_index)",
            ),
        ),
        caught_by=COMMITMENT + "test_a_leader_counts_itself_only_once_it_has_saved",
    ),
    Mutant(
        name="saved by index alone",
        what="a sync vouches for entries that replaced the saved ones meanwhile",
        edits=(
            Edit(
                "Raft._note_saved",
                "log_.term_at(entry_.index) == entry_.term",
                "entry_.index <= self.last_index",
            ),
        ),
        caught_by=COMMITMENT + "test_a_late_advance_does_not_count_a_replaced_suffix_as_saved",
    ),
    Mutant(
        name="replaced entries still count as saved",
        what="entries that take the place of saved ones are never written",
        edits=(Edit("Raft._append_new_entries", "self._saved_index = ...", "pass"),),
        caught_by=TESTS + "test_a_follower_agrees_with_each_log_of_figure_7",
    ),
    Mutant(
        name="prev_log_term not compared",
        what="a follower appends behind an entry that its leader does not have",
        edits=(
            Edit(
                "Raft._handle_append_entries",
                "log_.agrees(append_.prev_log_index, append_.prev_log_term)",
                "append_.prev_log_index <= self.last_index",
            ),
        ),
        caught_by=TESTS + "test_a_follower_agrees_with_each_log_of_figure_7",
    ),
    Mutant(
        name="always truncated",
        what="an old append that comes again cuts off what was acknowledged behind it",
        edits=(
            Edit(
                "Raft._handle_append_entries",
                "append_.entries[first_new(append_.entries, ...) :]",
                "append_.entries",
            ),
        ),
        caught_by=TESTS + "test_an_old_append_that_comes_again_changes_nothing",
    ),
    Mutant(
        name="never truncated",
        what="entries that conflict with the leader's stay, and are acknowledged as its",
        edits=(
            Edit(
                "first_new",
                """
                for position_, entry_ in enumerate(entries_):
                    if ...:
                        ...
                        return position_
                """,
                """
                for position_, entry_ in enumerate(entries_):
                    if ...:
                        ...
                        return len(entries_)
                """,
            ),
        ),
        caught_by=TESTS + "test_a_follower_agrees_with_each_log_of_figure_7",
    ),
    Mutant(
        name="committed entry overwritten",
        what="a conflict with a committed entry is resolved instead of being refused",
        edits=(Edit("Raft._rejection_of_entries", "first_.index <= self._commit_index", "False"),),
        caught_by=TESTS + "test_a_conflict_with_a_committed_entry_is_rejected_and_reported",
    ),
    Mutant(
        name="late acknowledgement lowers what matched",
        what="answers that overtake each other make the leader forget what a follower holds",
        edits=(Edit("Progress.matched", "max(self.match_index, match_index_)", "match_index_"),),
        caught_by=TESTS + "test_a_late_acknowledgement_never_lowers_what_matched",
    ),
    Mutant(
        name="in-flight appends kept when probing from the disk",
        what="a follower that fell behind the memory has no room for appends in flight, and never catches up",
        edits=(
            Edit(
                "Progress.sent_from_disk",
                "self._become(ProgressState.PROBE)",
                "self.state = ProgressState.PROBE",
            ),
        ),
        caught_by=PIPELINE + "test_a_replicating_follower_that_needs_evicted_entries_is_probed_from_the_disk",
    ),
    Mutant(
        name="what a wiped server held is believed",
        what="an acknowledgement from before the disk was lost keeps its server from being sent the log",
        edits=(Edit("Raft._handle_append_entries_response", "progress_.match_index = 0", "pass"),),
        caught_by=PIPELINE + "test_a_late_acknowledgement_from_before_the_wipe_does_not_stop_the_catch_up",
    ),
    Mutant(
        name="one message for all",
        what="servers at different places of the log are sent the entries of the first one's",
        edits=(
            Edit(
                "Leader._send_entries", "made_.get(progress_.next_index)", "next(iter(made_.values()), None)"
            ),
        ),
        caught_by=PIPELINE + "test_followers_with_one_next_index_get_the_same_message",
    ),
    Mutant(
        name="a load that lasts an election",
        what="as many entries are applied at once as there are, however long that takes",
        edits=(
            Edit(
                "Raft._next_committed",
                "self._log.slice(first_, last_, self.config.apply_bytes_max)",
                "self._log.slice(first_, last_)",
            ),
        ),
        caught_by=PIPELINE + "test_one_ready_applies_a_bounded_number_of_bytes",
    ),
)
