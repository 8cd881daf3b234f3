"""Each kind of work asks for what its name says."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from bench.work import (
    ACCOUNTS,
    BULK,
    HOT_ACCOUNT,
    LABELS,
    LEGS,
    MANY_ACCOUNTS,
    MIXED,
    PIPELINED,
    QUERIES,
    TRANSFERS,
    Kind,
    Work,
    transfers_of,
)


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


def test_transfers_go_both_ways_between_partners_so_that_no_account_runs_dry() -> None:
    moved: Counter[str] = Counter()
    for kind, name in islice(TRANSFERS[1].requests(3), ACCOUNTS):
        assert kind is Kind.TRANSFER
        [(payer, payee)] = transfers_of(kind, name)
        assert payer == name != payee
        moved[payer] -= 1
        moved[payee] += 1
    assert set(moved.values()) == {0}
    assert len(moved) == ACCOUNTS


def test_a_request_of_bulk_work_has_as_many_transfers_as_the_system_takes() -> None:
    asked = list(islice(BULK.requests(0), ACCOUNTS // LEGS))
    assert len(set(asked)) == ACCOUNTS // LEGS
    for kind, name in asked:
        legs = transfers_of(kind, name)
        assert len({account for leg in legs for account in leg}) == 2 * LEGS, "no two touch one account"
    assert len(transfers_of(Kind.BULK, "customer-9000", 4_000)) == 4_000
    known = {f"customer-{number}" for number in range(ACCOUNTS)}
    assert {account for leg in transfers_of(Kind.BULK, "customer-9000", 4_000) for account in leg} <= known
    assert (BULK.legs(64), QUERIES.legs(64)) == (64, 1)
