"""Several reversals of one request: from feature level 2 on, in parts, until all is taken back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from atm.ledger.commands import Lookup, ReadResult
from atm.ledger.ledger import Ledger
from tests.ledger.stories import check_story
from tests.support.entries import records


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    found = Ledger(":memory:")
    yield found
    found.close()


def looked_up(ledger: Ledger, request_id: str) -> ReadResult:
    return ledger.view(Lookup(id="q", request_id=request_id))


def test_parts_come_back_until_their_sum_is_the_whole() -> None:
    check_story("""
given ann 100
time | request          | outcome          | ledger | available | booked
0    | level 2
1    | d1 debit ann 30  | ok               | 70     | 70        | ann > cash 30
2    | r1 reverse d1 10 | ok               | 80     | 80        | cash > ann 10
3    | r2 reverse d1 15 | ok               | 95     | 95        | cash > ann 15
4    | r3 reverse d1 6  | exceeds_original | 95     | 95        |
5    | r4 reverse d1 5  | ok               | 100    | 100       | cash > ann 5
6    | r5 reverse d1 1  | already_reversed | 100    | 100       |
7    | r6 reverse d1    | already_reversed | 100    | 100       |
8    | r2 reverse d1 15 | ok               | 95     | 95        |
""")


def test_without_an_amount_the_rest_is_taken_back() -> None:
    check_story("""
given ann 100
time | request          | outcome          | ledger | available | booked
0    | level 2
1    | c1 credit ann 30 | ok               | 130    | 130       | cash > ann 30
2    | r1 reverse c1 10 | ok               | 120    | 120       | ann > cash 10
3    | r2 reverse c1 5  | ok               | 115    | 115       | ann > cash 5
4    | r3 reverse c1    | ok               | 100    | 100       | ann > cash 15
5    | r4 reverse c1    | already_reversed | 100    | 100       |
""")


def test_below_feature_level_2_there_is_one_reversal_and_the_rest_can_be_taken_back_later() -> None:
    check_story("""
given ann 100
time | request           | outcome          | ledger | available | booked
0    | d1 debit ann 30   | ok               | 70     | 70        | ann > cash 30
1    | r1 reverse d1 10  | ok               | 80     | 80        | cash > ann 10
2    | r2 reverse d1 31  | already_reversed | 80     | 80        |
3    | r3 reverse d1     | already_reversed | 80     | 80        |
4    | d2 debit ann 5    | ok               | 75     | 75        | ann > cash 5
5    | r4 reverse d2     | ok               | 80     | 80        | cash > ann 5
6    | level 2
7    | r3 reverse d1     | already_reversed | 80     | 80        |
8    | r5 reverse d1 21  | exceeds_original | 80     | 80        |
9    | r6 reverse d1     | ok               | 100    | 100       | cash > ann 20
10   | r7 reverse d2     | already_reversed | 100    | 100       |
""")


def test_a_part_that_the_balance_does_not_allow_counts_for_nothing() -> None:
    check_story("""
given ann 0
time | request          | outcome            | ledger | available | booked
0    | level 2
1    | c1 credit ann 30 | ok                 | 30     | 30        | cash > ann 30
2    | d1 debit ann 25  | ok                 | 5      | 5         | ann > cash 25
3    | r1 reverse c1 10 | insufficient_funds | 5      | 5         |
4    | r2 reverse c1 5  | ok                 | 0      | 0         | ann > cash 5
5    | c2 credit ann 25 | ok                 | 25     | 25        | cash > ann 25
6    | r3 reverse c1 25 | ok                 | 0      | 0         | ann > cash 25
""")


def test_a_batch_is_still_taken_back_as_a_whole_and_a_refund_is_not_reversed() -> None:
    check_story("""
given ann 100, bob 0, eve 0
time | request                         | outcome            | ledger | available | booked
0    | level 2
1    | b1 batch ann bob 60, bob eve 60 | ok                 | 40     | 40        | ann > bob 60; bob > eve 60
2    | r1 reverse b1 60                | exceeds_original   | 40     | 40        |
3    | r2 reverse b1                   | ok                 | 100    | 100       | eve > bob 60; bob > ann 60
4    | r3 reverse b1                   | already_reversed   | 100    | 100       |
5    | d1 debit ann 10                 | ok                 | 90     | 90        | ann > cash 10
6    | r4 reverse d1 2                 | ok                 | 92     | 92        | cash > ann 2
7    | r5 reverse d1 3                 | ok                 | 95     | 95        | cash > ann 3
8    | r6 reverse r5                   | original_not_found | none   | none      |
""")


def test_each_part_gives_its_share_of_the_daily_limit_back() -> None:
    check_story("""
given ann 1000
time | request              | outcome        | ledger | available | booked
0    | level 2
1    | m1 set_limit ann 100
2    | d1 debit ann 100     | ok             | 900    | 900       | ann > cash 100
3    | r1 reverse d1 10     | ok             | 910    | 910       | cash > ann 10
4    | r2 reverse d1 20     | ok             | 930    | 930       | cash > ann 20
5    | d2 debit ann 31      | limit_exceeded | 930    | 930       |
6    | d3 debit ann 30      | ok             | 900    | 900       | ann > cash 30
""")


def test_a_lookup_names_the_last_reversal_and_the_sum_of_all(ledger: Ledger) -> None:
    ledger.apply(records(["level 2", "c1 credit main 100", "d1 debit main 30", "h1 hold main 10 60s"]))
    found = looked_up(ledger, "d1")
    assert (found.reversed_by, found.taken_back) == (None, None)
    for request_id, amount, sum_ in (("r1", 10, 10), ("r2", 5, 15), ("r3", 15, 30)):
        ledger.apply(records([f"{request_id} reverse d1 {amount}"], ledger.applied_index + 1))
        found = looked_up(ledger, "d1")
        assert (found.reversed_by, found.taken_back) == (request_id, sum_)
    ledger.apply(records(["r4 reverse h1"], ledger.applied_index + 1))
    found = looked_up(ledger, "h1")
    assert (found.reversed_by, found.taken_back) == ("r4", None)
