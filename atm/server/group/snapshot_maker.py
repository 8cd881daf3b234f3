"""Makes snapshots of this node's ledger, in a process of its own: the run loop is not slowed down."""

from __future__ import annotations

import subprocess
from pathlib import Path

from msgspec import DecodeError
from msgspec.json import Decoder

from atm.ledger.snapshot import MadeSnapshot, NotMade
from atm.server.group.one_process import OneProcess, Stopping

PROGRAM = ("-P", "-m", "atm.ledger.snapshot")

_made: Decoder[MadeSnapshot] = Decoder(MadeSnapshot)


class SnapshotMaker(OneProcess):
    """Any thread may call `make`, and blocks until it is done."""

    def __init__(self, ledger: Path) -> None:
        super().__init__()
        self._ledger = ledger

    def make(self, path: Path) -> MadeSnapshot:
        """Make a snapshot of the ledger's file at `path`; raise `NotMade`."""
        try:
            with self._process(*PROGRAM, str(self._ledger), str(path), stderr=subprocess.PIPE) as process:
                # Unlike `communicate`, this leaves its standard input open: it ends with that.
                assert process.stdout is not None
                assert process.stderr is not None
                output, errors = process.stdout.read(), process.stderr.read()
        except Stopping:
            raise NotMade("the node is stopping") from None
        try:
            return _made.decode(output)
        except DecodeError:
            said = errors.decode(errors="replace").strip().splitlines()
            raise NotMade(said[-1] if said else f"no snapshot was made: code {process.returncode}") from None
