"""The JavaScript client under Node: what it does when answers are lost, and that it agrees with Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from atm.ledger.commands import Outcome
from atm.money import AmountError, format_amount, parse_amount

STORIES = Path(__file__).with_name("client.mjs")
AMOUNTS = ["5000", "12.5", "12.50", "0.01", "1,234.50", "1234567.89", "999999999999.99", "1,23", "0,500", "0"]
AMOUNTS += [
    "-1",
    "1e3",
    "nan",
    "12.345",
    "12.3456",
    "",
    " 1",
    "1.",
    ".5",
    "1000000000000",
    "٣",
    "0x10",
    "12,5",
]


def row(text: str, currency: str | None) -> list[object]:
    """Return what Python makes of an amount."""
    try:
        minor = parse_amount(text, currency)
    except AmountError:
        return [text, currency, None, None]
    return [text, currency, minor, format_amount(minor, currency, in_column=True)]


def test_the_javascript_client(url: str, new_account: Callable[..., str]) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("THERE IS NO NODE HERE: the JavaScript client is not tested (Node 20)")
    cases = {
        "amounts": [row(text, currency) for text in AMOUNTS for currency in (None, "EUR", "JPY", "KWD")],
        "outcomes": sorted(str(outcome) for outcome in Outcome),
        "account": new_account(),
    }
    ran = subprocess.run(
        [node, str(STORIES), url, json.dumps(cases)], capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("ok ") == 6
