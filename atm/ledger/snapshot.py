"""Makes a snapshot of a running node's ledger: `python -m atm.ledger.snapshot LEDGER.DB COPY.DB`.

It is a process of its own, at the lowest priority, and ends when its standard input does: so it never
outlives the node that started it. It copies one state of the ledger, checks the copy as read back from the
disk, and prints one line of JSON (`MadeSnapshot`). Exit code 0: the copy is durable and right; 1: there is
none, and a line on standard error says why.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import apsw
import msgspec
from msgspec import Struct

from atm.checkout import command_here
from atm.files import sync_file
from atm.ledger.audit.read_only import DamagedLedger, NoLedger, open_read_only
from atm.ledger.cluster import read_cluster
from atm.ledger.commands import Member
from atm.ledger.database import LEVEL_2_SCHEMA_VERSION, PAGE_BYTES, brief, schema_version_of
from atm.ledger.posting import NO_HASH
from atm.ledger.rows import NEWEST_PEPPER, Unreadable

NICE = 19
STEP_BYTES = 1024 * 1024
PAUSE_PER_STEP = 1.0  # of the time that the step took: half of the disk's time is left to the log

STATE = "select log_index, (select lower(hex(hash)) from journal order by posting desc limit 1) from applied"


class NotMade(Exception):
    """There is no copy; `str()` is one line for people."""


class LedgerState(Struct, frozen=True, kw_only=True):
    """Which state of which bank a ledger holds; `chain_hash` is the journal's last hash, in hexadecimal.

    `pepper` is the name of the current pepper, empty if that is the first one.
    """

    index: int
    cluster_id: str
    chain_hash: str
    feature_level: int = 1
    voters: tuple[str, ...] = ()
    members: tuple[Member, ...] = ()
    pepper: str = ""


class MadeSnapshot(LedgerState, frozen=True, kw_only=True):
    """A durable copy of a ledger."""

    size_bytes: int
    sha256: str
    seconds: float


def state_of(path: Path) -> LedgerState:
    """Return the state of a ledger that no node has open; raise `NotMade`.

    Nothing is written, not even a `-wal` or `-shm` beside it: the file must have no `-wal` of its own.
    """
    connection = _opened(path)
    with closing(connection):
        return read_state(connection)


def make(source: Path, copy: Path) -> MadeSnapshot:
    """Copy the ledger at `source`, which its node goes on writing to; raise `NotMade` and `OSError`."""
    started_s = time.monotonic()
    _remove(copy)
    try:
        expected = _copied(source, copy)
        sync_file(copy)
        _forget_cached(copy)
        sha256 = _hashed(copy)  # first: it also loads the file by one sequential read
        _check(copy, expected)
        _forget_cached(copy)  # again, so that it does not take the place of the ledger itself
        return MadeSnapshot(
            **msgspec.structs.asdict(expected),
            size_bytes=copy.stat().st_size,
            sha256=sha256,
            seconds=round(time.monotonic() - started_s, 3),
        )
    except BaseException:
        _remove(copy)
        raise


def _copied(source: Path, copy: Path) -> LedgerState:
    """Copy page by page under one read transaction; return the state that was copied.

    Within a transaction of its own the source never changes, so the copy is not begun again at each write.
    Each step is synced: what waits to be written is never more than that, and a sync of the log waits for no
    more.
    """
    try:
        with open_read_only(source) as cursor, closing(apsw.Connection(str(copy))) as target:
            state = read_state(cursor.connection)
            # The copy is worthless until it is whole, so nothing has to be rolled back or synced by SQLite.
            for pragma in ("journal_mode = off", "synchronous = off", f"cache_size = -{STEP_BYTES // 1024}"):
                target.execute(f"pragma {pragma}")
            with target.backup("main", cursor.connection, "main") as backup:
                while not backup.done:
                    step_s = time.monotonic()
                    backup.step(STEP_BYTES // PAGE_BYTES)
                    sync_file(copy)
                    _pause(step_s)
            return state
    except (NoLedger, DamagedLedger) as error:
        raise NotMade(str(error)) from error


def _hashed(copy: Path) -> str:
    """Return the SHA-256 of the copy, read with pauses as it was written."""
    digest = hashlib.sha256()
    with copy.open("rb", buffering=0) as file:
        step_s = time.monotonic()
        while piece := file.read(STEP_BYTES):
            digest.update(piece)
            _pause(step_s)
            step_s = time.monotonic()
    return digest.hexdigest()


def _pause(step_s: float) -> None:
    """Wait in proportion to the time since `step_s`."""
    time.sleep((time.monotonic() - step_s) * PAUSE_PER_STEP)


def _check(copy: Path, expected: LedgerState) -> None:
    with closing(_opened(copy)) as connection:
        found = read_state(connection)
        if found != expected:
            raise NotMade(f"{copy} holds {found}, and what was copied is {expected}: check the disk")
        [(line, *_)] = connection.execute("pragma quick_check(1)")
        if line != "ok":
            raise NotMade(
                f"{copy} is damaged ({brief(line)}): check the disk, and the ledger "
                f"with {command_here('ledger')}"
            )


def read_state(connection: apsw.Connection) -> LedgerState:
    """Return the state of the ledger that `connection` has open; raise `NotMade`."""
    try:
        [(index, chain_hash)] = connection.execute(STATE).fetchall()
        with_members = schema_version_of(connection) == LEVEL_2_SCHEMA_VERSION
        cluster = read_cluster(connection.cursor(), with_members=with_members)
        peppers = connection.execute(NEWEST_PEPPER).fetchall() if with_members else []
        found = {
            "index": index,
            "cluster_id": cluster.id,
            "feature_level": cluster.feature_level,
            "voters": cluster.voters,
            "members": cluster.members,
            "pepper": peppers[0][1] if peppers else "",
            "chain_hash": chain_hash or NO_HASH.hex(),
        }
        return msgspec.convert(found, LedgerState)
    except (apsw.Error, Unreadable, msgspec.DecodeError, ValueError) as error:
        raise NotMade(f"{connection.filename} is not a ledger that can be read: {brief(error)}") from error


def _opened(path: Path) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        return apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=flags)
    except apsw.Error as error:
        raise NotMade(f"{path}: there is no ledger that can be read: {brief(error)}") from error


def _forget_cached(path: Path) -> None:
    """Have the file read from the disk, and not from memory: what was synced, not what was written."""
    if hasattr(os, "posix_fadvise"):  # not every system has it
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _remove(copy: Path) -> None:
    for path in (copy, copy.with_name(f"{copy.name}-journal")):
        path.unlink(missing_ok=True)


# -- as a program ------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Make a snapshot; return the exit code."""
    parser = argparse.ArgumentParser(prog="atm.ledger.snapshot", description="Copy a ledger that is in use.")
    parser.add_argument("ledger", type=Path, metavar="LEDGER.DB")
    parser.add_argument("copy", type=Path, metavar="COPY.DB")
    options = parser.parse_args(argv)
    _step_back()
    threading.Thread(target=_end_with_stdin, args=(options.copy,), daemon=True).start()
    try:
        made = make(options.ledger, options.copy)
    except (NotMade, OSError, apsw.Error) as error:
        print(f"no snapshot was made: {brief(error)}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(made).decode())
    return 0


def _step_back() -> None:
    """Let everything else on the machine go first, at the processors and at the disk."""
    os.nice(NICE)
    if shutil.which("ionice") is not None:
        subprocess.run(["ionice", "-c", "3", "-p", str(os.getpid())], check=False)


def _end_with_stdin(copy: Path) -> None:
    os.read(0, 1)  # not sys.stdin: its lock, held here, would abort the interpreter's exit
    _remove(copy)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
