"""Planted defects of imports of other programs' books: amounts, signs, ids, what is passed over."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/office/test_foreign.py::"
FUNDS_TESTS = "tests/office/test_foreign_funds.py::"

FOREIGN = (
    Mutant(
        name="a third decimal is cut off",
        what="1.000 of a file whose decimal point was not told is booked as 1",
        edits=(
            Edit(
                "exact_amount",
                """
                decimals_ = ...
                if len(decimals_) > places_:
                    ...
                """,
                """
                decimals_ = ...
                if len(decimals_) > 3:
                    ...
                """,
            ),
        ),
        caught_by=TESTS + "test_what_could_mean_another_amount_is_refused",
    ),
    Mutant(
        name="one decimal is cents",
        what="12.5 is booked as 12.05",
        edits=(Edit("exact_amount", "decimals_.ljust(places_, '0')", "decimals_ or '0'"),),
        caught_by=TESTS + "test_an_amount_is_read_exactly",
    ),
    Mutant(
        name="the bank's signs are a customer's",
        what="every payment of an export of the bank is booked the wrong way round",
        edits=(Edit("_net", "1 if mapping_.books == 'customer' else -1", "1"),),
        caught_by=TESTS + "test_the_banks_own_books_have_their_signs_the_other_way_round",
    ),
    Mutant(
        name="a payer is paid from in full again and again",
        what="a batch moves more than the transaction",
        edits=(Edit("_payments", "min(left_, owed_[receiver_])", "owed_[receiver_]"),),
        caught_by=TESTS + "test_a_request_moves_what_the_transaction_moves",
    ),
    Mutant(
        name="equal rows are one",
        what="the second coffee of a day is taken for the first",
        edits=(Edit("_of_transaction", "alike_[digest_] += 1", "pass"),),
        caught_by=TESTS + "test_equal_rows_are_several_requests_and_a_longer_file_has_the_same_ids",
    ),
    Mutant(
        name="rows without a day pass for one another",
        what="the next file's payment of the same amount is taken for one that is booked",
        edits=(Edit("_of_transaction", "not entry_.day", "False"),),
        caught_by=TESTS + "test_what_has_neither_a_day_nor_an_id_could_pass_for_another_and_is_refused",
    ),
    Mutant(
        name="another currency is passed over",
        what="dollars are booked as euros",
        edits=(Edit("Mapping.minor_units", "stated_ == (self_.commodity or '')", "True"),),
        caught_by=TESTS + "test_a_line_of_hledger_that_cannot_be_carried_over_is_named",
    ),
    Mutant(
        name="two amounts are left out",
        what="all of the rest is booked to one of two accounts, and nothing to the other",
        edits=(Edit("completed", "len(left_out_) > 1", "len(left_out_) > 2"),),
        caught_by=TESTS + "test_a_line_of_hledger_that_cannot_be_carried_over_is_named",
    ),
    Mutant(
        name="cash in a batch",
        what="the bank refuses in the middle of an import what was told as possible",
        edits=(Edit("_as_one_request", "CASH in (leg_.account, leg_.target)", "False"),),
        caught_by=TESTS + "test_a_line_of_hledger_that_cannot_be_carried_over_is_named",
    ),
    Mutant(
        name="no ceiling is foreseen",
        what="an import stops half-way at a balance over its ceiling",
        edits=(Edit("foreseen", "each_.ceiling is not None", "False"),),
        caught_by=FUNDS_TESTS
        + "test_a_balance_over_its_ceiling_is_told_with_the_first_line_and_the_most_that_is_over",
    ),
    Mutant(
        name="what is booked counts twice",
        what="an import that is repeated is refused for want of money",
        edits=(Edit("_not_booked", "not (is_done(request_.command, found_) and ...)", "True"),),
        caught_by=FUNDS_TESTS + "test_what_is_booked_already_does_not_count_again",
    ),
    Mutant(
        name="the currency behind a name is passed over",
        what="an account of the list is opened in the bank's first currency for ever",
        edits=(Edit("openings", "said_[0] if said_ else currency_", "currency_"),),
        caught_by="tests/office/test_openings.py::test_each_line_names_an_account_and_maybe_its_currency",
    ),
)
