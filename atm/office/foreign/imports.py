"""`bin/ledger import` of another program's books: reads all, says what would be booked, and books it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from atm.client import Client
from atm.command_line import printable
from atm.money import format_amount
from atm.office.foreign.beancount import read_beancount
from atm.office.foreign.csv_rows import read_rows
from atm.office.foreign.entries import Entry, Problem
from atm.office.foreign.funds import Foreseen, foreseen
from atm.office.foreign.hledger import read_hledger
from atm.office.foreign.mapping import BadMapping, Mapping, load_mapping
from atm.office.foreign.requests import Planned, planned
from atm.office.foreign.survey import PROBLEMS_MAX, Survey, moves
from atm.office.windows import ImportRequest

FOREIGN_READERS: dict[str, Callable[[str, Mapping], Iterator[Entry | Problem]]] = {
    "csv": read_rows,
    "hledger": read_hledger,
    "beancount": read_beancount,
}
SUFFIXES = {"journal": "hledger", "bean": "beancount"}  # what else such files end with


class CannotBeCarried(Exception):
    """Nothing was booked; `str()` of it is one line for people."""


class ForeignBooks:
    """A file and its mapping, read and surveyed."""

    def __init__(self, file: Path, form: str, mapping: Path) -> None:
        """Raise `BadMapping`, `OSError`."""
        self._mapping = load_mapping(_text(mapping, "utf-8"), str(mapping))
        self._read = FOREIGN_READERS[form]
        self._name = str(file)
        self._data = _text(file, self._mapping.encoding)
        try:
            self._survey = Survey(self._planned(), self._mapping.currency)
        except BadMapping as error:
            raise BadMapping(f"{file}: {error}") from error

    def _planned(self) -> Iterator[Planned | Problem]:
        return planned(self._read(self._data, self._mapping), self._mapping)

    def tell(self) -> None:
        """Print what would be booked; raise `CannotBeCarried` if not all can be, with why on stderr."""
        for line in self._survey.told():
            print(line)
        for problem in self._survey.problems:
            print(f"{self._name}:{problem.line}: {printable(problem.what)}", file=sys.stderr)
        count = self._survey.problem_count
        if count > PROBLEMS_MAX:
            print(f"{self._name}: and {count - PROBLEMS_MAX:,} more", file=sys.stderr)
        if count:
            raise CannotBeCarried(f"{self._name}: not all of it can be carried over, so nothing was booked")

    def check_funds(self, client: Client) -> None:
        """Raise `CannotBeCarried` if the bank would refuse a payment for its amount. Raise as the client."""
        found = foreseen(client, self.requests(), self._survey.short, self._survey.accounts)
        for each in found:
            print(self._line_of(each), file=sys.stderr)
        if any(each.ceiling is None for each in found):
            raise CannotBeCarried(f"{self._name} lets accounts pay what they do not have: nothing was booked")
        if found:
            raise CannotBeCarried(f"{self._name} lets balances rise over their ceilings: nothing was booked")

    def _line_of(self, found: Foreseen) -> str:
        where, account = found.where, found.account
        amount = format_amount(found.beyond, self._mapping.currency)
        if found.ceiling is None:
            return (
                f"{where}: {account} would be below 0: {amount} is not there. If it was there before the "
                f'file begins, say {account} = "{amount.split()[0]}" under [opening] in the mapping'
            )
        ceiling = format_amount(found.ceiling, self._mapping.currency)
        return (
            f"{where}: the balance of {account} would rise over its ceiling of {ceiling}, by {amount} at "
            f"most. An operator can raise it (at the teller: ceiling {account} <amount>)"
        )

    def requests(self) -> Iterator[ImportRequest]:
        """Yield all requests in their order."""
        for each in self._planned():
            assert isinstance(each, Planned), "`tell` has refused problems"
            if each.command is not None:
                where = f"{self._name}:{each.line}" if each.line else "the opening"
                yield ImportRequest(where, each.command, postings=sum(1 for _ in moves(each.command)))


def _text(path: Path, encoding: str) -> str:
    """Return the whole file, without a byte order mark; raise `BadMapping` if it is not in this encoding."""
    data = sys.stdin.buffer.read() if path == Path("-") else path.read_bytes()
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise BadMapping(
            f"{path} is not in {encoding}: {error}. The mapping's encoding says another"
        ) from error
