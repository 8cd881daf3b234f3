"""What can go wrong between a client and the bank; `str()` of each is a line for people."""

from __future__ import annotations


class ClientError(Exception):
    """The request has no receipt; which of the kinds below says what that means."""


class Unavailable(ClientError):
    """No majority of servers answered; the request is certainly not done."""

    def __init__(self) -> None:
        super().__init__("The bank is not available: no majority of servers answered")


class Rejected(ClientError):
    """The servers do not understand the request (another version?); it is certainly not done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The bank does not understand the request: {reason}")


class OutcomeUnknown(ClientError):
    """The request may or may not be done: ask again with its `request_id` and the same contents."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Outcome unknown, reference {request_id}")
        self.request_id = request_id


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a request was under way; `may_be_done` is False if it certainly is not done."""

    def __init__(self, request_id: str, *, may_be_done: bool) -> None:
        super().__init__(request_id)
        self.request_id = request_id
        self.may_be_done = may_be_done


class ClientClosed(RuntimeError):
    """The client was closed before the request was sent."""

    def __init__(self) -> None:
        super().__init__("This client is closed: make a new one")


class UnknownNode(ValueError):
    """The cluster has no node of that name."""


class InvalidRequest(ValueError):
    """Not a request that the bank could understand; nothing was sent."""


class InvalidAmount(InvalidRequest):
    """Not a whole number of minor units within the limits; nothing was sent."""


class InvalidAccount(InvalidRequest):
    """Not an account's name; nothing was sent."""


class InvalidRequestId(InvalidRequest):
    """Not a request id; nothing was sent."""


class InvalidPin(InvalidRequest):
    """Not a PIN; nothing was sent."""
