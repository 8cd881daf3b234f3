"""Each event that a server tells of is in the table of docs/operations.md, with its level, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEVELS = {"debug", "info", "warning", "error"}
OF_HELPERS = {"fatal": "error", "_warn_once": "warning", "EventRecord": "as it is"}
NAME = re.compile(r"[a-z]+\.[a-z_]+")
# Their level depends on what happened; the table says how.
BY_CASE = {"lines.left_out", "lines.lost", "leader.stepped_down"}


def calls() -> Iterator[tuple[str, str]]:
    """Yield each event's name and the level that it is told with."""
    for path in sorted((ROOT / "atm" / "server").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            named = {ast.Attribute: "attr", ast.Name: "id"}.get(type(node.func))
            method = getattr(node.func, named) if named else "by case"
            if method in LEVELS or method in OF_HELPERS or not named:
                for argument in node.args:
                    text = str(argument.value) if isinstance(argument, ast.Constant) else ""
                    if NAME.fullmatch(text):
                        yield text, OF_HELPERS.get(method, method)


def documented() -> dict[str, str]:
    """Return the level of each event in the table."""
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text[text.index("| event | level |") :].split("\n\n")[0].splitlines()[2:]
    rows = [row.split(" | ") for row in table]
    return {name: row[1] for row in rows for name in re.findall(r"`([^`]+)`", row[0])}


def test_every_event_is_in_the_table_with_its_level_and_no_other() -> None:
    told = dict(calls())
    assert len(told) > 50
    assert told.keys() == documented().keys()
    for event, level in told.items():
        if event not in BY_CASE:
            assert documented()[event] == level, event


def test_no_event_has_two_levels() -> None:
    levels: dict[str, set[str]] = {}
    for event, level in calls():
        levels.setdefault(event, set()).add(level)
    assert [event for event, found in levels.items() if len(found) > 1] == []
