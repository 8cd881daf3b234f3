"""Reversals: a linked opposite posting, once; the original stays unchanged."""

from __future__ import annotations

from tests.ledger.stories import check_story


def test_a_reversal_books_the_opposite_once() -> None:
    check_story("""
given ann 100
time | request         | outcome          | ledger | available | booked
0    | d1 debit ann 30 | ok               | 70     | 70        | ann > cash 30
1    | r1 reverse d1   | ok               | 100    | 100       | cash > ann 30
2    | r2 reverse d1   | already_reversed | 100    | 100       |
3    | r1 reverse d1   | ok               | 100    | 100       |
4    | d1 debit ann 30 | ok               | 70     | 70        |
5    | query ann       | open             | 100    | 100
""")


def test_a_reversal_may_be_of_a_part_and_then_there_is_no_other() -> None:
    check_story("""
given ann 100
time | request          | outcome          | ledger | available | booked
0    | d1 debit ann 30  | ok               | 70     | 70        | ann > cash 30
1    | r1 reverse d1 31 | exceeds_original | 70     | 70        |
2    | r2 reverse d1 10 | ok               | 80     | 80        | cash > ann 10
3    | r3 reverse d1 20 | already_reversed | 80     | 80        |
4    | d2 debit ann 30  | ok               | 50     | 50        | ann > cash 30
5    | r4 reverse d2 30 | ok               | 80     | 80        | cash > ann 30
""")


def test_a_credit_is_reversed_only_while_the_money_is_there() -> None:
    check_story("""
given ann 0
time | request            | outcome            | ledger | available | booked
0    | c1 credit ann 50   | ok                 | 50     | 50        | cash > ann 50
1    | h1 hold ann 20 60s | ok                 | 50     | 30        |
2    | r1 reverse c1      | insufficient_funds | 50     | 30        |
3    | r2 reverse c1 31   | insufficient_funds | 50     | 30        |
4    | v1 void h1         | ok                 | 50     | 50        |
5    | r1 reverse c1      | insufficient_funds | 50     | 30        |
6    | r3 reverse c1      | ok                 | 0      | 0         | ann > cash 50
""")


def test_a_transfer_is_taken_back_from_who_got_it() -> None:
    check_story("""
given ann 100, bob 0
time | request                | outcome            | ledger | available | booked
0    | t1 transfer ann bob 60 | ok                 | 40     | 40        | ann > bob 60
1    | d1 debit bob 1         | ok                 | 59     | 59        | bob > cash 1
2    | r1 reverse t1          | insufficient_funds | 40     | 40        |
3    | r2 reverse t1 59       | ok                 | 99     | 99        | bob > ann 59
4    | query bob              | open               | 0      | 0
""")


def test_a_batch_is_taken_back_as_a_whole_the_last_leg_first() -> None:
    check_story("""
given ann 100, bob 0, eve 0
time | request                         | outcome            | ledger | available | booked
0    | b1 batch ann bob 60, bob eve 60 | ok                 | 40     | 40        | ann > bob 60; bob > eve 60
1    | r1 reverse b1 60                | exceeds_original   | 40     | 40        |
2    | r2 reverse b1 121               | exceeds_original   | 40     | 40        |
3    | r3 reverse b1                   | ok                 | 100    | 100       | eve > bob 60; bob > ann 60
4    | r4 reverse b1                   | already_reversed   | 100    | 100       |
5    | b2 batch ann bob 60, bob eve 50 | ok                 | 40     | 40        | ann > bob 60; bob > eve 50
6    | d1 debit bob 10                 | ok                 | 0      | 0         | bob > cash 10
7    | r5 reverse b2                   | insufficient_funds | 40     | 40        |
8    | query eve                       | open               | 50     | 50
9    | c1 credit bob 10                | ok                 | 10     | 10        | cash > bob 10
10   | r6 reverse b2 110               | ok                 | 100    | 100       | eve > bob 50; bob > ann 60
11   | b3 batch ann bob 60             | ok                 | 40     | 40        | ann > bob 60
12   | r7 reverse b3 1                 | ok                 | 41     | 41        | bob > ann 1
""")


def test_what_a_hold_paid_is_reversed_by_its_posting_and_not_by_the_hold() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 100    | 40        |
1    | p1 post h1 50      | ok                  | 50     | 50        | ann > cash 50
2    | r1 reverse h1      | hold_already_posted | 50     | 50        |
3    | r2 reverse h1 50   | hold_already_posted | 50     | 50        |
4    | r3 reverse p1 51   | exceeds_original    | 50     | 50        |
5    | r4 reverse p1 20   | ok                  | 70     | 70        | cash > ann 20
6    | p2 post h1         | hold_already_posted | 70     | 70        |
7    | r5 reverse h1      | hold_already_posted | 70     | 70        |
""")


def test_the_reversal_of_a_hold_releases_it_once_and_for_all() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 100    | 40        |
1    | r1 reverse h1      | ok                  | 100    | 100       |
2    | r1 reverse h1      | ok                  | 100    | 100       |
3    | r2 reverse h1      | already_reversed    | 100    | 100       |
4    | v1 void h1         | hold_already_voided | 100    | 100       |
5    | p1 post h1         | hold_already_voided | 100    | 100       |
6    | h1 hold ann 60 60s | ok                  | 100    | 40        |
7    | r3 reverse r1      | original_not_found  | none   | none      |
8    | d1 debit ann 100   | ok                  | 0      | 0         | ann > cash 100
60   | expire
61   | r4 reverse h1      | already_reversed    | 0      | 0         |
61   | query ann          | open                | 0      | 0
""")


def test_a_hold_is_reversed_as_a_whole_or_not_at_all() -> None:
    check_story("""
given ann 100
time | request            | outcome          | ledger | available | booked
0    | h1 hold ann 60 60s | ok               | 100    | 40        |
1    | r1 reverse h1 61   | exceeds_original | 100    | 40        |
2    | r2 reverse h1 59   | exceeds_original | 100    | 40        |
3    | r3 reverse h1 60   | ok               | 100    | 100       |
4    | h2 hold ann 30 60s | ok               | 100    | 70        |
5    | p1 post h2         | ok               | 70     | 70        | ann > cash 30
""")


def test_a_hold_that_has_ended_is_not_reversed() -> None:
    check_story("""
given ann 100
time | request             | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s  | ok                  | 100    | 40        |
1    | v1 void h1          | ok                  | 100    | 100       |
2    | r1 reverse h1       | hold_already_voided | 100    | 100       |
3    | r2 reverse v1       | original_not_found  | none   | none      |
4    | h2 hold ann 60 60s  | ok                  | 100    | 40        |
5    | h3 hold ann 41 60s  | insufficient_funds  | 100    | 40        |
6    | r3 reverse h3       | original_not_found  | none   | none      |
64   | expire
65   | r4 reverse h2 61    | hold_expired        | 100    | 100       |
66   | r5 reverse h2       | hold_expired        | 100    | 100       |
67   | p1 post h2          | ok                  | 40     | 40        | ann > cash 60 (late)
68   | r6 reverse h2       | hold_already_posted | 40     | 40        |
""")


def test_the_reversal_of_a_hold_goes_through_a_freeze_and_gives_the_daily_limit_back() -> None:
    check_story("""
given ann 100
time | request            | outcome        | ledger | available | booked
0    | l1 set_limit ann 60
1    | h1 hold ann 60 60s | ok             | 100    | 40        |
2    | d1 debit ann 1     | limit_exceeded | 100    | 40        |
3    | f1 freeze ann
4    | r1 reverse h1      | ok             | 100    | 100       |
5    | u1 unfreeze ann
6    | d2 debit ann 60    | ok             | 40     | 40        | ann > cash 60
7    | d3 debit ann 1     | limit_exceeded | 40     | 40        |
""")


def test_a_reversal_before_its_original_declines_it_for_ever() -> None:
    check_story("""
given ann 100, bob 0
time | request            | outcome            | ledger | available | booked
0    | r1 reverse d1      | original_not_found | none   | none      |
1    | d1 debit ann 30    | already_reversed   | none   | none      |
2    | d1 debit ann 40    | already_reversed   | none   | none      |
3    | d1 credit bob 30   | already_reversed   | none   | none      |
4    | r2 reverse d1      | already_reversed   | none   | none      |
5    | r1 reverse d1      | original_not_found | none   | none      |
6    | r3 reverse h1      | original_not_found | none   | none      |
7    | h1 hold ann 30 60s | already_reversed   | none   | none      |
8    | p1 post h1         | hold_not_found     | none   | none      |
9    | r4 reverse r5 5    | original_not_found | none   | none      |
10   | d2 debit ann 5     | ok                 | 95     | 95        | ann > cash 5
11   | r5 reverse d2      | already_reversed   | none   | none      |
12   | r6 reverse o9      | original_not_found | none   | none      |
13   | o9 open zoe        | already_reversed   | none   | none      |
14   | c9 credit zoe 1    | no_such_account    | none   | none      |
1d   | d1 debit ann 30    | already_reversed   | none   | none      |
1d   | query ann          | open               | 95     | 95
""")


def test_what_moved_no_money_is_not_reversed_and_no_reversal_is() -> None:
    check_story("""
given ann 100
time | request          | outcome            | ledger | available | booked
0    | d1 debit ann 101 | insufficient_funds | 100    | 100       |
1    | r1 reverse d1    | original_not_found | none   | none      |
2    | d1 debit ann 101 | insufficient_funds | 100    | 100       |
3    | o1 open bob      | ok                 | 0      | 0         |
4    | r2 reverse o1    | original_not_found | none   | none      |
5    | d2 debit ann 10  | ok                 | 90     | 90        | ann > cash 10
6    | r3 reverse d2    | ok                 | 100    | 100       | cash > ann 10
7    | r4 reverse r3    | original_not_found | none   | none      |
8    | f1 freeze ann
9    | r5 reverse f1    | original_not_found | none   | none      |
10   | r6 reverse r1    | original_not_found | none   | none      |
""")


def test_a_reversal_goes_through_a_freeze_and_stops_at_a_closed_account() -> None:
    check_story("""
given ann 100, bob 0
time | request                | outcome        | ledger | available | booked
0    | d1 debit ann 40        | ok             | 60     | 60        | ann > cash 40
1    | t1 transfer ann bob 60 | ok             | 0      | 0         | ann > bob 60
2    | f1 freeze ann
3    | r1 reverse d1 10       | ok             | 10     | 10        | cash > ann 10
4    | u1 unfreeze ann
5    | t2 transfer ann bob 10 | ok             | 0      | 0         | ann > bob 10
6    | k1 close ann
7    | r2 reverse t1          | account_closed | 0      | 0         |
8    | r3 reverse t1 1        | account_closed | 0      | 0         |
9    | query bob              | open           | 70     | 70
""")


def test_the_reversal_of_what_the_bank_bore_gives_it_back_to_the_bank() -> None:
    check_story("""
given ann 60
time | request            | outcome | ledger | available | booked
0    | h1 hold ann 60 60s | ok      | 60     | 0         |
60   | expire
61   | d1 debit ann 60    | ok      | 0      | 0         | ann > cash 60
62   | k1 close ann       | ok      | 0      | 0         |
63   | p1 post h1 50      | ok      | 0      | 0         | writeoff > cash 50 (written_off)
64   | r1 reverse p1      | ok      | 0      | 0         | cash > writeoff 50
65   | query writeoff     | open    | 0      | 0
""")


def test_a_credit_is_not_reversed_into_an_account_that_is_full() -> None:
    check_story("""
given ann FULL, bob 0
time | request         | outcome        | ledger           | available        | booked
0    | d1 debit ann 5  | ok             | 9007199254740986 | 9007199254740986 | ann > cash 5
1    | c1 credit ann 5 | ok             | FULL             | FULL             | cash > ann 5
2    | r1 reverse d1   | limit_exceeded | FULL             | FULL             |
3    | d2 debit ann 5  | ok             | 9007199254740986 | 9007199254740986 | ann > cash 5
4    | r2 reverse d1   | ok             | FULL             | FULL             | cash > ann 5
""")
