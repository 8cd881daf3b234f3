"""A hold in parts, from feature level 2 on: paid out piece by piece, raised, and its amount spelled out."""

from __future__ import annotations

import pytest

from atm.ledger.commands import Holds, Post
from atm.ledger.ledger import Ledger
from tests.ledger.stories import check_story
from tests.support.entries import records


def test_a_posting_that_is_not_final_leaves_the_rest_held() -> None:
    check_story("""
given ann 100
time | request             | outcome             | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 60s  | ok                  | 100    | 40        |
2    | p1 post h1 10 more  | ok                  | 90     | 40        | ann > cash 10
3    | p2 post h1 51 more  | exceeds_hold        | 90     | 40        |
4    | p3 post h1 20 more  | ok                  | 70     | 40        | ann > cash 20
5    | d1 debit ann 41     | insufficient_funds  | 70     | 40        |
6    | p4 post h1 31       | exceeds_hold        | 70     | 40        |
7    | p5 post h1 25       | ok                  | 45     | 45        | ann > cash 25
8    | p6 post h1 5        | hold_already_posted | 45     | 45        |
9    | p1 post h1 10 more  | ok                  | 90     | 40        |
10   | p1 post h1 10       | id_reused           | none   | none      |
""")


def test_a_hold_that_is_paid_out_in_full_has_ended_whatever_the_posting_said() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 60s | ok                  | 100    | 40        |
2    | p1 post h1 40 more | ok                  | 60     | 40        | ann > cash 40
3    | p2 post h1 20 more | ok                  | 40     | 40        | ann > cash 20
4    | v1 void h1         | hold_already_posted | 40     | 40        |
5    | d1 debit ann 40    | ok                  | 0      | 0         | ann > cash 40
""")


def test_without_an_amount_all_that_is_left_is_paid_out() -> None:
    check_story("""
given ann 100
time | request            | outcome | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 60s | ok      | 100    | 40        |
2    | p1 post h1 40 more | ok      | 60     | 40        | ann > cash 40
3    | p2 post h1         | ok      | 40     | 40        | ann > cash 20
""")


def test_what_is_left_is_voided_reversed_or_expires() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 60s | ok                  | 100    | 40        |
2    | p1 post h1 40 more | ok                  | 60     | 40        | ann > cash 40
3    | v1 void h1         | ok                  | 60     | 60        |
4    | p2 post h1 20      | hold_already_voided | 60     | 60        |
5    | h2 hold ann 50 60s | ok                  | 60     | 10        |
6    | p3 post h2 20 more | ok                  | 40     | 10        | ann > cash 20
7    | r1 reverse h2 50   | exceeds_original    | 40     | 10        |
8    | r2 reverse h2 30   | ok                  | 40     | 40        |
9    | r3 reverse h2      | already_reversed    | 40     | 40        |
10   | r4 reverse p3 5    | ok                  | 45     | 45        | cash > ann 5
11   | h3 hold ann 45 10s | ok                  | 45     | 0         |
12   | p4 post h3 15 more | ok                  | 30     | 0         | ann > cash 15
22   | expire
23   | query ann          | open                | 30     | 30
24   | p5 post h3 31      | exceeds_hold        | 30     | 30        |
25   | p6 post h3 10 more | ok                  | 20     | 20        | ann > cash 10 (late)
26   | v2 void h3         | hold_expired        | 20     | 20        |
27   | p7 post h3         | ok                  | 0      | 0         | ann > cash 20 (late)
28   | p8 post h3 1       | hold_already_posted | 0      | 0         |
""")


def test_the_reversal_of_a_part_leaves_the_hold_as_it_is() -> None:
    check_story("""
given ann 100
time | request            | outcome            | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 60s | ok                 | 100    | 40        |
2    | p1 post h1 40 more | ok                 | 60     | 40        | ann > cash 40
3    | r1 reverse p1      | ok                 | 100    | 80        | cash > ann 40
4    | p2 post h1 21      | exceeds_hold       | 100    | 80        |
5    | p3 post h1 20      | ok                 | 80     | 80        | ann > cash 20
""")


# -- more on a hold ----------------------------------------------------------------------------------------


def test_a_raise_reserves_more_under_the_rules_of_a_withdrawal() -> None:
    check_story("""
given ann 100, bob 100
time | request                         | outcome             | ledger | available | booked
0    | level 2
1    | s1 set_pin ann 1234
2    | h1 hold ann 60 60s pin 1234     | ok                  | 100    | 40        |
3    | x1 raise_hold ann h1 10         | wrong_pin           | 100    | 40        |
4    | x2 raise_hold ann h1 10 pin 4321 | wrong_pin          | 100    | 40        |
5    | query ann                       | open set 2 left 1 wrong | 100 | 40
6    | x3 raise_hold ann h1 41 pin 1234 | insufficient_funds | 100    | 40        |
7    | x4 raise_hold ann h1 30 pin 1234 | ok                 | 100    | 10        |
8    | x4 raise_hold ann h1 30         | ok                  | 100    | 10        |
9    | x4 raise_hold ann h1 31         | id_reused           | 100    | 10        |
10   | p1 post h1 91                   | exceeds_hold        | 100    | 10        |
11   | p2 post h1 80 more              | ok                  | 20     | 10        | ann > cash 80
12   | f1 freeze ann
13   | x5 raise_hold ann h1 5 pin 1234 | account_frozen      | 20     | 10        |
14   | u1 unfreeze ann
15   | x6 raise_hold ann h1 5 pin 1234 | ok                  | 20     | 5         |
16   | p3 post h1                      | ok                  | 5      | 5         | ann > cash 15
17   | x7 raise_hold ann h1 5 pin 1234 | hold_already_posted | 5      | 5         |
18   | x8 raise_hold ann h9 5 pin 1234 | hold_not_found      | none   | none      |
19   | h2 hold bob 1 60s               | ok                  | 100    | 99        |
20   | x9 raise_hold ann h2 5 pin 1234 | hold_not_found      | none   | none      |
""")


def test_no_hold_is_raised_above_the_largest_amount() -> None:
    check_story("""
given ann FULL
time | request                    | outcome        | ledger           | available        | booked
0    | level 2
1    | h1 hold ann LARGEST 60s    | ok             | FULL             | 8907199254740992 |
2    | x1 raise_hold ann h1 1     | limit_exceeded | FULL             | 8907199254740992 |
""")


def test_a_hold_that_ended_is_not_raised() -> None:
    check_story("""
given ann 100
time | request                | outcome             | ledger | available | booked
0    | level 2
1    | h1 hold ann 10 60s     | ok                  | 100    | 90        |
2    | v1 void h1             | ok                  | 100    | 100       |
3    | x1 raise_hold ann h1 5 | hold_already_voided | 100    | 100       |
4    | h2 hold ann 10 1s      | ok                  | 100    | 90        |
6    | expire
7    | x2 raise_hold ann h2 5 | hold_expired        | 100    | 100       |
""")


# -- the daily limit -----------------------------------------------------------------------------------------


def test_a_raise_counts_towards_the_daily_limit_and_what_is_released_does_no_more() -> None:
    check_story("""
given ann 1000
time | request                 | outcome        | ledger | available | booked
0    | level 2
1    | m1 set_limit ann 100
2    | h1 hold ann 60 60s      | ok             | 1000   | 940       |
3    | x1 raise_hold ann h1 41 | limit_exceeded | 1000   | 940       |
4    | x2 raise_hold ann h1 40 | ok             | 1000   | 900       |
5    | d1 debit ann 1          | limit_exceeded | 1000   | 900       |
6    | p1 post h1 30 more      | ok             | 970    | 900       | ann > cash 30
7    | d2 debit ann 1          | limit_exceeded | 970    | 900       |
8    | p2 post h1 20           | ok             | 950    | 950       | ann > cash 20
9    | d3 debit ann 51         | limit_exceeded | 950    | 950       |
10   | r1 reverse p1           | ok             | 980    | 980       | cash > ann 30
11   | d4 debit ann 81         | limit_exceeded | 980    | 980       |
12   | d5 debit ann 80         | ok             | 900    | 900       | ann > cash 80
""")


def test_of_a_hold_that_was_raised_on_another_day_only_the_raise_counts_then() -> None:
    check_story("""
given ann 1000
time   | request                 | outcome        | ledger | available | booked
0      | level 2
1      | m1 set_limit ann 100
2      | h1 hold ann 60 3d       | ok             | 1000   | 940       |
1d     | x1 raise_hold ann h1 30 | ok             | 1000   | 910       |
1d1s   | x2 raise_hold ann h1 20 | ok             | 1000   | 890       |
1d2s   | d1 debit ann 51         | limit_exceeded | 1000   | 890       |
1d3s   | p1 post h1 75 more      | ok             | 925    | 890       | ann > cash 75
1d4s   | v1 void h1              | ok             | 925    | 925       |
1d5s   | d2 debit ann 86         | limit_exceeded | 925    | 925       |
1d6s   | d3 debit ann 85         | ok             | 840    | 840       | ann > cash 85
2d     | h2 hold ann 60 3d       | ok             | 840    | 780       |
3d     | x3 raise_hold ann h2 10 | ok             | 840    | 770       |
3d1s   | v2 void h2              | ok             | 840    | 840       |
3d2s   | d4 debit ann 101        | limit_exceeded | 840    | 840       |
3d3s   | d5 debit ann 100        | ok             | 740    | 740       | ann > cash 100
""")


def test_what_is_paid_late_counts_again_as_far_as_it_was_given_back() -> None:
    check_story("""
given ann 1000
time   | request                 | outcome        | ledger | available | booked
0      | level 2
1      | m1 set_limit ann 100
2      | h1 hold ann 60 86500s   | ok             | 1000   | 940       |
1d     | x1 raise_hold ann h1 40 | ok             | 1000   | 900       |
1d10m  | expire
1d11m  | p1 post h1 50 more      | ok             | 950    | 950       | ann > cash 50 (late)
1d12m  | d1 debit ann 101        | limit_exceeded | 950    | 950       |
1d13m  | p2 post h1 30           | ok             | 920    | 920       | ann > cash 30 (late)
1d14m  | d2 debit ann 81         | limit_exceeded | 920    | 920       |
1d15m  | d3 debit ann 80         | ok             | 840    | 840       | ann > cash 80
""")


# -- nothing, and all of it --------------------------------------------------------------------------------


def test_posting_nothing_releases_the_hold_as_a_void_does() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | level 2
1    | h1 hold ann 60 60s | ok                  | 100    | 40        |
2    | p1 post h1 0       | ok                  | 100    | 100       |
3    | p1 post h1 0       | ok                  | 100    | 100       |
4    | p1 post h1         | id_reused           | none   | none      |
5    | p2 post h1 0       | hold_already_voided | 100    | 100       |
6    | r1 reverse p1      | original_not_found  | none   | none      |
7    | p3 post h9 0       | hold_not_found      | none   | none      |
8    | h2 hold ann 10 1s  | ok                  | 100    | 90        |
10   | expire
11   | p4 post h2 0       | hold_expired        | 100    | 100       |
""")


def test_the_whole_amount_spelled_out_is_the_same_request() -> None:
    check_story("""
given ann 100
time | request            | outcome        | ledger | available | booked
0    | h1 hold ann 60 60s | ok             | 100    | 40        |
1    | p1 post h1         | ok             | 40     | 40        | ann > cash 60
2    | p1 post h1 60      | id_reused      | none   | none      |
3    | level 2
4    | p1 post h1 60      | ok             | 40     | 40        |
5    | p1 post h1 59      | id_reused      | none   | none      |
6    | h2 hold ann 40 60s | ok             | 40     | 0         |
7    | p2 post h2 10 more | ok             | 30     | 0         | ann > cash 10
8    | p3 post h2 30      | ok             | 0      | 0         | ann > cash 30
9    | p3 post h2         | ok             | 0      | 0         |
10   | p2 post h2         | id_reused      | none   | none      |
11   | p3 post h1         | id_reused      | none   | none      |
12   | c1 credit ann 50   | ok             | 50     | 50        | cash > ann 50
13   | h3 hold ann 50 60s | ok             | 50     | 0         |
14   | p4 post h3 20      | ok             | 30     | 30        | ann > cash 20
15   | p4 post h3         | id_reused      | none   | none      |
16   | p5 post h3         | hold_already_posted | 30 | 30        |
17   | p5 post h3 50      | id_reused      | none   | none      |
""")


def test_a_posting_that_is_not_final_says_how_much() -> None:
    for amount in (None, 0):
        with pytest.raises(ValueError, match="says how much"):
            Post(id="p1", hold="h1", amount=amount, final=False)


def test_a_new_field_needs_feature_level_2_and_an_old_request_does_not() -> None:
    assert Post(id="p1", hold="h1", amount=1).level_needed == 1
    assert Post(id="p1", hold="h1").level_needed == 1
    assert Post(id="p1", hold="h1", amount=1, final=False).level_needed == 2
    assert Post(id="p1", hold="h1", amount=0).level_needed == 2


@pytest.mark.parametrize("line", ["p1 post h1 0", "p1 post h1 1 more", "p1 raise_hold main h1 1"])
def test_what_needs_level_2_is_refused_by_the_rules_below_it(line: str) -> None:
    ledger = Ledger(":memory:")
    receipts = ledger.apply(records(["c1 credit main 100", "h1 hold main 10 60s", line]))
    assert receipts[-1] is not None
    assert receipts[-1].outcome == "not_allowed"
    ledger.close()


def test_the_list_of_holds_tells_what_was_paid_out_of_each() -> None:
    ledger = Ledger(":memory:")
    lines = ("level 2", "c1 credit main 100", "h1 hold main 10 60s", "h2 hold main 20 60s")
    ledger.apply(records([*lines, "p1 post h2 5 more", "x1 raise_hold main h2 7"]))
    found = ledger.view(Holds(id="q", account="main")).holds
    assert found is not None
    assert [(each.request_id, each.amount, each.posted) for each in found] == [("h1", 10, 0), ("h2", 27, 5)]
    ledger.close()
