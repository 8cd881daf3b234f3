"""One core with its surroundings: a disk, a state machine, and clients that read."""

from __future__ import annotations

from collections.abc import Callable

from atm.raft.checked import CheckedRaft
from atm.raft.config import RaftConfig
from atm.raft.messages import ConfirmedRead, Entry, NodeId
from tests.support.store import Store


class Server:
    """One core with its disk, its state machine (the list of what was applied), and its clients."""

    def __init__(
        self, name: NodeId, config: RaftConfig, store: Store, random: Callable[[int, int], int]
    ) -> None:
        self.name = name
        self.config = config
        self.store = store
        self.applied: list[Entry] = []
        self.reads: list[ConfirmedRead] = []
        self.dropped_reads: list[int] = []
        self.crash_before: str | None = None
        self._random = random
        self.raft: CheckedRaft | None = None

    @property
    def core(self) -> CheckedRaft:
        """The running core; asserts that the server is not down."""
        assert self.raft is not None, f"{self.name} is down"
        return self.raft

    def start(self) -> None:
        self.raft = CheckedRaft(
            self.config,
            hard_state=self.store.hard_state,
            log=self.store.load(len(self.applied)),
            applied_index=len(self.applied),
            random=self._random,
        )

    @property
    def commands(self) -> list[bytes]:
        """The commands that the state machine has applied."""
        return [entry.data for entry in self.applied if entry.data]

    @property
    def log_terms(self) -> list[int]:
        return [entry.term for entry in self.store.entries]

    def __repr__(self) -> str:
        if self.raft is None:
            return f"{self.name}: down, log {self.log_terms}"
        role, term, commit_index = self.raft.role.value, self.raft.term, self.raft.commit_index
        return f"{self.name}: {role} in term {term}, commit {commit_index}, log {self.log_terms}"
