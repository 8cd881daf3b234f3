"""Limits from feature level 2 on: a ceiling on a balance, transfers that count towards the daily limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from atm.ledger.commands import Query
from atm.ledger.ledger import Ledger
from tests.ledger.stories import check_story
from tests.support.entries import command, entry, records


def test_a_ceiling_stops_what_would_raise_the_balance_above_it_and_corrections_pass() -> None:
    check_story("""
given ann 500, bob 500
time | request                | outcome          | ledger | available | booked
0    | level 2
1    | e1 set_ceiling ann 600 | ok               | 500    | 500       |
2    | c1 credit ann 101      | ceiling_exceeded | 500    | 500       |
3    | c2 credit ann 100      | ok               | 600    | 600       | cash > ann 100
4    | t1 transfer bob ann 1  | ceiling_exceeded | 500    | 500       |
5    | d1 debit ann 300       | ok               | 300    | 300       | ann > cash 300
6    | c3 credit ann 300      | ok               | 600    | 600       | cash > ann 300
7    | r1 reverse d1          | ok               | 900    | 900       | cash > ann 300
8 | w1 write_off ann 50 | ok | 950 | 950 | writeoff > ann 50 (written_off)
9    | c4 credit ann 1        | ceiling_exceeded | 950    | 950       |
10   | h1 hold ann 400 60s    | ok               | 950    | 550       |
11   | c5 credit ann 1        | ceiling_exceeded | 950    | 550       |
12   | p1 post h1             | ok               | 550    | 550       | ann > cash 400
13   | t2 transfer bob ann 50 | ok               | 450    | 450       | bob > ann 50
14   | c4 credit ann 1        | ceiling_exceeded | 950    | 950       |
15   | e2 set_ceiling ann 10  | ok               | 600    | 600       |
16   | d2 debit ann 100       | ok               | 500    | 500       | ann > cash 100
17   | c6 credit ann 1        | ceiling_exceeded | 500    | 500       |
18   | e3 set_ceiling ann none | ok              | 500    | 500       |
19   | c7 credit ann 1000     | ok               | 1500   | 1500      | cash > ann 1000
20   | e4 set_ceiling zoe 10  | no_such_account  | none   | none      |
""")


def test_a_ceiling_looks_at_each_leg_on_the_balance_that_those_before_it_left() -> None:
    check_story("""
given ann 500, bob 500
time | request                              | outcome          | ledger | available | booked
0    | level 2
1    | e1 set_ceiling ann 600               | ok               | 500    | 500       |
2    | b1 batch bob ann 60, bob ann 41      | ceiling_exceeded | 500    | 500       |
3    | b2 batch bob ann 101, ann bob 1      | ceiling_exceeded | 500    | 500       |
4 | b3 batch ann bob 1, bob ann 101 | ok | 600 | 600 | ann > bob 1; bob > ann 101
5    | b4 batch bob ann 501, ann bob 1      | insufficient_funds | 400  | 400       |
""")


def test_transfers_count_towards_the_daily_limit_only_where_that_is_set() -> None:
    check_story("""
given ann 1000, bob 1000
time | request                        | outcome            | ledger | available | booked
0    | level 2
1    | m1 set_limit ann 100           | ok                 | 1000   | 1000      |
2    | t1 transfer ann bob 200        | ok                 | 800    | 800       | ann > bob 200
3    | d1 debit ann 30                | ok                 | 770    | 770       | ann > cash 30
4    | m2 set_limit ann 100 transfers | ok                 | 770    | 770       |
5    | t2 transfer ann bob 71         | limit_exceeded     | 770    | 770       |
6    | t3 transfer ann bob 50         | ok                 | 720    | 720       | ann > bob 50
7    | d2 debit ann 21                | limit_exceeded     | 720    | 720       |
8    | t4 transfer ann bob 721        | insufficient_funds | 720    | 720       |
9    | t5 transfer bob ann 500        | ok                 | 750    | 750       | bob > ann 500
10   | d3 debit ann 20                | ok                 | 1200   | 1200      | ann > cash 20
11   | t6 transfer ann bob 1          | limit_exceeded     | 1200   | 1200      |
1d   | t7 transfer ann bob 100        | ok                 | 1100   | 1100      | ann > bob 100
1d   | m3 set_limit ann 100           | ok                 | 1100   | 1100      |
1d   | t8 transfer ann bob 300        | ok                 | 800    | 800       | ann > bob 300
1d   | d4 debit ann 1                 | limit_exceeded     | 800    | 800       |
""")


def test_the_legs_of_a_batch_count_together_and_for_who_pays_each() -> None:
    check_story("""
given ann 1000, bob 1000
time | request                                     | outcome        | ledger | available | booked
0    | level 2
1    | m1 set_limit ann 100 transfers              | ok             | 1000   | 1000      |
2    | b1 batch ann bob 60, bob ann 500, ann bob 41 | limit_exceeded | 1000  | 1000      |
3 | b2 batch ann bob 60, bob ann 500, ann bob 40|ok|1400|1400| ann > bob 60; bob > ann 500; ann > bob 40
4    | t1 transfer ann bob 1                       | limit_exceeded | 1400   | 1400      |
5 | r1 reverse b2 | ok | 1000 | 1000 | bob > ann 40; ann > bob 500; bob > ann 60
6    | t2 transfer ann bob 101                     | limit_exceeded | 1000   | 1000      |
7 | t3 transfer ann bob 100 | ok | 900 | 900 | ann > bob 100
8 | r2 reverse t3 30 | ok | 930 | 930 | bob > ann 30
9    | d1 debit ann 31                             | limit_exceeded | 930    | 930       |
10 | d2 debit ann 30 | ok | 900 | 900 | ann > cash 30
""")


def test_a_reversal_gives_nothing_back_of_what_was_never_counted() -> None:
    check_story("""
given ann 1000, bob 1000
time | request                        | outcome        | ledger | available | booked
0    | level 2
1    | m1 set_limit ann 100           | ok             | 1000   | 1000      |
2    | t1 transfer ann bob 90         | ok             | 910    | 910       | ann > bob 90
3    | d1 debit ann 80                | ok             | 830    | 830       | ann > cash 80
4    | m2 set_limit ann 100 transfers | ok             | 830    | 830       |
5    | r1 reverse t1                  | ok             | 920    | 920       | bob > ann 90
6    | t2 transfer ann bob 21         | limit_exceeded | 920    | 920       |
7    | t3 transfer ann bob 20         | ok             | 900    | 900       | ann > bob 20
8    | m3 set_limit ann 100           | ok             | 900    | 900       |
9    | r2 reverse t3                  | ok             | 920    | 920       | bob > ann 20
10   | d2 debit ann 1                 | limit_exceeded | 920    | 920       |
""")


def test_a_limit_without_an_amount_has_no_transfers_to_count() -> None:
    with pytest.raises(ValueError, match="nothing that transfers could count towards"):
        command("m1 set_limit ann none transfers")


def test_a_ceiling_outlives_a_restart(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.apply(records(["level 2", "e1 set_ceiling main 100"]))
    ledger.close()
    ledger = Ledger(tmp_path / "ledger.db")
    [receipt] = ledger.apply(records(["c1 credit main 101"], first_index=3))
    assert receipt is not None
    assert receipt.outcome == "ceiling_exceeded"
    ledger.close()


def test_to_take_off_what_was_never_set_leaves_no_row() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(["level 2", "e1 set_ceiling main none", "m1 set_limit main none"]))
    assert ledger._cursor.execute("select count(*) from account_limit").get == 0
    ledger.close()


def test_a_query_says_the_ceiling_and_that_transfers_count() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(["level 2", "e1 set_ceiling main 600", "m1 set_limit main 100 transfers"]))
    found = ledger.view(Query(id="q", account="main"))
    assert (found.ceiling, found.transfers_count) == (600, True)
    ledger.apply(records(["e2 set_ceiling main none", "m2 set_limit main 100"], first_index=4))
    found = ledger.view(Query(id="q", account="main"))
    assert (found.ceiling, found.transfers_count) == (None, None)
    ledger.close()


@pytest.mark.parametrize("line", ["m1 set_limit main 100 transfers", "e1 set_ceiling main 100"])
def test_below_feature_level_2_such_an_entry_changes_nothing(line: str) -> None:
    ledger = Ledger(":memory:")
    [receipt] = ledger.apply([(1, 1000, entry(line))])
    assert receipt is not None
    assert receipt.outcome == "not_allowed"
    [receipt] = ledger.apply([(2, 1000, entry("c1 credit main 500"))])
    assert receipt is not None
    assert receipt.outcome == "ok"
    ledger.close()
