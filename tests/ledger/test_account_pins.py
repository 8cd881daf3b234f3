"""PINs in the rules: here any text stands for a sealed PIN (for sealing see tests/server/test_pins.py)."""

from __future__ import annotations

from tests.ledger.stories import check_story


def test_an_account_with_a_pin_needs_it_wherever_money_leaves() -> None:
    check_story("""
given ann 100, bob 0
time | request                         | outcome         | ledger | available | booked
0    | d1 debit ann 10 pin 9999        | ok              | 90     | 90        | ann > cash 10
1    | s1 set_pin ann 1234             | ok              | 90     | 90        |
2    | query ann                       | open set        | 90     | 90
3    | d2 debit ann 10                 | wrong_pin       | 90     | 90        |
4    | d3 debit ann 10 pin 1234        | ok              | 80     | 80        | ann > cash 10
5    | t1 transfer ann bob 10          | wrong_pin       | 80     | 80        |
6    | t2 transfer ann bob 10 pin 1234 | ok              | 70     | 70        | ann > bob 10
7    | h1 hold ann 10 60s              | wrong_pin       | 70     | 70        |
8    | h2 hold ann 10 60s pin 1234     | ok              | 70     | 60        |
9    | b1 batch ann bob 10             | wrong_pin       | 70     | 60        |
10   | b2 batch ann bob 10 pin 1234    | ok              | 60     | 50        | ann > bob 10
11   | c1 credit ann 1                 | ok              | 61     | 51        | cash > ann 1
12   | p1 post h2                      | ok              | 51     | 51        | ann > cash 10
13   | t3 transfer bob ann 20          | ok              | 0      | 0         | bob > ann 20
14   | l1 login ann 1234               | ok              | 71     | 71        |
15   | l2 login bob 1234               | ok              | 0      | 0         |
16   | l3 login zoe 1234               | no_such_account | none   | none      |
""")


def test_three_wrong_pins_in_a_row_lock_the_account_until_it_is_unlocked() -> None:
    check_story("""
given ann 100, bob 0
time | request                         | outcome         | ledger | available | booked
0    | s1 set_pin ann 1234
1    | d1 debit ann 10 pin 1111        | wrong_pin       | 100    | 100       |
2    | l1 login ann 1111               | wrong_pin       | 100    | 100       |
3    | query ann                       | open set        | 100    | 100
4    | t1 transfer ann bob 10 pin 1111 | wrong_pin       | 100    | 100       |
5    | query ann                       | open locked     | 100    | 100
6    | d2 debit ann 10 pin 1234        | locked          | 100    | 100       |
7    | d3 debit ann 10                 | locked          | 100    | 100       |
8    | l2 login ann 1234               | locked          | 100    | 100       |
9    | h1 hold ann 10 60s pin 1234     | locked          | 100    | 100       |
10   | s2 set_pin ann 5678 old 1234    | locked          | 100    | 100       |
11   | c1 credit ann 1                 | ok              | 101    | 101       | cash > ann 1
30d  | l3 login ann 1234               | locked          | 101    | 101       |
30d  | y1 unlock ann                   | ok              | 101    | 101       |
30d  | l4 login ann 1111               | wrong_pin       | 101    | 101       |
30d  | l5 login ann 1111               | wrong_pin       | 101    | 101       |
30d  | d4 debit ann 1 pin 1234         | ok              | 100    | 100       | ann > cash 1
30d  | y2 unlock zoe                   | no_such_account | none   | none      |
""")


def test_the_right_pin_resets_the_count_and_a_missing_one_is_not_counted() -> None:
    check_story("""
given ann 100
time | request                   | outcome            | ledger | available | booked
0    | s1 set_pin ann 1234
1    | l1 login ann 1111         | wrong_pin          | 100    | 100       |
2    | l2 login ann 1111         | wrong_pin          | 100    | 100       |
3    | l3 login ann 1234         | ok                 | 100    | 100       |
4    | l4 login ann 1111         | wrong_pin          | 100    | 100       |
5    | l5 login ann 1111         | wrong_pin          | 100    | 100       |
6    | d1 debit ann 1            | wrong_pin          | 100    | 100       |
7    | d2 debit ann 1            | wrong_pin          | 100    | 100       |
8    | d3 debit ann 101 pin 1234 | insufficient_funds | 100    | 100       |
9    | l6 login ann 1111         | wrong_pin          | 100    | 100       |
10   | l7 login ann 1111         | wrong_pin          | 100    | 100       |
11   | l8 login ann 1111         | wrong_pin          | 100    | 100       |
12   | l9 login ann 1234         | locked             | 100    | 100       |
""")


def test_a_wrong_pin_counts_even_without_the_funds() -> None:
    check_story("""
given ann 100, bob 0
time | request                        | outcome   | ledger | available | booked
0    | s1 set_pin ann 1234
1    | d1 debit ann 101 pin 1111      | wrong_pin | 100    | 100       |
2    | h1 hold ann 101 60s pin 1111   | wrong_pin | 100    | 100       |
3    | t1 transfer ann zoe 1 pin 1111 | wrong_pin | 100    | 100       |
4    | d2 debit ann 1 pin 1234        | locked    | 100    | 100       |
""")


def test_every_legs_pin_counts_although_the_batch_is_declined() -> None:
    check_story("""
given ann 100, bob 100, eve 0
time | request                                         | outcome            | ledger | available | booked
0    | s1 set_pin ann 1234
1    | s2 set_pin bob 5678
2    | b1 batch ann eve 1 pin 1234, bob eve 1 pin 1111 | wrong_pin          | 100    | 100       |
3    | b2 batch ann eve 1 pin 1234, bob eve 1          | wrong_pin          | 100    | 100       |
4    | b3 batch bob eve 1 pin 1111, ann eve 1 pin 1234 | wrong_pin          | 100    | 100       |
5    | b4 batch ann eve 1 pin 1234, bob zoe 1 pin 1111 | wrong_pin          | 100    | 100       |
6    | query bob                                       | open locked        | 100    | 100
7    | query ann                                       | open set           | 100    | 100
8    | b5 batch ann eve 1 pin 1234, bob eve 1 pin 5678 | locked             | 100    | 100       |
9    | l1 login ann 1111                               | wrong_pin          | 100    | 100       |
10   | l2 login ann 1111                               | wrong_pin          | 100    | 100       |
11   | b6 batch ann eve 101 pin 1234                   | insufficient_funds | 100    | 100       |
12   | l3 login ann 1111                               | wrong_pin          | 100    | 100       |
13   | query ann                                       | open set           | 100    | 100
""")


def test_a_pin_is_changed_only_with_the_old_one() -> None:
    check_story("""
given ann 100
time | request                      | outcome         | ledger | available | booked
0    | s1 set_pin ann 1234
1    | s2 set_pin ann 5678          | wrong_pin       | 100    | 100       |
2    | s3 set_pin ann 5678 old 1111 | wrong_pin       | 100    | 100       |
3    | l1 login ann 5678            | wrong_pin       | 100    | 100       |
4    | s4 set_pin ann 5678 old 1234 | ok              | 100    | 100       |
5    | l2 login ann 5678            | ok              | 100    | 100       |
6    | l3 login ann 1234            | wrong_pin       | 100    | 100       |
7    | s5 set_pin zoe 1234          | no_such_account | none   | none      |
8    | s6 set_pin cash 1234         | no_such_account | none   | none      |
""")


def test_the_same_request_is_no_second_guess_and_no_second_wrong_pin() -> None:
    check_story("""
given ann 100
time | request                  | outcome   | ledger | available | booked
0    | s1 set_pin ann 1234
1    | d1 debit ann 10 pin 1111 | wrong_pin | 100    | 100       |
2    | d1 debit ann 10 pin 1111 | wrong_pin | 100    | 100       |
3    | d1 debit ann 10 pin 1234 | wrong_pin | 100    | 100       |
4    | d1 debit ann 10          | wrong_pin | 100    | 100       |
5    | l1 login ann 1111        | wrong_pin | 100    | 100       |
6    | l1 login ann 1234        | wrong_pin | 100    | 100       |
7    | d2 debit ann 10 pin 1234 | ok        | 90     | 90        | ann > cash 10
8    | d2 debit ann 10 pin 1111 | ok        | 90     | 90        |
9    | d2 debit ann 10          | ok        | 90     | 90        |
10   | d2 debit ann 11 pin 1111 | id_reused | 90     | 90        |
11   | l2 login ann 1111        | wrong_pin | 90     | 90        |
12   | l3 login ann 1111        | wrong_pin | 90     | 90        |
13   | l4 login ann 1234        | ok        | 90     | 90        |
""")


def test_a_frozen_or_closed_account_declines_before_the_pin_is_checked() -> None:
    check_story("""
given ann 100, bob 0
time | request                  | outcome        | ledger | available | booked
0    | s1 set_pin ann 1234
1    | f1 freeze ann
2    | d1 debit ann 10 pin 1111 | account_frozen | 100    | 100       |
3    | d2 debit ann 10 pin 1111 | account_frozen | 100    | 100       |
4    | d3 debit ann 10 pin 1111 | account_frozen | 100    | 100       |
5    | l1 login ann 1234        | ok             | 100    | 100       |
6    | k1 close bob
7    | s2 set_pin bob 1234      | account_closed | 0      | 0         |
8    | l2 login bob 1234        | account_closed | 0      | 0         |
""")


def test_a_pin_that_was_not_hashed_is_decided_like_any_where_none_is_compared() -> None:
    check_story("""
given ann 100, bob 0
time | request                             | outcome         | ledger | available | booked
0    | d1 debit ann 10 pin UNHASHED        | ok              | 90     | 90        | ann > cash 10
1    | l1 login ann UNHASHED               | ok              | 90     | 90        |
2    | b1 batch ann bob 10 pin UNHASHED    | ok              | 80     | 80        | ann > bob 10
3    | l2 login zoe UNHASHED               | no_such_account | none   | none      |
4    | s1 set_pin zoe UNHASHED             | no_such_account | none   | none      |
5    | s2 set_pin cash UNHASHED            | no_such_account | none   | none      |
6    | s3 set_pin ann 1234
7    | s4 set_pin ann UNHASHED             | wrong_pin       | 80     | 80        |
8    | l3 login ann 1111                   | wrong_pin       | 80     | 80        |
9    | l4 login ann 1111                   | wrong_pin       | 80     | 80        |
10   | l5 login ann 1111                   | wrong_pin       | 80     | 80        |
11   | l6 login ann UNHASHED               | locked          | 80     | 80        |
12   | s5 set_pin ann UNHASHED old UNHASHED | locked         | 80     | 80        |
13   | f1 freeze ann
14   | d2 debit ann 10 pin UNHASHED        | account_frozen  | 80     | 80        |
""")


def test_a_pin_that_was_not_hashed_and_would_be_compared_or_set_is_not_decided_and_counts_nothing() -> None:
    """The same id gets its decision when it comes again, hashed."""
    check_story("""
given ann 100, bob 100
time | request                                         | outcome   | ledger | available | booked
0    | s1 set_pin bob UNHASHED                         |           |        |           |
1    | s2 set_pin ann 1234
2    | d1 debit ann 10 pin UNHASHED                    |           |        |           |
3    | d1 debit ann 10 pin UNHASHED                    |           |        |           |
4    | h1 hold ann 10 60s pin UNHASHED                 |           |        |           |
5    | l1 login ann UNHASHED                           |           |        |           |
6    | s3 set_pin ann 5678 old UNHASHED                |           |        |           |
7    | b1 batch bob ann 10, ann bob 10 pin UNHASHED    |           |        |           |
8    | s1 set_pin bob 4321                             | ok        | 100    | 100       |
9    | d1 debit ann 10 pin 1234                        | ok        | 90     | 90        | ann > cash 10
10   | d1 debit ann 10 pin UNHASHED                    | ok        | 90     | 90        |
11   | l1 login ann 1111                               | wrong_pin | 90     | 90        |
12   | l2 login ann 1111                               | wrong_pin | 90     | 90        |
13   | l3 login ann 1234                               | ok        | 90     | 90        |
14   | b2 batch bob ann 10 pin 4321, ann bob 10 pin 1234 | ok | 100 | 100 | bob > ann 10; ann > bob 10
""")


def test_a_new_pin_that_was_not_hashed_is_the_same_request_as_any() -> None:
    """Servers that saw the account differently pass on the same request, once hashed and once not."""
    check_story("""
given ann 100
time | request                   | outcome         | ledger | available | booked
0    | s1 set_pin zoe UNHASHED   | no_such_account | none   | none      |
1    | o1 open zoe
2    | s1 set_pin zoe 1234       | no_such_account | none   | none      |
3    | s1 set_pin ann 1234       | id_reused       | 100    | 100       |
4    | s2 set_pin ann 1234       | ok              | 100    | 100       |
5    | s2 set_pin ann UNHASHED   | ok              | 100    | 100       |
6    | s2 set_pin ann 5678       | id_reused       | 100    | 100       |
7    | s2 set_pin zoe UNHASHED   | id_reused       | 0      | 0         |
8    | l1 login ann 1234         | ok              | 100    | 100       |
""")
