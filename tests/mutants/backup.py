"""Planted defects of backups: what is taken, kept, checked and restored."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TAKING = "tests/admin/test_backup_taking.py::"
DAMAGE = "tests/admin/test_backup_damage.py::"
RESTORE = "tests/admin/test_backup_restore.py::"
RECOVER = "tests/admin/test_backup_recover.py::"
PRUNING = "tests/admin/test_backup_pruning.py::"
PEPPER = "tests/admin/test_backup_pepper.py::"
SOURCE = "tests/server/test_backup_source.py::"

BACKUP = (
    Mutant(
        name="damage on the way believed",
        what="bytes that changed between the node and the backup become its entries, with a right SHA-256",
        edits=(
            Edit(
                "entry_file:_payload",
                "len(payload_) < length_ or crc32(payload_, crc32(_LENGTH.pack(length_))) != crc_",
                "len(payload_) < length_",
            ),
        ),
        caught_by=TAKING + "test_a_bit_that_flips_on_the_way_is_noticed",
    ),
    Mutant(
        name="rest of another run taken for whole",
        what="a record that a kill cut short is kept, and what comes behind it cannot be read",
        edits=(Edit("_resume", "os.truncate(path_, end_)", "pass"),),
        caught_by=TAKING + "test_a_run_that_is_killed_anywhere_is_simply_repeated",
    ),
    Mutant(
        name="what had arrived thrown away",
        what="an interrupted run begins from the start each time, and a slow link never ends",
        edits=(Edit("_resume", "reader_.header == header_", "False"),),
        caught_by=TAKING + "test_what_had_arrived_is_not_asked_for_again",
    ),
    Mutant(
        name="job that took nothing is content",
        what="a job that reached no node ends with 0, and nobody knows until the disaster",
        edits=(Edit("run_backup", "raise NotDone(NOT_AVAILABLE, why_not_)", "return DONE"),),
        caught_by=TAKING + "test_a_job_that_took_nothing_does_not_end_with_0",
    ),
    Mutant(
        name="minority believed",
        what="a backup from a node that was cut off from the others passes for complete",
        edits=(Edit("take", "2 * len(statuses_) > len(cluster_.nodes)", "True"),),
        caught_by=TAKING + "test_a_backup_from_a_minority_says_so_and_does_not_end_with_0",
    ),
    Mutant(
        name="two banks in one backup",
        what="entries of another bank are added to a backup, and it can restore neither",
        edits=(Edit("_Taking._manifest", "old_.cluster != offer_.cluster", "False"),),
        caught_by=TAKING + "test_a_folder_of_another_bank_is_refused",
    ),
    Mutant(
        name="backup into any folder",
        what="a mistyped path mixes a backup into other files",
        edits=(Edit("BackupFolder.__init__", "self._refuse_foreign()", "pass"),),
        caught_by=TAKING + "test_a_folder_with_other_files_is_refused",
    ),
    Mutant(
        name="gap not seen",
        what="entries that no log has any more are taken for covered",
        edits=(
            Edit(
                "Manifest.line_to",
                "piece_.first_index <= reached_ + 1 and reached_ < min(piece_.last_index, index_)",
                "reached_ < min(piece_.last_index, index_)",
            ),
        ),
        caught_by=TAKING + "test_backups_before_and_behind_a_cut_add_up",
    ),
    Mutant(
        name="time within a gap",
        what="a restore to a moment in a gap silently gives an earlier one",
        edits=(Edit("index_at", "ends_[found_] < time_us_", "False"),),
        caught_by=TAKING + "test_a_time_within_a_gap_is_refused_and_the_two_sides_are_named",
    ),
    Mutant(
        name="hashes not compared",
        what="a bit that flipped in a backup is found only by what it breaks",
        edits=(Edit("BackupFolder._check_digest", "found_ != sha256_", "False"),),
        caught_by=DAMAGE + "test_a_bit_flipped_anywhere_is_found_and_the_piece_is_named",
    ),
    Mutant(
        name="list not checked",
        what="a bit that flipped in backup.json moves a time, an index or a hash",
        edits=(
            Edit(
                "BackupFolder._read",
                "hashlib.sha256(compact_).hexdigest() != written_.sha256 or text_ != _formatted(written_)",
                "False",
            ),
        ),
        caught_by=DAMAGE + "test_a_bit_flipped_anywhere_is_found_and_the_piece_is_named",
    ),
    Mutant(
        name="restore with the old id",
        what="nodes of the old bank talk to those of the restored one, and take its log for theirs",
        edits=(
            Edit("begin_epoch", "epoch_.cluster", "epoch_.old_cluster"),
            Edit("write_folder", "new_.epoch.cluster", "new_.epoch.old_cluster"),
        ),
        caught_by=RESTORE + "test_a_restored_folder_is_one_that_a_node_recovers_from",
    ),
    Mutant(
        name="restore over a data folder",
        what="a restore replaces the folder of a node that may still be the newest copy of the bank",
        edits=(Edit("restore", "require_empty(...)", "pass"),),
        caught_by=RESTORE + "test_a_folder_that_is_not_empty_is_not_replaced",
    ),
    Mutant(
        name="books silent about the restore",
        what="an auditor of the restored books cannot see where another cluster ended",
        edits=(Edit("begin_epoch", "cursor_.execute(MARKER, marker_)", "pass"),),
        caught_by=RESTORE + "test_the_books_say_where_they_were_restored",
    ),
    Mutant(
        name="an index too far",
        what="a restore to an index takes the entry behind it too, which may be the one that did the harm",
        edits=(
            Edit(
                "backup_rebuild:_apply_piece",
                "after_ < entry_.index <= index_",
                "after_ < entry_.index <= index_ + 1",
            ),
        ),
        caught_by=RESTORE + "test_a_restore_to_an_index_is_a_replay_to_that_index",
    ),
    Mutant(
        name="what was cut off not told",
        what="nobody hears for which requests cash may have left",
        edits=(Edit("backup_restore:_cut_off", "folder_.manifest.last_index == end_.index", "True"),),
        caught_by=RESTORE + "test_what_was_cut_off_is_said_in_count_sums_and_ids",
    ),
    Mutant(
        name="longest log recovered",
        what="a longer log of an older term wins over the one that was acknowledged",
        edits=(
            Edit(
                "backup_recover:_plan",
                "(each_.end.term, each_.end.index)",
                "(each_.end.index, each_.end.term)",
            ),
        ),
        caught_by=RECOVER + "test_a_later_term_is_a_newer_log_even_if_it_is_shorter",
    ),
    Mutant(
        name="majority recovered",
        what="a bank that lost nothing is split into an old and a new cluster",
        edits=(Edit("backup_recover:_plan", "len(voting_) >= plan_.majority", "False"),),
        caught_by=RECOVER + "test_a_majority_is_not_recovered_but_started",
    ),
    Mutant(
        name="old pieces go first",
        what="a prune that is killed leaves a backup whose list names what is gone",
        edits=(
            Edit(
                "prune",
                "folder_.write(_without_older(manifest_, base_)); folder_.remove_unlisted()",
                """
                folder_.manifest = _without_older(manifest_, base_)
                folder_.remove_unlisted()
                folder_.write(_without_older(manifest_, base_))
                """,
            ),
        ),
        caught_by=PRUNING + "test_a_kill_at_any_moment_leaves_the_old_backup_or_the_new_one",
    ),
    Mutant(
        name="pruned without a look",
        what="old pieces of a backup go although its newest are damaged",
        edits=(Edit("backup_rebuild:verify", "folder_.check_all()", "return folder_.manifest"),),
        caught_by=DAMAGE + "test_a_bit_flipped_anywhere_is_found_and_the_piece_is_named",
    ),
    Mutant(
        name="any secret goes",
        what="a secret that opens no PIN of this bank is kept for the day of need",
        edits=(Edit("backup_pepper:add_pepper", "not _opens(peppers_, folder_.manifest)", "False"),),
        caught_by=PEPPER + "test_a_later_backup_keeps_it_and_another_secret_is_refused",
    ),
    Mutant(
        name="uncommitted entries given out",
        what="a backup holds entries behind what is committed, which the cluster may replace",
        edits=(
            Edit(
                "BackupReader._begin",
                "self._last_index, self._next_index = (state_.index, 0)",
                "self._last_index, self._next_index = (self._log.last_index, 0)",
            ),
        ),
        caught_by=SOURCE + "test_what_is_not_committed_is_not_given",
    ),
    Mutant(
        name="next reply before the last was taken",
        what="replies to a client that reads slowly pile up until its connection is dropped",
        edits=(Edit("ClientServer.give_to_backup", "connection_.wait_until_sent()", "pass"),),
        caught_by=SOURCE + "test_replies_longer_than_the_socket_holds_arrive_whole_while_others_are_served",
    ),
    Mutant(
        name="process left behind",
        what="each backup that ends leaves a process on the node, and the next one is refused",
        edits=(Edit("ClientServer.serve", "self._backups.release(connection_)", "pass"),),
        caught_by=SOURCE + "test_the_process_ends_with_the_connection",
    ),
)
