"""PINs: sealed before they are logged, so that neither log, ledger nor network between servers shows one.

A sealed PIN is a slow hash (scrypt, RFC 7914) of the PIN and the account's salt, keyed with a secret, the
pepper (peppers.py). The salt is derived from the first pepper and the account's name: so every server seals
alike, and a request that is repeated at another server has the same contents. An attacker with a ledger but
without the pepper that its seals are for can try no PIN at all; one with both must pay for every try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Protocol, get_args

from msgspec.structs import replace

from atm.ledger.commands import NOT_HASHED, Batch, Login, SetPin, Withdrawal
from atm.ledger.peppers import FIRST_GENERATION
from atm.server.security.peppers import Peppers
from atm.server.security.pin_queue import HashRequest, PinQueue
from atm.wire.client_messages import QueuedRequest
from atm.wire.codec import Malformed

PLAIN_PIN_CHARS_MAX = 12
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1  # 16 MiB and some 40 ms of one core a PIN
BATCH_PINS_MAX = 4  # different ones

WithPin = Withdrawal | SetPin | Login
PIN_HOLDERS = frozenset((*get_args(WithPin), Batch))


class NotWanted(Exception):
    """Whoever asked has gone: nothing more is hashed for it."""


class PinSealer:
    """Seals the PINs in requests; any thread may use it."""

    def __init__(self, peppers: Peppers) -> None:
        self.peppers = peppers  # replaced as a whole by others, which begin with the same one
        self.queue = PinQueue()

    def seal(
        self,
        request: QueuedRequest,
        *,
        owner: str = "",
        not_compared: Collection[str] = (),
        generations: Mapping[str, int] | None = None,
        new: int = FIRST_GENERATION,
        wanted: Callable[[], bool] = lambda: True,
    ) -> QueuedRequest:
        """Return the request with every PIN sealed; waits for its turns, tens of milliseconds each.

        Turns are shared out fairly between owners: `owner` is the identity or address that asks.
        A PIN is sealed for the generation of its account in `generations`, or else the first; one that is to
        be set, for the generation `new`. All of them must be known. The PINs of the accounts in
        `not_compared` are not hashed: `NOT_HASHED` stands in their places. Raises `Malformed` if a PIN is
        sealed already or there are too many, `PinQueueFull`, and `NotWanted` as soon as `wanted()` is false.
        """
        if not has_pin(request):
            return request
        pins, first, peppers = set(_pins(request)), dict[tuple[str, str], str](), self.peppers
        hashed = sorted((account, pin) for account, pin in pins if account not in not_compared)
        if hashed:
            with self.queue.place(owner, {account for account, _ in hashed}) as queued:
                for account, pin in hashed:
                    first[account, pin] = self._sealed(queued, account, pin, wanted)

        def seal_of(account: str, pin: str, *, is_new: bool) -> str:
            if (account, pin) not in first:
                return NOT_HASHED
            known = FIRST_GENERATION if generations is None else generations.get(account, FIRST_GENERATION)
            return peppers.carried(first[account, pin], new if is_new else known)

        return _with_seals(request, seal_of)

    def _sealed(self, queued: HashRequest, account: str, pin: str, wanted: Callable[[], bool]) -> str:
        """Return the seal of generation 1."""
        salt = self.peppers.first_key("salt " + account)
        with self.queue.turn(queued):
            if not wanted():
                raise NotWanted
            slow = hashlib.scrypt(pin.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
        return self.peppers.first_seal(slow)


class SealOf(Protocol):
    """Returns the seal of an account's PIN; `is_new` if it is to be set."""

    def __call__(self, account: str, pin: str, *, is_new: bool) -> str: ...


def holds_plain_pin(request: QueuedRequest) -> bool:
    """Return whether the request has an unsealed PIN: such a request is never logged or forwarded."""
    return not all(is_sealed(pin) for _, pin in _pins(request))


def has_pin(request: QueuedRequest) -> bool:
    """Return whether there is a PIN to seal; raise `Malformed` for a sealed one, and for too many."""
    if type(request) not in PIN_HOLDERS:
        return False
    pins = _pins(request)
    if any(is_sealed(pin) for _, pin in pins):
        raise Malformed("a PIN has 4 to 12 digits")
    if len(set(pins)) > BATCH_PINS_MAX:
        raise Malformed(f"a batch has at most {BATCH_PINS_MAX} different PINs: send several batches")
    return bool(pins)


def accounts_with_pin(request: QueuedRequest) -> set[str]:
    """Return the accounts that the request has a PIN for."""
    return {account for account, _ in _pins(request)}


def _pins(request: QueuedRequest) -> list[tuple[str, str]]:
    """Return each PIN behind its account."""
    if isinstance(request, Batch):
        pins = [(leg.account, leg.pin) for leg in request.legs]
    elif isinstance(request, SetPin):
        pins = [(request.account, request.pin), (request.account, request.old_pin)]
    elif isinstance(request, WithPin):
        pins = [(request.account, request.pin)]
    else:
        return []
    return [(account, pin) for account, pin in pins if pin is not None]


def _with_seals(request: QueuedRequest, seal_of: SealOf) -> QueuedRequest:
    """Return the request with each PIN replaced by its seal."""

    def seal(account: str, pin: str | None, *, is_new: bool = False) -> str | None:
        return None if pin is None else seal_of(account, pin, is_new=is_new)

    if isinstance(request, Batch):
        return replace(
            request, legs=tuple(replace(leg, pin=seal(leg.account, leg.pin)) for leg in request.legs)
        )
    assert isinstance(request, WithPin)
    sealed = {"pin": seal(request.account, request.pin, is_new=isinstance(request, SetPin))}
    if isinstance(request, SetPin):
        sealed["old_pin"] = seal(request.account, request.old_pin)
    return replace(request, **sealed)


def is_sealed(pin: str) -> bool:
    """Tell a sealed PIN from a plain one, by its length."""
    return len(pin) > PLAIN_PIN_CHARS_MAX
