"""Recovery: from the files on disk to a running core. No sockets, so that the simulation uses it, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from atm.checkout import command_here
from atm.ledger.commands import LedgerReceipt
from atm.ledger.ledger import ClusterState, Record
from atm.ledger.snapshot import LedgerState
from atm.raft import (
    CheckedRaft,
    Configuration,
    CoreEvent,
    Entry,
    EntryKind,
    HardState,
    Log,
    LogStart,
    Member,
    Raft,
    RaftConfig,
    Snapshot,
)
from atm.raft.events import ignore
from atm.raft.term_limit import TERM_MAX
from atm.server.group.entry_validator import EntryValidator, Unusable, checked_record
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.version import FEATURE_LEVEL_MAX, RELEASE
from atm.wire.codec import Malformed
from atm.wire.log_entries import decode_founding

REPLAY_BYTES_MAX = 256 * 1024  # of commands held in memory at once


class LedgerAhead(Exception):
    """The ledger holds entries that its log does not; `str()` of it is one line for people."""


class ClusterMismatch(Exception):
    """Log, ledger, node.json and cluster.ini disagree; `str()` of it is one line for people."""


class LogUnusable(Exception):
    """The log has a term or entry that no cluster can continue from; `str()` of it is a line for people."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"its log {what}: no cluster can go on from that. Bad memory or a faulty server caused it. "
            "Nothing acknowledged is lost. Stop all nodes and repair all of them in the same way: "
            f"{command_here('ledger')} repair --help, docs/repair.md. Do not move the folder away: its "
            "vote would be lost for good"
        )


class SavedLog(Protocol):
    """What recovery needs of the log file."""

    @property
    def hard_state(self) -> HardState: ...
    @property
    def start(self) -> LogStart: ...
    @property
    def last_index(self) -> int: ...
    @property
    def terms(self) -> Sequence[tuple[int, int]]: ...
    def tail(self, first_index: int) -> list[Entry]: ...
    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]: ...


class RecoveredStateMachine(Protocol):
    """What recovery needs of the ledger: a state machine that says up to which entry its file holds it."""

    @property
    def applied_index(self) -> int: ...
    @property
    def cluster(self) -> ClusterState: ...
    def apply(self, records: Sequence[Record]) -> list[LedgerReceipt | None]: ...


def recover(
    config: RaftConfig,
    log: SavedLog,
    ledger: RecoveredStateMachine,
    random: Callable[[int, int], int],
    validator: EntryValidator,
    *,
    snapshot: Snapshot | None = None,
    check_invariants: bool = False,
    on_event: Callable[[CoreEvent], None] = ignore,
) -> Raft:
    """Apply what is known to be committed, and return the core; raise `LedgerAhead` or `LogUnusable`.

    `snapshot` is the newest one, which the log may begin after. The ledger holds at least what was cut.
    """
    if log.hard_state.term > TERM_MAX:
        raise LogUnusable(f"is in term {log.hard_state.term}")
    if ledger.applied_index > log.last_index:
        raise LedgerAhead(
            f"the ledger has applied entry {ledger.applied_index}, but the log ends at {log.last_index}: "
            "they do not belong together, and this log may have lost acknowledged entries. Put back "
            f"the log and the ledger that this node ran with last. {START_EMPTY_ADVICE}"
        )
    start = log.start
    replay(log, ledger)
    first = max(start.index + 1, min(ledger.applied_index + 1, log.last_index))
    tail = log.tail(first)
    for entry in tail:
        _usable(entry)
    return (CheckedRaft if check_invariants else Raft)(
        config,
        hard_state=log.hard_state,
        log=Log(
            entries=tail,
            terms=log.terms,
            base_index=first - 1,
            start=start,
        ),
        snapshot=snapshot,
        applied_index=ledger.applied_index,
        random=random,
        entry_check=validator.entry_check,
        configuration=_configuration(ledger),
        on_event=on_event,
    )


def _configuration(ledger: RecoveredStateMachine) -> tuple[int, Configuration] | None:
    """Return the members as of the applied index, None if the log has not said who they are."""
    members = members_of(ledger.cluster)
    return (ledger.applied_index, members) if members else None


def members_of(state: ClusterState | LedgerState) -> Configuration:
    """Return the servers that a ledger names, below its members' level the founders; empty if none yet."""
    members = tuple(Member(m.node, m.voter, m.peer, m.client, m.store, m.since) for m in state.members)
    return members or tuple(Member(node, voter=True) for node in state.voters)


def replay(log: SavedLog, ledger: RecoveredStateMachine) -> None:
    """Apply the saved entries that are known to be committed, a bounded piece at a time."""
    commit_index = min(log.hard_state.commit_index, log.last_index)
    while ledger.applied_index < commit_index:
        entries = log.read_entries(ledger.applied_index + 1, commit_index, REPLAY_BYTES_MAX)
        ledger.apply([_usable(entry) for entry in entries])


def _usable(entry: Entry) -> Record:
    """Return an entry as the ledger applies it; raise `LogUnusable` and `NewerEntry`."""
    try:
        return checked_record(entry)
    except Unusable as error:
        raise LogUnusable(f"has an entry {entry.index} that {error}") from error


def check_one_cluster(
    log: SavedLog, *, folder_id: str, ledger_id: str, snapshot: Snapshot | None = None
) -> None:
    """Raise `ClusterMismatch` unless folder and ledger have the cluster id of this log, or none yet.

    They have none until the log's first entry is known to be committed; until then it may be replaced. Of a
    log that was cut, the id is that of the snapshot.
    """
    if log.start.index:
        log_id = snapshot.cluster_id if snapshot is not None else ledger_id
    else:
        log_id = _founded_as(log)
    known = {cluster_id for cluster_id in (folder_id, ledger_id) if cluster_id}
    if known and not log.last_index:
        raise ClusterMismatch(
            f"the log is empty, but node.json or the ledger names cluster {' and '.join(sorted(known))}: the "
            "log's files raft.log.* are lost or were cut. Put back those that this node ran with last. "
            f"{START_EMPTY_ADVICE}"
        )
    if known - {log_id}:
        names = [each or "not known" for each in (log_id, folder_id, ledger_id)]
        raise ClusterMismatch(
            f"these files are of different clusters: that of the log is {names[0]}, of node.json {names[1]}, "
            f"of the ledger {names[2]}. Put back the files that this node ran with last. {START_EMPTY_ADVICE}"
        )


def check_feature_level(state: ClusterState) -> None:
    """Raise `ClusterMismatch` if the cluster's feature level is above what this release knows."""
    if state.feature_level > FEATURE_LEVEL_MAX:
        raise ClusterMismatch(
            f"the cluster is at feature level {state.feature_level}, and release {RELEASE} knows only up to "
            f"{FEATURE_LEVEL_MAX}: there is no way back to it. Install a newer release on this node"
        )


def _founded_as(log: SavedLog) -> str:
    """Return the cluster's id that the log begins with, or "" if it does not."""
    if not log.last_index:
        return ""
    [first] = log.read_entries(1, 1, 1)
    if first.kind != EntryKind.BOOTSTRAP:
        return ""
    try:
        return decode_founding(first.data).cluster_id
    except Malformed:
        return ""  # `recover` says what is wrong with it
