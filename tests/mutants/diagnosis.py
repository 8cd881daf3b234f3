"""Planted defects of what `bin/admin doctor` finds in PostgreSQL."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/lanes/test_diagnosis.py::"

BACKUPS_TESTS = "tests/cluster/test_postgresql_backups.py::"

DIAGNOSIS = (
    Mutant(
        name="only the first refused setting told",
        what="an operator corrects one setting after the other, with a start between any two",
        edits=(Edit("diagnosis:_settings", "list(refusals(...))", "list(refusals(...))[:1]"),),
        caught_by=TESTS + "test_all_that_a_server_refuses_is_told_and_its_start_ends_with_the_first",
    ),
    Mutant(
        name="a question that takes too long ends all others",
        what="one locked table, and nothing is said of slots, archive and connections",
        edits=(
            Edit("_Database._connected", "self._engine is not None and self._engine.psycopg.closed", "False"),
        ),
        caught_by=TESTS
        + "test_a_question_that_is_not_answered_in_time_costs_its_connection_and_no_other_answer",
    ),
    Mutant(
        name="any standby counts",
        what="commits wait for a standby that is not there, and doctor sees enough of them",
        edits=(Edit("diagnosis:_standbys", 'row_[2] != "async"', "True"),),
        caught_by=TESTS + "test_more_standbys_asked_for_than_there_are",
    ),
    Mutant(
        name="what a role may not see called missing",
        what="a bank whose standbys all follow is said to stand still",
        edits=(Edit("diagnosis:_standbys", 'row_[1] in (None, "streaming")', 'row_[1] == "streaming"'),),
        caught_by=TESTS + "test_a_role_that_may_not_see_standbys_is_told_what_to_grant",
    ),
    Mutant(
        name="the last standby that is spared not missed",
        what="that one more lost standby stops the bank is said once it has",
        edits=(Edit("diagnosis:_too_few", "streaming_ == needed_ and ...", "False"),),
        caught_by=TESTS + "test_standbys_that_end_are_named_before_and_after_the_bank_stands_still",
    ),
    Mutant(
        name="a move under way called cut off",
        what="an operator asks for a move again that is under way",
        edits=(Edit("lane_findings", "not known_.is_moving", "True"),),
        caught_by=TESTS + "test_a_move_that_was_cut_off_is_told_until_it_is_done",
    ),
    Mutant(
        name="a bank without a backup called well kept",
        what="nobody is told that nothing brings back what was deleted",
        edits=(Edit("lane_findings:_backups", "days_ is not None and ...", "True"),),
        caught_by=TESTS + "test_a_bank_without_a_backup_and_without_an_archive_is_told",
    ),
    Mutant(
        name="the map of lanes believed",
        what="a lane that has just moved is called lost",
        edits=(Edit("lane_findings:_where", "moved_.epoch > found_[moved_.lane].epoch", "False"),),
        caught_by=TESTS + "test_what_is_wrong_with_lanes",
    ),
    Mutant(
        name="a lane without a writer because it is being moved",
        what="each move of a lane is an alarm",
        edits=(Edit("lane_findings:_without_writer", "not is_moving_", "True"),),
        caught_by=TESTS + "test_what_is_wrong_with_lanes",
    ),
    Mutant(
        name="a backup of PostgreSQL not recorded",
        what="nobody sees who has taken all there is of a bank",
        edits=(Edit("NoBackups.reply", "refusal_ = record_(...)", "refusal_ = None"),),
        caught_by=BACKUPS_TESTS + "test_a_backup_records_that_it_was_begun_and_holds_the_record",
    ),
    Mutant(
        name="a snapshot of PostgreSQL recorded",
        what="the bank records as done what no server of it does",
        edits=(Edit("BackupNotes.refusal", "isinstance(request_, TakeSnapshot)", "False"),),
        caught_by=BACKUPS_TESTS + "test_a_backup_records_that_it_was_begun_and_holds_the_record",
    ),
    Mutant(
        name="when the last backup began forgotten with its server",
        what="an alarm that there is no backup, each time another server takes lane 0",
        edits=(
            Edit(
                "LaneLedger._take",
                "self._last_backup_us = self._rows.last_backup_us()",
                "self._last_backup_us = None",
            ),
        ),
        caught_by=BACKUPS_TESTS + "test_a_backup_records_that_it_was_begun_and_holds_the_record",
    ),
)
