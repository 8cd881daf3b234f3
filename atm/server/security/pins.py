"""PINs: sealed before they are logged, so that neither log, ledger nor network between servers shows one.

A sealed PIN is a slow hash (scrypt, RFC 7914) of the PIN and the account's salt, keyed with a secret, the
pepper, which is in a file outside of every database. The salt is derived from the pepper and the account's
name: so every server seals alike, and a request that is repeated at another server has the same contents.
An attacker with a ledger but without the pepper can try no PIN at all; one with both must pay for every try.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stat
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from atm.files import create_durably
from atm.ledger.commands import NOT_HASHED, Batch, Login, SetPin, Withdrawal
from atm.server.security.pin_queue import HashRequest, PinQueue
from atm.wire.client_messages import QueuedRequest
from atm.wire.codec import Malformed

PEPPER_BYTES = 32
PLAIN_PIN_CHARS_MAX = 12
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1  # 16 MiB and some 40 ms of one core a PIN
BATCH_PINS_MAX = 4  # different ones

WithPin = Withdrawal | SetPin | Login
PIN_HOLDERS = frozenset((*get_args(WithPin), Batch))


class PepperRefused(Exception):
    """The pepper's file cannot be used; `str()` of it is one line for people."""


class NotWanted(Exception):
    """Whoever asked has gone: nothing more is hashed for it."""


class PinSealer:
    """Seals the PINs in requests; any thread may use it."""

    def __init__(self, pepper: bytes) -> None:
        assert len(pepper) == PEPPER_BYTES
        self._pepper = pepper
        self.queue = PinQueue()

    @property
    def name(self) -> str:
        """An identifier of the pepper that reveals nothing else about it."""
        return self._keyed("name").hex()[:16]

    def seal(
        self,
        request: QueuedRequest,
        *,
        owner: str = "",
        not_compared: Collection[str] = (),
        wanted: Callable[[], bool] = lambda: True,
    ) -> QueuedRequest:
        """Return the request with every PIN sealed; waits for its turns, tens of milliseconds each.

        Turns are shared out fairly between owners: `owner` is the identity or address that asks.
        The PINs of the accounts in `not_compared` are not hashed: `NOT_HASHED` stands in their places. Raises
        `Malformed` if a PIN is sealed already or there are too many, `PinQueueFull`, and `NotWanted` as soon
        as `wanted()` is false.
        """
        if not has_pin(request):
            return request
        pins = set(_pins(request))
        seals = dict.fromkeys(pins, NOT_HASHED)
        hashed = sorted((account, pin) for account, pin in pins if account not in not_compared)
        if hashed:
            with self.queue.place(owner, {account for account, _ in hashed}) as queued:
                for account, pin in hashed:
                    seals[account, pin] = self._sealed(queued, account, pin, wanted)
        return _with_seals(request, seals)

    def _sealed(self, queued: HashRequest, account: str, pin: str, wanted: Callable[[], bool]) -> str:
        salt = self._keyed("salt " + account)
        with self.queue.turn(queued):
            if not wanted():
                raise NotWanted
            slow = hashlib.scrypt(pin.encode(), salt=salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)
        return hmac.digest(self._pepper, slow, "sha256").hex()

    def _keyed(self, text: str) -> bytes:
        return hmac.digest(self._pepper, text.encode(), "sha256")


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


def _with_seals(request: QueuedRequest, seals: Mapping[tuple[str, str], str]) -> QueuedRequest:
    """Return the request with each PIN replaced by its seal."""

    def seal_of(account: str, pin: str | None) -> str | None:
        return None if pin is None else seals[account, pin]

    if isinstance(request, Batch):
        return replace(
            request, legs=tuple(replace(leg, pin=seal_of(leg.account, leg.pin)) for leg in request.legs)
        )
    assert isinstance(request, WithPin)
    sealed = {"pin": seal_of(request.account, request.pin)}
    if isinstance(request, SetPin):
        sealed["old_pin"] = seal_of(request.account, request.old_pin)
    return replace(request, **sealed)


def is_sealed(pin: str) -> bool:
    """Tell a sealed PIN from a plain one, by its length."""
    return len(pin) > PLAIN_PIN_CHARS_MAX


def read_pepper(path: Path, *, may_make: Callable[[], bool] = lambda: True) -> bytes:
    """Return the pepper in the file, made if it is missing and that is allowed; raise `PepperRefused`."""
    try:
        if not path.exists():
            _make_pepper(path, may_make)
        _check_mode(path)
        pepper = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise PepperRefused(f"cannot use the pepper {path}: {error.strerror or error}") from error
    except ValueError:
        pepper = b""
    if len(pepper) != PEPPER_BYTES:
        raise PepperRefused(
            f"the pepper {path} is damaged: copy it from another machine of the bank, or from your backup"
        )
    return pepper


def _check_mode(path: Path) -> None:
    """Raise `PepperRefused` if others can read the pepper.

    A service manager may hand it over as a file of root's, readable by root's group besides.
    """
    status = path.stat()
    roots = status.st_uid == status.st_gid == 0
    others = 0o037 if roots else 0o077
    if status.st_mode & others:
        raise PepperRefused(
            f"other users can read the pepper {path} (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 "
            "it, and if any of them may have, treat every PIN as known to them"
        )


def new_pepper() -> bytes:
    """Return the contents of a new pepper file."""
    return secrets.token_bytes(PEPPER_BYTES).hex().encode() + b"\n"


def _make_pepper(path: Path, may_make: Callable[[], bool]) -> None:
    """Make the file, unless another server of this machine has just made it."""
    if may_make():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_durably(path, new_pepper(), mode=0o600)
    elif not path.exists():  # a server that may make it records that only afterwards
        raise PepperRefused(
            f"there is no pepper {path}. If this bank has run before, put its pepper file back, from "
            "another machine or a backup: a new one would make every PIN wrong. If not, its servers are on "
            "several machines, and all need the same file: make it once and copy it to all (docs/install.md)"
        )
