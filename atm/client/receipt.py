"""What a client hands back: the bank's decision, under the id of its request."""

from __future__ import annotations

import secrets
import time
from typing import Self

from msgspec import Struct
from msgspec.structs import asdict

from atm.ledger.commands import Contents, Line, Outcome
from atm.wire.client_messages import Reply

ID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U


class Receipt(Struct, frozen=True, kw_only=True):
    """The bank's decision; `outcome` compares equal to its text, such as "ok".

    `balance` (in the ledger) and `available` (less what is held) are in minor units, right after the
    decision, or None if there is no such account. `reference` is the decision's log index and `time_us` its
    time stamp (microseconds since 1970); both are 0 for what only reads. The fields behind them belong to
    what only reads, as `atm.ledger.commands.ReadResult` says; elsewhere they are None.
    """

    request_id: str
    outcome: Outcome
    balance: int | None
    available: int | None
    reference: int
    time_us: int
    state: str | None = None
    pin: str | None = None
    lines: tuple[Line, ...] | None = None
    next: int | None = None
    asked: Contents | None = None
    reversed_by: str | None = None

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Return the receipt that a server's reply is."""
        fields = asdict(reply)
        del fields["leader"]
        return cls(request_id=fields.pop("id"), **fields)


def new_request_id() -> str:
    """Return an id that nobody else has, of 20 characters that people do not mix up.

    Ids rise with time, so that ledgers insert them in order: milliseconds, then 55 bits of chance.
    """
    number = time.time_ns() // 1_000_000 << 55 | secrets.randbits(55)
    return "".join(ID_CHARACTERS[number >> shift & 31] for shift in range(95, -1, -5))
