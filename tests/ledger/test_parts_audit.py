"""An audit finds what is wrong with refunds, parts of holds and raises: each damage is reported."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from atm.ledger.audit.auditing import audit
from atm.ledger.ledger import Ledger
from tests.support.entries import records

LINES = (
    *("level 2", "c1 credit main 500", "d1 debit main 30", "r1 reverse d1 10", "r2 reverse d1 5"),
    *("r3 reverse d1 15", "h1 hold main 40 60s", "p1 post h1 10 more", "x1 raise_hold main h1 20"),
    *("p2 post h1 30 more", "h2 hold main 10 60s", "z1 post h2 0", "h3 hold main 10 60s", "p3 post h3 5"),
)
DAMAGES = {
    "update refund set taken_back = 16 where reversal = 'r2'": (
        "refund of d1 by r2: 16 is recorded as taken back so far, and the reversals add up to 15"
    ),
    "delete from refund where reversal = 'r3'": (
        'its reversal of {"original":"d1"} is ok, but it is not among the reversals'
    ),
    "update refund set original = 'c1' where reversal = 'r3'": (
        "reversal of c1: the receipt of r3 says reverse"
    ),
    "update journal set amount = 29 where request_id = 'd1'": "d1: it moved 29, and its reversals 30",
    "update hold set posted = 39 where request_id = 'h1'": (
        "hold h1: 39 is recorded as paid out, and its postings add up to 40"
    ),
    "update hold set amount = 61 where request_id = 'h1'": (
        "hold h1: its receipt says hold ok of 40, and it was raised by 20"
    ),
    "update hold set posted = 60 where request_id = 'h1'": "hold h1: it is active, its amount is 60, and 60",
    "update account set held = 60": "account main: 60 is held, but its active holds add up to 20",
    "update raised_hold set counted = 61": "raised hold h1: 61 of it counts since",
    "update raised_hold set counted_us = counted_us + 1": "raised hold h1: 60 of it counts since",
    "delete from raised_hold": "raised hold h1: None of it counts since None",
    "update raised_hold set hold = 'h2'": "raised hold h2: no request raised it",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "ledger.db")
    receipts = ledger.apply(records(["l1 set_limit main 400", *LINES]))
    assert {receipt.outcome for receipt in receipts if receipt} == {"ok"}
    ledger.close()
    return tmp_path / "ledger.db"


def test_a_sound_ledger_with_parts_has_no_problem(path: Path) -> None:
    assert audit(path).problems == ()


@pytest.mark.parametrize("script", DAMAGES)
def test_damage_to_parts_is_reported(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"pragma ignore_check_constraints = 1; pragma foreign_keys = 0; {script}")
    problems = audit(path).problems
    assert any(DAMAGES[script] in problem for problem in problems), problems
