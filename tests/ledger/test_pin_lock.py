"""The lock of a PIN from feature level 2 on: it ends by itself, and grows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from atm.ledger.commands import LoggedCommand, Login, Query, SetPin, Unlock
from atm.ledger.ledger import Ledger
from atm.ledger.pin_lock import LOCK_US_MAX
from tests.ledger.audit import audit
from tests.ledger.stories import MIDNIGHT_US, check_story
from tests.support.entries import entry, logged

MINUTE_US = 60_000_000
DAY_US = 24 * 60 * MINUTE_US
LONG_US = 10 * 60 * MINUTE_US  # shorter locks are not worth an unlock
PIN, WRONG = "a" * 64, "b" * 64


def test_the_third_wrong_pin_in_a_row_locks_for_a_minute_and_each_further_one_for_twice_as_long() -> None:
    check_story("""
given ann 100
time | request             | outcome                    | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
0    | query ann           | open set                   | 100    | 100
1    | l1 login ann 1111   | wrong_pin                  | 100    | 100       |
1    | query ann           | open set 2 left 1 wrong    | 100    | 100
2    | l2 login ann 1111   | wrong_pin                  | 100    | 100       |
3    | d1 debit ann 1 pin 1111 | wrong_pin              | 100    | 100       |
3    | query ann           | open locked 60s 3 wrong    | 100    | 100
62   | l3 login ann 1234   | locked                     | 100    | 100       |
64   | query ann           | open set 1 left 3 wrong    | 100    | 100
64   | l4 login ann 1111   | wrong_pin                  | 100    | 100       |
64   | query ann           | open locked 120s 4 wrong   | 100    | 100
183  | l5 login ann 1111   | locked                     | 100    | 100       |
185  | l6 login ann 1111   | wrong_pin                  | 100    | 100       |
185  | query ann           | open locked 240s 5 wrong   | 100    | 100
430  | l7 login ann 1234   | ok                         | 100    | 100       |
430  | query ann           | open set                   | 100    | 100
431  | l8 login ann 1111   | wrong_pin                  | 100    | 100       |
431  | l9 login ann 1234   | ok                         | 100    | 100       |
""")


def test_unlock_ends_the_present_lock_and_takes_nothing_off_the_next_and_only_three_times_a_day() -> None:
    check_story("""
given ann 100
time | request             | outcome                    | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
0    | y0 unlock ann       | ok                         | 100    | 100       |
1    | l1 login ann 1111   | wrong_pin                  | 100    | 100       |
1    | l2 login ann 1111   | wrong_pin                  | 100    | 100       |
1    | l3 login ann 1111   | wrong_pin                  | 100    | 100       |
2    | y1 unlock ann       | ok                         | 100    | 100       |
2    | y2 unlock ann       | ok                         | 100    | 100       |
2    | query ann           | open set 1 left 3 wrong    | 100    | 100
3    | l4 login ann 1111   | wrong_pin                  | 100    | 100       |
3    | query ann           | open locked 120s 4 wrong   | 100    | 100
4    | y3 unlock ann       | ok                         | 100    | 100       |
5    | l5 login ann 1111   | wrong_pin                  | 100    | 100       |
5    | y4 unlock ann       | ok                         | 100    | 100       |
6    | l6 login ann 1111   | wrong_pin                  | 100    | 100       |
6    | y5 unlock ann       | limit_exceeded             | 100    | 100       |
6    | query ann           | open locked 480s 6 wrong   | 100    | 100
7    | l7 login ann 1234   | locked                     | 100    | 100       |
1d   | l8 login ann 1111   | wrong_pin                  | 100    | 100       |
1d   | query ann           | open locked 960s 7 wrong   | 100    | 100
1d   | y6 unlock ann       | ok                         | 100    | 100       |
1d   | l9 login ann 1234   | ok                         | 100    | 100       |
""")


def test_the_tenth_wrong_pin_of_a_day_locks_whatever_was_in_between() -> None:
    guesses = "\n".join(
        f"{second} | w{second} login ann 1111 | wrong_pin | 100 | 100 |\n"
        f"{second} | r{second} set_pin ann 1234 old 1234 | ok | 100 | 100 |"
        for second in range(1, 10)
    )
    check_story(f"""
given ann 100
time | request                 | outcome                   | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
{guesses}
10   | query ann               | open set 1 left 9 wrong   | 100    | 100
10   | l1 login ann 1111       | wrong_pin                 | 100    | 100       |
10   | query ann               | open locked 60s 10 wrong  | 100    | 100
80   | l2 login ann 1111       | wrong_pin                 | 100    | 100       |
80   | query ann               | open locked 120s 11 wrong | 100    | 100
1d   | query ann               | open set 1 left 11 wrong  | 100    | 100
1d   | l3 login ann 1234       | ok                        | 100    | 100       |
1d   | query ann               | open set                  | 100    | 100
1d   | l4 login ann 1111       | wrong_pin                 | 100    | 100       |
1d   | query ann               | open set 2 left 1 wrong   | 100    | 100
""")


def test_wrong_pins_are_told_until_the_customer_logs_in_though_money_was_paid_out_in_between() -> None:
    check_story("""
given ann 100
time | request                 | outcome                 | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
1    | l1 login ann 1111       | wrong_pin               | 100    | 100       |
1    | l2 login ann 1111       | wrong_pin               | 100    | 100       |
2    | d1 debit ann 1 pin 1234 | ok                      | 99     | 99        | ann > cash 1
2    | query ann               | open set 2 wrong        | 99     | 99
3    | l3 login ann 1234       | ok                      | 99     | 99        |
3    | query ann               | open set                | 99     | 99
""")


def test_a_reset_removes_the_pin_and_the_lock_and_whoever_may_sets_the_next_first_pin() -> None:
    check_story("""
given ann 100
time | request             | outcome         | ledger | available | booked
0    | level 2
0    | s1 set_pin ann 1234
1    | l1 login ann 1111   | wrong_pin       | 100    | 100       |
1    | l2 login ann 1111   | wrong_pin       | 100    | 100       |
1    | l3 login ann 1111   | wrong_pin       | 100    | 100       |
2    | f1 freeze ann
2    | z1 reset_pin ann    | ok              | 100    | 100       |
2    | query ann           | frozen          | 100    | 100
3    | s2 set_pin ann 5678 | ok              | 100    | 100       |
3    | u1 unfreeze ann
4    | l4 login ann 1234   | wrong_pin       | 100    | 100       |
4    | query ann           | open set 2 left 1 wrong | 100 | 100
4    | l5 login ann 5678   | ok              | 100    | 100       |
5    | z2 reset_pin zoe    | no_such_account | none   | none      |
5    | z3 reset_pin cash   | no_such_account | none   | none      |
6    | z4 reset_pin ann    | ok              | 100    | 100       |
6    | z5 reset_pin ann    | ok              | 100    | 100       |
""")


def test_an_account_that_release_1_1_locked_stays_locked_until_it_is_unlocked() -> None:
    check_story("""
given ann 100
time | request             | outcome                  | ledger | available | booked
0    | s1 set_pin ann 1234
1    | l1 login ann 1111   | wrong_pin                | 100    | 100       |
1    | l2 login ann 1111   | wrong_pin                | 100    | 100       |
1    | l3 login ann 1111   | wrong_pin                | 100    | 100       |
2    | level 2
9d   | query ann           | open locked              | 100    | 100
9d   | l4 login ann 1234   | locked                   | 100    | 100       |
9d   | y1 unlock ann       | ok                       | 100    | 100       |
9d   | query ann           | open set 1 left          | 100    | 100
9d   | l5 login ann 1111   | wrong_pin                | 100    | 100       |
9d   | query ann           | open locked 120s 1 wrong | 100    | 100
9d   | y2 unlock ann       | ok                       | 100    | 100       |
9d   | l6 login ann 1234   | ok                       | 100    | 100       |
""")


def test_below_that_level_the_ledger_has_no_such_table_and_the_lock_of_release_1_1() -> None:
    with closing(Ledger(":memory:")) as ledger:
        lines = [
            "s set_pin main 1234",
            *(f"l{number} login main 1111" for number in range(4)),
            "y unlock main",
        ]
        receipts = ledger.apply([(index, index, entry(line)) for index, line in enumerate(lines, 1)])
        outcomes = [receipt.outcome for receipt in receipts if receipt is not None]
        assert outcomes == ["ok", "wrong_pin", "wrong_pin", "wrong_pin", "locked", "ok"]
        tables = ledger._database.cursor().execute("select name from sqlite_schema").fetchall()
        assert ("pin_lock",) not in tables
        assert ledger.view(Query(id="q", account="main")).tries_left is None


# -- what an attacker gets ---------------------------------------------------------------------------------


class Attack:
    """Guesses at a PIN for some days, each at the first moment at which it is looked at."""

    def __init__(self) -> None:
        self.ledger = Ledger(":memory:")
        self.now_us = MIDNIGHT_US
        self._index = 0
        for line in ("level 2", "-"):
            self._apply(entry(line))
        self._do(SetPin(id="first", account="main", pin=PIN))

    def _apply(self, contents: LoggedCommand | object | None) -> str:
        self._index += 1
        [receipt] = self.ledger.apply([(self._index, self.now_us + self._index, contents)])  # type: ignore[list-item]
        return "" if receipt is None else str(receipt.outcome)

    def _do(self, command: Login | SetPin | Unlock) -> str:
        return self._apply(logged(command))

    def guesses_a_day(self, days: int, *, unlocks: bool = False, customer_logs_in: bool = False) -> list[int]:
        """Return how many wrong PINs were looked at on each day."""
        counts = [0] * days
        while (day := (self.now_us - MIDNIGHT_US) // DAY_US) < days:
            if customer_logs_in:
                self._do(Login(id=f"right{self._index}", account="main", pin=PIN))
            outcome = self._do(Login(id=f"wrong{self._index}", account="main", pin=WRONG))
            if outcome == "wrong_pin":
                counts[day] += 1
                continue
            assert outcome == "locked"
            until_us = self.ledger.view(Query(id="q", account="main")).locked_until_us
            assert until_us is not None
            lasts = until_us - self.now_us > LONG_US
            if unlocks and lasts and self._do(Unlock(id=f"u{self._index}", account="main")) == "ok":
                continue
            self.now_us = max(self.now_us, until_us)
        audit(self.ledger)
        return counts


@pytest.fixture
def attack() -> Iterator[Attack]:
    attack = Attack()
    yield attack
    attack.ledger.close()


@pytest.mark.parametrize(
    ("helped_by", "first_day", "first_week", "later_days"),
    [((), 13, 19, 1), (("unlocks",), 16, 40, 4), (("customer_logs_in",), 20, 136, 20)],
    ids=["alone", "an operator unlocks as often as he may", "the customer logs in after each guess"],
)
def test_an_attacker_gets_this_many_guesses_a_day(
    attack: Attack, helped_by: tuple[str, ...], first_day: int, first_week: int, later_days: int
) -> None:
    """The table in docs/security.md has these figures."""
    counts = attack.guesses_a_day(14, **dict.fromkeys(helped_by, True))
    assert (counts[0], sum(counts[:7])) == (first_day, first_week)
    assert max(counts[7:]) <= later_days
    assert LOCK_US_MAX == DAY_US
