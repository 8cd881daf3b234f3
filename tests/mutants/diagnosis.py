"""Planted defects of what `bin/admin doctor` finds in PostgreSQL."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/lanes/test_diagnosis.py::"

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
)
