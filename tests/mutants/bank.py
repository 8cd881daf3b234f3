"""Planted defects of the bank: money, receipts, and what one transaction holds."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

BOOK = "atm/ledger/unit_of_work.py"
POSTING = "atm/ledger/posting.py"
SHELF = "atm/ledger/rows.py"
STORE = "atm/ledger/ledger.py"
TESTS = "tests/ledger/test_posting.py::"
REPEATS = "tests/ledger/test_repeats.py::"
TRANSFERS = "tests/ledger/test_transfers.py::"
STORE_TESTS = "tests/ledger/test_store.py::"
CRASH_TESTS = "tests/ledger/test_store_crash.py::"
COMMIT = '        self._execute("commit")\n        self._execute("begin immediate")\n'

BANK = (
    Mutant(
        name="receipts outside the transaction",
        what="a crash leaves receipts of commands that moved nothing, and they never will",
        file=SHELF,
        edits=(("book.new_records)))\n", "book.new_records)))\n" + COMMIT),),
        caught_by=CRASH_TESTS + "test_a_kill_between_any_two_writes_leaves_a_whole_batch_and_loses_none",
    ),
    Mutant(
        name="applied index outside the transaction",
        what="a crash leaves balances whose entries are applied a second time",
        file=STORE,
        edits=(
            (
                "            self._cursor.execute(SET_APPLIED",
                '            self._cursor.execute("commit")\n'
                '            self._cursor.execute("begin immediate")\n'
                "            self._cursor.execute(SET_APPLIED",
            ),
        ),
        caught_by=CRASH_TESTS + "test_a_kill_between_any_two_writes_leaves_a_whole_batch_and_loses_none",
    ),
    Mutant(
        name="failed transaction committed",
        what="an error in the middle of a batch leaves half of it",
        file="atm/ledger/database.py",
        edits=(
            (
                '                    self._execute("rollback")\n',
                '                    self._execute("commit")\n',
            ),
        ),
        caught_by=STORE_TESTS + "test_an_error_while_a_batch_is_written_leaves_nothing_of_it",
    ),
    Mutant(
        name="records need not be the next",
        what="an entry is applied twice or left out without a word",
        file=STORE,
        edits=(("            if log_index != expected:\n", "            if False:\n"),),
        caught_by=STORE_TESTS + "test_a_record_that_is_not_the_next_one_is_refused",
    ),
    Mutant(
        name="money as float",
        what="an amount is read as a binary fraction, and some lose a cent",
        file="atm/money.py",
        edits=(
            (
                'int(whole) * MINOR_PER_MAJOR + int(decimals.ljust(2, "0"))',
                "int(float(text) * MINOR_PER_MAJOR)",
            ),
        ),
        caught_by="tests/test_money.py::test_an_amount_is_read_to_the_cent",
    ),
    Mutant(
        name="amounts that are no whole numbers booked",
        what="a float that came past decoding becomes money",
        file=BOOK,
        edits=(("type(asked.amount) is int,", "asked.amount,"),),
        caught_by=TESTS + "test_only_a_positive_whole_number_is_an_amount",
    ),
    Mutant(
        name="negative amounts accepted",
        what="a credit of less than nothing takes money without asking whether it is there",
        file="atm/ledger/commands.py",
        edits=(("Meta(gt=0, le=AMOUNT_MINOR_MAX)", "Meta(le=AMOUNT_MINOR_MAX)"),),
        caught_by="tests/wire/test_serializer.py::test_a_request_with_a_wrong_field_is_malformed",
    ),
    Mutant(
        name="same id with other contents applied",
        what="a second command under an id that has a receipt moves money",
        file=BOOK,
        edits=(
            (
                "            return self._receipt(command.id, Outcome.ID_REUSED, account)\n",
                "            return self._receipt(command.id, *self._decide(command))\n",
            ),
        ),
        caught_by=REPEATS + "test_other_contents_under_the_same_id_are_refused_and_change_nothing",
    ),
    Mutant(
        name="same id with other contents answered as the first",
        what="a teller is told that his command was done, and it was another's",
        file=BOOK,
        edits=(("            if first.asked == asked or ", "            if True or "),),
        caught_by=REPEATS + "test_other_contents_under_the_same_id_are_refused_and_change_nothing",
    ),
    Mutant(
        name="details are no contents",
        what="a transfer to somebody else is answered with the receipt of the first one",
        file="atm/ledger/requests.py",
        edits=(('details = _json({"target": command.target})', "details = None"),),
        caught_by=REPEATS + "test_other_contents_under_the_same_id_are_refused_and_change_nothing",
    ),
    Mutant(
        name="repeated request applied again",
        what="no receipt is looked for, and each repetition moves the money once more",
        file=BOOK,
        edits=(("        first = self.rulings[command.id]\n", "        first = None\n"),),
        caught_by=REPEATS + "test_what_was_done_is_not_done_again",
    ),
    Mutant(
        name="a statement without the newest postings",
        what="what was decided and is not written yet is missing from the answer to a read",
        file="atm/ledger/ledger.py",
        edits=(("        if not all(map(_asks_for_balance, requests)):\n            self.write()\n", ""),),
        caught_by="tests/ledger/test_store.py::test_a_query_of_more_than_a_balance_sees_what_was_decided",
    ),
    Mutant(
        name="declines not stored",
        what="a refused command is done when it is repeated, after its teller was told that it is not",
        file=BOOK,
        edits=(
            (
                "        self._rule(IdempotencyRecord(asked, receipt))\n",
                "        if outcome is OK:\n            self._rule(IdempotencyRecord(asked, receipt))\n",
            ),
        ),
        caught_by=REPEATS + "test_a_decline_stays_one_whatever_happens_later",
    ),
    Mutant(
        name="overdrawn by a cent",
        what="a debit of one minor unit more than there is passes",
        file=POSTING,
        edits=(("    elif left < debit.held:\n", "    elif left < debit.held - 1:\n"),),
        caught_by=TRANSFERS + "test_a_transfer_moves_money_between_two_customers_or_nothing_at_all",
    ),
    Mutant(
        name="credit without its other side",
        what="money is made: the bank's own account does not give it",
        file=BOOK,
        edits=(("            debit.balance -= amount\n", ""),),
        caught_by=TESTS + "test_the_bank_keeps_its_rules",
    ),
)
