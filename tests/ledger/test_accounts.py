"""Accounts: opened, frozen, closed, and the largest balance."""

from __future__ import annotations

from tests.ledger.stories import check_story


def test_a_frozen_account_lets_nothing_in_or_out_until_it_is_unfrozen() -> None:
    check_story("""
given ann 100, bob 10
time | request               | outcome        | ledger | available | booked
0    | f1 freeze ann         | ok             | 100    | 100       |
1    | query ann             | frozen         | 100    | 100
2    | c1 credit ann 1       | account_frozen | 100    | 100       |
3    | d1 debit ann 1        | account_frozen | 100    | 100       |
4    | t1 transfer ann bob 1 | account_frozen | 100    | 100       |
5    | t2 transfer bob ann 1 | account_frozen | 10     | 10        |
6    | h1 hold ann 1 60s     | account_frozen | 100    | 100       |
7    | b1 batch bob ann 1    | account_frozen | 10     | 10        |
8    | f2 freeze ann         | ok             | 100    | 100       |
9    | w1 write_off ann 1    | ok             | 101    | 101       | writeoff > ann 1 (written_off)
10   | u1 unfreeze ann       | ok             | 101    | 101       |
11   | query ann             | open           | 101    | 101
12   | d1 debit ann 1        | account_frozen | 100    | 100       |
13   | d2 debit ann 1        | ok             | 100    | 100       | ann > cash 1
14   | u2 unfreeze ann       | ok             | 100    | 100       |
""")


def test_an_account_is_closed_only_when_it_is_empty_and_nothing_is_held() -> None:
    check_story("""
given ann 100
time | request            | outcome        | ledger | available | booked
0    | k1 close ann       | not_empty      | 100    | 100       |
1    | query ann          | open           | 100    | 100
2    | d1 debit ann 40    | ok             | 60     | 60        | ann > cash 40
3    | h1 hold ann 60 60s | ok             | 60     | 0         |
4    | k2 close ann       | not_empty      | 60     | 0         |
5    | p1 post h1         | ok             | 0      | 0         | ann > cash 60
6    | k1 close ann       | not_empty      | 100    | 100       |
7    | f1 freeze ann
8    | k3 close ann       | ok             | 0      | 0         |
9    | query ann          | closed         | 0      | 0
10   | k3 close ann       | ok             | 0      | 0         |
11   | k4 close ann       | account_closed | 0      | 0         |
""")


def test_a_closed_account_takes_no_request_and_is_never_opened_again() -> None:
    check_story("""
given ann 0, bob 10
time | request               | outcome        | ledger | available | booked
0    | k1 close ann
1    | o1 open ann           | account_closed | 0      | 0         |
2    | c1 credit ann 1       | account_closed | 0      | 0         |
3    | d1 debit ann 1        | account_closed | 0      | 0         |
4    | t1 transfer bob ann 1 | account_closed | 10     | 10        |
5    | h1 hold ann 1 60s     | account_closed | 0      | 0         |
6    | w1 write_off ann 1    | account_closed | 0      | 0         |
7    | f1 freeze ann         | account_closed | 0      | 0         |
8    | u1 unfreeze ann       | account_closed | 0      | 0         |
9    | y1 unlock ann         | account_closed | 0      | 0         |
10   | m1 set_limit ann 5    | account_closed | 0      | 0         |
11   | o2 open bob           | exists         | 10     | 10        |
""")


def test_the_banks_own_accounts_are_no_customers() -> None:
    check_story("""
time | request                  | outcome         | ledger | available | booked
0    | c1 credit main 7         | ok              | 7      | 7         | cash > main 7
1    | o1 open cash             | exists          | -7     | -7        |
2    | o2 open writeoff         | exists          | 0      | 0         |
3    | f1 freeze cash           | no_such_account | none   | none      |
4    | u1 unfreeze writeoff     | no_such_account | none   | none      |
5    | k1 close writeoff        | no_such_account | none   | none      |
6    | y1 unlock cash           | no_such_account | none   | none      |
7    | m1 set_limit cash 1      | no_such_account | none   | none      |
8    | s1 set_pin writeoff 1234 | no_such_account | none   | none      |
9    | l1 login cash 1234       | no_such_account | none   | none      |
10   | h1 hold writeoff 1 60s   | no_such_account | none   | none      |
11   | d1 debit writeoff 1      | no_such_account | none   | none      |
12   | w1 write_off writeoff 1  | no_such_account | none   | none      |
""")


def test_an_account_with_a_balance_of_0_and_a_hold_is_not_closed() -> None:
    """A late posting took the funds that the hold reserves."""
    check_story("""
given ann 60
time | request             | outcome   | ledger | available | booked
0    | h1 hold ann 60 60s  | ok        | 60     | 0         |
60   | expire
61   | h2 hold ann 60 60s  | ok        | 60     | 0         |
62   | p1 post h1          | ok        | 0      | -60       | ann > cash 60 (late)
63   | k1 close ann        | not_empty | 0      | -60       |
64   | v1 void h2          | ok        | 0      | 0         |
65   | k2 close ann        | ok        | 0      | 0         |
""")


def test_a_write_off_pays_an_account_or_the_missing_cash_and_is_listed() -> None:
    check_story("""
given ann 60
time | request             | outcome         | ledger | available | booked
0    | h1 hold ann 60 60s  | ok              | 60     | 0         |
60   | expire
61   | d1 debit ann 60     | ok              | 0      | 0         | ann > cash 60
62   | p1 post h1          | ok              | -60    | -60       | ann > cash 60 (overdrawn)
63   | w1 write_off ann 60 | ok              | 0      | 0         | writeoff > ann 60 (written_off)
64   | k1 close ann        | ok              | 0      | 0         |
65   | w2 write_off cash 5 | ok              | 65     | 65        | writeoff > cash 5 (written_off)
66   | w3 write_off zoe 5  | no_such_account | none   | none      |
67   | query writeoff      | open            | -65    | -65
68   | r1 reverse w2 3     | ok              | 62     | 62        | cash > writeoff 3
69   | query writeoff      | open            | -62    | -62
""")


def test_no_account_holds_more_than_can_be_written_exactly() -> None:
    check_story("""
given ann FULL-1, bob 5
time | request                       | outcome        | ledger | available | booked
0    | c1 credit ann 2               | limit_exceeded | FULL-1 | FULL-1    |
1    | t1 transfer bob ann 2         | limit_exceeded | 5      | 5         |
2    | w1 write_off ann 2            | limit_exceeded | FULL-1 | FULL-1    |
3    | b1 batch bob ann 1, bob ann 1 | limit_exceeded | 5      | 5         |
4    | t2 transfer bob ann 1         | ok             | 4      | 4         | bob > ann 1
5    | query ann                     | open           | FULL   | FULL
6    | b2 batch ann bob 5, bob ann 5 | ok             | FULL   | FULL      | ann > bob 5; bob > ann 5
7    | c2 credit ann 1               | limit_exceeded | FULL   | FULL      |
""")
