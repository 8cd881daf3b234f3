"""One core with its surroundings: a disk, a state machine, and clients that read."""

from __future__ import annotations

from collections.abc import Callable

from atm.raft.checked import CheckedRaft
from atm.raft.config import RaftConfig
from atm.raft.configurations import members_of
from atm.raft.membership import Configuration
from atm.raft.messages import ConfirmedRead, Entry, EntryKind, NodeId
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
            configuration=self._configuration(),
        )

    def _configuration(self) -> tuple[int, Configuration] | None:
        """Return the newest that the state machine has applied; if none, the founding one, if it is given."""
        for entry in reversed(self.applied):
            if members := members_of(entry):
                return entry.index, members
        return None if self.founding is None else (0, self.founding)

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
