"""hledger and beancount are asked what their files say: they read the same as we do."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest

from atm.ledger.audit.extract import account_lines, journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.office import books
from atm.office.foreign.beancount import read_beancount
from atm.office.foreign.entries import Entry, Problem
from atm.office.foreign.hledger import read_hledger
from atm.office.foreign.mapping import Mapping
from atm.office.foreign.requests import planned
from atm.office.foreign.survey import Survey
from tests.support.story import write_ledger

Moves = list[tuple[str, Counter[str]]]  # of each transaction: the day, and what each account receives

JOURNAL = """
; what people write
commodity 1000.00 EUR
account assets:checking account  ; type: A
P 2026-01-01 EUR 1.1 USD

2026-01-02 * (A1) salary (January)  ; month: january
    ; a comment of its own
    assets:checking account        1000.00 EUR  ; all of it
    income:work
2026/1/3=2026/1/5 food
    ! assets:checking account        EUR -30.50
    expenses:food and drink \t20 EUR
    expenses:tools  10.50 EUR
2026.01.04 saved
    assets:savings:a-b   1,500 EUR  =  1500.00 EUR
    assets:checking account   -1,500.00 EUR
2026-01-05
    assets:savings:a-b   -1 EUR
    assets:savings:a-b   -1 EUR
    assets:checking account
"""
BEAN = """
option "title" "what people write"
;; a comment
* a heading
2026-01-01 open Assets:Checking
2026-01-01 open Assets:Savings-2 EUR
  name: "x"
2026-01-01 open Expenses:Food
2026-01-01 open Income:Work
2026-01-01 commodity EUR
2026-01-02 * "Employer" "salary \\"January\\"" #work ^link-1
  bank-id: "B7"
  Assets:Checking   1,000.00 EUR
    month: "January"
  Income:Work    -1000.00 EUR ; all
2026/01/03 txn "food"
  Assets:Checking
  ! Expenses:Food  12.50 EUR
2026-01-04 ! "saved"
  Assets:Savings-2   +500 EUR
  Assets:Checking    -500.00 EUR

2026-01-05 balance Assets:Checking  487.50 EUR
2026-01-05 price EUR 1.1 USD
"""


class Same(Mapping, frozen=True):
    """Every name of the file stays what it is."""

    def account_for(self, name: str) -> str:
        return name


def moves(found: list[Entry | Problem]) -> Moves:
    assert [each for each in found if isinstance(each, Problem)] == []
    moved: Moves = []
    for entry in found:
        if isinstance(entry, Entry) and entry.changes:
            moved.append((entry.day, Counter()))
            for change in entry.changes:
                moved[-1][1][change.account] += change.amount_minor or 0
    return moved


def hledger(file: Path, *arguments: str) -> str:
    if shutil.which("hledger") is None:
        pytest.skip("HLEDGER IS NOT INSTALLED: what it reads is not compared here (apt-get install hledger)")
    command = ["hledger", "-f", str(file), "print", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_hledger_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "books.journal").write_text(JOURNAL)
    theirs: Moves = []
    last = ""
    for row in csv.DictReader(io.StringIO(hledger(tmp_path / "books.journal", "-x", "-O", "csv"))):
        if row["txnidx"] != last:
            theirs.append((row["date"].replace("/", "-"), Counter()))
            last = row["txnidx"]
        theirs[-1][1][row["account"]] += int(Decimal(row["amount"].replace(",", "")) * 100)
    assert moves(list(read_hledger(JOURNAL, Same(commodity="EUR")))) == theirs
    assert len(theirs) == 4


def test_what_hledger_prints_of_a_file_that_is_not_read_is_read(tmp_path: Path) -> None:
    (tmp_path / "other.journal").write_text(JOURNAL)
    text = "alias income:work = income:job\ninclude other.journal\n"
    (tmp_path / "books.journal").write_text(text)
    assert all(isinstance(each, Problem) for each in read_hledger(text, Same(commodity="EUR")))
    printed = hledger(tmp_path / "books.journal", "-x", "--real")
    ours = moves(list(read_hledger(printed, Same(commodity="EUR"))))
    assert [sorted(changes.values()) for _, changes in ours] == [
        sorted(changes.values()) for _, changes in moves(list(read_hledger(JOURNAL, Same(commodity="EUR"))))
    ]
    assert "income:job" in ours[0][1]


def test_beancount_reads_the_same() -> None:
    loader = pytest.importorskip(
        "beancount.loader", reason="BEANCOUNT IS NOT INSTALLED: what it reads is not compared here"
    )
    entries, errors, _ = loader.load_string(BEAN)
    assert errors == []
    theirs: Moves = []
    for entry in entries:
        if hasattr(entry, "postings"):
            theirs.append((entry.date.isoformat(), Counter()))
            for posting in entry.postings:
                theirs[-1][1][posting.account] += int(posting.units.number * 100)
    assert moves(list(read_beancount(BEAN, Same(commodity="EUR")))) == theirs
    assert len(theirs) == 3


@pytest.mark.parametrize("form", ["hledger", "beancount"])
def test_our_own_export_is_read_with_the_balances_of_the_ledger(tmp_path: Path, form: str) -> None:
    with open_read_only(write_ledger(tmp_path / "ledger.db")) as cursor:
        accounts, lines = list(account_lines(cursor)), list(journal_lines(cursor))
    text = io.StringIO()
    if form == "hledger":
        books.write_hledger(accounts, lines, text, "EUR")
        names = {books.hledger_account(each.account): each.account for each in accounts}
    else:
        books.write_beancount(accounts, lines, text, "EUR")
        names = {books.beancount_account(each.account): each.account for each in accounts}
    names = {name: "losses" if account == "writeoff" else account for name, account in names.items()}
    mapping = Mapping(accounts=names, books="bank", commodity="EUR")
    read = read_hledger if form == "hledger" else read_beancount
    survey = Survey(planned(read(text.getvalue(), mapping), mapping))
    assert survey.problems == []
    ends = {name: survey.received[name] - survey.paid[name] for name in survey.accounts if name != "losses"}
    expected = {each.account: each.balance for each in accounts if each.account not in ("cash", "writeoff")}
    assert {name: amount for name, amount in ends.items() if amount} == {
        name: amount for name, amount in expected.items() if amount
    }
