"""What a client hands back: the bank's decision, under the id of its request."""

from __future__ import annotations

import secrets
import time
from typing import Self

import msgspec

from atm.ledger.commands import ReadResult
from atm.wire.client_messages import Reply

ID_CHARACTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U


class Receipt(ReadResult, frozen=True, kw_only=True):
    """The bank's decision; `outcome` compares equal to its text, such as "ok".

    `balance` (in the ledger) and `available` (less what is held) are in minor units, right after the
    decision, or None if there is no such account. `log_index` is the log entry that decided it and
    `time_us` its time stamp (microseconds since 1970); both are 0 for what only reads. The further fields
    belong to what only reads, as `atm.ledger.commands.ReadResult` says; elsewhere they are None.
    """

    @property
    def request_id(self) -> str:
        """The id under which it was asked, and can be asked again."""
        return self.id

    @classmethod
    def of(cls, reply: Reply) -> Self:
        """Return the receipt that a server's reply is."""
        return msgspec.convert(reply, cls, from_attributes=True)


def new_request_id() -> str:
    """Return an id that nobody else has, of 20 characters that people do not mix up.

    Ids rise with time, so that ledgers insert them in order: milliseconds, then 55 bits of chance.
    """
    number = time.time_ns() // 1_000_000 << 55 | secrets.randbits(55)
    return "".join(ID_CHARACTERS[number >> shift & 31] for shift in range(95, -1, -5))
