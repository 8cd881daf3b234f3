"""The receipt that a client returns, and new request ids."""

from __future__ import annotations

import secrets
import time
from typing import Self

import msgspec

from atm.ledger.commands import ReadResult
from atm.wire.client_messages import Reply

ID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U


class Receipt(ReadResult, frozen=True, kw_only=True):
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

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Return the receipt in a server's reply."""
        return msgspec.convert(reply, cls, from_attributes=True)


def new_request_id() -> str:
    """Return a unique id of 20 characters that are easy to tell apart.

    Ids rise with time, so that ledgers insert them in order: milliseconds, then 55 random bits.
    """
    number = time.time_ns() // 1_000_000 << 55 | secrets.randbits(55)
    return "".join(ID_CHARACTERS[number >> shift & 31] for shift in range(95, -1, -5))
