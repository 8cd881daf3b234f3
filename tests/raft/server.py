"""One core with its surroundings: a disk, a state machine, and clients that read."""

from __future__ import annotations

from collections.abc import Callable

from atm.raft.checked import CheckedRaft
from atm.raft.config import RaftConfig
from atm.raft.configurations import members_of
from atm.raft.events import CoreEvent
from atm.raft.log import LogStart
from atm.raft.membership import Configuration
from atm.raft.messages import ConfirmedRead, Entry, EntryKind, NodeId, Snapshot
from atm.raft.ready import Ready
from tests.support.store import Store


class Server:
    """One core with its disk, its state machine (the list of what was applied), and its clients."""

    def __init__(
        self,
        name: NodeId,
        config: RaftConfig,
        store: Store,
        random: Callable[[int, int], int],
        founding: Configuration | None = None,
    ) -> None:
        self.name = name
        self.config = config
        self.store = store
        self.disk = ""  # the store id of the disk; another one after a wipe
        self.founding = founding
        self.applied: list[Entry] = []
        self.events: list[CoreEvent] = []  # what its cores have reported
        self.reads: list[ConfirmedRead] = []
        self.dropped_reads: list[int] = []
        self.crash_before: str | None = None
        self.files: dict[Snapshot, list[Entry]] = {}  # on the disk: the snapshots, and what is in each
        self.wanted: Snapshot | None = None  # the one to fetch
        self._random = random
        self.raft: CheckedRaft | None = None

    @property
    def core(self) -> CheckedRaft:
        """The running core; asserts that the server is not down."""
        assert self.raft is not None, f"{self.name} is down"
        return self.raft

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest snapshot on the disk that is not ahead of the state machine."""
        known = [snapshot for snapshot in self.files if snapshot.index <= len(self.applied)]
        return max(known, key=lambda snapshot: snapshot.index, default=None)

    def recover(self) -> None:
        """Put in order what a crash in the middle of an install has left: the old state, or the new."""
        newest = max(self.files, key=lambda snapshot: snapshot.index, default=None)
        if newest is None:
            return
        if len(self.applied) < self.store.start.index:
            self.applied = list(self.files[newest])
        known = newest.index <= self.store.start.index or self.store.term_at(newest.index) == newest.term
        if len(self.applied) >= newest.index and not known:
            self.reset_log(newest)

    def reset_log(self, snapshot: Snapshot | None) -> None:
        if snapshot is not None:
            self.store.reset(LogStart(snapshot.index, snapshot.term, snapshot.time_us))

    def answer(self, ready: Ready) -> None:
        """Answer the clients' reads, and note what is to be fetched."""
        assert all(read.index <= len(self.applied) for read in ready.reads)
        self.reads += ready.reads
        self.dropped_reads += ready.dropped_reads
        self.wanted = ready.install or self.wanted

    def start(self) -> None:
        self.wanted = None
        self.raft = CheckedRaft(
            self.config,
            hard_state=self.store.hard_state,
            log=self.store.load(len(self.applied)),
            applied_index=len(self.applied),
            random=self._random,
            configuration=self._configuration(),
            snapshot=self.snapshot,
            on_event=self.events.append,
        )

    def _configuration(self) -> tuple[int, Configuration] | None:
        """Return the newest that the state machine has applied; if none, the founding one, if it is given."""
        for entry in reversed(self.applied):
            if members := members_of(entry):
                return entry.index, members
        return None if self.founding is None else (0, self.founding)

    @property
    def membership(self) -> bytes:
        """The newest configuration that the state machine has applied, encoded; empty if there is none."""
        applied = [entry.data for entry in self.applied if entry.kind == EntryKind.MEMBERSHIP]
        return applied[-1] if applied else b""

    @property
    def commands(self) -> list[bytes]:
        """The commands that the state machine has applied."""
        return [entry.data for entry in self.applied if entry.kind == EntryKind.COMMAND and entry.data]

    @property
    def log_terms(self) -> list[int]:
        return [entry.term for entry in self.store.entries]

    def __repr__(self) -> str:
        if self.raft is None:
            return f"{self.name}: down, log {self.log_terms}"
        role, term, commit_index = self.raft.role.value, self.raft.term, self.raft.commit_index
        return f"{self.name}: {role} in term {term}, commit {commit_index}, log {self.log_terms}"
