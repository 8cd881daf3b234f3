"""The faults of a client; `str()` of each is one line for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from atm.ledger.commands import Outcome

if TYPE_CHECKING:
    from atm.client.receipt import Receipt


class ClientError(Exception):
    """The request has no receipt, or was refused; its subclass says what that means."""


class Refused(ClientError):
    """The bank has refused the request, and nothing has changed: raised by `receipt.check()` only."""

    def __init__(self, request_id: str, outcome: Outcome) -> None:
        super().__init__(f"The bank has refused the request {request_id}, and no money was moved: {outcome}")
        self.request_id = request_id
        self.outcome = outcome


class Unavailable(ClientError):
    """No majority of servers answered, or took the request; it is certainly not done."""

    def __init__(self, why: str = "no majority of servers answered") -> None:
        super().__init__(f"The bank is not available: {why}")


class FeedBroken(ClientError):
    """What a feed of postings is told does not follow what it was told before."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"The feed cannot go on with this bank: {why}. If it was restored from a backup, begin anew; "
            "else have its books verified"
        )


class Rejected(ClientError):
    """The server does not understand the request (another release?); it is certainly not done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The bank does not understand the request, and nothing was done: {reason}")


class NotAllowed(ClientError):
    """The servers do not let this client in, or its roles do not allow the request; it is certainly not done.

    A request to the bank itself that the roles do not allow has the outcome `not_allowed` instead.
    """


class OutcomeUnknown(ClientError):
    """The request may or may not be done: ask again with its `request_id` and the same contents."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Outcome unknown, reference {request_id}")
        self.request_id = request_id


class Unfinished(ClientError):
    """Of requests that were submitted together some are done, or may be, and not all have a receipt.

    `receipts` are those that came, by request id; what is `unknown` may or may not be done; what is
    `not_done` is certainly not. Submit the same again: what is done already is not done twice, and has the
    same receipt.
    """

    def __init__(
        self, receipts: Mapping[str, Receipt], unknown: tuple[str, ...], not_done: tuple[str, ...], why: str
    ) -> None:
        super().__init__(
            f"{why}. Of the requests {len(receipts):,} are decided, {len(unknown):,} may be done, and "
            f"{len(not_done):,} are not: submit the same again, and nothing is done twice"
        )
        self.receipts = receipts
        self.unknown = unknown
        self.not_done = not_done


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a request was under way; `may_be_done` is False if it certainly is not done."""

    def __init__(self, request_id: str, *, may_be_done: bool) -> None:
        super().__init__(request_id)
        self.request_id = request_id
        self.may_be_done = may_be_done


class ClientClosed(RuntimeError):
    """The client was closed before the request was sent."""

    def __init__(self) -> None:
        super().__init__("This client is closed, and nothing was sent: make a new one")


class UnknownNode(ValueError):
    """The cluster has no node of that name."""


class InvalidRequest(ValueError):
    """The request is malformed. It and its subclasses are raised before anything is sent."""


class InvalidAmount(InvalidRequest):
    """Not an `int` of minor units within the limits."""


class InvalidAccount(InvalidRequest):
    """Not an account's name."""


class InvalidRequestId(InvalidRequest):
    """Not a request id."""


class InvalidPin(InvalidRequest):
    """Not a PIN."""
