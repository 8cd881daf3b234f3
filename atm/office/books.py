"""Exports the journal for other programs: JSON lines, CSV, hledger, beancount; see docs/ledger.md."""

from __future__ import annotations

import csv
import itertools
import operator
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TextIO
from urllib.parse import quote

import msgspec
from msgspec.structs import astuple

from atm.currencies import minor_units
from atm.ledger.audit.extract import AccountLine, JournalLine
from atm.ledger.commands import CASH, WRITEOFF
from atm.ledger.own_accounts import TRANSIT
from atm.spreadsheet import safe_cell

COMMODITY = "XXX"  # "no currency" in ISO 4217: the ledger names none for the bank's first
LAST_DAY = date(9999, 12, 30)

HLEDGER_OWN = {CASH: "assets:cash", WRITEOFF: "expenses:writeoff", TRANSIT: "assets:transit"}
BEANCOUNT_OWN = {CASH: "Assets:Cash", WRITEOFF: "Expenses:Writeoff", TRANSIT: "Assets:Transit"}
# An account in beancount has letters, digits and "-", and begins with an upper-case letter or a digit.
_ESCAPES = str.maketrans({"-": "--", "_": "-u", ".": "-d"})


def write_jsonl(lines: Iterable[JournalLine], out: TextIO) -> None:
    """Write one JSON object for each posting."""
    encode = msgspec.json.Encoder().encode
    for line in lines:
        out.write(encode(line).decode() + "\n")


def write_csv(lines: Iterable[JournalLine], out: TextIO) -> None:
    """Write the column names, then one row for each posting; absent values are empty.

    No text in it is a formula to a spreadsheet: see `safe_cell`.
    """
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(JournalLine.__struct_fields__)
    for line in lines:
        writer.writerow(safe_cell(value) if isinstance(value, str) else value for value in astuple(line))


def write_hledger(
    accounts: Iterable[AccountLine], lines: Iterable[JournalLine], out: TextIO, commodity: str
) -> None:
    """Write a journal that `hledger check --strict` accepts; it ends with all balances asserted."""
    known = list(accounts)
    out.write("; The bank's books: a customer's money is what the bank owes.\n")
    currencies = sorted({each.currency for each in known if each.currency not in (None, commodity)}, key=str)
    for currency in (None, *currencies):
        example = f"1000.{'0' * minor_units(currency)}"  # with a point, even where there are no decimals
        out.write(f"commodity {example} {currency or commodity}\n")
    out.writelines(f"account {hledger_account(each.account)}\n" for each in known)
    last = date(1970, 1, 1)
    for first, request in _requests(lines):
        last = _day(first.time_us)
        out.write(f"\n{last} * {_words(first)}  ; request {quote(first.request_id, safe='')}\n")
        out.writelines(f"    ; {name} {_comment(value)}\n" for name, value in _remark(first))
        for name, amount in _legs(request):
            out.write(f"    {hledger_account(name)}  {_amount(amount, first.currency, commodity)}\n")
    out.write(f"\n{last} * balances of the ledger\n")
    for each in known:
        balance = _amount(-each.balance, each.currency, commodity)
        out.write(f"    {hledger_account(each.account)}  0 {each.currency or commodity} = {balance}\n")


def write_beancount(
    accounts: Iterable[AccountLine], lines: Iterable[JournalLine], out: TextIO, commodity: str
) -> None:
    """Write a file that `bean-check` accepts; it ends with all balances asserted."""
    known = list(accounts)
    out.write('option "title" "The bank\'s books: a customer\'s money is what the bank owes"\n')
    out.write(f'option "operating_currency" "{commodity}"\n\n')
    for each in known:
        out.write(
            f"{_day(each.opened_us)} open {beancount_account(each.account)} {each.currency or commodity}\n"
        )
        out.write(f'  name: "{each.account}"\n')
    last = date(1970, 1, 1)
    for first, request in _requests(lines):
        last = _day(first.time_us)
        out.write(f'\n{last} * "{_words(first)}"\n  request: {_quoted(first.request_id)}\n')
        out.writelines(f"  {name}: {_quoted(value)}\n" for name, value in _remark(first))
        for name, amount in _legs(request):
            out.write(f"  {beancount_account(name)}  {_amount(amount, first.currency, commodity)}\n")
    out.write("\n")
    for each in known:  # an assertion holds at the start of its day; without `~ 0.00` it tolerates a cent
        account, balance = beancount_account(each.account), _decimal(-each.balance, each.currency)
        exactly = f"~ {_decimal(0, each.currency)} {each.currency or commodity}"
        out.write(f"{last + timedelta(days=1)} balance {account}  {balance} {exactly}\n")


def hledger_account(name: str) -> str:
    """Return the account's name in hledger, unique for each account."""
    own, _, currency = name.partition(":")
    if own in HLEDGER_OWN:
        return f"{HLEDGER_OWN[own]}-{currency}" if currency else HLEDGER_OWN[own]
    return f"liabilities:customers:{name}"


def beancount_account(name: str) -> str:
    """Return the account's name in beancount, unique for each account.

    A first small letter becomes a capital, and a first capital gets `X-x` before it; `-`, `_` and `.`
    become `--`, `-u` and `-d`.
    """
    own, _, currency = name.partition(":")
    if own in BEANCOUNT_OWN:
        return f"{BEANCOUNT_OWN[own]}-{currency}" if currency else BEANCOUNT_OWN[own]
    first, rest = name[0], name[1:].translate(_ESCAPES)
    return "Liabilities:Customers:" + (f"X-x{first}{rest}" if first.isupper() else first.upper() + rest)


def _requests(lines: Iterable[JournalLine]) -> Iterator[tuple[JournalLine, list[JournalLine]]]:
    """Yield the postings of each request together, with the first of them."""
    for _, postings in itertools.groupby(lines, operator.attrgetter("request_id")):
        request = list(postings)
        yield request[0], request


def _legs(request: Iterable[JournalLine]) -> Iterator[tuple[str, int]]:
    """Yield accounts and changes with an accountant's signs: the payer is owed less, which is a plus."""
    for line in request:
        yield line.debit_account, line.amount
        yield line.credit_account, -line.amount


def _words(line: JournalLine) -> str:
    return " ".join(filter(None, (line.op, line.exception)))


def _remark(line: JournalLine) -> list[tuple[str, str]]:
    """Return the code and the text, as far as there are any."""
    said = {"code": None if line.code is None else str(line.code), "text": line.text}
    return [(name, value) for name, value in said.items() if value is not None]


def _comment(text: str) -> str:
    """Return a text in which hledger finds no tag: a colon makes one, such as a date for the posting."""
    return text.replace("%", "%25").replace(":", "%3A")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _day(time_us: int) -> date:
    """Return the day (UTC) of log time, the last one for times beyond the calendar."""
    try:
        return min(datetime.fromtimestamp(time_us / 1_000_000, UTC).date(), LAST_DAY)
    except (OverflowError, ValueError):
        return LAST_DAY


def _amount(amount_minor: int, currency: str | None, commodity: str) -> str:
    return f"{_decimal(amount_minor, currency)} {currency or commodity}"


def _decimal(amount_minor: int, currency: str | None) -> str:
    decimals = minor_units(currency)
    return f"{Decimal(amount_minor).scaleb(-decimals):.{decimals}f}"
