"""What coordinator, branches and customers say to each other: msgpack maps, as the product's tellers speak.

An account is named with the branch that keeps it: `north/alice`.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

COORDINATOR = "coordinator"


class Outcome(StrEnum):
    """How far a transaction is, or what became of a request."""

    PREPARED = "prepared"  # promised to go along with either decision, and waiting for it
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNDECIDED = "undecided"  # the coordinator is at it
    DONE = "done"
    REFUSED = "refused"


DECISIONS = frozenset({Outcome.COMMITTED, Outcome.ABORTED})


class _Request(Struct, frozen=True, kw_only=True, tag_field="op", tag=str.lower):
    pass


class Transfer(_Request, frozen=True, kw_only=True):
    """A customer to the coordinator: move money between accounts of two branches."""

    id: str
    source: str
    target: str
    amount: int


class Prepare(_Request, frozen=True, kw_only=True):
    """Phase one, coordinator to branch: will you add `amount` (below zero: take) if I tell you to?"""

    id: str
    account: str
    amount: int
    branches: tuple[str, ...]  # all that take part


class Decide(_Request, frozen=True, kw_only=True):
    """Phase two, coordinator to branch: this is how it ends."""

    id: str
    outcome: Outcome


class Inquire(_Request, frozen=True, kw_only=True):
    """A branch that waits, to the coordinator or to another branch: do you know how it ended?"""

    id: str


class Deposit(_Request, frozen=True, kw_only=True):
    """A customer to a branch, with no other branch in it."""

    account: str
    amount: int


class Look(_Request, frozen=True, kw_only=True):
    """A customer to a branch: what is the balance?"""

    account: str


class Reply(Struct, frozen=True, kw_only=True):
    """The answer to each of them; `why` is for people."""

    outcome: Outcome
    why: str = ""
    balance: int | None = None


Request = Transfer | Prepare | Decide | Inquire | Deposit | Look

encode = Encoder().encode
_request: Decoder[Request] = Decoder(Request)
_reply: Decoder[Reply] = Decoder(Reply)


class Malformed(Exception):
    """The bytes are not a message of this protocol."""


def branch_of(account: str) -> str:
    """Return the branch that keeps the account."""
    return account.partition("/")[0]


def decode_request(payload: bytes) -> Request:
    """Return what is asked; raise `Malformed`."""
    try:
        return _request.decode(payload)
    except DecodeError as error:
        raise Malformed(str(error)) from error


def decode_reply(payload: bytes) -> Reply:
    """Return what was answered; raise `Malformed`."""
    try:
        return _reply.decode(payload)
    except DecodeError as error:
        raise Malformed(str(error)) from error
