"""What a line at the teller asks for: a request to the bank, or something that the teller does itself."""

from __future__ import annotations

from msgspec import Struct

from atm.ledger.commands import Command, Read


class Confirm(Struct, frozen=True):
    """Pay out what was held under `reference`, or else last; or a part, and with `more` hold the rest."""

    reference: str | None
    amount: int | None
    currency: str | None
    more: bool
    request_id: str


class Raise(Struct, frozen=True):
    """Hold more under `reference`, or else under what was held last."""

    reference: str | None
    amount: int
    currency: str | None
    request_id: str


class Cancel(Struct, frozen=True):
    """Release what was held under `reference`, or else last."""

    reference: str | None
    request_id: str


class ShowReceipt(Struct, frozen=True):
    """Show the receipt of `reference`, or else the last one."""

    reference: str | None


class More(Struct, frozen=True):
    """Show the next page."""


class ShowDays(Struct, frozen=True):
    """Show the account's postings of some days, in microseconds since 1970."""

    account: str
    from_us: int
    to_us: int


class UseAccount(Struct, frozen=True):
    """Change to another account."""

    account: str


class LogIn(Struct, frozen=True):
    """Ask for the PIN of `account`, or else of the current one, and change to it."""

    account: str | None


class LogOut(Struct, frozen=True):
    """Forget the PIN."""


class ChangePin(Struct, frozen=True):
    """Ask for a new PIN."""


class Settle(Struct, frozen=True):
    """Settle the requests whose outcome is unknown."""


class ShowStatus(Struct, frozen=True):
    """Show how the servers are doing."""


class Help(Struct, frozen=True):
    """Explain one command, or list all."""

    topic: str | None


class Quit(Struct, frozen=True):
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
