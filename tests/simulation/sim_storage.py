"""What outlives the crashes of one simulated server: its disk, and the ledger up to some index.

The log file is the production one over a simulated disk. The ledger lives in memory: after a crash it is
rebuilt from the committed log, up to where SQLite would have kept it.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

from atm.ledger.store import Ledger
from atm.raft.messages import HardState, NodeId
from atm.server.log_file import LogFile
from atm.server.perform import record
from tests.raft.store import Store
from tests.simulation.bank_model import BankModel
from tests.simulation.checks import Checks, require
from tests.simulation.plan import Plan
from tests.simulation.sim_disk import SimDisk
from tests.simulation.watched import Fuse, WatchedLedger, WatchedLog

FOLDER = Path("/node/log")


class SimStorage:
    """The storage of `name`; `digests` are of every server's ledger, by the index it had applied."""

    def __init__(
        self, name: NodeId, plan: Plan, checks: Checks, model: BankModel, digests: dict[int, str]
    ) -> None:
        self.store: Store = checks.stores[name]  # the mirror: what must be on the disk
        self.chance = Random(f"disk {name} of {plan.seed}")
        self.disk = SimDisk(self.chance)
        self._name, self._plan, self._checks, self._model, self._digests = name, plan, checks, model, digests
        self._ledger_index = 0  # what a restart finds in the ledger
        self._log: WatchedLog | None = None
        self._bank: WatchedLedger

    def open(self, fuse: Fuse) -> tuple[WatchedLog, WatchedLedger]:
        """Open log and ledger as a restart finds them; raises `PowerCut`."""
        self.disk.room_bytes = None
        segment_bytes_max = self._plan.segment_bytes_max
        log_file = LogFile(FOLDER, segment_bytes_max=segment_bytes_max, disk=self.disk)
        self._compare_with_mirror(log_file)
        self._checks.restarted(self._name, self._ledger_index)
        self._log = WatchedLog(self._name, log_file, self.store, self._checks, fuse)
        self._bank = self._restore_ledger(fuse)
        return self._log, self._bank

    def close(self, *, power_cut: bool) -> None:
        """The server has died; a power cut also loses what was not synced."""
        self.digest()
        self._ledger_index = self._bank.applied_index
        self._bank.ledger.close()
        if power_cut:
            self.disk.crash()
            self._ledger_index = self.chance.randint(0, self._ledger_index)
        else:
            self.disk.kill()

    def wipe(self) -> None:
        """Everything is lost."""
        self.disk = SimDisk(self.chance)
        self.store.hard_state = HardState()
        self.store.entries.clear()
        self._ledger_index = 0
        self._log = None
        self._checks.wiped(self._name)

    def digest(self) -> str:
        """Hash the ledger, which must be as any other at the same index, and return the hash."""
        return self._compare(self._bank.ledger)

    def _compare_with_mirror(self, log_file: LogFile) -> None:
        """The disk has what was saved, and of a save that was cut short all or nothing."""
        found = Store(log_file.hard_state, log_file.tail(1))
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

    def _restore_ledger(self, fuse: Fuse) -> WatchedLedger:
        ledger = Ledger(":memory:")
        ledger.apply([record(entry) for entry in self._checks.committed[: self._ledger_index]])
        self._compare(ledger)
        return WatchedLedger(self._name, ledger, self.store, self._checks, self._model, fuse)

    def _compare(self, ledger: Ledger) -> str:
        digest = ledger.digest()
        known = self._digests.setdefault(ledger.applied_index, digest)
        require(digest == known, "ledgers at one index are equal", (self._name, ledger.applied_index))
        return digest


def _same(found: Store, mirror: Store) -> bool:
    one, other = found.hard_state, mirror.hard_state
    return (one.term, one.voted_for) == (other.term, other.voted_for) and found.entries == mirror.entries
