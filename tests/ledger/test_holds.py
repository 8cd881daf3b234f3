"""Holds: an amount is reserved, then paid out, released, expired, or paid out late."""

from __future__ import annotations

import pytest

from atm.ledger import holds
from atm.ledger.commands import AMOUNT_MINOR_MAX, BALANCE_MINOR_MAX, Expire, Hold, LevelRaise
from atm.ledger.ledger import Ledger, Record
from tests.ledger.audit import audit
from tests.ledger.stories import check_story
from tests.support.entries import balance_of, logged, records


def test_a_hold_reserves_and_its_posting_pays_out() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 100    | 40        |
1    | query ann          | open                | 100    | 40
2    | d1 debit ann 41    | insufficient_funds  | 100    | 40        |
3    | h2 hold ann 41 60s | insufficient_funds  | 100    | 40        |
4    | d2 debit ann 40    | ok                  | 60     | 0         | ann > cash 40
5    | p1 post h1         | ok                  | 0      | 0         | ann > cash 60
6    | p2 post h1         | hold_already_posted | 0      | 0         |
7    | v1 void h1         | hold_already_posted | 0      | 0         |
""")


def test_a_partial_posting_releases_the_rest_and_ends_the_hold() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 100    | 40        |
1    | p1 post h1 61      | exceeds_hold        | 100    | 40        |
2    | p2 post h1 20      | ok                  | 80     | 80        | ann > cash 20
3    | p3 post h1 40      | hold_already_posted | 80     | 80        |
4    | h2 hold ann 80 60s | ok                  | 80     | 0         |
5    | p4 post h2 80      | ok                  | 0      | 0         | ann > cash 80
""")


def test_a_void_releases_all_and_books_nothing() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 100    | 40        |
1    | v1 void h1         | ok                  | 100    | 100       |
2    | v2 void h1         | hold_already_voided | 100    | 100       |
3    | p1 post h1         | hold_already_voided | 100    | 100       |
""")


def test_only_what_is_a_hold_can_be_posted_or_voided() -> None:
    check_story("""
given ann 100
time | request             | outcome            | ledger | available | booked
0    | p1 post h1          | hold_not_found     | none   | none      |
1    | v1 void h1          | hold_not_found     | none   | none      |
2    | c1 credit ann 1     | ok                 | 101    | 101       | cash > ann 1
3    | p2 post c1          | hold_not_found     | none   | none      |
4    | h2 hold ann 102 60s | insufficient_funds | 101    | 101       |
5    | p3 post h2          | hold_not_found     | none   | none      |
6    | v2 void h2          | hold_not_found     | none   | none      |
7    | h3 hold zoe 1 60s   | no_such_account    | none   | none      |
8    | h4 hold cash 1 60s  | no_such_account    | none   | none      |
""")


def test_a_hold_ends_by_the_command_to_expire_and_by_no_clock() -> None:
    check_story("""
given ann 100
time | request             | outcome      | ledger | available | booked
0    | h1 hold ann 60 60s  | ok           | 100    | 40        |
10   | h2 hold ann 20 200s | ok           | 100    | 20        |
59   | expire
59   | query ann           | open         | 100    | 20
1h   | query ann           | open         | 100    | 20
60   | expire
60   | query ann           | open         | 100    | 80
61   | v1 void h1          | hold_expired | 100    | 80        |
62   | expire
210  | expire
210  | query ann           | open         | 100    | 100
""")


def test_a_limited_expiry_ends_those_that_were_due_first_and_leaves_the_others() -> None:
    check_story("""
given ann 100, bob 100
time | request             | outcome      | ledger | available | booked
0    | h9 hold ann 1 60s   | ok           | 100    | 99        |
0    | h8 hold ann 2 61s   | ok           | 100    | 97        |
0    | h7 hold bob 4 59s   | ok           | 100    | 96        |
0    | h6 hold ann 8 62s   | ok           | 100    | 89        |
0    | h5 hold ann 16 3h   | ok           | 100    | 73        |
0    | h4 hold bob 32 58s  | ok           | 100    | 64        |
70   | v4 void h4          | ok           | 100    | 96        |
70   | expire 2
70   | query bob           | open         | 100    | 100
70   | query ann           | open         | 100    | 74
70   | v9 void h9          | hold_expired | 100    | 74        |
70   | v8 void h8          | ok           | 100    | 76        |
71   | expire 2
71   | v6 void h6          | hold_expired | 100    | 84        |
72   | expire 2
72   | query ann           | open         | 100    | 84
""")


def test_limited_expiries_in_one_batch_end_what_they_end_one_by_one() -> None:
    lines = ["c1 credit main 100"]
    lines += [f"h{number} hold main 1 {1 + number * 7 % 20}s" for number in range(20)]
    lines += ["-", "v3 void h3", "p4 post h4", "expire 3", "x1 hold main 1 1s", "v5 void h5", "expire 1"]
    lines += ["expire 6", "x2 hold main 1 1s", "expire 5"]
    log = [(index, index * 2_000_000, said) for index, _, said in records(lines)]
    states = set()
    for cut in (1, 2, 7, len(log)):
        ledger = Ledger(":memory:")
        for start in range(0, len(log), cut):
            ledger.apply(log[start : start + cut])
        ended = ledger._database.cursor().execute("select count(*) from hold where state = 'expired'").get
        assert ended == 15
        states.add(ledger.digest())
        ledger.close()
    assert len(states) == 1


def test_a_posting_after_the_time_but_before_the_command_is_not_late() -> None:
    check_story("""
given ann 100
time | request            | outcome | ledger | available | booked
0    | h1 hold ann 60 60s | ok      | 100    | 40        |
0    | h2 hold ann 40 60s | ok      | 100    | 0         |
90   | p1 post h1         | ok      | 40     | 0         | ann > cash 60
90   | v1 void h2         | ok      | 40     | 40        |
91   | expire
91   | query ann          | open    | 40     | 40
""")


def test_cash_that_left_after_its_hold_ended_is_booked_and_listed() -> None:
    check_story("""
given ann 100
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 100    | 40        |
60   | expire
61   | p1 post h1         | ok                  | 40     | 40        | ann > cash 60 (late)
62   | p2 post h1         | hold_already_posted | 40     | 40        |
63   | v1 void h1         | hold_already_posted | 40     | 40        |
""")


def test_a_late_posting_takes_an_account_below_zero_if_the_money_is_gone() -> None:
    check_story("""
given ann 100, bob 10
time | request               | outcome            | ledger | available | booked
0    | h1 hold ann 60 60s    | ok                 | 100    | 40        |
60   | expire
61   | d1 debit ann 90       | ok                 | 10     | 10        | ann > cash 90
62   | p1 post h1 11         | ok                 | -1     | -1        | ann > cash 11 (overdrawn)
63   | d2 debit ann 1        | insufficient_funds | -1     | -1        |
64   | t1 transfer ann bob 1 | insufficient_funds | -1     | -1        |
65   | h2 hold ann 1 60s     | insufficient_funds | -1     | -1        |
66   | k1 close ann          | not_empty          | -1     | -1        |
67   | t2 transfer bob ann 1 | ok                 | 9      | 9         | bob > ann 1
68   | c1 credit ann 5       | ok                 | 5      | 5         | cash > ann 5
""")


def test_a_late_posting_may_take_what_another_hold_reserves_and_that_is_still_paid() -> None:
    check_story("""
given ann 100
time | request            | outcome            | ledger | available | booked
0    | h1 hold ann 60 60s | ok                 | 100    | 40        |
60   | expire
61   | h2 hold ann 90 60s | ok                 | 100    | 10        |
62   | p1 post h1         | ok                 | 40     | -50       | ann > cash 60 (late)
63   | d1 debit ann 1     | insufficient_funds | 40     | -50       |
64   | p2 post h2         | ok                 | -50    | -50       | ann > cash 90 (overdrawn)
""")


def test_a_late_posting_from_a_closed_account_is_the_banks_loss() -> None:
    check_story("""
given ann 60
time | request            | outcome             | ledger | available | booked
0    | h1 hold ann 60 60s | ok                  | 60     | 0         |
60   | expire
61   | d1 debit ann 60    | ok                  | 0      | 0         | ann > cash 60
62   | k1 close ann       | ok                  | 0      | 0         |
63   | p1 post h1 50      | ok                  | 0      | 0         | writeoff > cash 50 (written_off)
64   | p2 post h1         | hold_already_posted | 0      | 0         |
65   | query writeoff     | open                | -50    | -50
""")


def test_a_frozen_account_pays_out_its_holds_and_takes_no_new_one() -> None:
    check_story("""
given ann 100
time | request            | outcome        | ledger | available | booked
0    | h1 hold ann 60 60s | ok             | 100    | 40        |
0    | h2 hold ann 10 60s | ok             | 100    | 30        |
1    | f1 freeze ann
2    | h3 hold ann 1 60s  | account_frozen | 100    | 30        |
3    | p1 post h1         | ok             | 40     | 30        | ann > cash 60
4    | v1 void h2         | ok             | 40     | 40        |
""")


@pytest.mark.parametrize(("early_us", "held"), [(1, 60), (0, 0), (-1, 0)])
@pytest.mark.parametrize("cut", [2, 3], ids=["later", "in the same batch"])
def test_a_hold_expires_at_its_microsecond_and_not_before(early_us: int, held: int, cut: int) -> None:
    log = records(["c1 credit main 100", "-", "-"])
    made_us = log[1][1]
    due_us = made_us + 5_000
    log[1] = (2, made_us, logged(Hold(id="h1", account="main", amount=60, expires_ms=5)))
    log[2] = (3, due_us - early_us, logged(Expire()))
    ledger = Ledger(":memory:")
    ledger.apply(log[:cut])
    assert cut == 3 or ledger.next_expiry_us == due_us
    ledger.apply(log[cut:])
    assert ledger.next_expiry_us == (due_us if held else None)
    assert ledger._database.cursor().execute("select held from account").get == held
    audit(ledger)
    ledger.close()


def test_the_next_expiry_is_known_after_every_change_and_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("holds") / "ledger.db"
    lines = ["c1 credit main 100", "h1 hold main 1 60s", "h2 hold main 1 30s", "h3 hold main 1 90s"]
    lines += ["v2 void h2", "p1 post h1", "expire", "v3 void h3"]
    log = records(lines)
    made = [time_us for _, time_us, _ in log]
    next_one = [None, made[1] + 60_000_000, *[made[2] + 30_000_000] * 2, made[1] + 60_000_000]
    next_one += [*[made[3] + 90_000_000] * 2, None]
    for at, expected in enumerate(next_one):
        ledger = Ledger(path)
        ledger.apply(log[at : at + 1])
        assert ledger.next_expiry_us == expected, lines[at]
        ledger.close()


def test_even_late_postings_end_where_numbers_are_no_longer_exact() -> None:
    """The one refusal of a late posting: the balance would not be exact. It changes nothing."""
    posts = BALANCE_MINOR_MAX // AMOUNT_MINOR_MAX + 1
    lines = ["c1 credit main LARGEST"]
    for number in range(posts):
        lines += [f"h{number} hold main LARGEST 1s", "expire"]
    lines += ["d1 debit main LARGEST", *(f"p{number} post h{number}" for number in range(posts))]
    log = [(index, index * 1_000_000, command) for index, _, command in records(lines)]
    ledger = Ledger(":memory:")
    receipts = ledger.apply(log)[-posts:]
    outcomes = [str(receipt.outcome) for receipt in receipts if receipt]
    assert outcomes == ["ok"] * (posts - 1) + ["limit_exceeded"]
    assert balance_of(ledger, "main") == -(posts - 1) * AMOUNT_MINOR_MAX
    held = ledger._database.cursor().execute("select state, count(*) from hold group by state order by state")
    assert held.fetchall() == [("expired", 1), ("posted", posts - 1)]
    audit(ledger)
    ledger.close()


# -- how many holds an account may have, from feature level 2 on ------------------------------------------


def level_2(log: list[Record], at: int) -> list[Record]:
    """Return the log with an entry in place of the one at that index, which raises the level."""
    log[at - 1] = (at, log[at - 1][1], LevelRaise(level=2))
    return log


def check_outcomes(log: list[Record], expected: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Apply the log in one batch; by one ledger that forgets nothing; and by one that is opened each time."""
    path = tmp_path_factory.mktemp("holds") / "ledger.db"
    at_once, one_by_one, digest = Ledger(":memory:"), Ledger(":memory:"), ""
    receipts = at_once.apply(log)
    assert " ".join("-" if each is None else str(each.outcome) for each in receipts) == expected
    assert [receipt for record in log for receipt in one_by_one.apply([record])] == receipts
    for record, receipt in zip(log, receipts, strict=True):
        opened = Ledger(path)
        assert opened.apply([record]) == [receipt]
        digest = opened.digest()
        audit(opened)
        opened.close()
    assert at_once.digest() == one_by_one.digest() == digest
    at_once.close()
    one_by_one.close()


@pytest.fixture
def three_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "ACTIVE_HOLDS_MAX", 3)


@pytest.mark.usefixtures("three_at_most")
def test_an_account_has_no_more_active_holds_than_the_rule_allows(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lines = ["-", "c1 credit main 100", *(f"h{number} hold main 1 60s" for number in range(4))]
    lines += ["v0 void h0", "h4 hold main 1 60s", "h5 hold main 1 60s", "p1 post h1", "h6 hold main 1 60s"]
    lines += ["r2 reverse h2", "h7 hold main 1 1s", "h8 hold main 1 60s", "-", "expire", "h9 hold main 1 60s"]
    expected = "- ok ok ok ok limit_exceeded ok ok limit_exceeded ok ok ok ok limit_exceeded - - ok"
    log = [(index, index * 1_000_000, entry) for index, _, entry in records(lines)]
    check_outcomes(level_2(log, 1), expected, tmp_path_factory)


@pytest.mark.usefixtures("three_at_most")
def test_the_holds_of_other_accounts_do_not_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = ["-", "o1 open ann", "c1 credit main 100", "c2 credit ann 100"]
    lines += [f"h{number} hold {'main' if number % 2 else 'ann'} 1 60s" for number in range(6)]
    check_outcomes(level_2(records(lines), 1), "- " + " ".join(["ok"] * 9), tmp_path_factory)


@pytest.mark.usefixtures("three_at_most")
def test_holds_of_before_the_rule_stay_and_count(tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = ["c1 credit main 100", *(f"h{number} hold main 1 60s" for number in range(5)), "-"]
    lines += ["h5 hold main 1 60s", "v0 void h0", "v1 void h1", "h6 hold main 1 60s"]
    lines += ["v2 void h2", "h7 hold main 1 60s", "h8 hold main 1 60s"]
    expected = "ok ok ok ok ok ok - limit_exceeded ok ok limit_exceeded ok ok limit_exceeded"
    check_outcomes(level_2(records(lines), 7), expected, tmp_path_factory)


def test_that_many_are_a_thousand() -> None:
    lines = ["-", "c1 credit main 100000", *(f"h{number} hold main 1 60s" for number in range(1001))]
    ledger = Ledger(":memory:")
    receipts = ledger.apply(level_2(records(lines), 1))
    outcomes = [str(receipt.outcome) for receipt in receipts if receipt]
    assert outcomes == ["ok"] * 1001 + ["limit_exceeded"]
    ledger.close()
