"""The bank's peppers: the secrets that PINs are sealed with, in a file outside of every database.

The file has a line for each, the oldest first; a new one is added behind. The seal of generation 1 is made
of the PIN with the first pepper (pins.py). The seal of generation n is the HMAC of that of generation n - 1
with the n-th pepper. So who has all peppers carries a stored seal over to a newer one without its PIN, and
who has only older ones can try no PIN on it.
"""

from __future__ import annotations

import hmac
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from atm.checkout import command_here
from atm.files import create_durably, write_durably
from atm.ledger.commands import GENERATIONS_MAX
from atm.ledger.peppers import FIRST_GENERATION, PepperState, generation_of, of_generation

PEPPER_BYTES = 32
NAME_CHARS = 16


class PepperRefused(Exception):
    """The peppers' file cannot be used; `str()` of it is one line for people."""


class Peppers:
    """The peppers of a file, the oldest first. Never changed, so any thread may use it."""

    def __init__(self, secrets_: Sequence[bytes]) -> None:
        assert 0 < len(secrets_) <= GENERATIONS_MAX
        assert all(len(each) == PEPPER_BYTES for each in secrets_)
        self._secrets = tuple(secrets_)
        self.names = _names(self._secrets)

    def knows(self, current: PepperState) -> bool:
        """Whether the pepper that the ledger says is current is among these, behind the right ones."""
        if current.generation == FIRST_GENERATION:
            return True
        return self.names[current.generation - 1 : current.generation] == (current.name,)

    def begins_as(self, other: Peppers) -> bool:
        """Whether PINs are sealed alike for generation 1."""
        return self.names[0] == other.names[0]

    def first_key(self, purpose: str) -> bytes:
        """Return a key for seals of generation 1."""
        return _keyed(self._secrets[0], purpose)

    def first_seal(self, slow: bytes) -> str:
        """Return the seal of generation 1 for a slow hash."""
        return hmac.digest(self._secrets[0], slow, "sha256").hex()

    def carried(self, seal: str, generation: int) -> str:
        """Return a seal as one of a later generation, or of its own; all up to that are known."""
        _, _, digits = seal.rpartition(":")
        digest = bytes.fromhex(digits)
        for secret in self._secrets[generation_of(seal) : generation]:
            digest = hmac.digest(secret, digest, "sha256")
        return of_generation(generation, digest.hex())

    def contents(self) -> bytes:
        """Return the file that has these."""
        return b"".join(each.hex().encode() + b"\n" for each in self._secrets)

    def with_new(self) -> Peppers:
        """Return these and a new one."""
        return Peppers((*self._secrets, secrets.token_bytes(PEPPER_BYTES)))


def _names(secrets_: Sequence[bytes]) -> tuple[str, ...]:
    """Return an identifier of each pepper that reveals nothing else about it.

    From the second on it depends on those before: who has the same name has all the same up to there.
    """
    names: list[str] = []
    for secret in secrets_:
        purpose = "name" if not names else f"name behind {names[-1]}"
        names.append(_keyed(secret, purpose).hex()[:NAME_CHARS])
    return tuple(names)


def _keyed(secret: bytes, purpose: str) -> bytes:
    return hmac.digest(secret, purpose.encode(), "sha256")


def new_peppers() -> Peppers:
    """Return the first pepper of a new bank."""
    return Peppers((secrets.token_bytes(PEPPER_BYTES),))


def peppers_of(contents: bytes) -> Peppers | None:
    """Return the peppers of a file's contents, None if they are damaged."""
    try:
        found = [bytes.fromhex(line) for line in contents.decode("ascii").split()]
    except ValueError:
        return None
    is_sound = all(len(each) == PEPPER_BYTES for each in found) and len(set(found)) == len(found)
    return Peppers(found) if is_sound and 0 < len(found) <= GENERATIONS_MAX else None


def read_peppers(path: Path, *, may_make: Callable[[], bool] = lambda: True) -> Peppers:
    """Return what the file has, made if it is missing and that is allowed; raise `PepperRefused`."""
    try:
        if not path.exists():
            _make(path, may_make)
        _check_mode(path)
        found = peppers_of(path.read_bytes())
    except OSError as error:
        raise PepperRefused(f"cannot use the pepper {path}: {error.strerror or error}") from error
    if found is None:
        raise PepperRefused(
            f"the pepper {path} is damaged: copy it from another machine of the bank, or from your backup"
        )
    return found


def add_pepper(path: Path) -> Peppers:
    """Add a new pepper to the file, durably, behind the others; return all. Raise `PepperRefused`."""
    peppers = read_peppers(path, may_make=lambda: False)
    if len(peppers.names) == GENERATIONS_MAX:
        raise PepperRefused(f"the pepper {path} has {GENERATIONS_MAX} lines, and no more are possible")
    added = peppers.with_new()
    try:
        write_durably(path.resolve(), added.contents(), mode=0o600)
    except OSError as error:
        raise PepperRefused(f"cannot write the pepper {path}: {error.strerror or error}") from error
    return added


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
            f"it, and if any of them may have, change it ({command_here('admin')} pepper add)"
        )


def _make(path: Path, may_make: Callable[[], bool]) -> None:
    """Make the file, unless another server of this machine has just made it."""
    if may_make():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_durably(path, new_peppers().contents(), mode=0o600)
    elif not path.exists():  # a server that may make it records that only afterwards
        raise PepperRefused(
            f"there is no pepper {path}. If this bank has run before, put its pepper file back, from "
            "another machine or a backup: a new one would make every PIN wrong. If not, its servers are on "
            "several machines, and all need the same file: make it once and copy it to all (docs/install.md)"
        )
