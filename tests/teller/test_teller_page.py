"""docs/teller.md shows what the teller says, and every command."""

from __future__ import annotations

import re
from typing import Any

import pytest

from atm.teller.commands import COMMANDS
from atm.teller.identity import IDLE_S
from atm.teller.language import parse
from tests.support.running import ROOT, Run
from tests.teller.ledger_bank import LedgerBank

PAGE = (ROOT / "docs" / "teller.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{20}\b")
PROMPT = "Enter command: "
MOVES = {"transfer", "hold", "post", "reverse"}


def test_the_page_lists_every_command_in_its_form() -> None:
    listed = PAGE.replace("\\|", "|")
    assert [command.form for command in COMMANDS.values() if f"`{command.form}`" not in listed] == []
    assert f"{IDLE_S:g} seconds" in PAGE


def test_the_pages_session_is_what_the_teller_says(
    run: Run, bank: LedgerBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = re.search(r"```\n(Enter command: .*?)```", PAGE, re.DOTALL)
    assert session is not None
    lines = session[1].splitlines()
    shown_references = list(dict.fromkeys(REFERENCE.findall(session[1])))

    def with_todays_references(line: str, **context: Any) -> Any:
        moves = [request["id"] for request in bank.requests if request["op"] in MOVES]
        for shown, told in zip(shown_references, moves, strict=False):
            line = line.replace(shown, told)
        return parse(line, **context)

    monkeypatch.setattr("atm.teller.session.parse", with_todays_references)
    typed = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
    said = "\n".join(run(typed="\n".join(typed)).results)
    for shown, told in zip(shown_references, dict.fromkeys(REFERENCE.findall(said)), strict=True):
        said = said.replace(told, shown)
    assert said.splitlines() == [line for line in lines if not line.startswith(PROMPT)]


def test_the_readmes_session_is_what_the_teller_says(run: Run, bank: LedgerBank) -> None:
    session = re.search(r"\$ \./bin/run\n(Welcome.*?)```", README, re.DOTALL)
    assert session is not None
    lines = session[1].splitlines()
    typed = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
    assert run(typed="\n".join(typed)).out == [line for line in lines if not line.startswith(PROMPT)]
