"""Makes snapshots of this node's ledger, in a process of its own: the run loop is not slowed down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Lock

from msgspec import DecodeError
from msgspec.json import Decoder

from atm.ledger.snapshot import MadeSnapshot, NotMade

PROGRAM = ("-P", "-m", "atm.ledger.snapshot")

_made: Decoder[MadeSnapshot] = Decoder(MadeSnapshot)


class SnapshotMaker:
    """Runs one process at a time. Any thread may call `make`, and blocks until it is done."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._lock = Lock()  # guards what follows; never held while a snapshot is made
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def make(self, path: Path) -> MadeSnapshot:
        """Make a snapshot of the ledger's file at `path`; raise `NotMade`."""
        with self._lock:
            if self._closed:
                raise NotMade("the node is stopping")
            self._running = process = subprocess.Popen(
                [sys.executable, *PROGRAM, str(self._ledger), str(path)],
                stdin=subprocess.PIPE,  # the process ends when this does, so even kill -9 of the node ends it
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,  # the terminal's Ctrl-C is for the node
            )
        try:
            output, errors = _output(process)
        finally:
            with self._lock:
                self._running = None
        try:
            return _made.decode(output)
        except DecodeError:
            said = errors.decode(errors="replace").strip().splitlines()
            raise NotMade(said[-1] if said else f"no snapshot was made: code {process.returncode}") from None

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


def _output(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
    """Wait for the process. Unlike `communicate`, leave its standard input open: it ends with that."""
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        return process.stdout.read(), process.stderr.read()
