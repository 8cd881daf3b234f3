"""Planted defects of the bank's rules: reversals, holds, batches, PINs, limits, statements, the chain."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

REVERSAL_TESTS = "tests/ledger/test_reversals.py::"
HOLD_TESTS = "tests/ledger/test_holds.py::"
PIN_TESTS = "tests/ledger/test_account_pins.py::"
LIMIT_TESTS = "tests/ledger/test_daily_limit.py::"
ACCOUNT_TESTS = "tests/ledger/test_accounts.py::"
INQUIRY_TESTS = "tests/ledger/test_inquiries.py::"
SEAL_TESTS = "tests/server/test_pins.py::"

BANK_RULES = (
    Mutant(
        name="tombstone not kept",
        what="a request that was reversed before it came is done when it comes",
        edits=(Edit("decide_reverse", "_leave_tombstone(...)", "pass"),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_before_its_original_declines_it_for_ever",
    ),
    Mutant(
        name="tombstone for the same contents only",
        what="a request that was reversed before it came is refused as reused, for what it asks is not known",
        edits=(Edit("rules:decide", "first_.asked.op == TOMBSTONE", "False"),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_before_its_original_declines_it_for_ever",
    ),
    Mutant(
        name="reversed twice in one batch",
        what="a second reversal of the same request gives the money once more",
        edits=(Edit("UnitOfWork.reversal_of", "self.reversals.get(request_id_)", "None"),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_books_the_opposite_once",
    ),
    Mutant(
        name="partial reversal gives all back",
        what="the amount of a reversal is asked and not heeded",
        edits=(
            Edit(
                "reversals:planned",
                "postings_[0].opposite(amount_)",
                "postings_[0].opposite(postings_[0].amount_minor)",
            ),
        ),
        caught_by=REVERSAL_TESTS + "test_a_reversal_may_be_of_a_part_and_then_there_is_no_other",
    ),
    Mutant(
        name="reversal of more than there was",
        what="a reversal gives back more than its original took",
        edits=(Edit("reversals:planned", "amount_ > total_ or ...", "False or ..."),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_may_be_of_a_part_and_then_there_is_no_other",
    ),
    Mutant(
        name="reversal of a reversal",
        what="a reversal is taken back, and the original stands again although it was reversed for ever",
        edits=(Edit("_postings_of", '_op_of(...) == "reverse"', "False"),),
        caught_by=REVERSAL_TESTS + "test_what_moved_no_money_is_not_reversed_and_no_reversal_is",
    ),
    Mutant(
        name="hold not subtracted from what is available",
        what="money that is held for one machine leaves through another",
        edits=(Edit("Account.available", "self.balance - self.held", "self.balance"),),
        caught_by=HOLD_TESTS + "test_a_hold_reserves_and_its_posting_pays_out",
    ),
    Mutant(
        name="hold expired early",
        what="a hold is ended a microsecond before its time",
        edits=(Edit("_due_holds", "hold_.expires_us <= time_us_", "hold_.expires_us <= time_us_ + 1"),),
        caught_by=HOLD_TESTS + "test_a_hold_expires_at_its_microsecond_and_not_before",
    ),
    Mutant(
        name="posting after expiry declined",
        what="cash that has left the machine is never posted",
        edits=(Edit("decide_post", "outcome_ not in {OK, Outcome.HOLD_EXPIRED}", "outcome_ != OK"),),
        caught_by=HOLD_TESTS + "test_cash_that_left_after_its_hold_ended_is_booked_and_listed",
    ),
    Mutant(
        name="late posting not listed",
        what="cash that left after its hold had ended is not in the list of exceptions",
        edits=(Edit("decide_post", 'unit_.note_exception("late")', "pass"),),
        caught_by=HOLD_TESTS + "test_cash_that_left_after_its_hold_ended_is_booked_and_listed",
    ),
    Mutant(
        name="late posting releases again",
        what="what was held is released by the expiry and once more by the posting",
        edits=(Edit("_note_payment", "not late_", "True"),),
        caught_by=HOLD_TESTS + "test_cash_that_left_after_its_hold_ended_is_booked_and_listed",
    ),
    Mutant(
        name="batch keeps what it had done",
        what="the legs before the one that fails stay done",
        edits=(Edit("UnitOfWork.move", "postings_[: len(rows_)]", "postings_[:0]"),),
        caught_by="tests/ledger/test_transfers.py::test_a_batch_with_one_refused_leg_moves_nothing",
    ),
    Mutant(
        name="wrong PIN not counted on a decline",
        what="the count of wrong PINs is forgotten with the request that was declined, and guessing is free",
        edits=(
            Edit("withdrawals:check_pin", "account_.wrong_pins != before_", "account_.wrong_pins < before_"),
        ),
        caught_by=PIN_TESTS + "test_the_right_pin_resets_the_count_and_a_missing_one_is_not_counted",
    ),
    Mutant(
        name="locked at the fourth wrong PIN",
        what="there is one guess more than the bank says",
        edits=(Edit("WRONG_PINS_MAX", "WRONG_PINS_MAX = 3", "WRONG_PINS_MAX = 4"),),
        caught_by=PIN_TESTS + "test_three_wrong_pins_in_a_row_lock_the_account_until_it_is_unlocked",
    ),
    Mutant(
        name="payer's PIN not asked for",
        what="money leaves an account that has a PIN without it",
        edits=(Edit("may_pay", "account_.pin is None", "True"),),
        caught_by=PIN_TESTS + "test_three_wrong_pins_in_a_row_lock_the_account_until_it_is_unlocked",
    ),
    Mutant(
        name="funds before the PIN",
        what="a guess at the PIN that asks for too much is not counted, and tells whether there is money",
        edits=(
            Edit(
                "may_withdraw",
                """
                outcome_ = may_pay(unit_, account_, pin_)
                if outcome_ is OK and account_ is not None:
                    ...
                    if account_.available < amount_:
                        ...
                    ...
                """,
                """
                if account_ is not None and account_.available < amount_:
                    return Outcome.INSUFFICIENT_FUNDS
                outcome_ = may_pay(unit_, account_, pin_)
                if outcome_ is OK and account_ is not None:
                    ...
                    if account_.available < amount_:
                        ...
                    ...
                """,
            ),
        ),
        caught_by=PIN_TESTS + "test_a_wrong_pin_counts_even_without_the_funds",
    ),
    Mutant(
        name="PIN logged as it was typed",
        what="log, ledger and the other servers learn the PIN itself",
        edits=(
            Edit(
                "PinService.seal",
                "structs.replace(pending_, request=sealed_, payload=encode(sealed_))",
                "structs.replace(pending_, request=sealed_, payload=pending_.payload)",
            ),
        ),
        caught_by=SEAL_TESTS + "test_no_file_of_a_server_holds_a_pin_that_was_typed",
    ),
    Mutant(
        name="one salt for all accounts",
        what="equal PINs are seen to be equal, and one guess tries all accounts",
        edits=(Edit("PinSealer._sealed", '"salt " + account_', '"salt"'),),
        caught_by=SEAL_TESTS + "test_another_account_another_pepper_or_another_pin_is_another_seal",
    ),
    Mutant(
        name="plain PIN forwarded",
        what="a server logs the PIN that another one forwarded without sealing it",
        edits=(Edit("PeerConnection._forwarded", "holds_plain_pin(request_)", "False"),),
        caught_by="tests/server/test_peer_server.py::test_a_forwarded_plain_pin_is_refused",
    ),
    Mutant(
        name="chain without the previous hash",
        what="a row of the journal can be removed unnoticed",
        edits=(Edit("row_hash", "hashlib.sha256(previous_hash_ + text_)", "hashlib.sha256(text_)"),),
        caught_by="tests/ledger/test_transfers.py::"
        "test_a_transfer_moves_money_between_two_customers_or_nothing_at_all",
    ),
    Mutant(
        name="daily limit by the wall clock",
        what="servers that apply the same log at different times disagree",
        edits=(Edit("day_of", "time_us_ // DAY_US", '__import__("time").time_ns() // 1000 // DAY_US'),),
        caught_by=LIMIT_TESTS + "test_a_day_has_its_limit_and_the_next_day_its_own",
    ),
    Mutant(
        name="daily limit never begins anew",
        what="what was withdrawn yesterday counts today",
        edits=(
            Edit(
                "Account.exceeds_limit",
                "self.withdrawn if day_of(self.counted_from_us) == day_of(now_us_) else 0",
                "self.withdrawn",
            ),
        ),
        caught_by=LIMIT_TESTS + "test_a_day_has_its_limit_and_the_next_day_its_own",
    ),
    Mutant(
        name="yesterday's hold returned to today's limit",
        what="the limit of a day grows by what another day had been charged",
        edits=(Edit("Account.counts", "self.counted_from_us <= withdrawn_us_", "True"),),
        caught_by=LIMIT_TESTS + "test_a_day_gives_nothing_back_for_another_day",
    ),
    Mutant(
        name="last line of a page left out of the next",
        what="the posting between two pages of a statement is never shown",
        edits=(Edit("inquiries:_page", "page_[-1].posting", "page_[-1].posting - 1"),),
        caught_by=INQUIRY_TESTS + "test_the_pages_of_a_statement_are_the_whole_of_it",
    ),
    Mutant(
        name="past balance a microsecond too late",
        what="a posting just after the time asked for is included",
        edits=(
            Edit(
                "Inquiries._first_posting_after", "found_[0][1] <= time_us_", "found_[0][1] <= time_us_ + 1"
            ),
        ),
        caught_by=INQUIRY_TESTS + "test_a_past_balance_is_the_one_after_all_that_had_happened_by_then",
    ),
    Mutant(
        name="closed with money in it",
        what="an account is closed for ever with money in it",
        edits=(Edit("decide_administration", "account_.balance", "False"),),
        caught_by=ACCOUNT_TESTS + "test_an_account_is_closed_only_when_it_is_empty_and_nothing_is_held",
    ),
    Mutant(
        name="freeze ignored",
        what="money leaves an account that was frozen",
        edits=(Edit("may_move", "return Outcome.ACCOUNT_FROZEN", "return OK"),),
        caught_by=ACCOUNT_TESTS + "test_a_frozen_account_lets_nothing_in_or_out_until_it_is_unfrozen",
    ),
)
