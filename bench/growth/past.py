"""A past for a cluster: log and ledger made once, offline, for all nodes to start from.

They are as nodes that have run would leave them: a log that begins with a leader's no-op and holds each
command as it comes over the wire, and the ledger that the project itself makes of that very log.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from atm.config import LEDGER_FILE, Cluster
from atm.files import sync_folder
from atm.ledger.commands import LOCAL, Command, Credit, Open
from atm.ledger.ledger import Ledger
from atm.raft.messages import Entry, EntryKind, HardState
from atm.server.group.entry_validator import record
from atm.storage.data_folder import DataFolder
from atm.storage.disk import OsDisk
from atm.storage.log_file import LogFile
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from bench.work import HOT_ACCOUNT, account

TERM = 1
FIRST_US, STEP_US = 1_700_000_000_000_000, 100
CONNECTIONS = 64  # that many clients' ids, one after the other, and so many entries in a batch of the log
TRANSACTION = 200 * CONNECTIONS  # entries applied at once: the larger, the sooner it is made


def openings(count: int) -> Iterator[Command]:
    """Yield what opens so many accounts, `bench.work.account(0)` the first."""
    for number, request_id in zip(range(count), _request_ids(), strict=False):
        yield Open(id=request_id, account=account(number))


def credits_to_one(count: int) -> Iterator[Command]:
    """Yield so many credits to the hot account."""
    for _, request_id in zip(range(count), _request_ids(), strict=False):
        yield Credit(id=request_id, account=HOT_ACCOUNT, amount=1)


def make_past(folder: Path, commands: Iterator[Command]) -> None:
    """Put the files of a node that has applied these commands into `folder`, without syncing them."""
    entries = _entries(commands)
    with closing(LogFile(folder, disk=_Unsynced())) as log, closing(Ledger(folder / LEDGER_FILE)) as ledger:
        while chunk := list(islice(entries, TRANSACTION)):
            for first in range(0, len(chunk), CONNECTIONS):
                batch = chunk[first : first + CONNECTIONS]
                # As a leader would write it: what came before the batch is committed by then.
                log.save(HardState(term=TERM, commit_index=batch[0].index - 1), batch)
            ledger.apply([record(entry) for entry in chunk])


def furnish(past: Path, cluster: Cluster) -> None:
    """Give every node of a cluster that has never run a copy of this past, durably.

    Durably, for otherwise the disk would still be writing it when the cluster is measured.
    """
    for name in cluster.nodes:
        with closing(DataFolder(cluster, name)) as folder:
            for file in past.iterdir():
                with (folder.path / file.name).open("xb") as copy, file.open("rb") as original:
                    shutil.copyfileobj(original, copy, 1 << 20)
                    copy.flush()
                    os.fsync(copy.fileno())
            sync_folder(folder.path)


class _Unsynced(OsDisk):
    """Do nothing: no promise depends on a log that is only copied."""

    def sync(self, file: int) -> None:
        pass


def _entries(commands: Iterator[Command]) -> Iterator[Entry]:
    yield Entry(index=1, term=TERM, time_us=FIRST_US, kind=EntryKind.NOOP, data=b"")
    for index, command in enumerate(commands, 2):
        yield Entry(
            index=index,
            term=TERM,
            time_us=FIRST_US + index * STEP_US,
            kind=EntryKind.COMMAND,
            data=command_data(LOCAL, encode(command)),
        )


def _request_ids() -> Iterator[str]:
    """Yield ids without end, of the shape that the load program's have."""
    chance = random.Random(1)
    names = [f"{chance.getrandbits(48):012x}" for _ in range(CONNECTIONS)]
    number = 0
    while True:
        yield from (f"{name}{number:012}" for name in names)
        number += 1
