"""Planted defects of durability: the order of effects, syncs, and what a restart makes of the files."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

DAMAGE = "tests/storage/test_log_damage.py::"
FAILURES = "tests/storage/test_log_failures.py::"
REAL_DISK = "tests/storage/test_log_on_a_real_disk.py::"
SAVING = "tests/storage/test_log_saving.py::"
TORN_TAILS = "tests/storage/test_log_torn_tails.py::"

DURABILITY = (
    Mutant(
        name="answer before the sync",
        what="promises leave before the disk holds them",
        edits=(
            Edit(
                "perform",
                "log_.save(...); network_.send(responses_)",
                "network_.send(responses_); log_.save(...)",
            ),
        ),
        caught_by="tests/server/test_perform.py::test_messages_go_before_the_save_and_promises_after_it",
    ),
    Mutant(
        name="promises among the messages that go at once",
        what="the core lets a follower acknowledge before it saves",
        edits=(
            Edit(
                "Raft._respond_to_append",
                "self._messages_after_sync.append(...)",
                "self._messages.append(...)",
            ),
        ),
        caught_by="tests/raft/test_commitment.py::test_promises_are_sent_only_after_the_sync",
    ),
    Mutant(
        name="no sync",
        what="a batch counts as saved once it is written",
        edits=(Edit("LogFile._append", "disk_.sync(...)", "pass"),),
        caught_by=SAVING + "test_one_save_is_one_write_and_one_sync",
    ),
    Mutant(
        name="the machine's disk does not sync",
        what="the log asks for a sync and the operating system is never asked",
        edits=(Edit("OsDisk.sync", "_sync_data(file_)", "pass"),),
        caught_by=REAL_DISK + "test_syncs_of_the_real_disk_reach_the_operating_system",
    ),
    Mutant(
        name="the machine's disk does not sync folders",
        what="the log asks for a sync of its folder and the operating system is never asked",
        edits=(Edit("files:sync_folder", "os.fsync(descriptor_)", "pass"),),
        caught_by=REAL_DISK + "test_syncs_of_the_real_disk_reach_the_operating_system",
    ),
    Mutant(
        name="no folder sync",
        what="a new segment may lose its name, and all that was saved in it",
        edits=(Edit("LogFile._begin_segment", "disk_.sync_folder(...)", "pass"),),
        caught_by=FAILURES + "test_a_power_cut_at_any_change_loses_nothing_acknowledged",
    ),
    Mutant(
        name="new header not synced before its first batch",
        what="a power cut leaves a bad header with an acknowledged batch behind it",
        edits=(Edit("LogFile._begin_segment", "disk_.sync(...)", "pass"),),
        caught_by=FAILURES + "test_a_power_cut_at_any_change_loses_nothing_acknowledged",
    ),
    Mutant(
        name="on after a failed sync",
        what="a log whose sync failed takes the next batch as if nothing had been",
        edits=(Edit("LogFile._writing", "not self._healthy", "False"),),
        caught_by=FAILURES + "test_after_a_failed_write_or_sync_nothing_more_is_accepted",
    ),
    Mutant(
        name="failed sync passed over",
        what="a batch whose sync failed counts as saved",
        edits=(
            Edit(
                "LogFile._append",
                "disk_.sync(file_)",
                """
                try:
                    disk_.sync(file_)
                except OSError:
                    pass
                """,
            ),
        ),
        caught_by=FAILURES + "test_after_a_failed_write_or_sync_nothing_more_is_accepted",
    ),
    Mutant(
        name="unsure batch not written again",
        what="what a restart read from the system's memory counts as saved, and is lost in a power cut",
        edits=(Edit("LogFile._resume", "self._write(...)", "pass"),),
        caught_by=FAILURES + "test_what_a_restart_found_after_a_failed_sync_is_durable_from_then_on",
    ),
    Mutant(
        name="damaged middle cut off",
        what="acknowledged batches behind a bad one are thrown away as if they were a torn tail",
        edits=(
            Edit("Recovery._require_torn_tail", "later_ is not None", "False"),
            Edit("Recovery._require_torn_tail", "not is_last_", "False"),
        ),
        caught_by=DAMAGE + "test_a_rotten_byte_is_damage_unless_it_is_in_the_last_batch",
    ),
    Mutant(
        name="torn tail kept",
        what="the next batches are written over a torn one, whose rest is taken for damage later",
        edits=(Edit("LogFile._resume", "disk_.truncate(...)", "pass"),),
        caught_by=TORN_TAILS + "test_what_stands_behind_the_last_batch_is_cut_off",
    ),
    Mutant(
        name="checksum not compared",
        what="a batch with rotten bytes is believed",
        edits=(Edit("is_whole", "crc32(...) == header_.crc", "True"),),
        caught_by=DAMAGE + "test_a_rotten_byte_is_damage_unless_it_is_in_the_last_batch",
    ),
    Mutant(
        name="place of a batch not compared",
        what="a whole batch that stands at another's place is believed",
        edits=(
            Edit(
                "Recovery._add_batch",
                "header_.number != self.batches or header_.prev_crc != self.crc",
                "False",
            ),
        ),
        caught_by=DAMAGE + "test_a_batch_at_another_place_is_damage",
    ),
    Mutant(
        name="everything saved is applied at a restart",
        what="entries that were never committed are applied",
        edits=(Edit("replay", "min(commit_index_, last_index_)", "last_index_"),),
        caught_by="tests/server/test_recovery.py::"
        "test_entries_known_to_be_committed_are_applied_piece_by_piece",
    ),
    Mutant(
        name="ledger ahead of its log accepted",
        what="a ledger that belongs to another log is gone on with",
        edits=(Edit("recovery:recover", "bank_.applied_index > log_.last_index", "False"),),
        caught_by="tests/server/test_recovery.py::test_a_ledger_ahead_of_its_log_is_refused",
    ),
)
