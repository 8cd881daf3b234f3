"""Planted defects of the bank's rules: reversals, holds, batches, PINs, limits, statements, the chain."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

ACCOUNTS = "atm/ledger/accounts.py"
BOOK = "atm/ledger/unit_of_work.py"
INQUIRIES = "atm/ledger/inquiries.py"
POSTING = "atm/ledger/posting.py"
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
        file=BOOK,
        edits=(("            self._bury(command.original)\n", ""),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_before_its_original_declines_it_for_ever",
    ),
    Mutant(
        name="tombstone for the same contents only",
        what="a request that was reversed before it came is refused as reused, for what it asks is not known",
        file=BOOK,
        edits=((" or first.asked.op == TOMBSTONE:", ":"),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_before_its_original_declines_it_for_ever",
    ),
    Mutant(
        name="reversed twice in one batch",
        what="a second reversal of the same request gives the money once more",
        file=BOOK,
        edits=(("request_id in self.reversals or self", "self"),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_books_the_opposite_once",
    ),
    Mutant(
        name="partial reversal gives all back",
        what="the amount of a reversal is asked and not heeded",
        file=BOOK,
        edits=(("[postings[0].opposite(amount)]", "[postings[0].opposite(total)]"),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_may_be_of_a_part_and_then_there_is_no_other",
    ),
    Mutant(
        name="reversal of more than there was",
        what="a reversal gives back more than its original took",
        file=BOOK,
        edits=(("        if amount > total or (", "        if ("),),
        caught_by=REVERSAL_TESTS + "test_a_reversal_may_be_of_a_part_and_then_there_is_no_other",
    ),
    Mutant(
        name="reversal of a reversal",
        what="a reversal is taken back, and the original stands again although it was reversed for ever",
        file=BOOK,
        edits=((' or original.asked.op == "reverse":', ":"),),
        caught_by=REVERSAL_TESTS + "test_what_moved_no_money_is_not_reversed_and_no_reversal_is",
    ),
    Mutant(
        name="hold not subtracted from what is available",
        what="money that is held for one machine leaves through another",
        file=ACCOUNTS,
        edits=(("        return self.balance - self.held\n", "        return self.balance\n"),),
        caught_by=HOLD_TESTS + "test_a_hold_reserves_and_its_posting_pays_out",
    ),
    Mutant(
        name="hold expired early",
        what="a hold is ended a microsecond before its time",
        file=BOOK,
        edits=(("hold.expires_us <= self._time_us:", "hold.expires_us <= self._time_us + 1:"),),
        caught_by=HOLD_TESTS + "test_a_hold_ends_at_its_very_microsecond_and_none_before",
    ),
    Mutant(
        name="posting after expiry declined",
        what="cash that has left the machine is never booked",
        file=BOOK,
        edits=(
            (
                "        if outcome not in {OK, Outcome.HOLD_EXPIRED}:",
                "        if outcome != OK:",
            ),
        ),
        caught_by=HOLD_TESTS + "test_cash_that_left_after_its_hold_ended_is_booked_and_listed",
    ),
    Mutant(
        name="late posting not listed",
        what="nobody learns of cash that left after its hold had ended",
        file=BOOK,
        edits=(("        elif late:\n", "        elif late and account.balance < 0:\n"),),
        caught_by=HOLD_TESTS + "test_cash_that_left_after_its_hold_ended_is_booked_and_listed",
    ),
    Mutant(
        name="late posting releases again",
        what="what was held is released by the expiry and once more by the posting",
        file=BOOK,
        edits=(("        if not late:\n", "        if True:\n"),),
        caught_by=HOLD_TESTS + "test_cash_that_left_after_its_hold_ended_is_booked_and_listed",
    ),
    Mutant(
        name="batch keeps what it had done",
        what="the legs before the one that fails stay done",
        file=BOOK,
        edits=(
            (
                "                for done in postings[: len(rows)]:\n",
                "                for done in postings[:0]:\n",
            ),
        ),
        caught_by="tests/ledger/test_transfers.py::test_a_batch_of_which_one_leg_cannot_be_is_none_at_all",
    ),
    Mutant(
        name="wrong PIN not counted on a decline",
        what="the count of wrong PINs is forgotten with the request that was declined, and guessing is free",
        file=BOOK,
        edits=(("        if account.wrong_pins != before:\n", "        if account.wrong_pins < before:\n"),),
        caught_by=PIN_TESTS + "test_the_right_pin_makes_up_for_wrong_ones_and_a_missing_one_tells_nothing",
    ),
    Mutant(
        name="locked at the fourth wrong PIN",
        what="there is one guess more than the bank says",
        file=ACCOUNTS,
        edits=(("WRONG_PINS_MAX = 3 ", "WRONG_PINS_MAX = 4 "),),
        caught_by=PIN_TESTS + "test_three_wrong_pins_in_a_row_lock_the_account_until_it_is_unlocked",
    ),
    Mutant(
        name="funds before the PIN",
        what="a guess at the PIN that asks for too much is not counted, and tells whether there is money",
        file=BOOK,
        edits=(
            (
                "        outcome = self._may_pay(account, pin)\n",
                "        if account is not None and account.available < amount:\n"
                "            return Outcome.INSUFFICIENT_FUNDS\n"
                "        outcome = self._may_pay(account, pin)\n",
            ),
        ),
        caught_by=PIN_TESTS + "test_a_wrong_pin_counts_although_the_money_would_not_have_been_there",
    ),
    Mutant(
        name="PIN logged as it was typed",
        what="log, ledger and the other servers learn the PIN itself",
        file="atm/server/clients/client_server.py",
        edits=(("sealed, encode(sealed))", "sealed, asked.payload)"),),
        caught_by=SEAL_TESTS + "test_no_file_of_a_server_holds_a_pin_that_was_typed",
    ),
    Mutant(
        name="one salt for all accounts",
        what="equal PINs are seen to be equal, and one guess tries all accounts",
        file="atm/server/security/pins.py",
        edits=(('        salt = self._keyed("salt " + account)\n', '        salt = self._keyed("salt")\n'),),
        caught_by=SEAL_TESTS + "test_another_account_another_pepper_or_another_pin_is_another_seal",
    ),
    Mutant(
        name="plain PIN passed on",
        what="a server logs the PIN that another one passed on without sealing it",
        file="atm/server/peers/peer_connection.py",
        edits=(("    if holds_plain_pin(request):\n", "    if False:\n"),),
        caught_by="tests/server/test_peer_server.py::test_a_plain_pin_that_a_server_passes_on_is_refused",
    ),
    Mutant(
        name="chain without the previous hash",
        what="a row of the journal can be taken out and nobody notices",
        file=POSTING,
        edits=(("hashlib.sha256(previous_hash + text", "hashlib.sha256(text"),),
        caught_by="tests/ledger/test_transfers.py::"
        "test_a_transfer_moves_money_between_two_customers_or_nothing_at_all",
    ),
    Mutant(
        name="daily limit by the wall clock",
        what="servers that apply the same log at different times disagree",
        file=ACCOUNTS,
        edits=(
            ("import hmac\n", "import hmac\nimport time\n"),
            ("    return time_us // DAY_US\n", "    return time.time_ns() // 1000 // DAY_US\n"),
        ),
        caught_by=LIMIT_TESTS + "test_a_day_has_its_limit_and_the_next_day_its_own",
    ),
    Mutant(
        name="daily limit never begins anew",
        what="what was withdrawn yesterday counts today",
        file=ACCOUNTS,
        edits=(
            (
                "self.withdrawn if day_of(self.counted_from_us) == day_of(now_us) else 0\n",
                "self.withdrawn\n",
            ),
        ),
        caught_by=LIMIT_TESTS + "test_a_day_has_its_limit_and_the_next_day_its_own",
    ),
    Mutant(
        name="yesterday's hold given back today",
        what="the limit of a day grows by what another day had been charged",
        file=ACCOUNTS,
        edits=(("            and self.counted_from_us <= withdrawn_us\n", ""),),
        caught_by=LIMIT_TESTS + "test_a_day_gives_nothing_back_for_another_day",
    ),
    Mutant(
        name="last line of a page left out of the next",
        what="whoever reads on in a statement never sees the posting between two pages",
        file=INQUIRIES,
        edits=(
            (
                "    return page, page[-1].posting if len(lines) > limit else None\n",
                "    return page, page[-1].posting - 1 if len(lines) > limit else None\n",
            ),
        ),
        caught_by=INQUIRY_TESTS + "test_the_pages_of_a_statement_are_the_whole_of_it",
    ),
    Mutant(
        name="past balance of a moment too late",
        what="what happened just after a moment is counted in",
        file=INQUIRIES,
        edits=(("found[0][1] <= time_us:", "found[0][1] <= time_us + 1:"),),
        caught_by=INQUIRY_TESTS + "test_a_past_balance_is_the_one_after_all_that_had_happened_by_then",
    ),
    Mutant(
        name="closed with money in it",
        what="an account is closed for ever, and what was in it is nobody's",
        file=BOOK,
        edits=(
            ("                if account.balance or account.held:\n", "                if account.held:\n"),
        ),
        caught_by=ACCOUNT_TESTS + "test_an_account_is_closed_only_when_it_is_empty_and_nothing_is_held",
    ),
    Mutant(
        name="freeze ignored",
        what="money leaves an account that was frozen",
        file=ACCOUNTS,
        edits=(("            return Outcome.ACCOUNT_FROZEN\n", "            return OK\n"),),
        caught_by=ACCOUNT_TESTS + "test_a_frozen_account_lets_nothing_in_or_out_until_it_is_thawed",
    ),
)
