"""What a client returns for each operation, and new request ids.

A refusal is a `Refusal`; what was done or found is one of the other classes, whose fields are never None
where its operation always has them. `receipt.ok` tells the two apart, for mypy too; `receipt.check()` raises
`Refused` for a refusal.
"""

from __future__ import annotations

import os
import time
from typing import Any, Literal, NoReturn, Self

import msgspec

from atm.client.errors import Refused
from atm.ledger.commands import (
    Accounts,
    AccountState,
    Approvals,
    Command,
    Contents,
    Deed,
    Deeds,
    Exceptions,
    Find,
    GrantRole,
    Holds,
    HoldState,
    JournalPosting,
    Line,
    Lookup,
    Outcome,
    Pepper,
    PepperView,
    Query,
    Read,
    ReadResult,
    RevokeRole,
    Roles,
    RoleState,
    RotatePepper,
    SetApprovalLimit,
    Statement,
    WaitingRequest,
    Watch,
)
from atm.wire.client_messages import Reply
from atm.wire.codec import Malformed

ID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U


class Receipt(ReadResult, frozen=True, kw_only=True, omit_defaults=True, repr_omit_defaults=True):
    """What a `Client` returns: a decision or a read result. `outcome` equals its text, such as "ok".

    `balance` (in the ledger) and `available` (less what is held) are in minor units, right after the
    decision, or None if there is no such account. `log_index` is the log entry that decided it and
    `time_us` its time stamp (microseconds since 1970); both are 0 for reads. The further fields are those of
    reads (see `atm.ledger.commands.ReadResult`); in other receipts they are None.
    """

    @property
    def request_id(self) -> str:
        """The id of the request; a repetition uses it again."""
        return self.id

    @property
    def ok(self) -> bool:
        """Whether the outcome is "ok": all others are refusals, after which nothing has changed."""
        return self.outcome is Outcome.OK

    def check(self) -> Receipt:
        """Return this receipt if it is ok; raise `Refused`."""
        if not self.ok:
            raise Refused(self.id, self.outcome)
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return what it has in the types of JSON; fields that are None are left out."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields


class Refusal(Receipt, frozen=True, kw_only=True):
    """The outcome is not "ok", and nothing has changed. Of a `lookup`: what was asked was refused then."""

    @property
    def ok(self) -> Literal[False]:
        """False."""
        return False

    def check(self) -> NoReturn:
        """Raise `Refused`."""
        raise Refused(self.id, self.outcome)


class Accepted(Receipt, frozen=True, kw_only=True):
    """The outcome is "ok"."""

    @property
    def ok(self) -> Literal[True]:
        """True."""
        return True

    def check(self) -> Self:
        """Return this receipt."""
        return self


class Done(Accepted, frozen=True, kw_only=True):
    """A command about an account was carried out: its balance, and what is available, right after it."""

    balance: int
    available: int


class Balance(Accepted, frozen=True, kw_only=True):
    """The balance of an account. The other fields of a query are None where it was about a past time."""

    balance: int


class StatementPage(Done, frozen=True, kw_only=True):
    """Postings of an account, the latest first; `next` is the `before` of the next page, None at the end."""

    lines: tuple[Line, ...]
    next: int | None = None


class ExceptionsPage(Accepted, frozen=True, kw_only=True):
    """Postings to look at, the latest first; `next` is the `before` of the next page, None at the end."""

    lines: tuple[Line, ...]
    next: int | None = None


class FindPage(Accepted, frozen=True, kw_only=True):
    """Postings that were found, latest first; `next` is the `before` of the next page, None at the end."""

    lines: tuple[Line, ...]
    next: int | None = None


class AccountsPage(Accepted, frozen=True, kw_only=True):
    """Accounts in the order of their names; `next` is the `after` of the next page, None at the end."""

    accounts: tuple[AccountState, ...]
    next: str | None = None


class HoldsPage(Done, frozen=True, kw_only=True):
    """Active holds in the order of their ids; `next` is the `after` of the next page, None at the end."""

    holds: tuple[HoldState, ...]
    next: str | None = None


class DeedsPage(Accepted, frozen=True, kw_only=True):
    """Deeds, the latest first; `next` is the `before` of the next page, None at the end."""

    deeds: tuple[Deed, ...]
    next: int | None = None


class ApprovalsPage(Accepted, frozen=True, kw_only=True):
    """What waits, the latest first; `next` is the `before` of the next page, None at the end."""

    approvals: tuple[WaitingRequest, ...]
    next: int | None = None


class RolesPage(Accepted, frozen=True, kw_only=True):
    """Changed roles by name; `next` is the `after_name` of the next page, None at the end."""

    roles: tuple[RoleState, ...]
    next: str | None = None


class JournalPage(Accepted, frozen=True, kw_only=True):
    """Postings in the order of the log, the `hash` of the one before them, and the id of their `cluster`.

    `next` is the `after` of the rest if their texts were too long for all that were asked for. They are those
    of one of the bank's `lanes`, None: it has one.
    """

    postings: tuple[JournalPosting, ...]
    hash: str
    cluster: str
    lanes: int | None = None
    next: int | None = None


class PepperFound(Accepted, frozen=True, kw_only=True):
    """The current pepper."""

    pepper: PepperView


class Found(Accepted, frozen=True, kw_only=True):
    """What was done under an id: what was `asked`. Its balance is None if it had none.

    `actor` says who asked, and is None from a server of release 1.1.
    """

    asked: Contents


# Of all others, `Done`.
_KINDS: dict[type[Command | Read], type[Accepted]] = {
    GrantRole: Accepted,
    RevokeRole: Accepted,
    SetApprovalLimit: Accepted,
    RotatePepper: Accepted,
    Query: Balance,
    Statement: StatementPage,
    Exceptions: ExceptionsPage,
    Find: FindPage,
    Accounts: AccountsPage,
    Holds: HoldsPage,
    Deeds: DeedsPage,
    Approvals: ApprovalsPage,
    Roles: RolesPage,
    Watch: JournalPage,
    Pepper: PepperFound,
    Lookup: Found,
}


def kind_of(request: type[Command | Read]) -> type[Accepted]:
    """Return what an ok answer to a request of this class is."""
    return _KINDS.get(request, Done)


def receipt_of(request: Command | Read, reply: Reply) -> Receipt:
    """Return the receipt in a server's reply; raise `Malformed` if it is ok and lacks what was asked for."""
    kind = kind_of(type(request)) if reply.outcome is Outcome.OK else Refusal
    try:
        return msgspec.convert(reply, kind, from_attributes=True)
    except msgspec.ValidationError as error:
        raise Malformed(f"the reply lacks what was asked for: {error}") from error


def new_request_id() -> str:
    """Return a unique id of 20 characters that are easy to tell apart.

    Ids rise with time, so that ledgers insert them in order: milliseconds, then 55 random bits.
    """
    random_bits = int.from_bytes(os.urandom(7)) >> 1
    number = time.time_ns() // 1_000_000 << 55 | random_bits
    return "".join(ID_CHARACTERS[number >> shift & 31] for shift in range(95, -1, -5))
