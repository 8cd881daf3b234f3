"""The file that says how another program's books are carried over: TOML, every key in docs/ledger.md."""

from __future__ import annotations

import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from atm.currencies import MINOR_UNITS, minor_units
from atm.ledger.commands import CASH, WRITEOFF, AccountName
from atm.office.foreign.decimals import Point, exact_amount
from atm.office.foreign.entries import NotCarried


class BadMapping(Exception):
    """The mapping cannot be used; `str()` of it is one line for people."""


class CsvLayout(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a CSV has what; most keys name columns.

    The account of a row is `account`, as the bank here calls it, or stands in `account_column`; what is on
    the other side stands in `other_column`, or is cash. An amount is in `amount`, or without a sign in
    `paid_in` or `paid_out`.
    """

    account: AccountName | None = None
    account_column: str | None = None
    other_column: str | None = None
    amount: str | None = None
    paid_in: str | None = None
    paid_out: str | None = None
    date: str | None = None
    text: tuple[str, ...] = ()
    commodity: str | None = None
    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    skip_lines: Annotated[int, Meta(ge=0, le=1000)] = 0
    newest_first: bool = False

    def __post_init__(self) -> None:
        if (self.account is None) == (self.account_column is None):
            raise ValueError("csv needs account, or account_column")
        if (self.amount is None) == (self.paid_in is None and self.paid_out is None):
            raise ValueError("csv needs amount, or paid_in and paid_out")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the file must have."""
        singles = (
            self.account_column,
            self.other_column,
            self.amount,
            self.paid_in,
            self.paid_out,
            self.date,
            self.commodity,
        )
        return (*(each for each in singles if each is not None), *self.text)


class Mapping(Struct, frozen=True, forbid_unknown_fields=True):
    """How a file is carried over.

    `accounts` are names of the file, or beginnings before a `*`, and the accounts here; a `*` there is what
    the first one stands for. `books` is whose they are: a customer's have a plus where an account receives,
    the bank's (as `ledger export` writes them) where it gives. `id` is what has a transaction's id: a column,
    a tag or `code`, a key of metadata. `source` is part of all ids. `opening` is paid in before all else.
    `commodity` is what the file calls its currency, and `currency` in which the accounts are here.
    """

    accounts: dict[str, str] = {}
    opening: dict[AccountName, str] = {}
    books: Literal["customer", "bank"] = "customer"
    source: str = ""
    id: str | None = None
    commodity: str | None = None
    currency: str | None = None
    decimal: Point = "."
    encoding: str = "utf-8"
    csv: CsvLayout | None = None

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"encoding: there is none that is called {self.encoding!r}") from None
        if self.currency is not None and self.currency not in MINOR_UNITS:
            raise ValueError(f"currency: {self.currency!r} is no currency of ISO 4217 with minor units")
        for account in self.opening:
            if account in (CASH, WRITEOFF) or self.opening_minor(account) <= 0:
                raise ValueError("opening is what customers' accounts begin with, each more than 0")
        for name, account in self.accounts.items():
            if "*" in name[:-1] or "*" in account[:-1] or (account[-1:] == "*" and name[-1:] != "*"):
                raise ValueError(f"accounts: {name!r} = {account!r} may have a * at the end only")
            if account[-1:] != "*":
                check_account(account)

    def opening_minor(self, account: str) -> int:
        """Return what the account begins with, in minor units; raise `ValueError`."""
        try:
            amount_minor, commodity = self._exact(self.opening.get(account, "0"))
        except NotCarried as error:
            raise ValueError(f"opening of {account}: {error}") from error
        if commodity:
            raise ValueError(f"opening of {account}: an amount without a currency")
        return amount_minor

    def account_for(self, name: str) -> str:
        """Return the account for a name of the file, by its longest beginning; raise `NotCarried`."""
        found = self.accounts.get(name)
        if found is None:
            begun = [each for each in self.accounts if each[-1:] == "*" and name.startswith(each[:-1])]
            if not begun:
                raise NotCarried(f"the mapping has no account for {name!r}: add it under [accounts]")
            longest = max(begun, key=len)
            found = self.accounts[longest]
            if found[-1:] == "*":
                found = found[:-1] + name[len(longest) - 1 :]
        try:
            check_account(found)
        except ValueError as error:
            raise NotCarried(f"{name!r} would be {error}: name it under [accounts]") from error
        return found

    def minor_units(self, text: str, commodity: str = "", *, bare: bool = False) -> int:
        """Return an amount in minor units; `commodity` is what the file says elsewhere that it is in.

        Raise `NotCarried`, also for another currency, and for none if the mapping names one, unless `bare`.
        """
        amount_minor, beside = self._exact(text)
        stated = commodity or beside
        if stated == (self.commodity or "") or (not stated and (bare or not amount_minor)):
            return amount_minor
        if self.commodity is None:
            raise NotCarried(f"an amount in {stated!r}: the mapping says no commodity = {stated!r}")
        raise NotCarried(f"an amount in {stated or 'no currency'!r}: only {self.commodity!r} is carried over")

    def _exact(self, text: str) -> tuple[int, str]:
        return exact_amount(text, self.decimal, minor_units(self.currency))


def check_account(account: str) -> None:
    """Raise `ValueError` unless an account may be called so, and customers' money may go there."""
    try:
        msgspec.convert(account, AccountName)
    except msgspec.ValidationError:
        raise ValueError(f"{account!r}, which is no account's name") from None
    if account == WRITEOFF:
        raise ValueError("writeoff, which only operators pay from")


def load_mapping(text: str, name: str) -> Mapping:
    """Return the mapping that `text` is, of the file called `name`; raise `BadMapping`."""
    try:
        return msgspec.convert(tomllib.loads(text), Mapping)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise BadMapping(f"{name}: {error}") from error
