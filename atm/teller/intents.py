"""What a line at the teller asks for: a request to the bank, or something that the teller does itself."""

from __future__ import annotations

from dataclasses import dataclass

from atm.ledger.commands import Command, Read


@dataclass(frozen=True)
class Confirm:
    """Pay out what was held under `reference`, or else last; or a part, and with `more` hold the rest."""

    reference: str | None
    amount: int | None
    currency: str | None
    more: bool
    request_id: str


@dataclass(frozen=True)
class Raise:
    """Hold more under `reference`, or else under what was held last."""

    reference: str | None
    amount: int
    currency: str | None
    request_id: str


@dataclass(frozen=True)
class Cancel:
    """Release what was held under `reference`, or else last."""

    reference: str | None
    request_id: str


@dataclass(frozen=True)
class ShowReceipt:
    """Show the receipt of `reference`, or else the last one."""

    reference: str | None


@dataclass(frozen=True)
class More:
    """Show the next page."""


@dataclass(frozen=True)
class ShowDays:
    """Show the account's postings of some days, in microseconds since 1970."""

    account: str
    from_us: int
    to_us: int


@dataclass(frozen=True)
class UseAccount:
    """Change to another account."""

    account: str


@dataclass(frozen=True)
class LogIn:
    """Ask for the PIN of `account`, or else of the current one, and change to it."""

    account: str | None


@dataclass(frozen=True)
class LogOut:
    """Forget the PIN."""


@dataclass(frozen=True)
class ChangePin:
    """Ask for a new PIN."""


@dataclass(frozen=True)
class Settle:
    """Settle the requests whose outcome is unknown."""


@dataclass(frozen=True)
class ShowStatus:
    """Show how the servers are doing."""


@dataclass(frozen=True)
class Help:
    """Explain one command, or list all."""

    topic: str | None


@dataclass(frozen=True)
class Quit:
    """Leave."""


TellersOwn = (
    Confirm
    | Raise
    | Cancel
    | ShowReceipt
    | ShowDays
    | More
    | UseAccount
    | LogIn
    | LogOut
    | ChangePin
    | Settle
    | ShowStatus
    | Help
    | Quit
)
Intent = Command | Read | TellersOwn
