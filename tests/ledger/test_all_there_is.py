"""A debit or a transfer of all there is: what is available, or nothing; from feature level 2 on."""

from __future__ import annotations

from typing import Any

import pytest

from atm.ledger.commands import Debit, DetailedReceipt, Lookup, Transfer
from atm.ledger.ledger import Ledger
from tests.ledger.stories import check_story
from tests.support.entries import entry, records


def test_all_there_is_is_what_is_available_and_nothing_is_no_amount() -> None:
    check_story("""
given ann 500, bob 0
time | request                | outcome            | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 1h      | ok                 | 500    | 440       |
2    | d1 debit ann all       | ok                 | 60     | 0         | ann > cash 440
3    | d2 debit ann all       | insufficient_funds | 60     | 0         |
4    | v1 void h1             | ok                 | 60     | 60        |
5    | t1 transfer ann bob all | ok                | 0      | 0         | ann > bob 60
6    | t2 transfer ann bob all | insufficient_funds | 0     | 0         |
7    | r1 reverse t1          | ok                 | 60     | 60        | bob > ann 60
8    | r2 reverse d1 441      | exceeds_original   | 60     | 60        |
9    | r3 reverse d1          | ok                 | 500    | 500       | cash > ann 440
10   | d3 debit zoe all       | no_such_account    | none   | none      |
""")


def test_a_limit_or_a_ceiling_below_all_there_is_refuses_it_and_moves_no_part() -> None:
    check_story("""
given ann 500, bob 0
time | request                 | outcome          | ledger | available | booked
0    | level 2
1    | m1 set_limit ann 499    | ok               | 500    | 500       |
2    | d1 debit ann all        | limit_exceeded   | 500    | 500       |
3    | e1 set_ceiling bob 499  | ok               | 0      | 0         |
4    | t1 transfer ann bob all | ceiling_exceeded | 500    | 500       |
5    | m2 set_limit ann 500    | ok               | 500    | 500       |
6    | d2 debit ann all        | ok               | 0      | 0         | ann > cash 500
""")


def test_more_than_one_request_may_move_is_refused() -> None:
    check_story("""
given ann LARGEST, bob 0
time | request                 | outcome        | ledger | available | booked
0    | level 2
1    | c1 credit ann 1         | ok             | 100000000000000 | 100000000000000 | cash > ann 1
2    | d1 debit ann all        | limit_exceeded | 100000000000000 | 100000000000000 |
3    | t1 transfer ann bob all | limit_exceeded | 100000000000000 | 100000000000000 |
4    | d2 debit ann 1          | ok             | LARGEST | LARGEST   | ann > cash 1
5    | t2 transfer ann bob all | ok             | 0      | 0         | ann > bob 99999999999999
""")


def test_the_receipt_says_how_much_it_was_and_so_does_every_repetition() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(["level 2", "c1 credit main 500", "d1 debit main all", "c2 credit main 70"]))
    [first] = ledger.apply([(5, 5000, entry("d1 debit main all"))])
    assert isinstance(first, DetailedReceipt)
    assert (first.outcome, first.moved, first.balance) == ("ok", 500, 0)
    [reused] = ledger.apply([(6, 6000, entry("d1 debit main 500"))])
    assert reused is not None
    assert reused.outcome == "id_reused"
    found = ledger.view(Lookup(id="q", request_id="d1"))
    assert found.asked is not None
    assert (found.moved, found.asked.amount, found.asked.details) == (500, None, '{"all":true}')
    ledger.close()


@pytest.mark.parametrize("said", [{}, {"amount": 5, "all": True}])
def test_an_amount_and_all_there_is_are_two_ways_to_ask(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="either an amount is asked for, or all there is"):
        Debit(id="d", account="ann", **said)
    with pytest.raises(ValueError, match="either an amount is asked for, or all there is"):
        Transfer(id="d", account="ann", target="bob", **said)
