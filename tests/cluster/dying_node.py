"""A node that kills itself at a step of an install: `python -m tests.cluster.dying_node STEP NODE …`.

As `kill -9` at that very moment would. The steps, in their order:

    fetching    a part of the file is here
    fetched     all of it is
    copied      the copy for the ledger is made
    renamed     the file has its name, and is not told of yet
    adopted     it is the node's newest snapshot
    removed     the old ledger's file is gone
    swapped     the ledger is the new one
    installed   the core knows
    reset       the log is emptied

At `slow` it does not die, and fetches slowly. At `serving` it dies as a leader that serves a second chunk, if
there is a file `NODE.dies` in data_dir.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atm import local_cluster
from atm.ledger import database
from atm.ledger.ledger import Ledger
from atm.raft import Raft
from atm.server.peers import snapshot_fetcher, snapshot_preparing, snapshot_server
from atm.storage import snapshots
from atm.storage.log_file import LogFile
from atm.wire.peer_messages import FetchSnapshot

SLOW_BYTES_PER_S = 200_000
FETCHED_BYTES = 300_000  # at the step `fetching`: some chunks

# Where each step is: of what, which function, and whether the node dies after it (or before).
STEPS: dict[str, tuple[Any, str, bool]] = {
    "fetched": (snapshot_fetcher.SnapshotFetcher, "fetch", True),
    "copied": (snapshot_preparing, "copy_whole", True),
    "renamed": (snapshots, "write_durably", False),
    "adopted": (snapshots.SnapshotStore, "adopt", True),
    "removed": (database, "rename_durably", False),
    "swapped": (Ledger, "replace_file", True),
    "installed": (Raft, "installed", True),
    "reset": (LogFile, "reset", True),
}


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def dying(function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        if after:
            function(*arguments, **named)
        die()

    return wrapper


def plant(step: str, node: str, data_dir: Path) -> None:
    """Have this process die at `step`."""
    if step == "slow":
        snapshot_fetcher.SnapshotFetcher.__init__.__kwdefaults__["bytes_per_s"] = SLOW_BYTES_PER_S  # type: ignore[index]
        return
    if step == "serving":
        answer = snapshot_server._Opened.answer

        def die_or_answer(self: Any, request: FetchSnapshot) -> object:
            if request.offset and (data_dir / f"{node}.dies").exists():
                die()
            return answer(self, request)

        snapshot_server._Opened.answer = die_or_answer  # type: ignore[method-assign, assignment]
        return
    if step == "fetching":
        append = snapshot_fetcher._PartialFile.append

        def append_and_die(self: Any, data: bytes) -> None:
            append(self, data)
            if self.size >= FETCHED_BYTES:
                self.sync()
                die()

        snapshot_fetcher._PartialFile.append = append_and_die  # type: ignore[method-assign]
        return
    place, name, after = STEPS[step]
    setattr(place, name, dying(getattr(place, name), after=after))


if __name__ == "__main__":
    plant(sys.argv[1], sys.argv[2], Path(sys.argv[-1]).parent / "data")
    sys.argv[1:2] = []
    sys.exit(local_cluster._run_node())
