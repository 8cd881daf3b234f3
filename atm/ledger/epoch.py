"""A new cluster takes over the books of another one, as of some log index: after a restore, or a lost
majority."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from atm.ledger.commands import BANK, OK
from atm.ledger.database import Database

SET_CLUSTER = "update cluster set id = ?, voters = ?"
HAS_MEMBERS = "select 1 from sqlite_schema where name = 'member'"
MARKER = "insert into receipt values (?, ?, null, null, ?, ?, ?, null, null, ?, ?)"


class Founder(Struct, frozen=True):
    """A voter of the new cluster, and where it is found."""

    node: str
    peer: str
    client: str


class Epoch(Struct, frozen=True, kw_only=True):
    """Which cluster begins, how, and with which entry of the old one its books end."""

    op: Literal["restored", "recovered"]
    cluster: str
    founders: tuple[Founder, ...]
    old_cluster: str
    log_index: int
    time_us: int

    @property
    def marker_id(self) -> str:
        """The request id under which the books say so."""
        return f"{self.op}-{self.cluster}"


def begin_epoch(path: Path, epoch: Epoch) -> None:
    """Make the ledger at `path`, which has applied everything up to `log_index`, that of the new cluster.

    A receipt says so in the books for ever, on every node with the same words; `lookup` finds it.
    """
    voters = msgspec.json.encode([founder.node for founder in epoch.founders]).decode()
    details = msgspec.json.encode({"from": epoch.old_cluster, "at": epoch.log_index}).decode()
    marker = (epoch.marker_id, epoch.op, details, BANK, OK, epoch.log_index, epoch.time_us)
    with closing(Database(path)) as database:
        cursor = database.cursor()
        with database.transaction():
            cursor.execute(SET_CLUSTER, (epoch.cluster, voters))
            if cursor.execute(HAS_MEMBERS).fetchall():
                _replace_members(cursor.execute, epoch.founders)
            cursor.execute(MARKER, marker)


def _replace_members(execute: Callable[..., object], founders: Sequence[Founder]) -> None:
    execute("delete from member")
    execute("delete from removed")
    for founder in founders:
        execute("insert into member values (?, 1, ?, ?, '', 0)", (founder.node, founder.peer, founder.client))
