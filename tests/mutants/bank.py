"""Planted defects of the bank: money, receipts, and what one transaction holds."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

POSTING = "atm/ledger/posting.py"
STORE = "atm/ledger/store.py"
TESTS = "tests/ledger/test_posting.py::"
STORE_TESTS = "tests/ledger/test_store.py::"
CRASH_TESTS = "tests/ledger/test_store_crash.py::"
COMMIT = '        self._cursor.execute("commit")\n        self._cursor.execute("begin immediate")\n'

BANK = (
    Mutant(
        name="receipts outside the transaction",
        what="a crash leaves receipts of commands that moved nothing, and they never will",
        file=STORE,
        edits=(("book.new_rulings])\n", "book.new_rulings])\n" + COMMIT),),
        caught_by=CRASH_TESTS + "test_a_kill_between_any_two_writes_leaves_a_whole_batch_and_loses_none",
    ),
    Mutant(
        name="applied index outside the transaction",
        what="a crash leaves balances whose entries are applied a second time",
        file=STORE,
        edits=(
            ("        self._cursor.execute(SET_APPLIED", COMMIT + "        self._cursor.execute(SET_APPLIED"),
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
        file=POSTING,
        edits=(("assert type(command.amount) is int,", "assert command.amount,"),),
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
        file=POSTING,
        edits=(
            (
                "        return self._receipt(log_index, time_us, command, Outcome.ID_REUSED)\n",
                "        return self._rule(log_index, time_us, command)\n",
            ),
        ),
        caught_by=TESTS + "test_a_repeated_request_gets_its_first_receipt_for_ever",
    ),
    Mutant(
        name="same id with other contents answered as the first",
        what="a teller is told that his command was done, and it was another's",
        file=POSTING,
        edits=(("        if first.command == command:\n", "        if True:\n"),),
        caught_by=TESTS + "test_a_repeated_request_gets_its_first_receipt_for_ever",
    ),
    Mutant(
        name="repeated request applied again",
        what="no receipt is looked for, and each repetition moves the money once more",
        file=POSTING,
        edits=(
            (
                "first = self._rulings.get(command.id)",
                "first = None if command.id else self._rulings[command.id]",
            ),
        ),
        caught_by=TESTS + "test_a_repeated_request_gets_its_first_receipt_for_ever",
    ),
    Mutant(
        name="declines not stored",
        what="a refused command is done when it is repeated, after its teller was told that it is not",
        file=POSTING,
        edits=(
            (
                "            self.new_rulings.append(ruling)\n",
                "            if receipt.outcome is Outcome.OK:\n"
                "                self.new_rulings.append(ruling)\n",
            ),
        ),
        caught_by=TESTS + "test_a_repeated_request_gets_its_first_receipt_for_ever",
    ),
    Mutant(
        name="overdrawn by a cent",
        what="a debit of one minor unit more than there is passes",
        file=POSTING,
        edits=(("    elif left < 0:\n", "    elif left < -1:\n"),),
        caught_by=TESTS + "test_the_bank_keeps_its_rules",
    ),
    Mutant(
        name="credit without its other side",
        what="money is made: the bank's own account does not give it",
        file=POSTING,
        edits=(("        self.balances[posting.debit_account] -= posting.amount_minor\n", ""),),
        caught_by=TESTS + "test_the_bank_keeps_its_rules",
    ),
)
