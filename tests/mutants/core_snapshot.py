"""Planted defects of the core's snapshots: logs that were cut, offers, installs, and their checks."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

FOLLOWER = "tests/raft/test_snapshots.py::"
LEADER = "tests/raft/test_snapshot_offers.py::"
LOG = "tests/raft/test_log.py::"
OF_INVARIANTS = "tests/raft/test_invariants.py::test_a_broken_invariant_of_a_change_is_named"

CORE_SNAPSHOT = (
    Mutant(
        name="an agreeing log emptied",
        what="an install drops acknowledged entries after the snapshot that the log holds rightly",
        edits=(Edit("Raft.installed", "not self._log.agrees(...)", "True"),),
        caught_by=FOLLOWER + "test_a_log_that_has_the_snapshots_last_entry_is_kept",
    ),
    Mutant(
        name="a conflicting log kept",
        what="an install keeps entries that conflict with what is in the snapshot",
        edits=(
            Edit(
                "Raft.installed",
                "not self._log.agrees(snapshot_.index, snapshot_.term)",
                "snapshot_.index > self.last_index",
            ),
        ),
        caught_by=FOLLOWER + "test_an_installed_snapshot_empties_a_log_that_lacks_its_last_entry",
    ),
    Mutant(
        name="the caller's log not emptied",
        what="the core goes on after the snapshot, and the disk still has the old log",
        edits=(Edit("Raft.installed", "self._reset_log = snapshot_", "pass"),),
        caught_by=FOLLOWER + "test_an_installed_snapshot_empties_a_log_that_lacks_its_last_entry",
    ),
    Mutant(
        name="a late offer replaces a newer one",
        what="a fetch is abandoned for a snapshot that the leader may not keep any more",
        edits=(Edit("Raft._is_late", "snapshot_.index < wanted_.index", "False"),),
        caught_by=FOLLOWER
        + "test_a_late_offer_of_an_older_snapshot_does_not_replace_the_one_that_is_being_fetched",
    ),
    Mutant(
        name="another leader's offer taken for a late one",
        what="a follower waits for a snapshot of a leader that is gone, and the present one has none so new",
        edits=(Edit("Raft._is_late", "self_._wanted_term == self_.term", "True"),),
        caught_by=FOLLOWER
        + "test_a_late_offer_of_an_older_snapshot_does_not_replace_the_one_that_is_being_fetched",
    ),
    Mutant(
        name="installed over unsaved entries",
        what="a log is emptied while the acknowledgements of its entries wait for the sync",
        edits=(
            Edit(
                "Raft.installing",
                "wanted_ is None or not isinstance(role_, Follower) or self._saved_index < self.last_index",
                "wanted_ is None or not isinstance(role_, Follower)",
            ),
        ),
        caught_by=FOLLOWER + "test_nothing_is_installed_while_entries_wait_to_be_saved",
    ),
    Mutant(
        name="installed by a candidate",
        what="a server replaces its state while it campaigns with the old log",
        edits=(
            Edit(
                "Raft.installing",
                "wanted_ is None or not isinstance(role_, Follower) or self._saved_index < self.last_index",
                "wanted_ is None or self._saved_index < self.last_index",
            ),
        ),
        caught_by=FOLLOWER + "test_only_a_follower_installs",
    ),
    Mutant(
        name="a snapshot wanted for ever",
        what="a follower whose log has caught up still fetches and installs, back to an older state",
        edits=(Edit("Raft.installing", "wanted_.index > self._commit_index", "True"),),
        caught_by=FOLLOWER + "test_a_snapshot_is_no_longer_wanted_once_the_log_has_caught_up",
    ),
    Mutant(
        name="each offer begins a fetch",
        what="the same snapshot is reported at each heartbeat, so that the fetch starts again and again",
        edits=(
            Edit(
                "Raft._handle_install_snapshot",
                "not installed_ and snapshot_ != self._wanted and not self._is_late(snapshot_)",
                "not installed_ and not self._is_late(snapshot_)",
            ),
        ),
        caught_by=FOLLOWER + "test_offers_that_are_doubled_reordered_or_lost_start_one_fetch",
    ),
    Mutant(
        name="a failed fetch never repeated",
        what="a snapshot that could not be fetched once is not reported again: the follower lags for ever",
        edits=(Edit("Raft.install_failed", "self._wanted = None", "pass"),),
        caught_by=FOLLOWER + "test_an_offered_snapshot_is_wanted_once_until_it_fails",
    ),
    Mutant(
        name="an offer is no contact",
        what="a follower that fetches a snapshot campaigns against the leader that offers it",
        edits=(Edit("Raft._handle_install_snapshot", "self._election_timer.reset()", "pass"),),
        caught_by=FOLLOWER + "test_an_offer_keeps_a_follower_from_campaigning_and_from_electing_others",
    ),
    Mutant(
        name="said to be installed when it is not",
        what="a follower answers an offer as if it had the data, and the leader sends entries that never fit",
        edits=(
            Edit(
                "Raft._handle_install_snapshot",
                "installed_ = snapshot_.index <= self._commit_index",
                "installed_ = True",
            ),
        ),
        caught_by=FOLLOWER + "test_an_offered_snapshot_is_wanted_once_until_it_fails",
    ),
    Mutant(
        name="entries before the log refused",
        what="a follower with a cut log refuses an append that begins before it, though it has all of that",
        edits=(
            Edit(
                "Log.agrees",
                "index_ < self.start.index or self.term_at(index_) == term_",
                "self.term_at(index_) == term_",
            ),
        ),
        caught_by=FOLLOWER + "test_a_follower_skips_what_is_before_its_log",
    ),
    Mutant(
        name="the start not compared",
        what="a leader that differs at the last entry that was cut is believed",
        edits=(Edit("Log.agrees", "index_ < self.start.index", "index_ <= self.start.index"),),
        caught_by=FOLLOWER + "test_an_append_that_conflicts_with_the_start_is_rejected_and_reported",
    ),
    Mutant(
        name="a snapshot against what is committed",
        what="a forged snapshot with another term at a committed entry is installed over it",
        edits=(Edit("stale_offer", "known_term_ in (None, term_)", "True"),),
        caught_by=FOLLOWER + "test_a_snapshot_that_no_leader_has_is_refused_and_changes_nothing",
    ),
    Mutant(
        name="a snapshot that turns the clock back",
        what="a forged snapshot makes the time stamps of later entries fall",
        edits=(
            Edit(
                "stale_offer",
                "term_ >= known_term_ and snapshot_.time_us > log_.time_us_at(commit_index_)",
                "term_ >= known_term_",
            ),
        ),
        caught_by=FOLLOWER + "test_a_snapshot_that_no_leader_has_is_refused_and_changes_nothing",
    ),
    Mutant(
        name="the start's time stamp forgotten",
        what="after an install the first entry may be stamped before what the snapshot holds",
        edits=(Edit("Log.time_us_at", "return self.start.time_us", "return 0"),),
        caught_by=FOLLOWER + "test_the_stamp_before_the_first_entry_is_that_of_the_snapshot",
    ),
    Mutant(
        name="an emptied log of term 0",
        what="a server that has nothing but a snapshot votes for one that lacks what is in it",
        edits=(
            Edit(
                "Log.reset",
                "self._run_starts, self._run_terms = [snapshot_.index], [snapshot_.term]",
                "self._run_starts, self._run_terms = [], []",
            ),
        ),
        caught_by=LOG + "test_a_log_that_is_reset_has_nothing_but_its_start",
    ),
    Mutant(
        name="an emptied log still in memory",
        what="what was dropped by an install counts as held in memory, and later entries are evicted for it",
        edits=(Edit("Log.reset", "(snapshot_.index, 0)", "(snapshot_.index, self._bytes)"),),
        caught_by=LOG + "test_a_log_that_is_reset_has_nothing_but_its_start",
    ),
    Mutant(
        name="followers of a cut log forgotten",
        what="a leader cuts its log while it replicates, and asks the disk for entries that are gone",
        edits=(Edit("Raft.snapshot_taken", "progress_.fit(self._log)", "pass"),),
        caught_by=LEADER + "test_a_leader_that_cuts_what_followers_still_need_offers_them_the_snapshot",
    ),
    Mutant(
        name="the newest offered each time",
        what="each snapshot that a leader takes makes a slow fetch begin anew",
        edits=(
            Edit(
                "Progress.choose_offer",
                "self.offered is None or self.offered.index < log_.start.index",
                "True",
            ),
        ),
        caught_by=LEADER + "test_the_same_snapshot_is_offered_until_the_log_no_longer_goes_on_from_it",
    ),
    Mutant(
        name="an offer without what follows it",
        what="a snapshot is offered although the entries after it were cut: its install leads nowhere",
        edits=(
            Edit(
                "Progress.choose_offer",
                "self.offered is None or self.offered.index < log_.start.index",
                "self.offered is None",
            ),
        ),
        caught_by=LEADER + "test_the_same_snapshot_is_offered_until_the_log_no_longer_goes_on_from_it",
    ),
    Mutant(
        name="the disk kept for a silent follower",
        what="a server that is down for a week keeps the others from dropping old snapshots and entries",
        edits=(Edit("Progress.offered", "self.silent_timeouts < SILENT_TIMEOUTS", "True"),),
        caught_by=LEADER + "test_a_follower_that_was_silent_for_long_is_offered_the_newest",
    ),
    Mutant(
        name="an offer ended by a late refusal",
        what="a refusal from before the offer makes the leader probe, and then offer another snapshot",
        edits=(Edit("Progress.refused", "late_ or self.state is ProgressState.SNAPSHOT", "late_"),),
        caught_by=LEADER + "test_a_late_refusal_does_not_end_an_offer",
    ),
    Mutant(
        name="an install that is not noticed",
        what="a leader offers a snapshot for ever to a follower that has installed it",
        edits=(
            Edit(
                "Raft._handle_install_snapshot_response",
                "progress_.matched(response_.index, self._log)",
                "pass",
            ),
        ),
        caught_by=LEADER + "test_once_it_is_installed_the_entries_after_it_follow",
    ),
    Mutant(
        name="an answer to no offer believed",
        what="a faulty follower says that it has more than any snapshot holds, and gets no entries",
        edits=(
            Edit(
                "Raft._rejection_of_answer",
                "index_ <= sent_index_ and answer_.round <= self._role.reads.round",
                "answer_.round <= self._role.reads.round",
            ),
        ),
        caught_by=LEADER + "test_an_answer_to_an_offer_that_was_never_made_is_refused",
    ),
    Mutant(
        name="an emptied log unseen",
        what="the checked core takes the loss of a log for an install",
        edits=(Edit("_check_reset", "not held_", "True"),),
        caught_by=OF_INVARIANTS,
    ),
    Mutant(
        name="a candidate's install unseen",
        what="the checked core lets a server install a snapshot while it campaigns",
        edits=(Edit("_check_reset", "raft_.role is Role.FOLLOWER", "True"),),
        caught_by=OF_INVARIANTS,
    ),
    Mutant(
        name="a snapshot from before the level",
        what="a snapshot is made of a file that does not hold yet what allows it, and ends the node",
        edits=(Edit("Snapshotter.tick", "self._ledger.write()", "pass"),),
        caught_by="tests/server/test_snapshotter.py::"
        "test_a_snapshot_that_is_due_holds_what_was_decided_and_so_the_level_that_allows_it",
    ),
)
