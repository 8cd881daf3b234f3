"""Planted defects of the bank: money, receipts, and what one transaction holds."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/ledger/test_posting.py::"
REPEATS = "tests/ledger/test_repeats.py::"
TRANSFERS = "tests/ledger/test_transfers.py::"
STORE_TESTS = "tests/ledger/test_store.py::"
CRASH_TESTS = "tests/ledger/test_store_crash.py::"

BANK = (
    Mutant(
        name="receipts outside the transaction",
        what="a crash leaves receipts of commands that moved nothing, and they never will",
        edits=(
            Edit(
                "LedgerRows.write_unit",
                "RECEIPT_ROWS.insert(cursor_, ...)",
                """
                RECEIPT_ROWS.insert(cursor_, ...)
                cursor_.execute("commit")
                cursor_.execute("begin immediate")
                """,
            ),
        ),
        caught_by=CRASH_TESTS + "test_a_kill_between_any_two_writes_leaves_a_whole_batch_and_loses_none",
    ),
    Mutant(
        name="applied index outside the transaction",
        what="a crash leaves balances whose entries are applied a second time",
        edits=(
            Edit(
                "Ledger.write",
                "cursor_.execute(SET_APPLIED, ...)",
                """
                cursor_.execute("commit")
                cursor_.execute("begin immediate")
                cursor_.execute(SET_APPLIED, ...)
                """,
            ),
        ),
        caught_by=CRASH_TESTS + "test_a_kill_between_any_two_writes_leaves_a_whole_batch_and_loses_none",
    ),
    Mutant(
        name="failed transaction committed",
        what="an error in the middle of a batch leaves half of it",
        edits=(Edit("Database.transaction", 'self._execute("rollback")', 'self._execute("commit")'),),
        caught_by=STORE_TESTS + "test_an_error_while_a_batch_is_written_leaves_nothing_of_it",
    ),
    Mutant(
        name="records need not be the next",
        what="an entry is applied twice or left out, and no error is raised",
        edits=(Edit("Ledger._assert_next", "log_index_ != expected_", "False"),),
        caught_by=STORE_TESTS + "test_a_record_that_is_not_the_next_one_is_refused",
    ),
    Mutant(
        name="money as float",
        what="an amount is read as a binary fraction, and some lose a cent",
        edits=(
            Edit(
                "parse_amount",
                'int(whole_ + decimals_.ljust(decimals_max_, "0"))',
                'int(float(whole_ + "." + decimals_) * 10**decimals_max_)',
            ),
        ),
        caught_by="tests/test_money.py::test_an_amount_is_read_to_the_cent",
    ),
    Mutant(
        name="amounts that are no whole numbers booked",
        what="a float that came past decoding becomes money",
        edits=(Edit("rules:decide", "type(asked_.amount) is int", "asked_.amount"),),
        caught_by=TESTS + "test_only_a_positive_whole_number_is_an_amount",
    ),
    Mutant(
        name="negative amounts accepted",
        what="a credit of less than nothing takes money without asking whether it is there",
        edits=(Edit("AmountMinor", "Meta(gt=0, le=AMOUNT_MINOR_MAX)", "Meta(le=AMOUNT_MINOR_MAX)"),),
        caught_by="tests/wire/test_serializer.py::test_a_request_with_a_wrong_field_is_malformed",
    ),
    Mutant(
        name="same id with other contents applied",
        what="a second command under an id that has a receipt moves money",
        edits=(
            Edit(
                "rules:decide",
                "unit_.receipt(command_.id, Outcome.ID_REUSED, account_)",
                "unit_.receipt(command_.id, *_decision(unit_, command_))",
            ),
        ),
        caught_by=REPEATS + "test_other_contents_under_the_same_id_are_refused_and_change_nothing",
    ),
    Mutant(
        name="same id with other contents answered as the first",
        what="a client is told that its command was done, and it was another client's",
        edits=(Edit("rules:decide", "same_contents(first_.asked, asked_)", "True"),),
        caught_by=REPEATS + "test_other_contents_under_the_same_id_are_refused_and_change_nothing",
    ),
    Mutant(
        name="details are no contents",
        what="a transfer to another account is answered with the receipt of the first one",
        edits=(Edit("contents_of", """f'{{"target":"{target_}"}}'""", "None"),),
        caught_by=REPEATS + "test_other_contents_under_the_same_id_are_refused_and_change_nothing",
    ),
    Mutant(
        name="repeated request applied again",
        what="no receipt is looked for, and each repetition moves the money once more",
        edits=(Edit("rules:decide", "first_ = unit_.records[id_]", "first_ = None"),),
        caught_by=REPEATS + "test_what_was_done_is_not_done_again",
    ),
    Mutant(
        name="a statement without the newest postings",
        what="what was decided and is not written yet is missing from the answer to a read",
        edits=(Edit("Ledger.views", "if not all(map(_asks_for_balance, requests_)): self.write()", "pass"),),
        caught_by="tests/ledger/test_store.py::test_a_query_of_more_than_a_balance_sees_what_was_decided",
    ),
    Mutant(
        name="declines not stored",
        what="a refused command is done when it is repeated, after its client was told that it is not",
        edits=(
            Edit(
                "rules:decide",
                "unit_.keep_record(IdempotencyRecord(asked_, actor_, receipt_))",
                "if receipt_.outcome is OK: unit_.keep_record(IdempotencyRecord(asked_, actor_, receipt_))",
            ),
        ),
        caught_by=REPEATS + "test_a_decline_stays_one_whatever_happens_later",
    ),
    Mutant(
        name="overdrawn by a cent",
        what="a debit of one minor unit more than there is passes",
        edits=(Edit("funds", "debit_.held", "debit_.held - 1"),),
        caught_by=TRANSFERS + "test_a_transfer_moves_money_between_two_customers_or_nothing_at_all",
    ),
    Mutant(
        name="credit without its other side",
        what="money is made: the bank's own account does not give it",
        edits=(
            Edit(
                "UnitOfWork.move",
                "debit_.balance -= amount_; credit_.balance += amount_",
                "credit_.balance += amount_",
            ),
        ),
        caught_by=TESTS + "test_the_bank_keeps_its_rules",
    ),
)
