"""Money between customers: one transfer, or a batch of them, all or none."""

from __future__ import annotations

from atm.ledger.commands import LEGS_MAX, Batch, Leg
from atm.ledger.ledger import Ledger
from tests.ledger.audit import audit
from tests.ledger.stories import check_story
from tests.support.entries import balance_of, logged, records


def test_a_transfer_moves_money_between_two_customers_or_nothing_at_all() -> None:
    check_story("""
given ann 100, bob 5, eve 0
time | request                    | outcome            | ledger | available | booked
0    | t1 transfer ann bob 30     | ok                 | 70     | 70        | ann > bob 30
1    | query bob                  | open               | 35     | 35
2    | t2 transfer ann bob 71     | insufficient_funds | 70     | 70        |
3    | t3 transfer ann bob 70     | ok                 | 0      | 0         | ann > bob 70
4    | t4 transfer ann zoe 1      | no_such_account    | none   | none      |
5    | t5 transfer zoe bob 1      | no_such_account    | none   | none      |
6    | t6 transfer bob cash 1     | no_such_account    | none   | none      |
7    | t7 transfer cash bob 1     | no_such_account    | none   | none      |
8    | t8 transfer writeoff bob 1 | no_such_account    | none   | none      |
9    | t9 transfer bob eve 105    | ok                 | 0      | 0         | bob > eve 105
10   | query eve                  | open               | 105    | 105
""")


def test_a_transfer_takes_only_what_is_available() -> None:
    check_story("""
given ann 100, bob 0
time | request                | outcome            | ledger | available | booked
0    | h1 hold ann 60 60s     | ok                 | 100    | 40        |
1    | t1 transfer ann bob 41 | insufficient_funds | 100    | 40        |
2    | t2 transfer ann bob 40 | ok                 | 60     | 0         | ann > bob 40
""")


def test_a_transfer_goes_neither_out_of_nor_into_a_frozen_or_closed_account() -> None:
    check_story("""
given ann 100, bob 5, eve 0
time | request               | outcome        | ledger | available | booked
0    | f1 freeze bob
1    | k1 close eve
2    | t1 transfer ann bob 1 | account_frozen | 100    | 100       |
3    | t2 transfer bob ann 1 | account_frozen | 5      | 5         |
4    | t3 transfer ann eve 1 | account_closed | 100    | 100       |
5    | t4 transfer eve ann 1 | account_closed | 0      | 0         |
6    | u1 unfreeze bob
7    | t5 transfer ann bob 1 | ok             | 99     | 99        | ann > bob 1
""")


def test_a_leg_of_a_batch_may_use_what_an_earlier_leg_brought() -> None:
    check_story("""
given ann 100, bob 0, eve 0
time | request                         | outcome            | ledger | available | booked
0    | b1 batch ann bob 60, bob eve 60 | ok                 | 40     | 40        | ann > bob 60; bob > eve 60
1    | b2 batch bob eve 10, ann bob 10 | insufficient_funds | 0      | 0         |
2    | b3 batch ann bob 10, bob eve 10 | ok                 | 30     | 30        | ann > bob 10; bob > eve 10
3    | b4 batch ann bob 30, bob ann 30 | ok                 | 30     | 30        | ann > bob 30; bob > ann 30
4    | b5 batch eve bob 1              | ok                 | 69     | 69        | eve > bob 1
""")


def test_a_batch_with_one_refused_leg_moves_nothing() -> None:
    check_story("""
given ann 100, bob 20, eve 0
time | request                         | outcome            | ledger | available | booked
0    | b1 batch ann bob 60, bob eve 81 | insufficient_funds | 100    | 100       |
1    | query bob                       | open               | 20     | 20
2    | query eve                       | open               | 0      | 0
3    | b2 batch ann bob 60, bob zoe 1  | no_such_account    | none   | none      |
4    | b3 batch ann bob 60, bob cash 1 | no_such_account    | none   | none      |
5    | f1 freeze eve
6    | b4 batch ann bob 60, bob eve 1  | account_frozen     | 100    | 100       |
7    | b5 batch ann bob 60, bob ann 60 | ok                 | 100    | 100       | ann > bob 60; bob > ann 60
8    | c1 credit ann 1                 | ok                 | 101    | 101       | cash > ann 1
""")


def test_the_longest_batch_is_booked_and_numbered_without_a_clash() -> None:
    there_and_back = ("ann", "bob") * (LEGS_MAX // 2)
    legs = tuple(
        Leg(account=account, target="bob" if account == "ann" else "ann", amount=7)
        for account in there_and_back
    )
    ledger = Ledger(":memory:")
    log = records(["o1 open ann", "o2 open bob", "c1 credit ann 7", "-", "c2 credit bob 1"])
    log[3] = (4, log[3][1], logged(Batch(id="b1", legs=legs)))
    receipts = ledger.apply(log)
    assert [receipt and receipt.outcome for receipt in receipts] == ["ok"] * 5
    numbers = ledger._database.cursor().execute("select posting from journal order by posting").fetchall()
    assert [number for (number,) in numbers] == [3 * 64, *range(4 * 64, 5 * 64), 5 * 64]
    assert (balance_of(ledger, "ann"), balance_of(ledger, "bob")) == (7, 1)
    audit(ledger)
    ledger.close()
