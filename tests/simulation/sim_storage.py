"""What outlives the crashes of one simulated server: its disk, and the ledger up to some index.

The log file is the production one over a simulated disk. The ledger is the production one over SQLite in
memory; what a crash leaves of it is said in `sim_ledger.py`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from atm.ledger.ledger import Ledger
from atm.raft.log import BEGINNING, LogStart
from atm.raft.messages import HardState, NodeId
from atm.server.group.settings import SEGMENTS_PER_SNAPSHOT
from atm.storage.log_file import LogFile
from atm.storage.log_index import LogBase
from tests.simulation.bank_model import BankModel, receipt_row
from tests.simulation.fuse import Fuse
from tests.simulation.plan import Plan
from tests.simulation.sim_folder import FolderFiles, SimFolder, new_files
from tests.simulation.sim_ledger import SimLedgerFile
from tests.simulation.sim_snapshots import SimSnapshotStore, SnapshotDisk
from tests.simulation.watched import WatchedLedger, WatchedLog
from tests.support.checks import Checks, require
from tests.support.sim_disk import SimDisk
from tests.support.store import Store

FOLDER = Path("/node/log")


@dataclass(frozen=True)
class Copy:
    """A copy of a data folder, as some operator might put it back."""

    disk: SimDisk
    ledger: list[bytes]
    snapshots: SnapshotDisk
    files: FolderFiles


class SimStorage:
    """The storage of `name`; `digests` are of every server's ledger, by the index it had applied."""

    def __init__(
        self, name: NodeId, plan: Plan, checks: Checks, model: BankModel, digests: dict[int, str]
    ) -> None:
        self._name, self._plan, self._checks, self._model, self._digests = name, plan, checks, model, digests
        self.store: Store = checks.stores[name]  # the mirror: what must be on the disk
        self.chance = Random(f"disk {name} of {plan.luck}")
        self.disk = SimDisk(self.chance, plan.torn_bytes)
        self.ledger_file = SimLedgerFile(self.chance)
        self.snapshot_disk = SnapshotDisk(self.chance)
        self.snapshots: SimSnapshotStore
        self._stores_drawn = 0
        self.files = new_files(name, self.new_store())
        self.copy: Copy | None = None
        self._void: set[str] = set()  # the folders of which an old copy was put back
        self._is_restored = False  # the disk is as some copy was, so the mirror follows it
        self._log: WatchedLog | None = None
        self._bank: WatchedLedger

    def open(self, fuse: Fuse) -> tuple[WatchedLog, WatchedLedger]:
        """Open log and ledger as a restart finds them; raises `PowerCut` and `LogFailed`."""
        self.disk.room_bytes = None
        self.snapshots = SimSnapshotStore(
            self.snapshot_disk, fuse, is_full=lambda: self.disk.room_bytes is not None
        )
        segment_bytes_max = min(
            self._plan.segment_bytes_max, self._plan.snapshot_log_bytes // SEGMENTS_PER_SNAPSHOT
        )
        base = self.snapshots.base
        log_file = LogFile(FOLDER, base=base, segment_bytes_max=segment_bytes_max, disk=self.disk)
        if self._is_restored:
            self._is_restored = False
            self._follow_copy(log_file)
        self._follow_start(log_file, base)
        self._compare_with_mirror(log_file)
        self._log = WatchedLog(self._name, log_file, self.store, self.disk, self._checks, fuse)
        ledger = self._open_ledger(log_file.first_index, fuse)
        self._bank = WatchedLedger(
            self._name,
            ledger,
            self.ledger_file,
            self.store,
            self._checks,
            self._model,
            fuse,
            self.snapshots,
        )
        self._checks.restarted(self._name, ledger.applied_index)
        self.digest()
        return self._log, self._bank

    def _open_ledger(self, first_index: int, fuse: Fuse) -> Ledger:
        """Open the ledger, or that of the newest snapshot if the log does not go on from it."""
        ledger = self.ledger_file.open(fuse.burn_statement)
        if ledger.applied_index >= first_index - 1:
            return ledger
        newest = self.snapshots.newest
        held = newest is not None and newest.index >= first_index - 1
        require(held, "what was cut is in a snapshot", (self._name, first_index, newest))
        assert newest is not None
        ledger.close()
        self.ledger_file.put(self.snapshot_disk.files[self.snapshots.path(newest)])
        return self.ledger_file.open(fuse.burn_statement)

    def close(self, *, power_cut: bool) -> None:
        """The server has died; a power cut also loses what was not synced."""
        self.ledger_file.close(power_cut=power_cut)
        self._bank.ledger.close()
        if power_cut:
            self.disk.crash()
            self.snapshot_disk.power_cut()
        else:
            self.disk.kill()

    def new_store(self) -> str:
        """Draw the id of a data folder."""
        self._stores_drawn += 1
        return f"{self._name}/{self._stores_drawn}"

    def folder(self, fuse: Fuse) -> SimFolder:
        """Return the data folder as it is now."""
        return SimFolder(self.files, fuse, self.new_store)

    def take_copy(self) -> None:
        """Copy all that is on the disk of a server that is down."""
        self.copy = Copy(
            self.disk.copied(), self.ledger_file.versions(), self.snapshot_disk.copied(), replace(self.files)
        )

    def restore(self) -> None:
        """Put the copy in the place of all that is there."""
        assert self.copy is not None
        self._checks.wiped(self._name, self.copy.files.owner.store)
        self.disk = self.copy.disk.copied()
        self.ledger_file.restore(self.copy.ledger)
        self.snapshot_disk = self.copy.snapshots.copied()
        self.files = replace(self.copy.files)
        self._void.add(self.files.owner.store)
        self.copy, self._log, self._is_restored = None, None, True

    def keeps(self, store: str) -> bool:
        """Whether this is the folder of that store id, as a configuration has it, with all its promises."""
        own = self.files.owner.store
        return own == (store or f"{self._name}/1") and own not in self._void

    def wipe(self) -> None:
        """Everything is lost."""
        self.files = new_files(self._name, self.new_store())
        self._checks.wiped(self._name, self.files.owner.store)
        self.copy = None
        self.disk = SimDisk(self.chance, self._plan.torn_bytes)
        self.ledger_file.lose()
        self.snapshot_disk.lose()
        self.store.hard_state = HardState()
        self.store.reset(BEGINNING)
        self._log = None

    def digest(self) -> str:
        """Return a hash of the ledger, which must be as any other at its index, and as the log says."""
        index, digest = self._bank.applied_index, self._bank.ledger.digest()
        known = self._digests.get(index)
        if known is None:
            self._digests[index] = digest
            self._compare_with_model(index)
        else:
            require(digest == known, "ledgers at one index are equal", (self._name, index))
        return digest

    def _compare_with_model(self, index: int) -> None:
        """All that the tables hold follows from the log up to `index`."""
        expected = self._model.tables(index)
        found = {name: self.ledger_file.rows(f"select * from {name} order by 1") for name in expected}
        found["receipt"] = [receipt_row(row) for row in found["receipt"]]
        for name, rows in expected.items():
            wrong = [row for row in found[name] if row not in rows]
            missing = [row for row in rows if row not in found[name]]
            right = found[name] == rows
            require(right, f"the rows of {name} follow from the log", (self._name, index, wrong, missing))
        balances: dict[str, int] = dict(found["balance"])
        require(sum(balances.values()) == 0, "all balances add up to 0", (self._name, balances))
        flows: Counter[str] = Counter()
        for _, _, debit, credit, amount, *_ in found["journal"]:
            flows.update({credit: amount})
            flows.subtract({debit: amount})
        moved = {name: flows[name] for name in balances}
        require(moved == balances, "the journal adds up to the balances", (self._name, moved, balances))
        held: Counter[str] = Counter()
        for _, account, amount, _, _, state, posted in found["hold"]:
            held[account] += amount - posted if state == "active" else 0
        sums = {row[0]: held[row[0]] for row in found["account"]}
        kept = {row[0]: row[3] for row in found["account"]}
        require(kept == sums, "what is held is the sum of the active holds", (self._name, kept, sums))

    def _follow_copy(self, log_file: LogFile) -> None:
        first_index, mirror = log_file.first_index, self.store
        last_cut = self._checks.committed[first_index - 2] if first_index > 1 else None
        mirror.reset(LogStart(last_cut.index, last_cut.term, last_cut.time_us) if last_cut else BEGINNING)
        mirror.save(log_file.hard_state, log_file.tail(first_index))

    def _follow_start(self, log_file: LogFile, base: LogBase) -> None:
        """A kill in a cut leaves some of what was to be cut; a restart completes an install."""
        mirror, first_index = self.store, log_file.first_index
        held = base.index < mirror.start.index or mirror.term_at(base.index) == base.term
        if base.installed and not held:
            mirror.reset(LogStart(base.index, base.term, base.time_us))
        elif first_index > mirror.start.index + 1:
            require(first_index <= base.index + 1, "nothing is cut that no snapshot holds", self._name)
            mirror.cut(first_index)

    def _compare_with_mirror(self, log_file: LogFile) -> None:
        """The disk has what was saved, and of a save that was cut short all or nothing."""
        found = Store(log_file.hard_state, log_file.tail(log_file.first_index))
        if self._log is not None and self._log.unsure is not None and not _same(found, self.store):
            self.store.save(*self._log.unsure)
        detail = (
            self._name,
            found.hard_state,
            found.entries[-3:],
            self.store.hard_state,
            self.store.entries[-3:],
        )
        require(_same(found, self.store), "a restart finds what was saved", detail)
        self.store.hard_state = found.hard_state


def _same(found: Store, mirror: Store) -> bool:
    one, other = found.hard_state, mirror.hard_state
    return (one.term, one.voted_for) == (other.term, other.voted_for) and found.entries == mirror.entries
