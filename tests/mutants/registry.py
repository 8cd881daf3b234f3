"""Planted defects of the table of commands, and of the list of accounts."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

INQUIRY_TESTS = "tests/ledger/test_inquiries.py::"
ACCOUNT_TESTS = "tests/teller/test_accounts.py::"
TRANSCRIPT_TESTS = "tests/teller/test_transcript.py::"

REGISTRY = (
    Mutant(
        name="full page is the last",
        what="a page of accounts that is full never says that more come",
        edits=(Edit("Inquiries._accounts", "request_.limit + 1", "request_.limit"),),
        caught_by=INQUIRY_TESTS + "test_the_pages_of_accounts_are_the_whole_list_each_once",
    ),
    Mutant(
        name="last page promises another",
        what="a last page of accounts that is just full says that more come, and these are none",
        edits=(Edit("Inquiries._accounts", "len(found_) > request_.limit", "len(found_) >= request_.limit"),),
        caught_by=INQUIRY_TESTS + "test_the_pages_of_accounts_are_the_whole_list_each_once",
    ),
    Mutant(
        name="after takes its own",
        what="the next page begins with the last account of the page before",
        edits=(  # the statement itself is what it is about
            Edit(
                "LISTED_ACCOUNTS",
                '"account > :after and opened_us is not null order by account limit :limit"',
                '"account >= :after and opened_us is not null order by account limit :limit"',
            ),
        ),
        caught_by=INQUIRY_TESTS + "test_a_page_starts_after_a_name_whether_or_not_an_account_has_it",
    ),
    Mutant(
        name="bank's own among the customers",
        what="the list of accounts takes the bank's own for customers'",
        edits=(  # the statement itself is what it is about
            Edit(
                "LISTED_ACCOUNTS",
                '"account > :after and opened_us is not null order by account limit :limit"',
                '"account > :after order by account limit :limit"',
            ),
        ),
        caught_by=INQUIRY_TESTS + "test_accounts_lists_balance_state_and_pin_of_every_customer_by_name",
    ),
    Mutant(
        name="role not asked",
        what="every customer may type the commands of operators",
        edits=(
            Edit("parse", "command_.for_operators and not operator_", "command_.for_operators and False"),
        ),
        caught_by=ACCOUNT_TESTS + "test_it_is_a_command_of_operators",
    ),
    Mutant(
        name="accounts for every role",
        what="the list of all accounts is no request of operators",
        edits=(Edit("_OPERATOR_READS", "_OPERATOR | {Role.AUDITOR}", "_TELLER_READS"),),
        caught_by=ACCOUNT_TESTS + "test_it_is_a_command_of_operators",
    ),
    Mutant(
        name="list is no answer",
        what="a list of accounts is taken for an answer that says nothing, and refused as malformed",
        edits=(Edit("ReadResult.rows", "self.accounts", "None"),),
        caught_by=ACCOUNT_TESTS + "test_the_client_has_them_by_the_page",
    ),
    Mutant(
        name="list longer than said",
        what="a page of accounts with the longest names takes more than its slots",
        edits=(Edit("ACCOUNT_BYTES_MAX", "ACCOUNT_BYTES_MAX = 160", "ACCOUNT_BYTES_MAX = 120"),),
        caught_by="tests/server/test_client_server.py::test_the_slots_of_a_request_hold_its_longest_answer",
    ),
    Mutant(
        name="amount for a reference",
        what="an amount that stands alone is taken for the reference that may stand before it",
        edits=(Edit("parse", "max(matches_, key=...)", "matches_[0]"),),
        caught_by="tests/teller/test_money_commands.py::test_a_part_of_a_hold_is_confirmed_and_the_rest_is_free",
    ),
    Mutant(
        name="words left over",
        what="a line with more words than its form has is carried out all the same",
        edits=(Edit("_matches", "if not words_: yield {}", "yield {}"),),
        caught_by=TRANSCRIPT_TESTS + "test_a_command_in_a_wrong_form_is_told_the_right_one",
    ),
    Mutant(
        name="account and amount changed places",
        what="`transfer 5 bob` is told that bob is no amount, and `5` could be an account",
        edits=(Edit("parse", "_are_swapped(matches_[0])", "False"),),
        caught_by=TRANSCRIPT_TESTS + "test_a_command_in_a_wrong_form_is_told_the_right_one",
    ),
)
