"""From what is on disk to a core that can go on; no sockets, so that the simulation restarts so too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from atm.config import Cluster
from atm.ledger.commands import LedgerReceipt, LogCommand
from atm.raft.config import RaftConfig
from atm.raft.log import Log
from atm.raft.messages import Entry, HardState
from atm.raft.raft import Raft
from atm.server.group.perform import record

TICK_MS = 10
FOLLOWER_APPLY_TICKS = 5  # 50 ms: how far a busy follower's ledger may be behind what it knows is committed
REPLAY_BYTES_MAX = 256 * 1024  # of commands held in memory at once


class LedgerAhead(Exception):
    """The ledger holds what its log does not; `str()` of it is one line for people."""


class SavedLog(Protocol):
    """What recovery needs of the log file."""

    @property
    def hard_state(self) -> HardState: ...
    @property
    def last_index(self) -> int: ...
    @property
    def terms(self) -> Sequence[tuple[int, int]]: ...
    def tail(self, first_index: int) -> list[Entry]: ...
    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]: ...


class RecoveredStateMachine(Protocol):
    """What recovery needs of the ledger."""

    @property
    def applied_index(self) -> int: ...
    def apply(self, records: Sequence[tuple[int, int, LogCommand | None]]) -> list[LedgerReceipt | None]: ...


def raft_config(cluster: Cluster, node: str) -> RaftConfig:
    """Return the core's settings, with times in ticks of `TICK_MS`."""
    low_ms, high_ms = cluster.election_timeout_ms
    heartbeat_ticks = max(1, round(cluster.heartbeat_ms / TICK_MS))
    election_ticks_min = max(heartbeat_ticks + 1, -(-low_ms // TICK_MS))
    return RaftConfig(
        node_id=node,
        peers=tuple(name for name in cluster.nodes if name != node),
        heartbeat_ticks=heartbeat_ticks,
        election_ticks_min=election_ticks_min,
        election_ticks_max=max(election_ticks_min, -(-high_ms // TICK_MS)),
        follower_apply_ticks=FOLLOWER_APPLY_TICKS,
    )


def recover(
    config: RaftConfig, log: SavedLog, bank: RecoveredStateMachine, random: Callable[[int, int], int]
) -> Raft:
    """Apply what is known to be committed, and return the core; raise `LedgerAhead`."""
    if bank.applied_index > log.last_index:
        raise LedgerAhead(
            f"the ledger has applied entry {bank.applied_index}, but the log ends at {log.last_index}: they "
            "do not belong together. Restore both from one copy, or move the folder away and start it empty"
        )
    replay(log, bank)
    first = max(1, min(bank.applied_index + 1, log.last_index))
    return Raft(
        config,
        hard_state=log.hard_state,
        log=Log(entries=log.tail(first), terms=log.terms, base_index=first - 1),
        applied_index=bank.applied_index,
        random=random,
    )


def replay(log: SavedLog, bank: RecoveredStateMachine) -> None:
    """Apply the saved entries that are known to be committed, a bounded piece at a time."""
    commit_index = min(log.hard_state.commit_index, log.last_index)
    while bank.applied_index < commit_index:
        entries = log.read(bank.applied_index + 1, commit_index, REPLAY_BYTES_MAX)
        bank.apply([record(entry) for entry in entries])
