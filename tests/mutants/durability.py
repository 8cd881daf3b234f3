"""Planted defects of durability: the order of effects, syncs, and what a restart makes of the files."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

LOG_FILE = "atm/storage/log_file.py"
RECOVERY = "atm/storage/log_recovery.py"
TESTS = "tests/storage/test_log_file.py::"

DURABILITY = (
    Mutant(
        name="answer before the sync",
        what="promises leave before the disk holds them",
        file="atm/server/group/perform.py",
        edits=(
            (
                "    log.save(ready.hard_state, ready.entries)\n"
                "    network.send(ready.responses)  # promises",
                "    network.send(ready.responses)\n"
                "    log.save(ready.hard_state, ready.entries)  # promises",
            ),
        ),
        caught_by="tests/server/test_perform.py::test_messages_go_before_the_save_and_promises_after_it",
    ),
    Mutant(
        name="promises among the messages that go at once",
        what="the core lets a follower acknowledge before it saves",
        file="atm/raft/raft.py",
        edits=(
            (
                "self._messages_after_sync.append(Outgoing(append.sender",
                "self._messages.append(Outgoing(append.sender",
            ),
        ),
        caught_by="tests/raft/test_commitment.py::"
        "test_the_order_of_effects_is_kept_by_what_is_in_which_field",
    ),
    Mutant(
        name="no sync",
        what="a batch counts as saved once it is written",
        file=LOG_FILE,
        edits=(
            (
                "        self._write(batch, offset)\n        self._disk.sync(self._file)\n",
                "        self._write(batch, offset)\n",
            ),
        ),
        caught_by=TESTS + "test_one_save_is_one_write_and_one_sync",
    ),
    Mutant(
        name="the machine's disk does not sync",
        what="the log asks for a sync and the operating system is never asked",
        file="atm/storage/disk.py",
        edits=(("        _sync_data(file)\n", "        pass\n"),),
        caught_by=TESTS + "test_syncs_of_the_real_disk_reach_the_operating_system",
    ),
    Mutant(
        name="the machine's disk does not sync folders",
        what="the log asks for a sync of its folder and the operating system is never asked",
        file="atm/storage/disk.py",
        edits=(("            os.fsync(file)\n", "            pass\n"),),
        caught_by=TESTS + "test_syncs_of_the_real_disk_reach_the_operating_system",
    ),
    Mutant(
        name="no folder sync",
        what="a new segment may lose its name, and all that was saved in it",
        file=LOG_FILE,
        edits=(
            (
                "        self._disk.sync_folder(self._folder)\n        self._end = SEGMENT_HEADER_BYTES\n",
                "        self._end = SEGMENT_HEADER_BYTES\n",
            ),
        ),
        caught_by=TESTS + "test_a_power_cut_at_any_change_loses_nothing_acknowledged",
    ),
    Mutant(
        name="new header not synced before its first batch",
        what="a power cut leaves a bad header with an acknowledged batch behind it",
        file=LOG_FILE,
        edits=(
            (
                "        # Synced before anything is written behind it: a bad header with bytes behind it is"
                " damage.\n        self._disk.sync(self._file)\n",
                "",
            ),
        ),
        caught_by=TESTS + "test_a_power_cut_at_any_change_loses_nothing_acknowledged",
    ),
    Mutant(
        name="on after a failed sync",
        what="a log whose sync failed takes the next batch as if nothing had been",
        file=LOG_FILE,
        edits=(
            (
                "        if not self._whole:\n            raise LogFailed(",
                "        if False:\n            raise LogFailed(",
            ),
        ),
        caught_by=TESTS + "test_after_a_failed_write_or_sync_nothing_more_is_taken",
    ),
    Mutant(
        name="failed sync passed over",
        what="a batch whose sync failed counts as saved",
        file=LOG_FILE,
        edits=(
            (
                "        self._disk.sync(self._file)\n        self._end += len(batch)\n",
                "        try:\n            self._disk.sync(self._file)\n"
                "        except OSError:\n            pass\n"
                "        self._end += len(batch)\n",
            ),
        ),
        caught_by=TESTS + "test_after_a_failed_write_or_sync_nothing_more_is_taken",
    ),
    Mutant(
        name="unsure batch not written again",
        what="what a restart read from the system's memory counts as saved, and is lost in a power cut",
        file=LOG_FILE,
        edits=(("        self._write(unsure, recovery.last_batch)\n", ""),),
        caught_by=TESTS + "test_what_a_restart_found_after_a_failed_sync_is_durable_from_then_on",
    ),
    Mutant(
        name="damaged middle cut off",
        what="acknowledged batches behind a bad one are thrown away as if they were a torn tail",
        file=RECOVERY,
        edits=(
            ("        if later is not None:\n", "        if False:\n"),
            ("        if not is_last:\n", "        if False:\n"),
        ),
        caught_by=TESTS + "test_a_rotten_byte_is_damage_unless_it_is_in_the_last_batch",
    ),
    Mutant(
        name="torn tail kept",
        what="the next batches are written over a torn one, whose rest is taken for damage later",
        file=LOG_FILE,
        edits=(("            self._disk.truncate(self._file, self._end)\n", "            pass\n"),),
        caught_by=TESTS + "test_what_stands_behind_the_last_batch_is_cut_off",
    ),
    Mutant(
        name="checksum not compared",
        what="a batch with rotten bytes is believed",
        file="atm/storage/log_format.py",
        edits=(("crc32(data[start + _MARK_AND_CRC.size : stop]) == header.crc", "True"),),
        caught_by=TESTS + "test_a_rotten_byte_is_damage_unless_it_is_in_the_last_batch",
    ),
    Mutant(
        name="place of a batch not compared",
        what="a whole batch that stands at another's place is believed",
        file=RECOVERY,
        edits=(("if header.number != self.batches or header.prev_crc != self.crc:", "if False:"),),
        caught_by=TESTS + "test_a_batch_at_another_place_is_damage",
    ),
    Mutant(
        name="everything saved is applied at a restart",
        what="entries that were never committed are booked",
        file="atm/server/group/recovery.py",
        edits=(("min(log.hard_state.commit_index, log.last_index)", "log.last_index"),),
        caught_by="tests/server/test_recovery.py::"
        "test_entries_known_to_be_committed_are_applied_piece_by_piece",
    ),
    Mutant(
        name="ledger ahead of its log accepted",
        what="a ledger that belongs to another log is gone on with",
        file="atm/server/group/recovery.py",
        edits=(("    if bank.applied_index > log.last_index:\n", "    if False:\n"),),
        caught_by="tests/server/test_recovery.py::test_a_ledger_ahead_of_its_log_is_refused",
    ),
)
