"""What may be asked of the bank, and what it answers.

Commands change the ledger and go through the replicated log; a query only reads. Every request carries
the `id` that its client chose: a command repeated under its id is applied once and answered the same
for ever. The structs carry their limits, so that whatever was decoded into one is well formed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

AMOUNT_MINOR_MAX = 10**14 - 1  # twelve digits and two decimals: 999,999,999,999.99
BALANCE_MINOR_MAX = 2**53 - 1  # exact in every program that reads numbers as floating point

CASH = "cash"  # the bank's own account, the other side of every credit and debit; may fall below zero
MAIN = "main"  # the account that exists from the start

RequestId = Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]  # printable ASCII without spaces
AccountName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")]
AmountMinor = Annotated[int, Meta(gt=0, le=AMOUNT_MINOR_MAX)]


class Outcome(StrEnum):
    """How the bank decided; all but `OK` are refusals that changed nothing."""

    OK = "ok"
    EXISTS = "exists"
    NO_SUCH_ACCOUNT = "no_such_account"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    LIMIT_EXCEEDED = "limit_exceeded"
    ID_REUSED = "id_reused"


class Request(Struct, frozen=True, kw_only=True, tag_field="op", forbid_unknown_fields=True):
    """What every request carries; the `op` on the wire is the tag of its class."""

    id: RequestId
    account: AccountName


class Open(Request, frozen=True, kw_only=True, tag="open", forbid_unknown_fields=True):
    """Open an account with a balance of 0."""


class Credit(Request, frozen=True, kw_only=True, tag="credit", forbid_unknown_fields=True):
    """Pay cash into an account."""

    amount: AmountMinor


class Debit(Request, frozen=True, kw_only=True, tag="debit", forbid_unknown_fields=True):
    """Pay cash out of an account."""

    amount: AmountMinor


class Query(Request, frozen=True, kw_only=True, tag="query", forbid_unknown_fields=True):
    """Ask for an account's balance; changes nothing and is not logged."""


Command = Open | Credit | Debit


class Receipt(Struct, frozen=True, kw_only=True):
    """The bank's answer to a command or a query.

    `balance` (in the ledger) and `available` (what may be paid out) are the account's, in minor units,
    right after the decision, or None if there is no such account. `reference` is the log index of the
    decision and `time_us` its time stamp; both are 0 for a query, which leaves no trace.
    """

    id: str
    outcome: Outcome
    balance: int | None = None
    available: int | None = None
    reference: int = 0
    time_us: int = 0
