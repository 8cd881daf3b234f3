"""A new cluster takes over the books of another one, as of some log index: after a restore, or a lost
majority."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from atm.ledger.cluster import read_cluster, write_cluster
from atm.ledger.commands import BANK, OK, Member
from atm.ledger.database import Database

# The nodes make another first pepper, and no PIN is right by it.
FORGET_PEPPERS = "delete from pepper; update account set pin = substr(pin, -64) where pin is not null"
MARKER = "insert into receipt values (?, ?, null, null, ?, ?, ?, null, null, ?, ?)"


class Epoch(Struct, frozen=True, kw_only=True):
    """Which cluster begins, how, and with which entry of the old one its books end."""

    op: Literal["restored", "recovered"]
    cluster: str
    founders: tuple[Member, ...]  # the voters of the new cluster
    old_cluster: str
    log_index: int
    time_us: int

    @property
    def marker_id(self) -> str:
        """The request id under which the books say so."""
        return f"{self.op}-{self.cluster}"


def begin_epoch(path: Path, epoch: Epoch, *, peppers_known: bool) -> None:
    """Make the ledger at `path`, which has applied everything up to `log_index`, that of the new cluster.

    Without its peppers the bank begins with a first one again, and every PIN has to be reset.
    A receipt says so in the books for ever, on every node with the same words; `lookup` finds it.
    """
    details = msgspec.json.encode({"from": epoch.old_cluster, "at": epoch.log_index}).decode()
    marker = (epoch.marker_id, epoch.op, details, BANK, OK, epoch.log_index, epoch.time_us)
    with closing(Database(path)) as database:
        cursor, with_members = database.cursor(), database.has_level_2_tables
        with database.transaction():
            cluster = replace(
                read_cluster(cursor, with_members=with_members),
                id=epoch.cluster,
                voters=tuple(founder.node for founder in epoch.founders),
                members=epoch.founders if with_members else (),
                removed=(),
            )
            write_cluster(cursor, cluster)
            cursor.execute(MARKER, marker)
            if with_members and not peppers_known:
                cursor.execute(FORGET_PEPPERS)
