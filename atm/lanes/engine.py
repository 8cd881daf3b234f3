"""Connections to PostgreSQL: opened, checked, ended when an answer takes too long; and what an error means.

A connection that had any error is dropped. The next one begins with `take` (lane_ledger.py), a transaction
that waits for the standbys: only that proves that what is seen is replicated. A commit whose wait for a
standby was cancelled is visible and may still be lost; PostgreSQL tells it by a warning alone, so here a
warning is an error.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper

from atm.lanes.faults import EngineFault, EngineRefused, Fenced, NoSpace

CONNECT_TIMEOUT_S = 3
ANSWER_TIMEOUT_S = 5.0  # longer than a standby takes that is only slow
LOOK_EVERY_S = 0.1
FENCED = "AT001"  # the SQLSTATE of atm.fence
DISK_FULL = "53100"
NO_ROOM = "No space left on device"
MAKE_ROOM = (
    "PostgreSQL's disk is full, its log names the file: make room there. Once PostgreSQL runs, the bank goes "
    "on by itself"
)
ENDED = "server closed the connection unexpectedly"  # so says libpq
CRASHED = (
    "PostgreSQL ended the connection, its log says why. If the disk of its pg_wal is full it has crashed: "
    "make room there, and start it unless something does; the bank goes on by itself"
)
SYNCHRONOUS = ("on", "remote_apply")
# What would take back, or cut off, what was promised: the setting, and the values that are refused.
REFUSED_SETTINGS = {
    "fsync": ("off", "a power cut would take back what was acknowledged"),
    "full_page_writes": ("off", "a power cut could damage the tables"),
}
TIMEOUTS = ("statement_timeout", "transaction_timeout")  # the second since PostgreSQL 17
SETTINGS = "select name, setting from pg_settings where name = any(%s)"
VERSION_MIN = 130000


class Deadlines:
    """Ends connections that wait for an answer beyond their time; one thread for all of them.

    A primary that is frozen or cut off neither answers nor closes: without this a writer would wait for ever.
    """

    def __init__(self) -> None:
        self._lock = Lock()  # guards _until_s
        self._until_s: dict[EngineConnection, float] = {}
        self._pause = Event()  # never set
        self._runs = False

    def begin(self, connection: EngineConnection, timeout_s: float) -> None:
        """End the connection after `timeout_s`, unless `end` is called before."""
        with self._lock:
            self._until_s[connection] = time.monotonic() + timeout_s
            if not self._runs:
                self._runs = True
                Thread(target=self._run, name="deadlines", daemon=True).start()

    def end(self, connection: EngineConnection) -> None:
        """Note that the answer came."""
        with self._lock:
            self._until_s.pop(connection, None)

    def _run(self) -> None:
        while True:
            self._pause.wait(LOOK_EVERY_S)
            now_s = time.monotonic()
            with self._lock:
                for connection in [each for each, until_s in self._until_s.items() if until_s < now_s]:
                    del self._until_s[connection]
                    connection.cut()


DEADLINES = Deadlines()


class EngineConnection:
    """One connection, used by one thread at a time; `lane` is the lane whose rows `one_lane` shows."""

    def __init__(
        self,
        url: str,
        *,
        lane: int | None = None,
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        refuses: bool = True,
    ) -> None:
        """Connect to the primary among the hosts of `url`; raise `EngineFault` or `EngineRefused`.

        Without `refuses` it may be set up as it likes: for who only looks.
        """
        self._answer_timeout_s = answer_timeout_s
        self._refuses = refuses
        self._warning = ""
        self.timed_out = False
        with self._errors():
            self.psycopg: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, **_defaults(url))
        self._socket = socket.socket(fileno=os.dup(self.psycopg.fileno()))
        try:
            with self.asking():
                self._set_up(lane)
        except BaseException:
            self.close()
            raise

    def _set_up(self, lane: int | None) -> None:
        self.psycopg.add_notice_handler(self._note)
        self.psycopg.adapters.register_dumper(
            int, Int8Dumper
        )  # else an int's size picks its type, and the plan
        self.psycopg.prepare_threshold = 1
        for why in refusals(self.psycopg) if self._refuses else ():
            raise EngineRefused(why)
        self.psycopg.execute("set search_path = one_lane, atm, pg_catalog")
        self.psycopg.execute("set default_transaction_isolation = 'read committed'")
        # A plan that was made while the tables were empty is kept: every query here has an index.
        self.psycopg.execute("set enable_seqscan = off")
        if lane is not None:
            self.psycopg.execute("select set_config('atm.lane', %s, false)", (str(lane),))

    @contextmanager
    def asking(self, *, writes: bool = False) -> Iterator[None]:
        """Run the block, whose answers must come in time; raise `EngineFault` for whatever PostgreSQL says.

        `writes`: if the error leaves it open whether the block's transaction is committed, the fault says so.
        """
        self._warning = ""
        DEADLINES.begin(self, self._answer_timeout_s)
        try:
            with self._errors(writes=writes):
                yield
            if self._warning:
                raise EngineFault(f"PostgreSQL warns: {self._warning}", may_be_done=writes)
        finally:
            DEADLINES.end(self)

    @contextmanager
    def _errors(self, *, writes: bool = False) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate == FENCED:
                raise Fenced(_line(error)) from error
            # An ERROR of the server has rolled the transaction back; not so a FATAL or a PANIC, which ends
            # the connection, nor what the driver says itself.
            is_told = error.diag.severity_nonlocalized == "ERROR"
            if is_told and error.sqlstate == DISK_FULL:
                raise NoSpace(_line(error)) from error
            why = "PostgreSQL did not answer in time" if self.timed_out else _line(error)
            raise EngineFault(why, may_be_done=writes and not is_told) from error

    def _note(self, notice: errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "without a message"

    def extend(self) -> None:
        """Begin the time for the next answer, within a block that asks for many."""
        DEADLINES.begin(self, self._answer_timeout_s)

    def cut(self) -> None:
        """End what waits for an answer; any thread."""
        self.timed_out = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; a second call does nothing."""
        with contextlib.suppress(psycopg.Error):
            self.psycopg.close()
        self._socket.close()


def refusals(connection: psycopg.Connection[Any]) -> Iterator[str]:
    """Yield why a PostgreSQL that is set up as this one must not keep a bank, a sentence each."""
    version = connection.info.server_version
    if version < VERSION_MIN:
        yield f"PostgreSQL {version // 10000} is too old: 13 is the oldest that keeps a bank"
    names = ["synchronous_commit", *REFUSED_SETTINGS, *TIMEOUTS]
    found: dict[str, str] = dict(connection.execute(SETTINGS, (names,)).fetchall())
    lowered = found["synchronous_commit"]
    if lowered not in SYNCHRONOUS:
        yield (
            f"PostgreSQL has synchronous_commit = {lowered} for this user and database: what is "
            "acknowledged could be lost. Set it to on where it was lowered: server, database "
            "(alter database … reset) or user (alter role … reset)"
        )
    for name, (value, why) in REFUSED_SETTINGS.items():
        if found[name] == value:
            yield f"PostgreSQL has {name} = {value}: {why}. Set it to on"
    for name in TIMEOUTS:
        if found.get(name, "0") != "0":
            yield (
                f"PostgreSQL has {name} = {found[name]} ms for this user and database: it would cut off "
                "commits that wait for a standby, which then may be lost. Set it to 0 for this user "
                "(alter role … set)"
            )


def _defaults(url: str) -> dict[str, Any]:
    """Return what is used unless the address says otherwise; of several hosts, the one that is primary."""
    given = conninfo_to_dict(url)
    wanted = {
        "application_name": "atm",
        "connect_timeout": CONNECT_TIMEOUT_S,
        "target_session_attrs": "read-write",
    }
    return {name: value for name, value in wanted.items() if name not in given}


def _line(error: psycopg.Error) -> str:
    line = " ".join((error.diag.message_primary or str(error)).split())[:300]
    if error.sqlstate == DISK_FULL or NO_ROOM in line:
        return MAKE_ROOM
    if ENDED in line:
        return CRASHED
    return line
