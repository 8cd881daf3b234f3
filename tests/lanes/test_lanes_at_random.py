"""Requests at random in a bank of several lanes, their messages lost, late and repeated: no cent is lost.

`ATM_SEEDS=2000` tries as many; a seed that fails is told with the shortest script that fails.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

import apsw
import pytest

from atm.lanes.halves import CREDITED, PAID
from atm.lanes.share import lane_of
from atm.ledger.accounts import DAY_US
from atm.ledger.audit.auditing import audit
from tests.lanes.lanes_in_memory import Bank, shortened

SEEDS = int(os.environ.get("ATM_SEEDS", "300"))
STEPS = 70
ACTORS = {"reverse": ["tim", "tim", "local"], "approve": ["olga", "olga", "otto", "tim", "tom"]}
# Kinds of requests, and how often each is drawn.
KINDS = {
    "transfer": 30,
    "reverse": 35,
    "approve": 25,
    "hold": 6,
    "end": 7,
    "pay": 8,
    "state": 8,
    "ceiling": 2,
    "limit": 5,
}
LATE_US = (1, 1000, 60_000_000, DAY_US // 3, DAY_US)


def accounts_of(lanes: int) -> list[str]:
    """Return names of two accounts in each lane."""
    of_lane = [[name for n in range(50) if lane_of(name := f"a{n}", lanes) == lane] for lane in range(lanes)]
    return [name for names in of_lane for name in names[:2]]


class Customers:
    """Draws what is asked for, mostly about what was asked for before."""

    def __init__(self, draw: Random, lanes: int) -> None:
        self._draw, self.accounts = draw, accounts_of(lanes)
        self.euros = {name for name in self.accounts[1::2] if draw.random() < 0.15}
        self._ids: dict[str, list[str]] = {"opening": []}
        self._lines: list[str] = []

    def opening(self) -> list[str]:
        """Return requests that make the bank."""
        draw, lines = self._draw, []
        for name in self.accounts:
            currency = " in EUR" if name in self.euros else ""
            lines.append(f"local o-{name} open {name}{currency}")
            lines.append(f"local c-{name} credit {name} {draw.choice((300, 1000))}{currency}")
            if draw.random() < 0.5:
                also = draw.choice(("", " transfers", " transfers"))
                lines.append(f"local l-{name} set_limit {name} {draw.choice((100, 300))}{also}{currency}")
        if draw.random() < 0.8:
            lines.append(f"local n0 set_approval_limit reverse {draw.choice((0, 0, 60))}")
        for number in range(6):
            one, other = draw.sample(sorted(set(self.accounts) - self.euros), 2)
            lines.append(f"local p{number} transfer {one} {other} {draw.choice((40, 100, 200))}")
            self._ids["opening"].append(f"p{number}")
        return lines

    def line(self, *, again: float = 0.0, reused: float = 0.0) -> str:
        """Return a request by an actor; with these chances one again, or one with the id of another."""
        draw = self._draw
        if self._lines and draw.random() < again:
            return draw.choice(self._lines)
        op, rest = self._request()
        request_id = f"{op[0]}{len(self._lines)}"
        if self._lines and draw.random() < reused:
            request_id = draw.choice(self._lines).split()[1]
        if request_id in rest.split():  # none names itself
            request_id = f"x{len(self._lines)}"
        actor = draw.choice(ACTORS.get(op, ["local"]))
        kind = "asked by tim" if (op, actor) == ("reverse", "tim") else op
        self._ids.setdefault(kind, []).append(request_id)
        self._lines.append(f"{actor} {request_id} {op} {rest}")
        return self._lines[-1]

    def _request(self) -> tuple[str, str]:
        draw = self._draw
        one, other = draw.sample(self.accounts, 2)
        amount, currency = draw.choice((1, 10, 30, 100)), " in EUR" if one in self.euros else ""
        match draw.choices(list(KINDS), list(KINDS.values()))[0]:
            case "transfer":
                amount_said = "all" if draw.random() < 0.08 else f"{amount}{currency}"
                return "transfer", f"{one} {other} {amount_said}"
            case "reverse":
                part = draw.choice(("", f" {amount}", f" {amount}"))
                return "reverse", self._known(
                    "opening", "opening", "opening", "transfer", "transfer", "reverse", "hold"
                ) + part
            case "approve":
                return "approve", self._known(
                    "asked by tim", "asked by tim", "asked by tim", "reverse", "approve"
                )
            case "hold":
                return "hold", f"{one} {amount} {draw.choice(('1s', '10h'))}{currency}"
            case "end":
                known = self._known("hold", "hold", "transfer")
                op = draw.choice(("post", "void", "raise_hold"))
                return op, f"{one} {known} {amount}{currency}" if op == "raise_hold" else known
            case "pay":
                return draw.choice(("credit", "debit")), f"{one} {amount}{currency}"
            case "state":
                return draw.choice(("freeze", "unfreeze", "unfreeze", "close")), one
            case "ceiling":
                return "set_ceiling", f"{one} {draw.choice((100, 400))}{currency}"
        limit = draw.choice((amount, 200))
        return "set_limit", draw.choice(
            (f"{one} none", f"{one} {limit}", f"{one} {limit} transfers")
        ) + currency

    def _known(self, *kinds: str) -> str:
        """Return the id of an earlier request, or of one that was never asked for."""
        ids = self._ids.get(self._draw.choice(kinds))
        return (
            self._draw.choice(ids[-4 if kinds[0] == "asked by tim" else -6 :])
            if ids and self._draw.random() < 0.98
            else "t0"
        )


def script_of(seed: int, lanes: int) -> list[str]:
    """Return the steps of a seed."""
    draw = Random(seed)
    customers = Customers(draw, lanes)
    script = [f"ask {line}" for line in customers.opening()]
    script += ["send 0", "deliver 0", "deliver 0"] * 6  # what the opening transfers need
    kinds = ("ask", "later", "send", "deliver", "repeat", "lose", "kill", "wait", "expire")
    weights = [20, *(draw.choice((0, 1, 3)) * usual for usual in (2, 8, 12, 3, 2, 1, 1, 1))]
    for _ in range(STEPS):
        kind = draw.choices(kinds, weights)[0]
        match kind:
            case "ask" | "later":
                script.append(f"{kind} {customers.line(again=0.1, reused=0.05)}")
            case "wait":
                script.append(f"wait {draw.choice(LATE_US)}")
            case _:
                script.append(f"{kind} {draw.randrange(1000)}")
    return script


Judge = Callable[[Sequence[str]], str]  # tells what is wrong with a script, "" if nothing is


def assert_right(script: Sequence[str], judge: Judge) -> None:
    """Judge a script; if something is wrong, tell the shortest for which it is."""
    why = judge(script)
    if why:
        short = shortened(script, lambda fewer: bool(judge(fewer)))
        raise AssertionError("\n".join([why, *short, judge(short)]))


def run_to_the_end(
    lanes: int, script: Sequence[str], look: Callable[[Bank], None] = lambda bank: None
) -> str:
    """Run a script, and what is under way to its end; return what is wrong."""
    bank = Bank(lanes)
    try:
        bank.run(script)
        bank.end()
        bank.check_end()
        look(bank)
    except AssertionError as error:
        return str(error) or "assert"
    return ""


def test_whatever_is_asked_and_lost_no_cent_is_lost_and_each_id_has_one_outcome() -> None:
    for seed in range(SEEDS):
        lanes = 2 + seed % 2
        assert_right(script_of(seed, lanes), partial(run_to_the_end, lanes))


@pytest.mark.parametrize("seed", range(20))
def test_an_audit_finds_nothing_in_such_books_and_their_halves_agree(seed: int, tmp_path: Path) -> None:
    lanes = 2 + seed % 2

    def look(bank: Bank) -> None:
        halves: dict[str, Counter[tuple[object, ...]]] = {PAID: Counter(), CREDITED: Counter()}
        for number, lane in enumerate(bank.lanes):
            path = tmp_path / f"{number}.db"
            path.unlink(missing_ok=True)
            lane.write(path)
            assert audit(path).problems == ()
            connection = apsw.Connection(str(path))
            for sql, found in halves.items():
                found.update(connection.execute(sql))
            connection.close()
        assert halves[PAID] == halves[CREDITED]

    assert_right(script_of(seed, lanes), partial(run_to_the_end, lanes, look=look))


def beside_one_lane(lanes: int, script: Sequence[str]) -> str:
    """Do the same in a bank of one lane; return the first request after which the two differ.

    Where both refuse, each may say another reason, as it looks at payer and receiver in another order. One
    lane knows at once that a reversal would be refused where it arrives, and needs no approval.
    """
    several, one = Bank(lanes), Bank(1)
    for line in script:
        kind, rest = line.split(maxsplit=1)
        one.now_us = several.now_us
        if kind != "ask":
            several.run([line])
            one.run([line])
            continue
        told = [bank.ask(*rest.split(maxsplit=1), finish=True) for bank in (several, one)]
        if told[0] != told[1] and ({"ok", "unknown"} & {*told} or told[1] == "needs_approval"):
            return f"{line}: {told[0]}, and {told[1]} in one lane"
        found = [
            {name: each for lane in bank.lanes for name, each in lane.customers(one.now_us).items()}
            for bank in (several, one)
        ]
        for name, each in found[1].items():
            if found[0][name] != each:
                return f"{line}: {name} has {found[0][name]}, and {each} in one lane"
    return ""


def test_to_customers_several_lanes_are_one_bank_daily_limits_and_approvals_too() -> None:
    for seed in range(SEEDS):
        draw = Random(seed)
        customers = Customers(draw, 3)
        script = [f"ask {line}" for line in customers.opening()]
        for _ in range(STEPS // 2):
            script.append(f"ask {customers.line(again=0.1)}")
            if draw.random() < 0.1:
                script += [f"wait {draw.choice(LATE_US)}", "expire now"]
        assert_right(script, partial(beside_one_lane, 3))
