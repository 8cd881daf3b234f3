"""`python -m tests.power.snapshot_life FOLDER ELSEWHERE SEED`: a server's storage alone, busy with snapshots.

It saves and applies entries, takes snapshots, cuts its log behind them, and installs snapshots that another
server made in ELSEWHERE, whose power stays on. Every entry follows from its index, so that it is known what
the ledger must hold at each. A line says what is durable: `promised INDEX TERM`.
"""

from __future__ import annotations

import random
import sys
from contextlib import closing
from pathlib import Path

from atm.ledger.ledger import Ledger, Record
from atm.ledger.snapshot import MadeSnapshot, make
from atm.raft.messages import Entry, EntryKind, HardState, Snapshot
from atm.server.group.kept_snapshots import snapshot_of
from atm.server.group.ledger_file import open_ledger, place
from atm.storage.log_file import LogBase, LogFile
from atm.storage.snapshots import SnapshotStore, wrong_with
from tests.support.entries import entry

SEGMENT_BYTES_MAX = 8_000
AHEAD = 60  # how far the other server is


def record_at(index: int) -> Record:
    return index, index * 1_000, entry(f"c{index} credit main {index}")


def entry_at(index: int, term: int) -> Entry:
    return Entry(
        index=index,
        term=term,
        time_us=index * 1_000,
        kind=EntryKind.COMMAND,
        data=b"credit %d " % index * (1 + index % 20),
    )


def described(made: MadeSnapshot, term: int) -> Snapshot:
    return snapshot_of(
        made, term=term, time_us=made.index * 1_000, size_bytes=made.size_bytes, sha256=made.sha256
    )


class Storage:
    """The log, the snapshots and the ledger of one server, opened as a start does."""

    def __init__(self, folder: Path) -> None:
        self.store = SnapshotStore(folder / "snapshot")
        self.log = LogFile(folder, base=self.store.base, segment_bytes_max=SEGMENT_BYTES_MAX)
        self.path = folder / "ledger.db"
        self.ledger = open_ledger(self.path, self.store, self.log.first_index)
        self.catch_up()

    @property
    def term(self) -> int:
        return self.log.hard_state.term

    def catch_up(self) -> None:
        for index in range(self.ledger.applied_index + 1, self.log.last_index + 1):
            [found] = self.log.read_entries(index, index, 1)
            assert found == entry_at(index, found.term), f"entry {index} is {found}"
            self.ledger.apply([record_at(index)])

    def save(self, count: int, term: int) -> None:
        first = self.log.last_index + 1
        new = [entry_at(index, term) for index in range(first, first + count)]
        self.log.save(HardState(term=term, voted_for=f"n{term % 5}", commit_index=first - 1), new)
        self.ledger.apply([record_at(index) for index in range(first, first + count)])

    def take(self, window: int) -> None:
        made = make(self.path, self.store.making)
        [last] = self.log.read_entries(made.index, made.index, 1)
        self.store.adopt(described(made, last.term), self.store.making, installed=False)
        self.log.set_base(LogBase(last.index, last.term, last.time_us))
        self.log.cut(made.index + 1 - window)
        self.store.prune()

    def install(self, elsewhere: Path, chance: random.Random) -> None:
        """Install what a server made that is ahead of this one."""
        index = self.log.last_index + AHEAD
        with closing(Ledger(elsewhere / "leader.db")) as leader:
            leader.apply([record_at(n) for n in range(leader.applied_index + 1, index + 1)])
            snapshot = described(make(elsewhere / "leader.db", elsewhere / "made.db"), self.term)
        part = self.store.part(snapshot)
        with (elsewhere / "made.db").open("rb") as source, part.open("wb") as target:
            while piece := source.read(chance.randint(1, 8_000)):
                target.write(piece)
        assert wrong_with(snapshot, part) is None
        self.store.adopt(snapshot, part, installed=True)
        self.ledger.close()
        place(self.store.path(snapshot), snapshot, self.path)
        self.ledger = Ledger(self.path)
        self.log.reset(LogBase(index, snapshot.term, snapshot.time_us, installed=True))
        self.store.prune()

    def close(self) -> None:
        self.ledger.close()
        self.log.close()


def main(folder: Path, elsewhere: Path, seed: int) -> None:
    chance = random.Random(seed)
    storage = Storage(folder)
    while True:
        print(f"promised {storage.log.last_index} {storage.term}", flush=True)
        match chance.random():
            case drawn if drawn < 0.7:
                storage.save(chance.randint(1, 20), max(1, storage.term + (chance.random() < 0.1)))
            case drawn if drawn < 0.9:
                if storage.store.base.index < storage.log.last_index:
                    storage.take(window=chance.choice((0, 0, 30)))
            case _:
                storage.install(elsewhere, chance)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
