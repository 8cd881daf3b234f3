"""The journal of unanswered requests: those whose outcome the teller has not shown yet.

Before a command is sent, it is written and synced to a file of its own, named by its request id, in the
user's state folder; the file is removed when the teller has shown the answer. A killed teller
leaves its file behind, and the next one settles it under the same id (request_runner.py). The bank applies an
id once, so that is safe whether or not the request had arrived.

While its teller lives, a file is locked (`flock`), so that no other teller settles it. A file gets its
final name when it is whole and synced; under any other name it was never sent.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import msgspec
from msgspec import Struct

from atm.files import UNFINISHED_SUFFIX, rename_durably, sync_folder, write_and_sync
from atm.ledger.commands import Command

SUFFIX = ".json"
DAMAGED_SUFFIX = ".damaged"
FILE_BYTES_MAX = 4096


class StoredRequest(Struct, frozen=True, kw_only=True):
    """A command, and the cluster (`Cluster.identity()`) it was meant for."""

    cluster: str
    command: Command


class UnansweredRequest:
    """A request in the journal, locked until it is settled or this process ends."""

    def __init__(self, path: Path, descriptor: int, command: Command) -> None:
        self.command = command
        self.stored_s = os.fstat(descriptor).st_mtime  # since 1970, by this machine's clock
        self._path = path
        self._descriptor = descriptor

    def settle(self) -> None:
        """Forget the request: its outcome was shown, or it certainly was not done."""
        with contextlib.suppress(OSError):  # if the file stays, the request is only sent once more
            self._path.unlink()
        self.release()

    def release(self) -> None:
        """Leave the request to the next teller: unlock its file."""
        os.close(self._descriptor)


class RequestJournal:
    """The folder of unanswered requests; many tellers may use it at once."""

    def __init__(self, folder: Path, cluster: str) -> None:
        """Open or make the folder, for this user only; raise `OSError`."""
        self._folder = folder
        self._cluster = cluster
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for path in missing:
            sync_folder(path.parent)

    def write(self, command: Command) -> UnansweredRequest:
        """Store a command durably, before it is sent; raise `OSError`."""
        path = self._folder / _file_name(command)
        content = msgspec.json.encode(StoredRequest(cluster=self._cluster, command=command))
        while True:
            unfinished = path.with_suffix(UNFINISHED_SUFFIX)
            descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                write_and_sync(descriptor, content)
                rename_durably(unfinished, path)
            except FileNotFoundError:  # another teller's `leftovers` removed it before our lock
                os.close(descriptor)
            except OSError:
                os.close(descriptor)
                unfinished.unlink(missing_ok=True)
                raise
            else:
                return UnansweredRequest(path, descriptor, command)

    def leftovers(self, warn: Callable[[str], None]) -> list[UnansweredRequest]:
        """Return, oldest first, this cluster's requests whose teller is gone, locked; raise `OSError`.

        A file that cannot be read is moved aside, with a line to `warn`.
        """
        for path in self._folder.glob("*" + UNFINISHED_SUFFIX):
            self._tidy(path)
        unanswered_requests = []
        for path in sorted(self._folder.glob("*" + SUFFIX)):
            try:
                unanswered = self._adopt(path)
            except (OSError, msgspec.DecodeError, UnicodeDecodeError):
                warn(self._move_aside(path))
            else:
                unanswered_requests += [unanswered] if unanswered else []
        return unanswered_requests

    def _adopt(self, path: Path) -> UnansweredRequest | None:
        """Return the request if it is of this cluster and no living teller's; raise if it cannot be read."""
        descriptor = _open_and_lock(path)
        if descriptor is None:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError("not a file")
            pending = msgspec.json.decode(os.read(descriptor, FILE_BYTES_MAX), type=StoredRequest)
            if _file_name(pending.command) != path.name:
                raise OSError("its name is not its request id")
        except BaseException:
            os.close(descriptor)
            raise
        if pending.cluster != self._cluster:
            os.close(descriptor)
            return None
        return UnansweredRequest(path, descriptor, pending.command)

    def _tidy(self, path: Path) -> None:
        """Remove a file that was never finished, hence never sent, unless a living teller is writing it."""
        with contextlib.suppress(OSError):
            descriptor = _open_and_lock(path)
            if descriptor is not None:
                try:
                    path.unlink()
                finally:
                    os.close(descriptor)

    def _move_aside(self, path: Path) -> str:
        aside = path.with_name(path.name + DAMAGED_SUFFIX)
        try:
            path.rename(aside)
        except OSError:
            return f"A stored request cannot be read and is skipped; its outcome stays unknown: {path}"
        return f"A stored request cannot be read and was moved aside; its outcome stays unknown: {aside}"


def _file_name(command: Command) -> str:
    """Return the name of a request's file: a person may have chosen an id with slashes."""
    return quote(command.id, safe="") + SUFFIX


def _open_and_lock(path: Path) -> int | None:
    """Return a descriptor that holds the file's lock, or None if another has it or the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:  # settled and removed between the two steps
        os.close(descriptor)
        return None
    return descriptor
