"""Planted defects of ceilings, transfers in the daily limit, all there is, codes and texts, failed legs."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

LIMIT_TESTS = "tests/ledger/test_limits.py::"
ALL_TESTS = "tests/ledger/test_all_there_is.py::"
LEG_TESTS = "tests/ledger/test_failed_legs.py::"
REMARK_TESTS = "tests/ledger/test_remarks.py::"
HOLD_TESTS = "tests/ledger/test_holds_told.py::"

CEILING = LIMIT_TESTS + "test_a_ceiling_stops_what_would_raise_the_balance_above_it_and_corrections_pass"
LEGS = LIMIT_TESTS + "test_the_legs_of_a_batch_count_together_and_for_who_pays_each"

DETAILS = (
    Mutant(
        name="ceiling by the balance before",
        what="a credit may raise a balance above its ceiling, once",
        edits=(
            Edit(
                "Limits.check",
                "credit_.balance + amount_ > credit_.ceiling",
                "credit_.balance > credit_.ceiling",
            ),
        ),
        caught_by=CEILING,
    ),
    Mutant(
        name="ceiling itself is too much",
        what="a balance may not reach its ceiling",
        edits=(
            Edit(
                "Limits.check",
                "credit_.balance + amount_ > credit_.ceiling",
                "credit_.balance + amount_ >= credit_.ceiling",
            ),
        ),
        caught_by=CEILING,
    ),
    Mutant(
        name="no ceiling for credits",
        what="only transfers heed a ceiling",
        edits=(Edit("_credit", "None if account_.ceiling is None else Limits(...)", "None"),),
        caught_by=CEILING,
    ),
    Mutant(
        name="no ceiling for transfers",
        what="a transfer heeds the ceiling of its receiver only where the payer's transfers count",
        edits=(
            Edit(
                "_moved",
                "payer_.transfers_from is not None or receiver_.ceiling is not None",
                "payer_.transfers_from is not None",
            ),
        ),
        caught_by=CEILING,
    ),
    Mutant(
        name="each leg has the whole limit",
        what="legs of a batch are compared with the daily limit one by one",
        edits=(Edit("Limits.check", "self.paid.get(debit_.name, 0) + amount_", "amount_"),),
        caught_by=LEGS,
    ),
    Mutant(
        name="transfers never add up",
        what="a transfer is compared with the daily limit and not counted",
        edits=(Edit("_moved", "note_withdrawal(...)", "pass"),),
        caught_by=LIMIT_TESTS + "test_transfers_count_towards_the_daily_limit_only_where_that_is_set",
    ),
    Mutant(
        name="reversed transfers stay counted",
        what="a reversal of a transfer gives nothing back to the daily limit",
        edits=(Edit("decide_reverse", "restore_limits(...)", "pass"),),
        caught_by=LEGS,
    ),
    Mutant(
        name="given back without having been counted",
        what="a reversal of an older transfer raises what may be withdrawn today",
        edits=(Edit("restore_limits", "payer_.transfers_from < log_index_", "True"),),
        caught_by=LIMIT_TESTS + "test_a_reversal_gives_nothing_back_of_what_was_never_counted",
    ),
    Mutant(
        name="transfers count for ever",
        what="a later limit without transfers leaves them counted",
        edits=(
            Edit(
                "administration:_set_limit",
                "unit_.log_index if command_.transfers else None",
                "unit_.log_index",
            ),
        ),
        caught_by=LIMIT_TESTS + "test_transfers_count_towards_the_daily_limit_only_where_that_is_set",
    ),
    Mutant(
        name="limits are forgotten by a restart",
        what="a ceiling is lost with the memory",
        edits=(Edit("LedgerRows.write_unit", "ACCOUNT_LIMIT_ROWS.insert(...)", "pass"),),
        caught_by=LIMIT_TESTS + "test_a_ceiling_outlives_a_restart",
    ),
    Mutant(
        name="all that is in the ledger",
        what="all there is takes what is held, too",
        edits=(Edit("all_there_is", "account_.available", "account_.balance"),),
        caught_by=ALL_TESTS + "test_all_there_is_is_what_is_available_and_nothing_is_no_amount",
    ),
    Mutant(
        name="all there is beyond an amount",
        what="a debit of all there is may be larger than any amount that can be asked for",
        edits=(Edit("_debit", "amount_ > AMOUNT_MINOR_MAX", "False"),),
        caught_by=ALL_TESTS + "test_more_than_one_request_may_move_is_refused",
    ),
    Mutant(
        name="how much is not said",
        what="the receipt of a debit of all there was does not say how much that was",
        edits=(Edit("_debit", 'unit_.details["moved"] = amount_', "pass"),),
        caught_by=ALL_TESTS + "test_the_receipt_says_how_much_it_was_and_so_does_every_repetition",
    ),
    Mutant(
        name="all there was is not in the books",
        what="a receipt has neither an amount that was asked for nor that it was all there was",
        edits=(Edit("_besides", "everything_ or None", "None"),),
        caught_by=ALL_TESTS + "test_the_receipt_says_how_much_it_was_and_so_does_every_repetition",
    ),
    Mutant(
        name="first leg to blame",
        what="a refused batch always names its first leg",
        edits=(Edit("decide_batch", 'unit_.details["leg"] = leg_', 'unit_.details["leg"] = 0'),),
        caught_by=LEG_TESTS + "test_the_receipt_says_which_leg_was_refused_and_so_does_every_repetition",
    ),
    Mutant(
        name="leg without funds is the first",
        what="a batch that lacks funds names its first leg",
        edits=(Edit("UnitOfWork.move", "self.refused_at = len(rows_)", "self.refused_at = 0"),),
        caught_by=LEG_TESTS + "test_the_receipt_says_which_leg_was_refused_and_so_does_every_repetition",
    ),
    Mutant(
        name="a repetition names no leg",
        what="what a receipt says besides is not kept",
        edits=(Edit("LedgerRows.write_unit", "RECEIPT_DETAIL_ROWS.insert(...)", "pass"),),
        caught_by=LEG_TESTS + "test_the_receipt_says_which_leg_was_refused_and_so_does_every_repetition",
    ),
    Mutant(
        name="receipts lost behind one that says more",
        what="of requests that come again in one batch, those behind a refused batch are done again",
        edits=(
            Edit(
                "LedgerRows.look_up",
                "self._execute(RECEIPTS, (_json_list(new_ids_),)).fetchall()",
                "self._execute(RECEIPTS, (_json_list(new_ids_),))",
            ),
        ),
        caught_by=LEG_TESTS
        + "test_requests_that_come_again_together_with_such_a_batch_get_their_first_receipts_too",
    ),
    Mutant(
        name="leg at level 1",
        what="at feature level 1 a receipt says what release 1.1 does not",
        edits=(Edit("decide_batch", "unit_.feature_level >= DETAILS_LEVEL", "True"),),
        caught_by=LEG_TESTS + "test_below_feature_level_2_no_receipt_says_more_than_in_release_1_1",
    ),
    Mutant(
        name="text outside the chain",
        what="what a posting is for can be changed and no hash tells",
        edits=(Edit("row_hash", "remark_ is not None", "False"),),
        caught_by=REMARK_TESTS + "test_the_chain_covers_the_code_and_the_text_and_nothing_else_is_new",
    ),
    Mutant(
        name="feed without texts",
        what="a feed takes a posting with a code or a text for one that does not follow",
        edits=(Edit("feed:_note", "Remark(...) if has_remark_ else None", "None"),),
        caught_by="tests/client/test_watch.py::test_the_hashes_cover_codes_and_texts",
    ),
    Mutant(
        name="text is not what is asked",
        what="a repeated id with another text gets the first receipt",
        edits=(Edit("_besides", "command_.text", "None"),),
        caught_by=REMARK_TESTS + "test_the_code_and_the_text_are_part_of_what_is_asked",
    ),
    Mutant(
        name="whole text is not looked at",
        what="postings with any text are found for a whole one",
        edits=(Edit("find_postings", "request_.whole and request_.text is not None", "False"),),
        caught_by=REMARK_TESTS + "test_postings_are_found_by_code_and_text",
    ),
    Mutant(
        name="end of what was looked at is the end",
        what="a search that stopped half-way says that there is no more",
        edits=(Edit("find_postings", "cursor_.execute(ends_, values_).get", "None"),),
        caught_by=REMARK_TESTS + "test_a_page_looks_at_so_many_postings_and_says_where_to_go_on",
    ),
    Mutant(
        name="page of texts without a bound",
        what="a page with the longest texts does not fit a frame",
        edits=(Edit("inquiries:_page", "left_ < 0", "False"),),
        caught_by=REMARK_TESTS + "test_a_page_has_no_more_texts_than_fit_a_frame",
    ),
    Mutant(
        name="new field at level 1",
        what="a field that release 1.1 does not know decides something at level 1",
        edits=(
            Edit("rules:_decision", "command_.level <= unit_.feature_level < command_.level_needed", "False"),
        ),
        caught_by=REMARK_TESTS + "test_below_feature_level_2_such_an_entry_changes_nothing",
    ),
    Mutant(
        name="holds are told and not counted",
        what="a frozen account's receipt tells of as many holds as may be, however few there are",
        edits=(Edit("_tell_holds", "min(...)", "ACTIVE_HOLDS_MAX"),),
        caught_by=HOLD_TESTS + "test_the_receipt_says_how_many_holds_are_active_and_so_does_every_repetition",
    ),
    Mutant(
        name="PIN taken for a text",
        what="a PIN behind the amount is shown, as if a text could be there",
        edits=(Edit("_show_pin", "command_.grammar.words_max", "command_.grammar.words_max + 4"),),
        caught_by="tests/teller/test_remarks.py::test_a_pin_is_noticed_where_no_code_and_no_text_is",
    ),
)
