"""`bin/ledger open`: what a list of accounts asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

import atm.office.main as office
from atm.client import Unavailable
from atm.ledger.commands import Open
from atm.office.import_command import openings
from atm.office.replay import BadFile


def opened(text: str, currency: str | None = None) -> list[tuple[str, str | None]]:
    commands = [request.command for request in openings(text.splitlines(keepends=True), currency)]
    return [(command.account, command.currency) for command in commands if isinstance(command, Open)]


def test_each_line_names_an_account_and_maybe_its_currency() -> None:
    assert opened("ann\n\nbob  EUR\n carl\tJPY \n") == [("ann", None), ("bob", "EUR"), ("carl", "JPY")]


def test_the_option_is_for_accounts_without_a_currency_in_the_list() -> None:
    assert opened("ann\nbob EUR\n", "USD") == [("ann", "USD"), ("bob", "EUR")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("bob EUR x", "line 2 is neither a name nor a name and a currency: bob EUR x"),
        ("bob eur", "line 2: eur is no currency of ISO 4217, such as EUR"),
        ("bob EUX", "line 2: EUX is no currency of ISO 4217, such as EUR"),
        ("b/b", "line 2 names no account"),
        ("cash", "line 2: cash is the bank's own"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_with_its_number(line: str, why: str) -> None:
    with pytest.raises(BadFile) as told:
        opened(f"ann\n{line}\n")
    assert str(told.value).startswith(why)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ["open", "names.txt"],
            "ledger: The bank is not available: gone. Run it again: nothing is done twice",
        ),
        (["deeds"], "ledger: The bank is not available: gone"),
        (["find", "--code", "7"], "ledger: The bank is not available: gone"),
    ],
)
def test_only_who_changed_something_is_told_to_run_it_again(
    command: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unavailable(*_: object) -> None:
        raise Unavailable("gone")

    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("ann\n")
    Path("cluster.ini").write_text("[node n1]\nclient = localhost:5000\npeer = localhost:6000\n")
    monkeypatch.setattr(office, "open_accounts", unavailable)
    monkeypatch.setattr(office, "Client", unavailable)
    assert office.main(command) == 3
    assert capsys.readouterr().err == f"{told}\n"
