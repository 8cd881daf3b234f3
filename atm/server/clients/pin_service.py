"""Seals the PINs of clients' requests, once the accounts were looked up: most guesses need no hash.

A hash takes tens of milliseconds of a processor, so nobody may cause one for nothing. If the account does
not exist, is closed or locked, or has no PIN, the command will be decided without the PIN. The account is
read as any query is, through the leader: a PIN that was acknowledged as set, here or elsewhere, is known,
and which pepper it is sealed for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from threading import Event

from msgspec import structs

from atm.ledger.commands import BANK_ACCOUNTS, OK, Login, Query, SetPin
from atm.ledger.peppers import FIRST_GENERATION, PepperState
from atm.server.group.inbox import Inbox, Inputs, PendingRequest
from atm.server.security.pin_queue import PinQueueFull
from atm.server.security.pins import NotWanted, PinSealer, accounts_with_pin
from atm.wire.client_messages import ErrorReply, QueuedRequest, Reply, decode_client_reply
from atm.wire.codec import encode

LOOK_UP_LEVEL = 2  # the feature level from which on the log may say that a PIN was not hashed
BUSY_AFTER_S = 0.2  # who is refused at once asks again at once, and each time the account is looked up
LOOK_UP_S = 3.0  # longer than a forwarded query waits for the leader
BUSY = "too many PINs wait to be checked: try again later"
UNKNOWN_PEPPER = "this server does not know the pepper that this PIN is sealed for: ask another one"


class PinService:
    """Seals PINs in the threads of their connections."""

    def __init__(
        self,
        sealer: PinSealer,
        inbox: Inbox,
        *,
        feature_level: Callable[[], int],
        pepper: Callable[[], PepperState],
        look_up_s: float = LOOK_UP_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`feature_level` and `pepper`, the current one, are told by this server's ledger.

        If that lags behind, the bank leaves a new PIN undecided, and the client asks again.
        """
        self._sealer = sealer
        self._inbox = inbox
        self._feature_level = feature_level
        self._pepper = pepper
        self._look_up_s = look_up_s
        self._sleep = sleep

    def seal(
        self, pending: PendingRequest, owner: str, wanted: Callable[[], bool]
    ) -> PendingRequest | ErrorReply | None:
        """Return the request with its PINs sealed, or the reply that refuses it; waits for both.

        `owner` is the identity or address whose turns it takes. None if `wanted()` became false meanwhile:
        nobody would see a reply.
        """
        if not wanted():
            return None
        request = pending.request
        not_compared: Collection[str] = ()
        generations: Mapping[str, int] = {}
        if self._feature_level() >= LOOK_UP_LEVEL:
            accounts = self._look_up(accounts_with_pin(request), pending.actor)
            if isinstance(accounts, ErrorReply):
                return ErrorReply(
                    id=request.id, outcome=accounts.outcome, message=accounts.message, leader=accounts.leader
                )
            not_compared = [name for name, found in accounts.items() if not compares(request, name, found)]
            generations = {
                name: found.sealed_for or FIRST_GENERATION
                for name, found in accounts.items()
                if name not in not_compared
            }
        pepper = self._pepper()
        new = pepper.generation if isinstance(request, SetPin) else FIRST_GENERATION
        if not self._knows(max([new, *generations.values()]), pepper):
            return ErrorReply(id=request.id, outcome="unavailable", message=UNKNOWN_PEPPER)
        try:
            sealed = self._sealer.seal(
                request,
                owner=owner,
                not_compared=not_compared,
                generations=generations,
                new=new,
                wanted=wanted,
            )
        except PinQueueFull:
            self._sleep(BUSY_AFTER_S)
            return ErrorReply(id=request.id, outcome="busy", message=BUSY)
        except NotWanted:
            return None
        return structs.replace(pending, request=sealed, payload=encode(sealed))

    def _knows(self, generation: int, current: PepperState) -> bool:
        """Whether seals of that generation are certainly made with the bank's peppers."""
        if generation == FIRST_GENERATION:
            return True
        return generation <= current.generation and self._sealer.peppers.knows(current)

    def _look_up(self, names: Collection[str], actor: str) -> dict[str, Reply] | ErrorReply:
        """Return what the bank says of each account, or why it says nothing."""
        answers, inputs = _Answers(len(names)), Inputs()
        for number, name in enumerate(names):
            query = Query(id="pin", account=name)
            inputs.add_request(PendingRequest(answers, number, query, encode(query), actor))
        self._inbox.put(inputs)
        if not answers.complete.wait(self._look_up_s):
            return ErrorReply(id="", outcome="unavailable", message="the account was not found in time")
        found: dict[str, Reply] = {}
        for number, name in enumerate(names):
            reply = decode_client_reply(answers.payloads[number])
            if isinstance(reply, ErrorReply):
                return reply
            assert isinstance(reply, Reply), f"a query got {type(reply).__name__}"
            found[name] = reply
        return found


def compares(request: QueuedRequest, name: str, found: Reply) -> bool:
    """Return whether the bank would compare, or set, the PIN of this account, if it is as was `found`."""
    if found.outcome is not OK or found.state == "closed" or found.pin == "locked" or name in BANK_ACCOUNTS:
        return False
    if isinstance(request, SetPin):
        return found.pin == "none" or request.old_pin is not None
    return found.pin != "none" and (found.state != "frozen" or isinstance(request, Login))


class _Answers:
    """The `ReplyChannel` of some queries, numbered from 0."""

    def __init__(self, expected: int) -> None:
        self.complete = Event()
        self.payloads: dict[int, bytes] = {}
        self._expected = expected

    def reply(self, number: int, payload: bytes) -> None:
        """Keep the reply. Only within an iteration."""
        self.payloads[number] = payload
        if len(self.payloads) == self._expected:
            self.complete.set()
