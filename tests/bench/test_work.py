"""Each kind of work asks for what its name says."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from bench.work import ACCOUNTS, HOT_ACCOUNT, LABELS, MANY_ACCOUNTS, MIXED, PIPELINED, QUERIES, Kind, Work


def test_a_label_names_one_kind_of_work() -> None:
    assert len(set(LABELS)) == len(LABELS)
    assert PIPELINED.label == "credits-64x16"


def test_the_hot_account_is_the_only_one_unless_said_otherwise() -> None:
    assert set(islice(Work("credits", 8).requests(5), 100)) == {(Kind.CREDIT, HOT_ACCOUNT)}


def test_every_connection_comes_to_each_of_the_many_accounts_once_in_a_while() -> None:
    asked = Counter(account for _, account in islice(MANY_ACCOUNTS.requests(63), 2 * ACCOUNTS))
    assert len(asked) == ACCOUNTS
    assert set(asked.values()) == {2}


def test_nine_of_ten_mixed_requests_look_and_the_tenth_credits() -> None:
    kinds = Counter(kind for kind, _ in islice(MIXED.requests(7), 1000))
    assert kinds == {Kind.QUERY: 900, Kind.CREDIT: 100}
    assert {kind for kind, _ in islice(QUERIES.requests(7), 1000)} == {Kind.QUERY}
