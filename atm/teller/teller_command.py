"""A command of the teller: one row of the table in `commands.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic, TypeVar

from msgspec import Struct, field

from atm.client import Receipt
from atm.identity import Role
from atm.ledger.commands import Command, Outcome, Read
from atm.permissions import may
from atm.teller.forms import Form
from atm.teller.intents import Intent

Asked = TypeVar("Asked", bound=Command | Read)


class Given:
    """The arguments of a line, by their names in the form, and what the session adds to them."""

    def __init__(
        self, account: str, request_id: str, arguments: Mapping[str, Any], currency: str | None
    ) -> None:
        self.account = account  # in use
        self.request_id = request_id
        self.currency = currency  # of the amount, None: of the bank's first, or of none
        self._arguments = arguments

    def __getitem__(self, name: str) -> Any:
        """Return an argument as its reader made it, or None if it was left out."""
        return self._arguments.get(name)


class Listing(Struct, frozen=True, kw_only=True):
    """How a page is shown: wide rows, and narrow ones for a terminal that is too narrow for those.

    A narrow row has fewer columns, with several lines in a cell. With `time_us`, the first column begins with
    that time in UTC.
    """

    rows: Callable[[Receipt], Sequence[Any] | None]
    headers: Sequence[str]
    cells: Callable[[Any], Sequence[str]]
    alignment: Sequence[str]
    narrow_headers: Sequence[str]
    narrow_cells: Callable[[Any], Sequence[str]]
    narrow_alignment: Sequence[str]
    time_us: Callable[[Any], int] | None = None
    optional: frozenset[str] = (
        frozenset()
    )  # headers of columns that are left out if all their cells are empty


class _Explained(Struct, frozen=True):
    """The positional fields of a `TellerCommand`."""

    form: str
    does: str
    besides: str = ""  # added by `help` on this command


class TellerCommand(_Explained, Generic[Asked], frozen=True, kw_only=True, dict=True):
    """A command at the teller. The first word of its form is its name."""

    read: Callable[[Given], Intent]  # what a line in this form asks for; may raise `InvalidCommand`
    request: type[Asked] | None = None  # what is sent to the bank in the end; None: nothing
    moves_money: bool = False
    takes_remark: bool = False  # `code <code>` and `for <text>` may follow the form
    deed: Callable[[Asked], str] | None = None  # what was done, such as "credited 5 to main"
    done: Callable[[Asked], str] | None = None  # the line that says so; "Successfully", and the deed
    told: Callable[[Asked, Receipt], str] | None = None  # instead, of what only reads
    listing: Listing | None = None  # likewise, page by page
    about: Callable[[Asked], str] | None = None  # the account that a refusal names; default: the request's
    refusals: Mapping[Outcome, Callable[[Asked], str]] = field(default_factory=dict)  # in words of its own

    @property
    def name(self) -> str:
        """The word that people type."""
        return self.form.split(" ")[0]

    @cached_property
    def grammar(self) -> Form:
        """What may follow the name."""
        return Form.of(self.form)

    @property
    def for_operators(self) -> bool:
        """Whether only operators have it. The teller is started with `--operator` for them."""
        return self.request is not None and not may(
            frozenset({Role.TELLER}), str(self.request.__struct_config__.tag)
        )

    @property
    def takes_pin(self) -> bool:
        """Whether the request carries a PIN, which is never part of the line."""
        return self.request is not None and "pin" in self.request.__struct_fields__
