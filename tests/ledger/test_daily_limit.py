"""The daily limit: how much cash may leave an account in one day of log time (UTC)."""

from __future__ import annotations

from atm.ledger.accounts import DAY_US, Account
from tests.ledger.stories import check_story


def test_a_day_has_its_limit_and_the_next_day_its_own() -> None:
    check_story("""
given ann 1000, bob 1000
time      | request              | outcome        | ledger | available | booked
0         | m1 set_limit ann 100 | ok             | 1000   | 1000      |
1         | d1 debit ann 60      | ok             | 940    | 940       | ann > cash 60
2         | d2 debit ann 41      | limit_exceeded | 940    | 940       |
3         | d3 debit ann 40      | ok             | 900    | 900       | ann > cash 40
4         | d4 debit ann 1       | limit_exceeded | 900    | 900       |
5         | d5 debit bob 500     | ok             | 500    | 500       | bob > cash 500
23h59m59s | d6 debit ann 1       | limit_exceeded | 900    | 900       |
1d        | d7 debit ann 101     | limit_exceeded | 900    | 900       |
1d        | d8 debit ann 100     | ok             | 800    | 800       | ann > cash 100
1d        | d4 debit ann 1       | limit_exceeded | 900    | 900       |
3d        | d9 debit ann 100     | ok             | 700    | 700       | ann > cash 100
""")


def test_the_limit_is_for_cash_and_for_no_other_movement() -> None:
    check_story("""
given ann 1000, bob 0
time | request                 | outcome            | ledger | available | booked
0    | m1 set_limit ann 100
1    | t1 transfer ann bob 500 | ok                 | 500    | 500       | ann > bob 500
2    | d1 debit ann 100        | ok                 | 400    | 400       | ann > cash 100
3    | c1 credit ann 100       | ok                 | 500    | 500       | cash > ann 100
4    | d2 debit ann 1          | limit_exceeded     | 500    | 500       |
5    | d3 debit ann 501        | insufficient_funds | 500    | 500       |
""")


def test_a_hold_counts_when_it_is_made_and_its_posting_not_again() -> None:
    check_story("""
given ann 1000
time | request              | outcome        | ledger | available | booked
0    | m1 set_limit ann 100
1    | h1 hold ann 101 60s  | limit_exceeded | 1000   | 1000      |
2    | h2 hold ann 60 60s   | ok             | 1000   | 940       |
3    | d1 debit ann 41      | limit_exceeded | 1000   | 940       |
4    | p1 post h2           | ok             | 940    | 940       | ann > cash 60
5    | d2 debit ann 41      | limit_exceeded | 940    | 940       |
6    | d3 debit ann 40      | ok             | 900    | 900       | ann > cash 40
""")


def test_what_was_given_back_may_be_withdrawn_again_that_day() -> None:
    check_story("""
given ann 1000
time | request              | outcome        | ledger | available | booked
0    | m1 set_limit ann 100
1    | h1 hold ann 100 60s  | ok             | 1000   | 900       |
2    | v1 void h1           | ok             | 1000   | 1000      |
3    | h2 hold ann 100 60s  | ok             | 1000   | 900       |
4    | p2 post h2 30        | ok             | 970    | 970       | ann > cash 30
5    | d1 debit ann 71      | limit_exceeded | 970    | 970       |
6    | h3 hold ann 70 60s   | ok             | 970    | 900       |
66   | expire
67   | d2 debit ann 70      | ok             | 900    | 900       | ann > cash 70
68   | r1 reverse d2 50     | ok             | 950    | 950       | cash > ann 50
69   | d3 debit ann 51      | limit_exceeded | 950    | 950       |
70   | r2 reverse p2        | ok             | 980    | 980       | cash > ann 30
71   | d4 debit ann 81      | limit_exceeded | 980    | 980       |
72   | d5 debit ann 80      | ok             | 900    | 900       | ann > cash 80
""")


def test_a_day_gives_nothing_back_for_another_day() -> None:
    check_story("""
given ann 1000
time | request              | outcome        | ledger | available | booked
0    | m1 set_limit ann 100
1    | d1 debit ann 40      | ok             | 960    | 960       | ann > cash 40
2    | h1 hold ann 30 2d    | ok             | 960    | 930       |
3    | h2 hold ann 30 2d    | ok             | 960    | 900       |
1d   | d2 debit ann 100     | ok             | 860    | 800       | ann > cash 100
1d   | r1 reverse d1        | ok             | 900    | 840       | cash > ann 40
1d   | v1 void h1           | ok             | 900    | 870       |
1d   | d3 debit ann 1       | limit_exceeded | 900    | 870       |
1d   | p2 post h2           | ok             | 870    | 870       | ann > cash 30
1d   | r2 reverse p2        | ok             | 900    | 900       | cash > ann 30
1d   | d4 debit ann 1       | limit_exceeded | 900    | 900       |
""")


def test_cash_that_left_late_counts_again_on_the_day_of_its_hold() -> None:
    check_story("""
given ann 1000
time | request              | outcome        | ledger | available | booked
0    | m1 set_limit ann 100
1    | h1 hold ann 60 60s   | ok             | 1000   | 940       |
61   | expire
62   | p1 post h1           | ok             | 940    | 940       | ann > cash 60 (late)
63   | d1 debit ann 41      | limit_exceeded | 940    | 940       |
64   | d2 debit ann 40      | ok             | 900    | 900       | ann > cash 40
65   | r1 reverse p1        | ok             | 960    | 960       | cash > ann 60
66   | d3 debit ann 61      | limit_exceeded | 960    | 960       |
67   | d4 debit ann 60      | ok             | 900    | 900       | ann > cash 60
1d   | r2 reverse d4        | ok             | 960    | 960       | cash > ann 60
1d   | d5 debit ann 100     | ok             | 860    | 860       | ann > cash 100
""")


def test_what_left_before_there_was_a_limit_is_not_given_back_to_it() -> None:
    check_story("""
given ann 1000
time | request              | outcome            | ledger | available | booked
0    | d1 debit ann 50      | ok                 | 950    | 950       | ann > cash 50
1    | h1 hold ann 40 1h    | ok                 | 950    | 910       |
2    | h2 hold ann 30 60s   | ok                 | 950    | 880       |
3    | m1 set_limit ann 100
4    | d2 debit ann 100     | ok                 | 850    | 780       | ann > cash 100
5    | r1 reverse d1        | ok                 | 900    | 830       | cash > ann 50
6    | v1 void h1           | ok                 | 900    | 870       |
62   | expire
63   | d3 debit ann 1       | limit_exceeded     | 900    | 900       |
64   | p2 post h2           | ok                 | 870    | 870       | ann > cash 30 (late)
65   | r2 reverse p2        | ok                 | 900    | 900       | cash > ann 30
66   | d4 debit ann 1       | limit_exceeded     | 900    | 900       |
67   | r3 reverse d2 10     | ok                 | 910    | 910       | cash > ann 10
68   | d5 debit ann 11      | limit_exceeded     | 910    | 910       |
69   | d6 debit ann 10      | ok                 | 900    | 900       | ann > cash 10
""")


def test_a_changed_limit_keeps_the_days_count_and_a_lifted_one_resets_it() -> None:
    check_story("""
given ann 1000
time | request               | outcome         | ledger | available | booked
0    | d1 debit ann 500      | ok              | 500    | 500       | ann > cash 500
1    | m1 set_limit ann 100  | ok              | 500    | 500       |
2    | d2 debit ann 100      | ok              | 400    | 400       | ann > cash 100
3    | m2 set_limit ann 100  | ok              | 400    | 400       |
4    | d3 debit ann 1        | limit_exceeded  | 400    | 400       |
5    | m3 set_limit ann 150  | ok              | 400    | 400       |
6    | d4 debit ann 51       | limit_exceeded  | 400    | 400       |
7    | d5 debit ann 50       | ok              | 350    | 350       | ann > cash 50
8    | m4 set_limit ann 20   | ok              | 350    | 350       |
9    | d6 debit ann 1        | limit_exceeded  | 350    | 350       |
10   | m5 set_limit ann none | ok              | 350    | 350       |
11   | d7 debit ann 200      | ok              | 150    | 150       | ann > cash 200
12   | m6 set_limit ann 100  | ok              | 150    | 150       |
13   | d8 debit ann 100      | ok              | 50     | 50        | ann > cash 100
14   | m7 set_limit zoe 100  | no_such_account | none   | none      |
""")


def test_a_withdrawal_at_the_first_microsecond_of_a_day_counts_for_that_day() -> None:
    account = Account("ann", daily_limit=100)
    account.note_withdrawal(60, now_us=5 * DAY_US)
    assert account.counts(withdrawn_us=5 * DAY_US, now_us=6 * DAY_US - 1)
    assert not account.counts(withdrawn_us=5 * DAY_US - 1, now_us=6 * DAY_US - 1)
