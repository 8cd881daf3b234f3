"""The core with its invariants checked after every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atm.raft.config import RaftConfig
from atm.raft.events import CoreEvent, ignore
from atm.raft.invariants import Observation, check_change, check_server
from atm.raft.log import Log
from atm.raft.membership import Configuration
from atm.raft.messages import Entry, EntryKind, HardState, NodeId, RaftMessage, Snapshot
from atm.raft.raft import Raft
from atm.raft.ready import Ready
from atm.raft.rejection import Rejection


class CheckedRaft(Raft):
    """A `Raft` whose every call raises `InvariantBroken` for a state that correct code cannot reach."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        log: Log,
        applied_index: int,
        random: Callable[[int, int], int],
        entry_check: Callable[[Sequence[Entry], int], str | None] = lambda entries, last_time_us: None,
        configuration: tuple[int, Configuration] | None = None,
        snapshot: Snapshot | None = None,
        on_event: Callable[[CoreEvent], None] = ignore,
    ) -> None:
        super().__init__(
            config,
            hard_state=hard_state,
            log=log,
            applied_index=applied_index,
            random=random,
            entry_check=entry_check,
            configuration=configuration,
            snapshot=snapshot,
            on_event=on_event,
        )
        check_server(self)
        self._observed = Observation.of(self)

    def step(self, message: RaftMessage) -> Rejection | None:
        named_later = message.sender if self.is_named_later(message) else None
        rejection = super().step(message)
        self._check(named_later)
        return rejection

    def tick(self) -> None:
        super().tick()
        self._check()

    def propose(self, data: Sequence[bytes], now_us: int, kind: EntryKind = EntryKind.COMMAND) -> int:
        index = super().propose(data, now_us, kind)
        self._check()
        return index

    def read(self, read_id: int) -> None:
        super().read(read_id)
        self._check()

    def demote(self, node_id: NodeId, store: str) -> None:
        super().demote(node_id, store)
        self._check()

    def change_membership(self, members: Configuration, now_us: int, reason: bytes = b"") -> int:
        index = super().change_membership(members, now_us, reason)
        self._check()
        return index

    def transfer(self, target: NodeId | None) -> NodeId:
        chosen = super().transfer(target)
        self._check()
        return chosen

    def snapshot_taken(self, snapshot: Snapshot, first_index: int) -> None:
        super().snapshot_taken(snapshot, first_index)
        self._check()

    def installed(self, snapshot: Snapshot) -> None:
        super().installed(snapshot)
        self._check()

    def install_failed(self, snapshot: Snapshot) -> None:
        super().install_failed(snapshot)
        self._check()

    def ready(self) -> Ready | None:
        ready = super().ready()
        if ready is not None:
            self._check()
        return ready

    def advance(self, ready: Ready) -> None:
        super().advance(ready)
        self._check()

    def _check(self, named_later: NodeId | None = None) -> None:
        check_server(self)
        check_change(self._observed, self, named_later)
        self._observed = Observation.of(self)
