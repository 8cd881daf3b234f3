"""More than one currency: an account has one, postings join equal ones, and each adds up to 0."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
import pytest

from atm.currencies import MINOR_UNITS, minor_units
from atm.identity import Role
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import (
    BALANCE_MINOR_MAX,
    Accounts,
    Approvals,
    Credit,
    Deeds,
    DetailedReceipt,
    Exceptions,
    Holds,
    LevelRaise,
    Lookup,
    Open,
    Query,
    Statement,
    WriteOff,
)
from atm.ledger.ledger import Ledger
from atm.ledger.own_accounts import cash_of, is_banks_own, writeoff_of
from tests.ledger.stories import check_story
from tests.ledger.test_roles import Books
from tests.support.entries import balance_of, command, logged, records, time_us

SUMS = """select coalesce(currency, ''), sum(amount) from balance left join account_currency using (account)
    group by 1 order by 1"""


@pytest.fixture
def books() -> Iterator[Books]:
    found = Books()
    yield found
    found.ledger.close()


def test_the_minor_units_are_those_of_iso_4217() -> None:
    assert {code: minor_units(code) for code in ("EUR", "USD", "JPY", "KRW", "BHD", "KWD", "CLF")} == {
        "EUR": 2,
        "USD": 2,
        "JPY": 0,
        "KRW": 0,
        "BHD": 3,
        "KWD": 3,
        "CLF": 4,
    }
    assert minor_units(None) == 2
    assert not {"XXX", "XAU", "XTS"} & MINOR_UNITS.keys(), "these have no minor units, or are none"
    assert all(len(code) == 3 and code.isupper() for code in MINOR_UNITS)


def test_the_banks_own_accounts_of_a_currency_have_names_that_no_customer_can_have() -> None:
    for name in (cash_of("EUR"), writeoff_of("EUR")):
        assert is_banks_own(name)
        for kind in (Open, Credit):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert(
                    {"op": kind.__struct_config__.tag, "id": "x", "account": name, "amount": 1}, kind
                )


@pytest.mark.parametrize("code", ["eur", "EU", "XXX", "ABC", "", "EURO"])
def test_what_is_no_currency_is_no_request(code: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"op": "open", "id": "x", "account": "ann", "currency": code}, Open)


def test_what_names_another_currency_needs_feature_level_2() -> None:
    assert Open(id="o", account="ann").level_needed == 1
    assert Open(id="o", account="ann", currency="EUR").level_needed == 2
    assert Credit(id="c", account="ann", amount=1).level_needed == 1
    assert Credit(id="c", account="ann", amount=1, currency="EUR").level_needed == 2
    assert WriteOff(id="w", account="cash", amount=1).level_needed == 1
    assert WriteOff(id="w", account="cash:EUR", amount=1).level_needed == 2


def test_cash_goes_to_and_from_the_cash_of_the_accounts_currency() -> None:
    check_story("""
    time | request                        | outcome         | ledger | available | booked
    0    | level 2
    0    | o1 open ann in EUR             | ok              | 0      | 0         |
    0    | o2 open jo in JPY              | ok              | 0      | 0         |
    0    | c1 credit ann 500 in EUR       | ok              | 500    | 500       | cash:EUR > ann 500
    0    | c2 credit jo 70 in JPY         | ok              | 70     | 70        | cash:JPY > jo 70
    0    | c3 credit main 9               | ok              | 9      | 9         | cash > main 9
    0    | d1 debit ann 100 in EUR        | ok              | 400    | 400       | ann > cash:EUR 100
    0    | h1 hold ann 50 60s in EUR      | ok              | 400    | 350       |
    0    | p1 post h1                     | ok              | 350    | 350       | ann > cash:EUR 50
    0    | w1 write_off jo 5 in JPY       | ok       | 75   | 75   | writeoff:JPY > jo 5 (written_off)
    0    | w2 write_off cash:EUR 7 in EUR | ok       | -343 | -343 | writeoff:EUR > cash:EUR 7 (written_off)
    0    | w3 write_off cash:USD 7 in USD | no_such_account | none   | none      |
    0    | w4 write_off writeoff:EUR 7 in EUR | no_such_account | none | none    |
    0    | r1 reverse d1                  | ok              | 450    | 450       | cash:EUR > ann 100
    0    | o3 open bob in EUR             | ok              | 0      | 0         |
    0    | t1 transfer ann bob 30 in EUR  | ok              | 420    | 420       | ann > bob 30
    """)


def test_money_goes_only_to_accounts_of_the_same_currency_and_a_batch_has_only_one() -> None:
    check_story("""
    given ann 100, bob 100
    time | request                                  | outcome            | ledger | available | booked
    0    | level 2
    0    | o1 open eva in EUR
    0    | o2 open max in EUR
    0    | o3 open jo in JPY
    0    | c1 credit eva 100 in EUR
    0    | c2 credit jo 100 in JPY
    0    | t1 transfer ann eva 1                    | currency_mismatch  | 100    | 100       |
    0    | t2 transfer eva ann 1 in EUR             | currency_mismatch  | 100    | 100       |
    0    | t3 transfer eva jo 1 in EUR              | currency_mismatch  | 100    | 100       |
    0    | t4 transfer eva nobody 1 in EUR          | no_such_account    | none   | none      |
    0    | b1 batch eva max 5, eva ann 5 in EUR     | currency_mismatch  | 100    | 100       |
    0    | b2 batch eva max 5, ann bob 5 in EUR     | currency_mismatch  | 100    | 100       |
    0    | b3 batch ann bob 5, eva max 5            | currency_mismatch  | 100    | 100       |
    0    | b4 batch eva max 5, max eva 2 in EUR     | ok                 | 97 | 97 | eva > max 5; max > eva 2
    0    | t5 transfer eva max 1000 in EUR          | insufficient_funds | 97     | 97        |
    """)


def test_an_amount_that_is_said_in_another_currency_than_the_accounts_moves_nothing() -> None:
    check_story("""
    given ann 100
    time | request                         | outcome            | ledger | available | booked
    0    | level 2
    0    | o1 open jo in JPY
    0    | o2 open kay in JPY
    0    | c0 credit jo 100 in JPY
    0    | c1 credit jo 5                  | currency_mismatch  | 100    | 100       |
    0    | c2 credit jo 5 in EUR           | currency_mismatch  | 100    | 100       |
    0    | c3 credit ann 5 in JPY          | currency_mismatch  | 100    | 100       |
    0    | d1 debit jo 500                 | currency_mismatch  | 100    | 100       |
    0    | d2 debit jo 500 in JPY          | insufficient_funds | 100    | 100       |
    0    | t1 transfer jo kay 5            | currency_mismatch  | 100    | 100       |
    0    | b1 batch jo kay 5, kay jo 5     | currency_mismatch  | 100    | 100       |
    0    | h1 hold jo 5 60s                | currency_mismatch  | 100    | 100       |
    0    | h2 hold jo 9 60s in JPY         | ok                 | 100    | 91        |
    0    | p1 post h2 4                    | currency_mismatch  | 100    | 91        |
    0    | r1 reverse h2 9                 | currency_mismatch  | 100    | 91        |
    0    | p2 post h2 4 in JPY             | ok                 | 96     | 96        | jo > cash:JPY 4
    0    | r2 reverse c0 5                 | currency_mismatch  | 96     | 96        |
    0    | r3 reverse c0 5 in JPY          | ok                 | 91     | 91        | jo > cash:JPY 5
    0    | w1 write_off jo 5               | currency_mismatch  | 91     | 91        |
    0    | w2 write_off cash:JPY 5         | currency_mismatch  | -91    | -91       |
    0    | w3 write_off cash 5 in JPY      | currency_mismatch  | -100   | -100      |
    0    | m1 set_limit jo 5               | currency_mismatch  | 91     | 91        |
    0    | m2 set_limit jo 5 in JPY        | ok                 | 91     | 91        |
    0    | d3 debit jo 6 in JPY            | limit_exceeded     | 91     | 91        |
    0    | m3 set_limit jo none            | ok                 | 91     | 91        |
    """)


def test_raises_and_parts_say_the_currency_and_the_whole_may_be_spelled_out_in_it() -> None:
    check_story("""
    time | request                         | outcome            | ledger | available | booked
    0    | level 2
    0    | o1 open jo in JPY
    0    | c1 credit jo 100 in JPY
    0    | h1 hold jo 9 60s in JPY
    0    | x1 raise_hold jo h1 5           | currency_mismatch  | 100    | 91        |
    0    | x2 raise_hold jo h1 5 in JPY    | ok                 | 100    | 86        |
    0    | p1 post h1 4 more               | currency_mismatch  | 100    | 86        |
    0    | p2 post h1 4 more in JPY        | ok                 | 96     | 86        | jo > cash:JPY 4
    0    | p3 post h1                      | ok                 | 86     | 86        | jo > cash:JPY 10
    0    | p3 post h1 10 in JPY            | ok                 | 86     | 86        |
    0    | p3 post h1 10                   | id_reused          | none   | none      |
    0    | p3 post h1 10 in EUR            | id_reused          | none   | none      |
    0    | h2 hold jo 6 60s in JPY
    0    | p4 post h2 6 in JPY             | ok                 | 80     | 80        | jo > cash:JPY 6
    0    | p4 post h2                      | ok                 | 80     | 80        |
    0    | h3 hold jo 6 60s in JPY
    0    | p5 post h3 0                    | ok                 | 80     | 80        |
    0    | r1 reverse p3 3                 | currency_mismatch  | 80     | 80        |
    0    | r2 reverse p3 3 in JPY          | ok                 | 83     | 83        | cash:JPY > jo 3
    0    | r3 reverse p3                   | ok                 | 90     | 90        | cash:JPY > jo 7
    0    | r4 reverse p3 1                 | already_reversed   | 90     | 90        |
    """)


def test_all_there_is_needs_no_currency_and_goes_only_to_the_same_one() -> None:
    check_story("""
    time | request                         | outcome            | ledger | available | booked
    0    | level 2
    0    | o1 open jo in JPY
    0    | o2 open kay in JPY
    0    | o3 open ann
    0    | c1 credit jo 100 in JPY
    0    | t1 transfer jo ann all          | currency_mismatch  | 100    | 100       |
    0    | t2 transfer jo kay all          | ok                 | 0      | 0         | jo > kay 100
    0    | d1 debit kay all                | ok                 | 0      | 0         | kay > cash:JPY 100
    0    | e1 set_ceiling kay 50           | currency_mismatch  | 0      | 0         |
    0    | e2 set_ceiling kay 50 in JPY    | ok                 | 0      | 0         |
    0    | c2 credit kay 51 in JPY         | ceiling_exceeded   | 0      | 0         |
    0    | e3 set_ceiling kay none         | ok                 | 0      | 0         |
    0    | m1 set_limit kay 50 transfers   | currency_mismatch  | 0      | 0         |
    """)


def test_what_a_receipt_says_besides_is_in_the_accounts_currency_also_when_it_is_told_again(
    tmp_path: Path,
) -> None:
    lines = (
        *("level 2", "o1 open jo in JPY", "o2 open ann", "c1 credit jo 100 in JPY", "c2 credit ann 100"),
        *("h1 hold jo 10 1h in JPY", "d1 debit jo all", "f1 freeze jo", "d2 debit ann all"),
        "b1 batch jo ann 5",
    )
    told = {"d1": "JPY", "f1": "JPY", "d2": None, "b1": None}
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        first = {receipt.id: receipt for receipt in ledger.apply(records(lines)) if receipt is not None}
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        again = [line for line in lines if line.split()[0] in told]
        for receipt in ledger.apply(records(again, len(lines) + 1)):
            assert isinstance(receipt, DetailedReceipt)
            assert receipt == first[receipt.id]
            assert receipt.currency == told[receipt.id]


def test_a_late_posting_of_a_closed_account_is_the_loss_of_its_currency() -> None:
    check_story("""
    time | request                       | outcome | ledger | available | booked
    0    | level 2
    0    | o1 open eva in EUR
    0    | c1 credit eva 100 in EUR
    0    | h1 hold eva 100 1s in EUR
    9    | expire
    9    | d1 debit eva 100 in EUR
    9    | x1 close eva
    9    | p1 post h1                    | ok      | 0 | 0 | writeoff:EUR > cash:EUR 100 (written_off)
    """)


def test_the_same_id_with_another_currency_is_another_request(books: Books) -> None:
    assert books.do("o1 open ann in EUR") == "ok"
    assert books.do("o1 open ann in EUR") == "ok"
    assert books.do("o1 open ann in USD") == "id_reused"
    assert books.do("o1 open ann") == "id_reused"
    assert books.do("o2 open ann in USD") == "exists"
    assert books.do("c1 credit ann 5 in EUR") == "ok"
    assert books.do("c1 credit ann 5") == "id_reused"
    assert books.do("d1 debit ann 5") == "currency_mismatch"
    assert books.do("d1 debit ann 5 in EUR") == "id_reused"


def test_the_cash_of_another_currency_is_bounded_as_a_customer_is(books: Books) -> None:
    assert books.do("o1 open ann in EUR") == "ok"
    assert books.do("o2 open bob in EUR") == "ok"
    for number in range(90):
        assert books.do(f"a{number} credit ann {10**14 - 1} in EUR") == "ok"
    left = BALANCE_MINOR_MAX - 90 * (10**14 - 1)
    assert books.do(f"b0 credit bob {left} in EUR") == "ok"
    assert books.do("b1 credit bob 1 in EUR") == "limit_exceeded"
    assert books.do("d1 debit bob 1 in EUR") == "ok"
    assert books.do("b2 credit bob 1 in EUR") == "ok"


def test_a_limit_for_one_person_counts_in_the_first_currency_and_is_0_in_any_other(books: Books) -> None:
    assert books.do("n1 set_approval_limit write_off 100", "ada", Role.ADMIN) == "ok"
    assert books.do("o1 open ann in JPY") == "ok"
    assert books.do("w1 write_off main 100", "otto", Role.OPERATOR) == "ok"
    assert books.do("w2 write_off ann 1 in JPY", "otto", Role.OPERATOR) == "needs_approval"
    assert books.do("w3 write_off cash:JPY 1 in JPY", "otto", Role.OPERATOR) == "needs_approval"
    assert books.do("w4 write_off cash:EUR 1 in EUR", "otto", Role.OPERATOR) == "no_such_account"
    waiting = books.ledger.view(Approvals(id="a"), time_us(books.ledger.applied_index)).approvals
    assert waiting is not None
    assert [(each.request_id, each.currency) for each in waiting] == [("w3", "JPY"), ("w2", "JPY")]
    assert books.do("y1 approve w2", "olga", Role.OPERATOR) == "ok"
    assert balance_of(books.ledger, "ann") == 1


def test_each_answer_with_amounts_names_their_currency_and_none_for_the_first(books: Books) -> None:
    view = books.ledger.view
    for line in (
        "o1 open jo in JPY",
        "c1 credit jo 70 in JPY",
        "h1 hold jo 10 60s in JPY",
        "p1 post h1 5 in JPY",
        "r1 reverse c1 5 in JPY",
        "w1 write_off jo 5 in JPY",
        "o2 open kay in JPY",
        "b1 batch jo kay 5 in JPY",
        "w2 write_off main 5",
    ):
        assert books.do(line, "otto", Role.OPERATOR, Role.TELLER) == "ok"
    now_us = time_us(books.ledger.applied_index)
    for name, currency in {"main": None, "jo": "JPY", "cash:JPY": "JPY", "cash": None}.items():
        for request in (
            Query(id="q", account=name),
            Query(id="q", account=name, at_us=now_us),
            Statement(id="s", account=name),
        ):
            assert view(request).currency == currency
    assert view(Holds(id="h", account="jo")).currency == "JPY"
    for request_id in ("o1", "c1", "h1", "p1", "r1", "w1", "b1"):
        assert view(Lookup(id="l", request_id=request_id)).currency == "JPY", request_id
    assert view(Lookup(id="l", request_id="w2")).currency is None
    listed = view(Accounts(id="a")).accounts or ()
    assert [(each.account, each.currency) for each in listed] == [
        ("jo", "JPY"),
        ("kay", "JPY"),
        ("main", None),
    ]
    lines = view(Exceptions(id="e")).lines or ()
    assert [(line.request_id, line.currency) for line in lines] == [("w2", None), ("w1", "JPY")]
    deeds = view(Deeds(id="d")).deeds or ()
    assert {each.request_id: each.currency for each in deeds if each.op == "write_off"} == {
        "w1": "JPY",
        "w2": None,
    }


def test_an_answer_about_the_first_currency_has_the_bytes_it_always_had(books: Books) -> None:
    found = books.ledger.view(Query(id="q", account="main"))
    assert b"currency" not in msgspec.json.encode(found)
    assert b"currency" not in msgspec.json.encode(books.ledger.view(Accounts(id="a")))


def test_a_ledger_of_release_1_1_goes_on_with_its_accounts_in_the_first_currency(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(Ledger(path)) as ledger:
        lines = ("o1 open cash.EUR", "c1 credit cash.EUR 50", "c2 credit main 20")
        ledger.apply([(n, time_us(n), logged(command(line))) for n, line in enumerate(lines, 1)])
        refused = ledger.apply([(4, time_us(4), logged(command("o2 open ann in EUR")))])
        assert refused[0] is not None
        assert refused[0].outcome == "not_allowed"
        assert ledger.view(Query(id="q", account="ann")).outcome == "no_such_account"
        ledger.apply([(5, time_us(5), LevelRaise(2))])
    with closing(Ledger(path)) as ledger:
        again = (
            "o3 open ann in EUR",
            "c3 credit ann 5 in EUR",
            "t1 transfer cash.EUR main 50",
            "t2 transfer main ann 1",
        )
        receipts = ledger.apply([(n, time_us(n), logged(command(line))) for n, line in enumerate(again, 6)])
        assert [receipt and str(receipt.outcome) for receipt in receipts] == [
            "ok",
            "ok",
            "ok",
            "currency_mismatch",
        ]
    with closing(apsw.Connection(str(path))) as raw:
        assert raw.execute(SUMS).fetchall() == [("", 0), ("EUR", 0)]
        assert raw.execute("select sum(amount) from balance").get == 0
        rows = raw.execute("select * from account_currency order by 1").fetchall()
        assert rows == [("ann", "EUR"), ("cash:EUR", "EUR"), ("writeoff:EUR", "EUR")]
    assert audit(path).problems == ()


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        (
            "update account_currency set currency = 'USD' where account = 'ann'",
            "it joins cash:EUR and ann, which differ",
        ),
        (
            "update receipt set details = null where request_id = 'c1'",
            "receipt of c1: its credit says an amount in the first currency, and the account is in EUR",
        ),
        ("delete from account_currency where account = 'ann'", "account ann: it was opened in EUR"),
        (
            "insert into account_currency values ('main', 'EUR')",
            "account main: it was opened in the first currency and is in EUR",
        ),
        (
            "update account_currency set currency = 'USD' where account = 'writeoff:EUR'",
            "account writeoff:EUR: it is the bank's own in EUR and is in USD",
        ),
        (
            "update balance set amount = amount + (account = 'main') - (account = 'ann')",
            "all balances in EUR",
        ),
    ],
)
def test_verify_finds_what_breaks_the_rules_of_currencies(tmp_path: Path, sql: str, line: str) -> None:
    path = tmp_path / "ledger.db"
    books = Books(path)
    assert books.do("o1 open ann in EUR") == "ok"
    assert books.do("c1 credit ann 500 in EUR") == "ok"
    assert books.do("c2 credit main 500") == "ok"
    books.ledger.close()
    assert audit(path).problems == ()
    with closing(apsw.Connection(str(path))) as raw:
        raw.execute(sql)
    assert any(line in problem for problem in audit(path).problems), audit(path).problems
