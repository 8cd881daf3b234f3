"""Planted defects of snapshots on the disk, of the log that is cut behind them, and of counted starts."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

CUTS = "tests/storage/test_log_cuts.py::"
FOLDER_TESTS = "tests/storage/test_data_folder.py::"
LEDGER_FILE = "tests/server/test_ledger_file.py::"
MAKER = "tests/ledger/test_snapshot.py::"
SNAPSHOTS = "tests/storage/test_snapshots.py::"

STORAGE = (
    Mutant(
        name="cut beyond the snapshot",
        what="entries that no snapshot holds are deleted",
        edits=(Edit("LogFile.cut", "first_kept_ <= self._base.index + 1", "True"),),
        caught_by=CUTS + "test_a_cut_never_goes_beyond_the_base",
    ),
    Mutant(
        name="gap behind a snapshot accepted",
        what="a log that begins late is gone on with, although entries before it are nowhere",
        edits=(Edit("Recovery._join", "index_.first_index > base_.index + 1", "False"),),
        caught_by=CUTS + "test_a_log_that_begins_after_its_snapshot_is_refused_with_place_and_advice",
    ),
    Mutant(
        name="lost log taken for a cut one",
        what="a log without any file starts anew behind a snapshot, and its vote is given a second time",
        edits=(Edit("Recovery._require_all", "base_.index and not segments_", "False"),),
        caught_by=CUTS + "test_a_log_without_any_segment_is_damage_if_there_is_a_snapshot",
    ),
    Mutant(
        name="lost end emptied away",
        what="a log that lost what a snapshot was made from goes on behind it, as after an installation",
        edits=(Edit("Recovery._join", "not base_.installed", "False"),),
        caught_by=CUTS + "test_a_log_that_lacks_what_a_snapshot_was_made_from_has_lost_it",
    ),
    Mutant(
        name="committed entry emptied away",
        what="a committed entry gives way to a snapshot that has another one there",
        edits=(Edit("Recovery._join", "hard_state_.commit_index >= base_.index", "False"),),
        caught_by=CUTS + "test_a_committed_entry_is_never_emptied_away_for_another",
    ),
    Mutant(
        name="vote deleted with its segment",
        what="a cut leaves only a segment without a batch, and term and vote are forgotten",
        edits=(Edit("LogFile._delete_before", "self._end == SEGMENT_HEADER_BYTES", "False"),),
        caught_by=CUTS + "test_the_vote_survives_a_cut_when_the_last_segment_has_no_batch_yet",
    ),
    Mutant(
        name="segments deleted before the log's end is durable",
        what="a power cut leaves no segment that has term, vote and end of the log",
        edits=(
            Edit(
                "LogFile.reset",
                "self._append(...); self._index.begin_after(...); self._delete_before(segment_)",
                "self._delete_before(segment_); self._index.begin_after(...); self._append(...)",
            ),
        ),
        caught_by=CUTS + "test_a_power_cut_at_any_step_leaves_the_old_log_or_the_new",
    ),
    Mutant(
        name="deleted names not synced one by one",
        what="a power cut brings back an old segment, and a gap behind it",
        edits=(Edit("LogFile._delete_before", "disk_.sync_folder(...)", "pass"),),
        caught_by=CUTS + "test_a_power_cut_at_any_step_leaves_the_old_log_or_the_new",
    ),
    Mutant(
        name="reset that a crash prevented is not made up for",
        what="a node that was killed while it installed a snapshot goes on with a log that ends before it",
        edits=(Edit("LogFile._open", "recovery_.must_reset", "False"),),
        caught_by=CUTS + "test_a_start_ends_a_reset_that_a_crash_prevented",
    ),
    Mutant(
        name="mark of the start passed over",
        what="a log that was emptied is found again with the entries from before",
        edits=(
            Edit(
                "Recovery._add_batch",
                "header_.start and header_.start != (...)",
                "False",
            ),
        ),
        caught_by=CUTS + "test_a_reset_log_goes_on_after_its_base",
    ),
    Mutant(
        name="only the log's last file is looked at",
        what="earlier files are deleted under a running node, and nobody notices before the next start",
        edits=(Edit("LogFile.check_present", "if self._files: ...", "pass"),),
        caught_by=CUTS + "test_a_file_that_vanishes_under_the_running_node_ends_it",
    ),
    Mutant(
        name="replaced file taken for the log's own",
        what="what is written goes to a deleted file, while a copy stands in its place",
        edits=(
            Edit(
                "LogFile.check_present",
                "found_ != expected_",
                "found_ is None",
            ),
        ),
        caught_by=CUTS + "test_a_file_that_vanishes_under_the_running_node_ends_it",
    ),
    Mutant(
        name="snapshot described before its file has its name",
        what="a power cut leaves the description of a snapshot whose file is not there",
        edits=(
            Edit(
                "SnapshotStore.adopt",
                "rename_durably(file_, path_); self._describe(what_, installed=how_)",
                "self._describe(what_, installed=how_); rename_durably(file_, path_)",
            ),
        ),
        caught_by=SNAPSHOTS + "test_a_power_cut_at_any_step_leaves_the_old_snapshot_or_the_new_whole",
    ),
    Mutant(
        name="snapshot's file not synced",
        what="a power cut leaves a snapshot with holes, and the log behind it is gone",
        edits=(Edit("SnapshotStore.adopt", "sync_file(file_)", "pass"),),
        caught_by=SNAPSHOTS + "test_a_power_cut_at_any_step_leaves_the_old_snapshot_or_the_new_whole",
    ),
    Mutant(
        name="snapshot's file removed before its description",
        what="a power cut while the old snapshot is removed leaves a description without a file",
        edits=(
            Edit(
                "SnapshotStore.prune",
                """
                self._json(index_).unlink()
                sync_folder(folder_)
                self._path(index_).unlink(missing_ok=True)
                """,
                """
                self._path(index_).unlink(missing_ok=True)
                sync_folder(folder_)
                self._json(index_).unlink()
                """,
            ),
        ),
        caught_by=SNAPSHOTS + "test_a_snapshot_is_described_only_while_its_file_is_there",
    ),
    Mutant(
        name="short snapshot offered",
        what="a file that was cut is sent to a server that needs all of it",
        edits=(
            Edit(
                "SnapshotStore.newest",
                "not path_.is_file() or path_.stat().st_size != record_.size_bytes",
                "not path_.is_file()",
            ),
        ),
        caught_by=SNAPSHOTS
        + "test_a_snapshot_without_its_whole_file_is_not_offered_but_the_log_may_begin_behind_it",
    ),
    Mutant(
        name="copy begun without a transaction",
        what="the node writes between two steps, and the copy is begun again each time or is of no one state",
        edits=(Edit("open_read_only", 'cursor_.execute("begin")', "pass"),),
        caught_by=MAKER + "test_the_copy_is_of_one_state_although_the_node_writes_between_the_steps",
    ),
    Mutant(
        name="copy not checked against what was copied",
        what="a disk that exchanges what was written gives a snapshot of another state",
        edits=(
            Edit(
                "snapshot:_check",
                "found_ = read_state(...)\nif found_ != expected_: raise NotMade(...)",
                "pass",
            ),
        ),
        caught_by=MAKER + "test_a_copy_that_is_not_as_it_was_written_is_no_snapshot",
    ),
    Mutant(
        name="pages of the copy not checked",
        what="a copy with an empty page is taken for a snapshot, and the log is cut behind it",
        edits=(Edit("snapshot:_check", 'line_ != "ok"', "False"),),
        caught_by=MAKER + "test_a_copy_that_is_not_as_it_was_written_is_no_snapshot",
    ),
    Mutant(
        name="failed copy left behind",
        what="each snapshot that fails leaves a file as large as the ledger",
        edits=(Edit("make", "_remove(copy_); raise", "raise"),),
        caught_by=MAKER + "test_a_copy_that_is_not_as_it_was_written_is_no_snapshot",
    ),
    Mutant(
        name="copy outlives its node",
        what="a process goes on copying the ledger of a node that was killed",
        edits=(Edit("snapshot:main", "threading.Thread(...).start()", "pass"),),
        caught_by=MAKER + "test_the_program_ends_with_its_parent_and_leaves_nothing",
    ),
    Mutant(
        name="ledger with a gap to its log opened",
        what="a ledger that lost its last entries goes on with a log that begins later",
        edits=(Edit("open_ledger", "ledger_.applied_index >= first_index_ - 1", "True"),),
        caught_by=LEDGER_FILE + "test_a_ledger_that_is_too_old_gives_way_to_the_snapshot",
    ),
    Mutant(
        name="old write-ahead log kept beside the new ledger",
        what="SQLite adds to the snapshot what the ledger before it had not checkpointed",
        edits=(Edit("put_in_place", "(path_, *(...))", "(path_,)"),),
        caught_by=LEDGER_FILE + "test_a_power_cut_at_any_step_of_the_replacement_is_mended_by_the_next_start",
    ),
    Mutant(
        name="rotten snapshot becomes the ledger",
        what="a snapshot that rotted on the disk takes the place of the ledger",
        edits=(
            Edit(
                "copy_whole",
                "(size_bytes_, digest_.hexdigest()) == (snapshot_.size_bytes, snapshot_.sha256)",
                "size_bytes_ == snapshot_.size_bytes",
            ),
        ),
        caught_by=LEDGER_FILE + "test_a_rotten_snapshot_takes_no_ledgers_place",
    ),
    Mutant(
        name="start not counted on the disk",
        what="a node shows the same number after each start, and a copy of its folder goes unnoticed",
        edits=(
            Edit(
                "DataFolder.count_start",
                "self._rewrite(replace(...))",
                "self.owner = replace(...)",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_a_folder_counts_its_starts",
    ),
    Mutant(
        name="incarnation goes back",
        what="an old copy of a folder makes its peers forget that they have seen a newer one",
        edits=(
            Edit(
                "DataFolder.register_incarnation",
                "incarnation_ <= self.highest_incarnation(...)",
                "incarnation_ == self.highest_incarnation(...)",
            ),
        ),
        caught_by=FOLDER_TESTS + "test_the_highest_incarnation_of_a_peers_store_is_remembered",
    ),
    Mutant(
        name="parts kept for ever",
        what="what was fetched of a snapshot that nobody needs any more stays on the disk, gigabytes of it",
        edits=(Edit("SnapshotStore.prune", "int(text_) <= self_.base.index", "False"),),
        caught_by=SNAPSHOTS + "test_a_part_that_is_not_needed_any_more_is_pruned",
    ),
    Mutant(
        name="log's files looked at never",
        what="a node whose log was deleted under it goes on to acknowledge",
        edits=(Edit("Server._on_tick", "log_.check_present()", "pass"),),
        caught_by="tests/server/test_main.py::test_a_node_whose_log_is_deleted_under_it_ends_within_seconds",
    ),
    Mutant(
        name="starts not counted",
        what="a node is started again and again with one incarnation",
        edits=(Edit("Server._open_storage", "folder_.count_start(...)", "pass"),),
        caught_by="tests/server/test_main.py::test_each_start_of_a_node_is_counted",
    ),
)
