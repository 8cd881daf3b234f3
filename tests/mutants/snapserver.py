"""Planted defects of taking, serving, fetching and installing snapshots."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TAKING = "tests/server/test_snapshotter.py::"
INSTALLING = "tests/server/test_installer.py::"
FETCHING = "tests/server/test_snapshot_fetch.py::"
PREPARING = "tests/server/test_snapshot_preparing.py::"
PERFORMING = "tests/server/test_perform.py::"

SNAPSERVER = (
    Mutant(
        name="log cut before the core knows",
        what="the core sends entries that are no longer on the disk",
        edits=(
            Edit("Snapshotter._adopt", "self._log.cut(first_kept_)", "pass"),
            Edit(
                "Snapshotter._adopt", "in_use_ = self._in_use()", "in_use_ = self._in_use(); self._log.cut(1)"
            ),
        ),
        caught_by=TAKING
        + "test_it_is_durable_before_the_core_knows_and_the_core_knows_before_the_log_is_cut",
    ),
    Mutant(
        name="log cut below the level",
        what="a log is cut while a server may run a release that cannot read it",
        edits=(Edit("Snapshotter._is_due", "self._why_not() is not None", "False"),),
        caught_by=TAKING + "test_below_the_level_nothing_is_taken_and_nothing_cut",
    ),
    Mutant(
        name="no window behind a snapshot",
        what="a follower that was away for a moment has to fetch the whole ledger",
        edits=(Edit("Snapshotter._first_kept", "self._growth.index_before(...)", "self._kept.newest_index"),),
        caught_by=TAKING + "test_a_window_of_the_limit_stays_behind_a_snapshot_and_no_more",
    ),
    Mutant(
        name="snapshot removed while it is offered",
        what="the follower that was offered it finds it gone",
        edits=(Edit("Snapshotter._in_use", "offered_ | set(...)", "set(self._being_fetched())"),),
        caught_by=TAKING + "test_what_an_offer_goes_on_from_stays_until_it_is_over",
    ),
    Mutant(
        name="snapshot removed while it is fetched",
        what="a fetch whose leader has changed ends with a file that is gone",
        edits=(Edit("Snapshotter._in_use", "offered_ | set(...)", "offered_"),),
        caught_by=TAKING + "test_what_an_offer_goes_on_from_stays_until_it_is_over",
    ),
    Mutant(
        name="a fetch keeps the log for ever",
        what="a follower that never ends fetching fills the leader's disk",
        edits=(Edit("Snapshotter._in_use", "self._log.size_bytes - self._waiting_bytes > ...", "False"),),
        caught_by=TAKING + "test_a_fetch_without_an_end_does_not_fill_the_disk",
    ),
    Mutant(
        name="snapshot due by what is not applied",
        what="while many entries wait, one snapshot is made after the other, and they hold nothing new",
        edits=(Edit("Snapshotter._is_due", "self._waiting_bytes", "0"),),
        caught_by=TAKING + "test_what_is_not_applied_yet_makes_no_snapshot_due",
    ),
    Mutant(
        name="fetch ended by what is not applied",
        what="while many entries wait, a follower that fetches a snapshot begins anew for ever (seed 40265)",
        edits=(Edit("Snapshotter._in_use", "self._waiting_bytes", "0"),),
        caught_by=TAKING + "test_what_is_not_applied_yet_ends_no_fetch",
    ),
    Mutant(
        name="growth remembered for too short a time",
        what="of what is not applied only a part is known, and the rest ends a fetch all the same",
        edits=(Edit("log_growth:MARKS_MAX", "MARKS_MAX = 1_024", "MARKS_MAX = 64"),),
        caught_by=TAKING + "test_what_is_not_applied_yet_ends_no_fetch",
    ),
    Mutant(
        name="window filled with what is not applied",
        what="while many entries wait, a follower that misses some has to fetch the whole ledger",
        edits=(Edit("Snapshotter._first_kept", "self._waiting_bytes", "0"),),
        caught_by=TAKING + "test_the_window_behind_a_snapshot_is_of_what_is_applied",
    ),
    Mutant(
        name="failed snapshot tried at once",
        what="a disk without room is filled again and again",
        edits=(Edit("Snapshotter._tell_failure", "self._retry_in_ticks = RETRY_TICKS", "pass"),),
        caught_by=TAKING + "test_after_a_failure_it_waits_a_minute_and_nothing_was_cut",
    ),
    Mutant(
        name="older snapshot kept over an installed one",
        what="a snapshot that was made while another was installed takes its place",
        edits=(Edit("Snapshotter._end", "job_.made.index > self._kept.newest_index", "True"),),
        caught_by=TAKING + "test_one_that_was_overtaken_by_an_install_is_dropped",
    ),
    Mutant(
        name="ledger swapped before the file is kept",
        what="after a crash there is a ledger that no log goes on from",
        edits=(
            Edit("Installer._install", "self._ledger.replace_file(prepared_)", "pass"),
            Edit(
                "Installer._install",
                "self._before_swap()",
                "self._before_swap(); self._ledger.replace_file(prepared)",
            ),
        ),
        caught_by=INSTALLING + "test_the_file_is_kept_before_the_ledger_goes_and_the_core_hears_last",
    ),
    Mutant(
        name="installed over what is applied",
        what="the ledger goes back to a snapshot that the node is past",
        edits=(Edit("Installer.tick", "self._raft.commit_index >= job_.snapshot.index", "False"),),
        caught_by=INSTALLING + "test_what_has_come_by_entries_is_not_fetched_to_its_end",
    ),
    Mutant(
        name="installed whatever the core wants",
        what="a log is emptied although the core has not decided on its unsaved entries",
        edits=(Edit("Installer.tick", "installing_ == job_.snapshot", "True"),),
        caught_by=INSTALLING + "test_one_that_is_ready_waits_until_the_core_wants_it",
    ),
    Mutant(
        name="old offer fetched on",
        what="a node goes on fetching what nobody offers any more",
        edits=(Edit("Installer.begin", "before_.stop.set()", "pass"),),
        caught_by=INSTALLING + "test_another_offer_takes_the_place_of_the_first",
    ),
    Mutant(
        name="failure not told to the core",
        what="after one failed fetch the follower waits for ever",
        edits=(Edit("Installer._retry", "self._raft.install_failed(...)", "pass"),),
        caught_by=INSTALLING + "test_a_failure_is_said_once_and_tried_again_after_a_while",
    ),
    Mutant(
        name="download begun anew",
        what="each interruption makes it fetch from the beginning: a slow link never ends",
        edits=(Edit("SnapshotFetcher.fetch", "file_.size > wanted_.size_bytes", "True"),),
        caught_by=FETCHING + "test_a_download_goes_on_from_where_it_ended",
    ),
    Mutant(
        name="silent leader waited for",
        what="a leader that hangs holds up the fetch for ever",
        edits=(Edit("snapshot_fetcher:_answer", "set_receive_timeout(sock_, silence_s_)", "pass"),),
        caught_by=FETCHING + "test_a_leader_that_sends_no_byte_is_dialled_again",
    ),
    Mutant(
        name="fetch not paced",
        what="a fetch takes all of the network and the disk",
        edits=(Edit("SnapshotFetcher._fetch_on_one_connection", "fetched_ += len(data_)", "pass"),),
        caught_by=FETCHING + "test_a_download_is_paced",
    ),
    Mutant(
        name="another file at the same index served",
        what="the snapshots of two leaders are joined to one file",
        edits=(
            Edit(
                "_Opened.answer",
                "self._name != (request_.index, request_.sha256)",
                "False",
            ),
        ),
        caught_by=FETCHING + "test_a_file_that_is_removed_while_it_is_fetched_stays_readable",
    ),
    Mutant(
        name="fetching taken for the peer's connection",
        what="a fetch drops the connection by which the peer votes",
        edits=(Edit("PeerServer._welcome", "hello_.purpose != FETCH", "True"),),
        caught_by=FETCHING + "test_fetching_is_no_message_and_changes_nothing_between_the_servers",
    ),
    Mutant(
        name="fetched file not verified",
        what="a ledger with other bytes than those offered becomes this node's",
        edits=(Edit("SnapshotPreparer.prepare", "wrong_inside(...) if whole_ else ...", "None"),),
        caught_by=PREPARING + "test_other_bytes_than_those_offered_are_refused_and_fetched_anew",
    ),
    Mutant(
        name="another cluster's ledger installed",
        what="the file is as offered, and not of what was offered",
        edits=(Edit("wrong_inside", "holds_ != (...)", "False"),),
        caught_by=PREPARING + "test_a_file_of_another_state_than_was_offered_is_refused",
    ),
    Mutant(
        name="entries saved before the log is emptied",
        what="the entries after a snapshot are appended to the old log",
        edits=(Edit("perform", "ready_.reset_log is not None", "False"),),
        caught_by=PERFORMING + "test_a_log_that_is_emptied_is_emptied_before_anything_is_saved_in_it",
    ),
)
