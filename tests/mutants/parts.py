"""Planted defects of refunds in parts, of holds in parts, and of raised holds."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

REFUND_TESTS = "tests/ledger/test_refunds.py::"
PART_TESTS = "tests/ledger/test_hold_parts.py::"

PARTS = (
    Mutant(
        name="refund forgets those before",
        what="each part is bounded by the whole original, and many of them give more than it took",
        edits=(Edit("reversals:planned", "total_ - _taken_back(...)", "total_"),),
        caught_by=REFUND_TESTS + "test_parts_come_back_until_their_sum_is_the_whole",
    ),
    Mutant(
        name="refund counts the last part only",
        what="the sum of what was taken back is that of the last refund",
        edits=(Edit("note_reversal", "_taken_back(...) + amount_", "amount_"),),
        caught_by=REFUND_TESTS + "test_parts_come_back_until_their_sum_is_the_whole",
    ),
    Mutant(
        name="refund not remembered in its batch",
        what="two refunds that are decided together are bounded as if the first had not been",
        edits=(Edit("UnitOfWork.add_refund", "self.refunded[original_] = taken_back_", "pass"),),
        caught_by=REFUND_TESTS + "test_parts_come_back_until_their_sum_is_the_whole",
    ),
    Mutant(
        name="refunds not stored",
        what="the bank forgets all reversals but the first",
        edits=(Edit("LedgerRows.write_unit", "REFUND_ROWS.insert(...)", "pass"),),
        caught_by=REFUND_TESTS + "test_parts_come_back_until_their_sum_is_the_whole",
    ),
    Mutant(
        name="refunds below level 2",
        what="servers of two releases decide a second reversal differently",
        edits=(Edit("reversals:planned", "unit_.feature_level < PARTS_LEVEL and left_ < total_", "False"),),
        caught_by=REFUND_TESTS
        + "test_below_feature_level_2_there_is_one_reversal_and_the_rest_can_be_taken_back_later",
    ),
    Mutant(
        name="small refunds escape the second person",
        what="who may take back little alone takes back all, little by little",
        edits=(Edit("taken_back", "_taken_back(...) + _total(opposites_)", "_total(opposites_)"),),
        caught_by="tests/ledger/test_approvals.py::test_no_row_of_small_reversals_escapes_the_limit",
    ),
    Mutant(
        name="lookup tells the first reversal",
        what="who looks a payment up before a further refund is told that less was taken back",
        edits=(Edit("LedgerRows.last_refund", "self.has_level_2", "False"),),
        caught_by=REFUND_TESTS + "test_a_lookup_names_the_last_reversal_and_the_sum_of_all",
    ),
    Mutant(
        name="part ends its hold",
        what="what was to stay held is free, and is withdrawn elsewhere",
        edits=(Edit("_note_payment", "final_ or amount_ == left_", "True"),),
        caught_by=PART_TESTS + "test_a_posting_that_is_not_final_leaves_the_rest_held",
    ),
    Mutant(
        name="empty hold stays active",
        what="a hold of which nothing is left goes on to count among the active ones",
        edits=(Edit("_note_payment", "final_ or amount_ == left_", "final_"),),
        caught_by=PART_TESTS + "test_a_hold_that_is_paid_out_in_full_has_ended_whatever_the_posting_said",
    ),
    Mutant(
        name="part releases all",
        what="a part that is paid out frees the rest, and the hold says that it is still held",
        edits=(Edit("_note_payment", "left_ if ends_ else amount_", "left_"),),
        caught_by=PART_TESTS + "test_a_posting_that_is_not_final_leaves_the_rest_held",
    ),
    Mutant(
        name="parts bounded by the whole",
        what="each part may be as large as the hold, and together they pay out more",
        edits=(Edit("_may_pay_part", "command_.amount > hold_.left", "command_.amount > hold_.amount"),),
        caught_by=PART_TESTS + "test_a_posting_that_is_not_final_leaves_the_rest_held",
    ),
    Mutant(
        name="parts not added up",
        what="a hold knows only its last part",
        edits=(Edit("_note_payment", "hold_.posted += amount_", "hold_.posted = amount_"),),
        caught_by=PART_TESTS + "test_a_posting_that_is_not_final_leaves_the_rest_held",
    ),
    Mutant(
        name="raise without a withdrawal's rules",
        what="a hold is raised without the PIN, and beyond what there is",
        edits=(Edit("decide_raise", "may_withdraw(...)", "OK"),),
        caught_by=PART_TESTS + "test_a_raise_reserves_more_under_the_rules_of_a_withdrawal",
    ),
    Mutant(
        name="raise of somebody else's hold",
        what="who has logged in to one account reserves money of another",
        edits=(Edit("decide_raise", "hold_ is None or hold_.account != command_.account", "hold_ is None"),),
        caught_by=PART_TESTS + "test_a_raise_reserves_more_under_the_rules_of_a_withdrawal",
    ),
    Mutant(
        name="raise above the largest amount",
        what="a hold grows beyond what any posting can say",
        edits=(Edit("decide_raise", "hold_.amount + command_.amount > AMOUNT_MINOR_MAX", "False"),),
        caught_by=PART_TESTS + "test_no_hold_is_raised_above_the_largest_amount",
    ),
    Mutant(
        name="raise not counted",
        what="a small hold that is raised goes round the daily limit",
        edits=(Edit("decide_raise", "note_withdrawal(...)", "pass"),),
        caught_by=PART_TESTS
        + "test_a_raise_counts_towards_the_daily_limit_and_what_is_released_does_no_more",
    ),
    Mutant(
        name="raise carries yesterday over",
        what="what was held yesterday is given back to the limit of today",
        edits=(Edit("decide_raise", "counted_ if account_.counts(...) else 0", "counted_"),),
        caught_by=PART_TESTS + "test_of_a_hold_that_was_raised_on_another_day_only_the_raise_counts_then",
    ),
    Mutant(
        name="release gives back more than counted",
        what="the limit of today gets back what was counted on another day",
        edits=(Edit("holds:_restore_limit", "min(rest_, counted_)", "rest_"),),
        caught_by=PART_TESTS + "test_of_a_hold_that_was_raised_on_another_day_only_the_raise_counts_then",
    ),
    Mutant(
        name="late part counts in full",
        what="what was held yesterday counts today as it is paid out late",
        edits=(Edit("_count_again", "max(0, amount_ - max(...))", "amount_"),),
        caught_by=PART_TESTS + "test_what_is_paid_late_counts_again_as_far_as_it_was_given_back",
    ),
    Mutant(
        name="raises not stored",
        what="after a restart nobody knows how much of a raised hold counts",
        edits=(Edit("LedgerRows.write_unit", "RAISED_HOLD_ROWS.insert(...)", "pass"),),
        caught_by="tests/ledger/test_parts_audit.py::test_a_sound_ledger_with_parts_has_no_problem",
    ),
    Mutant(
        name="posting of nothing",
        what="a posting of 0 books nothing, and its hold is called posted",
        edits=(Edit("decide_post", "command_.amount == 0", "False"),),
        caught_by=PART_TESTS + "test_posting_nothing_releases_the_hold_as_a_void_does",
    ),
    Mutant(
        name="whole amount compared below level 2",
        what="servers of two releases answer a repeated posting differently",
        edits=(Edit("is_same_post", "unit_.feature_level < PARTS_LEVEL or ...", "False or ..."),),
        caught_by=PART_TESTS + "test_the_whole_amount_spelled_out_is_the_same_request",
    ),
    Mutant(
        name="a part taken for the whole",
        what="a posting of a part is the same request as one of all that is held",
        edits=(Edit("is_same_post", "hold_.left == 0 and ...", "True and ..."),),
        caught_by=PART_TESTS + "test_the_whole_amount_spelled_out_is_the_same_request",
    ),
    Mutant(
        name="any amount taken for the whole",
        what="a posting repeated with a wrong amount gets the receipt of the right one",
        edits=(Edit("is_same_post", "(said_.amount, ...) == all_of_it_", "True"),),
        caught_by=PART_TESTS + "test_the_whole_amount_spelled_out_is_the_same_request",
    ),
    Mutant(
        name="new fields at once",
        what="an entry that a server of 1.1 cannot read stops it",
        edits=(
            Edit(
                "Post.level_needed",
                "_level_by_remark(self) if self.final and self.amount != 0 else 2",
                "_level_by_remark(self)",
            ),
        ),
        caught_by=PART_TESTS + "test_a_new_field_needs_feature_level_2_and_an_old_request_does_not",
    ),
    Mutant(
        name="teller ends the hold",
        what="who types `more` at the teller finds the rest released",
        edits=(Edit("Teller._do", "not intent_.more", "True"),),
        caught_by="tests/teller/test_money_commands.py::"
        "test_a_hold_is_confirmed_in_parts_and_raised_in_between",
    ),
)
