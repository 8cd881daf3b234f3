"""What stands between a simulated server's parts: it watches, and lets the server die between effects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import astuple

from atm.ledger.commands import (
    LedgerEntry,
    LedgerReceipt,
    LoggedCommand,
    MembershipChange,
    Read,
    ReadResult,
)
from atm.ledger.ledger import ClusterState, Ledger, Record
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.ledger.state_hash import RowsFrom, StateHash
from atm.raft.log import Log, LogStart
from atm.raft.membership import Configuration, Member, encode_configuration
from atm.raft.messages import Entry, EntryKind, HardState, NodeId, RaftMessage, Snapshot
from atm.raft.raft import Raft
from atm.raft.ready import Ready, Role
from atm.storage.log_file import LogFile
from atm.storage.log_index import LogBase
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from tests.simulation.bank_model import BankModel, said_besides
from tests.simulation.fuse import Fuse
from tests.simulation.onlooker import Onlooker
from tests.simulation.sim_ledger import SimLedgerFile
from tests.simulation.sim_snapshots import SimSnapshotStore
from tests.support.checks import Checks, require
from tests.support.sim_disk import SimDisk
from tests.support.store import Store


class WatchedCore:
    """The checked core, and what all servers promise together checked after every step."""

    def __init__(self, raft: Raft, checks: Checks, fuse: Fuse, onlooker: Onlooker) -> None:
        self.raft = raft
        self._onlooker = onlooker
        self._fuse = fuse
        self.commit_index = raft.commit_index
        self.applied_index = raft.applied_index
        self._checks = checks

    @property
    def role(self) -> Role:
        return self.raft.role

    @property
    def term(self) -> int:
        return self.raft.term

    @property
    def leader(self) -> NodeId | None:
        return self.raft.leader

    @property
    def last_index(self) -> int:
        return self.raft.last_index

    @property
    def last_time_us(self) -> int:
        return self.raft.last_time_us

    def step(self, message: RaftMessage) -> None:
        self._onlooker.before(self.raft)
        refusal = self.raft.step(message)
        self._onlooker.after(self.raft, message)
        require(refusal is None, "no server breaks the protocol here, so no message is refused", refusal)
        self._look()

    def tick(self) -> None:
        self._onlooker.before(self.raft)
        self.raft.tick()
        self._onlooker.after(self.raft, "tick")
        self._look()

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int:
        self._onlooker.before(self.raft)
        index = self.raft.propose(data, now_us, kind)
        self._onlooker.after(self.raft, "propose")
        return index

    def read(self, read_id: int) -> None:
        self.raft.read(read_id)

    def abstain(self, abstains: bool) -> None:
        self.raft.abstain(abstains)

    def demote(self, node_id: NodeId, store: str) -> None:
        self.raft.demote(node_id, store)

    def matched(self) -> dict[NodeId, int]:
        return self.raft.matched()

    @property
    def log(self) -> Log:
        return self.raft.log

    @property
    def installing(self) -> Snapshot | None:
        return self.raft.installing

    def offered(self) -> dict[NodeId, Snapshot]:
        return self.raft.offered()

    def snapshot_taken(self, snapshot: Snapshot, first_index: int) -> None:
        self._checks.took_snapshot(self.raft.node_id, snapshot)
        self.raft.snapshot_taken(snapshot, first_index)
        self._look()

    def installed(self, snapshot: Snapshot) -> None:
        self._fuse.burn()
        self.raft.installed(snapshot)
        self._look()
        self._fuse.burn()

    def install_failed(self, snapshot: Snapshot) -> None:
        self.raft.install_failed(snapshot)

    @property
    def configuration(self) -> tuple[int, Configuration]:
        return self.raft.configuration

    @property
    def transferring(self) -> NodeId | None:
        return self.raft.transferring

    def has_lost_disk(self, node: NodeId) -> bool:
        return self.raft.has_lost_disk(node)

    def change_membership(self, members: Configuration, now_us: int, reason: bytes = b"") -> int:
        self._onlooker.before(self.raft)
        index = self.raft.change_membership(members, now_us, reason)
        self._onlooker.after(self.raft, "propose")
        return index

    def successor(self, target: NodeId | None) -> NodeId:
        return self.raft.successor(target)

    def transfer(self, target: NodeId | None) -> NodeId:
        return self.raft.transfer(target)

    def ready(self) -> Ready | None:
        ready = self.raft.ready()
        if ready is not None:
            self._checks.ready(self.raft.node_id, ready)
        return ready

    def advance(self, ready: Ready) -> None:
        self._onlooker.before(self.raft)
        self.raft.advance(ready)
        self._onlooker.after(self.raft, "sync")
        self._look()

    def _look(self) -> None:
        self._checks.stepped(self.raft.node_id, self.raft)
        self.commit_index = self.raft.commit_index
        self.applied_index = self.raft.applied_index


class WatchedLog:
    """The log file, mirrored in a `Store`; `unsure` is what a save was about to write when it failed."""

    def __init__(
        self, name: NodeId, log: LogFile, store: Store, disk: SimDisk, checks: Checks, fuse: Fuse
    ) -> None:
        self.slow_us = 0  # how long each sync takes
        self.took_us = 0  # since the iteration began
        self.unsure: tuple[HardState, Sequence[Entry]] | None = None
        self.fired = Counter[str]()
        self.hard_state = log.hard_state
        self._name = name
        self._log = log
        self._store = store
        self._disk = disk
        self._checks = checks
        self._fuse = fuse

    @property
    def last_index(self) -> int:
        return self._log.last_index

    @property
    def start(self) -> LogStart:
        return self._log.start

    @property
    def terms(self) -> Sequence[tuple[int, int]]:
        return self._log.terms

    @property
    def first_index(self) -> int:
        return self._log.first_index

    @property
    def size_bytes(self) -> int:
        return self._log.size_bytes

    def set_base(self, base: LogBase) -> None:
        self._log.set_base(base)

    def cut(self, first_kept: int) -> None:
        self._fuse.burn()
        self._log.cut(first_kept)
        self.took_us += self.slow_us
        if self._log.first_index > self._store.start.index + 1:
            self.fired["log cut"] += 1
            self._store.cut(self._log.first_index)
        require(self._disk.all_is_synced, "what was cut is cut durably", self._name)
        self._fuse.burn()

    def reset(self, base: LogBase) -> None:
        self._fuse.burn()
        self._log.reset(base)
        self.took_us += self.slow_us
        self._store.reset(LogStart(base.index, base.term, base.time_us))
        self.hard_state = self._log.hard_state
        self.fired["log emptied"] += 1
        require(self._disk.all_is_synced, "what was emptied is empty durably", self._name)
        self._fuse.burn()

    def tail(self, first_index: int) -> list[Entry]:
        return self._log.tail(first_index)

    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        return self._log.read_entries(first, last, bytes_max)

    def save(self, hard_state: HardState, entries: Sequence[Entry]) -> None:
        self._fuse.burn()
        self.unsure = (hard_state, entries)
        changes = self._disk.changes
        self._log.save(hard_state, entries)
        self.unsure = None
        if self._disk.changes != changes:
            self.took_us += self.slow_us
        require(self._disk.all_is_synced, "what was saved is synced", self._name)
        self.hard_state = self._log.hard_state
        self._store.save(hard_state, entries)
        self._checks.saved(self._name)


class WatchedLedger:
    """The ledger, every receipt of which must be what follows from the committed log."""

    def __init__(
        self,
        name: NodeId,
        ledger: Ledger,
        file: SimLedgerFile,
        store: Store,
        checks: Checks,
        model: BankModel,
        fuse: Fuse,
        snapshots: SimSnapshotStore,
    ) -> None:
        self.ledger = ledger
        self._snapshots = snapshots
        self._file = file
        self._name = name
        self._store = store
        self._checks = checks
        self._model = model
        self._fuse = fuse
        self.decided_index = ledger.applied_index  # ahead of what is written, while that is being written

    @property
    def applied_index(self) -> int:
        return self.ledger.applied_index

    @property
    def next_expiry_us(self) -> int | None:
        return self.ledger.next_expiry_us

    def views(self, requests: Sequence[Read], now_us: int) -> list[ReadResult]:
        return self.ledger.views(requests, now_us)

    @property
    def cluster(self) -> ClusterState:
        return self.ledger.cluster

    @property
    def role_changes(self) -> Mapping[str, RoleChange]:
        return self.ledger.role_changes

    @property
    def pepper(self) -> PepperState:
        return self.ledger.pepper

    def pins_after(self, account: str, limit: int) -> Sequence[tuple[str, str | None]]:
        self.write()
        return self.ledger.pins_after(account, limit)

    def new_pins_after(self, request_id: str, limit: int) -> Sequence[tuple[str, str | None]]:
        self.write()
        return self.ledger.new_pins_after(request_id, limit)

    def apply(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        receipts = self.decide(records)
        self.write()
        return receipts

    def decide(self, records: Sequence[Record]) -> list[LedgerReceipt | None]:
        self._fuse.burn()
        entries = self._store.tail(records[0][0])[: len(records)]
        require(
            [r[0] for r in records] == [e.index for e in entries], "what is applied is durable", self._name
        )
        for (_, time_us, said), entry in zip(records, entries, strict=True):
            same = time_us == entry.time_us and entry.data == _data_of(said)
            require(same, "what is applied is what was saved", (self._name, entry))
        self._checks.applied(self._name, entries)
        receipts = self.ledger.decide(records)
        self.decided_index = records[-1][0]
        for receipt, decision in zip(
            receipts, self._model.decisions[records[0][0] - 1 : records[-1][0]], strict=True
        ):
            found = receipt and (
                receipt.id,
                receipt.outcome,
                receipt.balance,
                receipt.available,
                receipt.log_index,
                receipt.time_us,
                said_besides(receipt),
            )
            require(found == decision, "the ledger follows from the log alone", (self._name, found, decision))
        self._fuse.burn()
        return receipts

    def state_hash(self, rows_from: RowsFrom, rows_max: int) -> StateHash:
        state = self.ledger.state_hash(rows_from, rows_max)
        require(state.index == self.decided_index, "what is compared is all that was decided", self._name)
        self._file.committed()
        self._fuse.burn()
        return state

    def write(self) -> None:
        self.ledger.write()
        self._file.committed()
        self._fuse.burn()

    def replace_file(self, prepared: Path) -> None:
        """Go on with what was fetched; in between there is no ledger at all."""
        snapshot = self._snapshots.newest
        assert snapshot is not None
        self._fuse.burn()
        self.ledger.close()
        self.ledger = self._file.replace(self._snapshots.disk.files.pop(prepared), self._fuse.burn)
        self.decided_index = self.ledger.applied_index
        self._checks.installed(self._name, snapshot)
        self._fuse.burn()


def _data_of(said: LedgerEntry | None) -> bytes:
    """Return what an entry holds that says this."""
    if isinstance(said, LoggedCommand):
        return command_data(said.actor, encode(said.command), said.roles)
    if isinstance(said, MembershipChange):
        deed = said.deed
        data = b"" if deed is None else command_data(deed.actor, encode(deed.command), deed.roles)
        members = tuple(Member(*astuple(member)) for member in said.members)
        return encode_configuration(members, data)
    return encode(said) if said else b""
