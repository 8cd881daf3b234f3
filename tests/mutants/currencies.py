"""Planted defects of accounts in other currencies: what is joined, bounded, stored, told and read."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/ledger/test_currencies.py::"
TELLER_TESTS = "tests/teller/test_currencies.py::"

CURRENCIES = (
    Mutant(
        name="yen taken for euros",
        what="an amount that is said in another currency than the account's is booked all the same",
        edits=(Edit("accounts:in_currency", "account_.currency == currency_", "True"),),
        caught_by=TESTS + "test_an_amount_that_is_said_in_another_currency_than_the_accounts_moves_nothing",
    ),
    Mutant(
        name="only the payer's currency compared",
        what="a transfer goes to an account in another currency",
        edits=(
            Edit(
                "transfers:_moved",
                "payer_.currency != currency_ or receiver_.currency != currency_",
                "payer_.currency != currency_",
            ),
        ),
        caught_by=TESTS + "test_money_goes_only_to_accounts_of_the_same_currency_and_a_batch_has_only_one",
    ),
    Mutant(
        name="one cash for all currencies",
        what="cash in euros is booked as cash in the bank's first currency",
        edits=(Edit("Account.cash", "cash_of(self.currency)", "cash_of(None)"),),
        caught_by=TESTS + "test_cash_goes_to_and_from_the_cash_of_the_accounts_currency",
    ),
    Mutant(
        name="losses in the first currency",
        what="a loss in euros is booked as one in the bank's first currency",
        edits=(Edit("Account.writeoff", "writeoff_of(self.currency)", "writeoff_of(None)"),),
        caught_by=TESTS + "test_a_late_posting_of_a_closed_account_is_the_loss_of_its_currency",
    ),
    Mutant(
        name="currency no part of the contents",
        what="under an id that was used in euros, the same number of another currency gets that receipt",
        edits=(Edit("_besides", "command_.currency", "None"),),
        caught_by=TESTS + "test_the_same_id_with_another_currency_is_another_request",
    ),
    Mutant(
        name="a limit for one person compared across currencies",
        what="what is far above the limit in another currency needs no second person",
        edits=(
            Edit(
                "hold_back",
                "limit_.amount if account_ is None or account_.currency is None else 0",
                "limit_.amount",
            ),
        ),
        caught_by=TESTS + "test_a_limit_for_one_person_counts_in_the_first_currency_and_is_0_in_any_other",
    ),
    Mutant(
        name="a currency in the log of release 1.1",
        what="a field that release 1.1 does not know stands in the log at feature level 1",
        edits=(Edit("InCurrency.level_needed", "self.currency is None", "True"),),
        caught_by=TESTS + "test_what_names_another_currency_needs_feature_level_2",
    ),
    Mutant(
        name="the cash of a currency in the log of release 1.1",
        what="a name that release 1.1 cannot read stands in the log at feature level 1",
        edits=(Edit("WriteOff.level_needed", "':' in self.account", "False"),),
        caught_by=TESTS + "test_what_names_another_currency_needs_feature_level_2",
    ),
    Mutant(
        name="any three letters are a currency",
        what="an account is opened in a currency whose decimals nobody knows",
        edits=(Edit("Open.__post_init__", "self.currency not in MINOR_UNITS", "False"),),
        caught_by=TESTS + "test_what_is_no_currency_is_no_request",
    ),
    Mutant(
        name="cash begins anew with each account",
        what="the second account in a currency sets the bank's own accounts in it back to 0",
        edits=(Edit("decide_open", "unit_.accounts[name_] is None", "True"),),
        caught_by=TESTS + "test_cash_goes_to_and_from_the_cash_of_the_accounts_currency",
    ),
    Mutant(
        name="currency kept in memory only",
        what="after a restart an account is in the bank's first currency",
        edits=(
            Edit("UnitOfWork.add_account", "self.new_currencies[account_.name] = account_.currency", "pass"),
        ),
        caught_by=TESTS + "test_a_ledger_of_release_1_1_goes_on_with_its_accounts_in_the_first_currency",
    ),
    Mutant(
        name="part of a hold in another currency",
        what="a part that is said in another currency is paid out of a hold",
        edits=(Edit("holds:_may_pay_part", "in_currency(account_, command_.currency)", "OK"),),
        caught_by=TESTS + "test_an_amount_that_is_said_in_another_currency_than_the_accounts_moves_nothing",
    ),
    Mutant(
        name="part of a reversal in another currency",
        what="a part that is said in another currency is taken back",
        edits=(Edit("reversals:planned", "in_currency(account_, command_.currency) is not OK", "False"),),
        caught_by=TESTS + "test_an_amount_that_is_said_in_another_currency_than_the_accounts_moves_nothing",
    ),
    Mutant(
        name="daily limit in another currency",
        what="a limit of five yen is set as one of five cents",
        edits=(
            Edit("administration:_set_limit", "in_currency(account_, command_.currency) is not OK", "False"),
        ),
        caught_by=TESTS + "test_an_amount_that_is_said_in_another_currency_than_the_accounts_moves_nothing",
    ),
    Mutant(
        name="cash of a currency without a bound",
        what="it falls below what its row can hold, and the node stops",
        edits=(
            Edit("posting:funds", "debit_.is_banks_own and debit_.currency is None", "debit_.is_banks_own"),
        ),
        caught_by=TESTS + "test_the_cash_of_another_currency_is_bounded_as_a_customer_is",
    ),
    Mutant(
        name="currencies not audited",
        what="books whose currencies do not add up are called right",
        edits=(
            Edit(
                "LEVEL_2_CHECKS",
                "(*PARTS_CHECKS, *DEED_CHECKS, *APPROVAL_CHECKS, *CURRENCY_CHECKS)",
                "(*PARTS_CHECKS, *DEED_CHECKS, *APPROVAL_CHECKS)",
            ),
        ),
        caught_by=TESTS + "test_verify_finds_what_breaks_the_rules_of_currencies",
    ),
    Mutant(
        name="two decimals for all currencies",
        what="5 yen are booked as 500",
        edits=(Edit("minor_units", "MINOR_UNITS[currency_]", "FIRST_MINOR_UNITS"),),
        caught_by=TELLER_TESTS + "test_an_amount_in_another_currency_has_its_decimals_and_its_code",
    ),
    Mutant(
        name="the account's currency forgotten at the teller",
        what="a session about an account in yen reads amounts in the bank's first currency",
        edits=(Edit("language:parse", "code_ or currencies_.get(about_)", "code_ or None"),),
        caught_by=TELLER_TESTS + "test_a_session_reads_amounts_in_the_currency_of_its_account",
    ),
    Mutant(
        name="all there is in the first currency",
        what="who asks for all there is of an account in another currency is told to name it",
        edits=(
            Edit(
                "decide_transfer",
                "payer_.currency if payer_ is not None and command_.all else command_.currency",
                "command_.currency",
            ),
        ),
        caught_by=TESTS + "test_all_there_is_needs_no_currency_and_goes_only_to_the_same_one",
    ),
    Mutant(
        name="a ceiling in any currency",
        what="a ceiling of 50 euros is one of 5000 yen",
        edits=(Edit("_set_ceiling", "in_currency(account_, command_.currency) is not OK", "False"),),
        caught_by=TESTS + "test_all_there_is_needs_no_currency_and_goes_only_to_the_same_one",
    ),
    Mutant(
        name="the whole spelled out in any currency",
        what="a posting repeated with the right number of a wrong currency gets the first receipt",
        edits=(
            Edit(
                "is_same_post",
                "unit_.known_account(hold_.account).currency",
                "details_of(asked).get('currency')",
            ),
        ),
        caught_by=TESTS + "test_raises_and_parts_say_the_currency_and_the_whole_may_be_spelled_out_in_it",
    ),
    Mutant(
        name="all there was without its currency",
        what="475 yen that left are told as 4.75",
        edits=(
            Edit(
                "UnitOfWork.receipt",
                "account_.currency if account_ is not None and tells_amounts_ else None",
                "None",
            ),
        ),
        caught_by=TELLER_TESTS
        + "test_all_there_was_and_what_holds_reserve_are_told_in_the_currency_of_the_account",
    ),
)
