"""Makes snapshots of this node's own ledger, in a process of its own, so that the run loop is not slowed
down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Lock

from msgspec import DecodeError, Struct
from msgspec.json import Decoder


class NotMade(Exception):
    """There is no snapshot; `str()` of it is one line for people."""


class Made(Struct, frozen=True):
    """What the process says of the file that it made, verified and synced."""

    index: int
    size_bytes: int
    sha256: str
    chain_hash: str
    cluster_id: str


_made: Decoder[Made] = Decoder(Made)


class SnapshotMaker:
    """Runs one process at a time. Any thread may call `make`, and blocks until it is done."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._lock = Lock()  # guards what follows; never held while a snapshot is made
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def make(self, path: Path) -> Made:
        """Make a snapshot of the ledger's file at `path`; raise `NotMade`."""
        with self._lock:
            if self._closed:
                raise NotMade("the node is stopping")
            self._running = process = subprocess.Popen(
                [sys.executable, "-P", "-m", "atm.ledger.snapshot", str(self._ledger), str(path)],
                stdin=subprocess.PIPE,  # the process ends when this does, so even kill -9 of the node ends it
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # the terminal's Ctrl-C is for the node
            )
        try:
            with process:
                output, errors = process.communicate()
        finally:
            with self._lock:
                self._running = None
        try:
            return _made.decode(output)
        except DecodeError:
            said = errors.decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"its process ended with code {process.returncode}"
            raise NotMade(f"no snapshot of {self._ledger} was made: {why}") from None

    def interrupt(self) -> None:
        """Kill the process that is running: the ledger's file is about to be replaced."""
        with self._lock:
            if self._running is not None:
                self._running.kill()

    def close(self) -> None:
        """Kill the running process, and start no other."""
        with self._lock:
            self._closed = True
        self.interrupt()
