"""Comparing ledgers: which differ, and which were compared with no other."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from atm.ledger.audit.findings import Findings
from atm.ledger.commands import Credit
from atm.ledger.ledger import Ledger
from atm.office import verify
from atm.office.comparison import compare
from atm.office.main import main
from tests.support.entries import logged, time_us
from tests.support.story import RECORDS, write_ledger

SOUND = Findings(
    applied_index=9,
    postings=5,
    chain=((4, "aa"), (9, "bb")),
    digests={"balance": "11", "journal": "22"},
    problems=(),
    more_problems=0,
    seconds=0.1,
)
replace = msgspec.structs.replace


def test_ledgers_that_say_the_same_do_not_differ() -> None:
    found = compare({"n1": SOUND, "n2": SOUND})
    assert (found.differences, found.alone) == ([], [])
    assert found.compared == [
        "journals up to log entry 4: n1, n2",
        "journals up to log entry 9: n1, n2",
        "all tables at log entry 9: n1, n2",
    ]


def test_the_first_index_at_which_journals_differ_is_reported_with_both_groups() -> None:
    for chain, index in ((((4, "aa"), (9, "cc")), 9), (((4, "dd"), (9, "cc")), 4)):
        found = compare({"n1": replace(SOUND, chain=chain), "n2": SOUND, "n3": SOUND})
        assert found.differences == [f"up to log entry {index} the journals differ: n2, n3 | n1"]


def test_tables_that_differ_are_named() -> None:
    odd = replace(SOUND, digests={"balance": "11", "journal": "23"})
    found = compare({"n1": SOUND, "n2": odd, "n3": SOUND})
    assert found.differences == ["at log entry 9 the tables journal differ: n1, n3 | n2"]


def test_a_ledger_that_is_behind_is_compared_as_far_as_it_goes() -> None:
    behind = replace(SOUND, applied_index=6, chain=((4, "ab"),), digests={"balance": "99"})
    found = compare({"n1": SOUND, "n2": SOUND, "n3": behind})
    assert found.differences == ["up to log entry 4 the journals differ: n1, n2 | n3"]
    assert found.alone == []


def test_a_ledger_that_shares_no_index_is_alone() -> None:
    lost = replace(SOUND, applied_index=1, chain=())
    assert compare({"n1": SOUND, "n2": SOUND, "n3": lost}).alone == ["n3"]
    assert verify._report({"n1": SOUND, "n2": SOUND, "n3": lost}, {}).verdict == "incomplete"


# -- the command, on files ---------------------------------------------------------------------------------


@pytest.fixture
def ledgers(tmp_path: Path) -> list[Path]:
    return [write_ledger(tmp_path / f"n{number}.db") for number in (1, 2, 3)]


def test_equal_files_are_right(ledgers: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *map(str, ledgers)]) == 0
    assert capsys.readouterr().out.endswith("The books are right\n")
    assert main(["verify", str(ledgers[0])]) == 0


def test_a_file_that_is_ahead_is_compared_where_the_others_are(
    ledgers: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    index = len(RECORDS) + 1
    with closing(Ledger(ledgers[2])) as ledger:
        ledger.apply([(index, time_us(index), logged(Credit(id="more", account="main", amount=5)))])
    assert main(["verify", *map(str, ledgers)]) == 0
    printed = capsys.readouterr().out
    assert f"Compared journals up to log entry {index - 1}: {', '.join(map(str, ledgers))}\n" in printed
    assert f"Compared all tables at log entry {index - 1}: {ledgers[0]}, {ledgers[1]}\n" in printed


def test_a_pin_that_one_ledger_alone_lacks_is_a_difference(
    ledgers: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The audit of a single ledger cannot find it."""
    with closing(sqlite3.connect(ledgers[1])) as connection:
        connection.execute("update account set pin = null where account = 'alice'")
        connection.commit()
    assert main(["verify", *map(str, ledgers)]) == 1
    expected = f"the tables account differ: {ledgers[0]}, {ledgers[2]} | {ledgers[1]}\n"
    assert expected in capsys.readouterr().out


def test_the_findings_are_printed_as_json(ledgers: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(ledgers[0])) as connection:
        connection.execute("update balance set amount = 7 where account = 'main'")
        connection.commit()
    assert main(["verify", str(ledgers[0]), "--json"]) == 1
    report = msgspec.json.decode(capsys.readouterr().out)
    assert report["verdict"] == "problems"
    assert "all balances add up to 7, not to 0" in report["ledgers"][str(ledgers[0])]["problems"]
