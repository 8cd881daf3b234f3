"""Messages, and what changed at a server, as lines to read; `4@2` is the entry at index 4, of term 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import assert_never

from msgspec import Struct

from atm.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Configuration,
    Entry,
    EntryKind,
    InstallSnapshot,
    InstallSnapshotResponse,
    NodeId,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
    Role,
    Snapshot,
    TimeoutNow,
    decode_configuration,
)
from atm.raft.log import BEGINNING, LogStart
from tests.raft.network import Envelope
from tests.raft.server import Server
from tests.support.store import entries_of_terms


def entry_text(entry: Entry) -> str:
    if entry.kind == EntryKind.MEMBERSHIP:
        return f"{entry.index}@{entry.term} members {members_text(decode_configuration(entry.data))}"
    if entry.kind != EntryKind.COMMAND:
        return f"{entry.index}@{entry.term} {EntryKind(entry.kind).name.lower()}"
    return f"{entry.index}@{entry.term} {_command(entry)}".rstrip()


def members_text(configuration: Configuration) -> str:
    """Return the names of the members, those of learners with a plus."""
    return " ".join(("" if member.voter else "+") + member.node for member in configuration)


def _command(entry: Entry) -> str:
    """Return what a client proposed, or nothing if the entry is of a hand-made log."""
    made = entry.data == entries_of_terms(*[0] * (entry.index - 1), entry.term)[-1].data
    return "" if made else f'"{entry.data.decode()}"'


def envelope_text(envelope: Envelope) -> str:
    message = envelope.message
    kind = type(message).__name__
    return f"{envelope.sender} -> {envelope.to} {kind} term={message.term} {_fields(message)}".rstrip()


def _fields(message: RaftMessage) -> str:
    match message:
        case RequestVote():
            how = (" pre" if message.pre_vote else "") + (" transfer" if message.transfer else "")
            return f"last={message.last_log_index}@{message.last_log_term}{how}"
        case RequestVoteResponse():
            return ("granted" if message.granted else "refused") + (" pre" if message.pre_vote else "")
        case AppendEntries():
            entries = ", ".join(map(entry_text, message.entries))
            prev = f"prev={message.prev_log_index}@{message.prev_log_term}"
            return f"{prev} [{entries}] commit={message.leader_commit} round={message.round}"
        case AppendEntriesResponse(success=True):
            return f"match={message.match_index} round={message.round}"
        case AppendEntriesResponse():
            hint = f"{message.conflict_index}@{message.conflict_term or 'end'}"
            return f"refused={message.match_index} hint={hint} round={message.round}"
        case TimeoutNow():
            return ""
        case InstallSnapshot():
            return f"snapshot={message.snapshot.index}@{message.snapshot.term} round={message.round}"
        case InstallSnapshotResponse():
            installed = "installed" if message.installed else "not installed"
            return f"snapshot={message.index} {installed} round={message.round}"
        case _:
            assert_never(message)


class View(Struct, frozen=True):
    """A server seen from outside; `log` is that of its core."""

    role: Role | None = None
    term: int = 0
    voted_for: NodeId | None = None
    leader: NodeId | None = None
    members: str = ""
    transferring: NodeId | None = None
    start: LogStart = BEGINNING
    log: tuple[Entry, ...] = ()
    commit_index: int = 0
    applied: tuple[Entry, ...] = ()
    reads: tuple[int, ...] = ()
    dropped_reads: tuple[int, ...] = ()
    snapshot: Snapshot | None = None
    wanted: Snapshot | None = None

    @classmethod
    def of(cls, server: Server) -> View:
        raft = server.raft
        if raft is None:
            return cls(applied=tuple(server.applied))
        start, base_index = raft.log.start, raft.log.base_index
        in_memory = raft.log.slice(base_index + 1, raft.last_index) if raft.last_index > base_index else ()
        return cls(
            role=raft.role,
            term=raft.term,
            voted_for=raft.voted_for,
            leader=raft.leader,
            members=members_text(raft.configuration[1]),
            transferring=raft.transferring,
            start=start,
            log=(*server.store.tail(start.index + 1)[: base_index - start.index], *in_memory),
            commit_index=raft.commit_index,
            applied=tuple(server.applied),
            reads=tuple(read.read_id for read in server.reads),
            dropped_reads=tuple(server.dropped_reads),
            snapshot=raft.snapshot,
            wanted=server.wanted,
        )


def state_text(server: Server) -> str:
    """Return a line about a server as it is."""
    view = View.of(server)
    if view.role is None:
        return f"{server.name}: down"
    cut = [f"... {view.start.index}@{view.start.term}"] if view.start != BEGINNING else []
    entries = ", ".join([*cut, *map(entry_text, view.log)])
    return f"{server.name}: {view.role.value}, term {view.term}, log [{entries}], commit {view.commit_index}"


def changes_text(name: NodeId, before: View, after: View) -> list[str]:
    """Return at most one line: what has changed between two views of `name`."""
    if after.role is None:
        changes = ["is down"] if before.role is not None else []
    elif before.role is None:
        changes = [
            f"starts as {after.role.value} in term {after.term}, voted for {after.voted_for or 'none'}"
        ]
    else:
        changes = [
            *_role_changes(name, before, after),
            *_snapshot_changes(before, after),
            *_log_changes(_left(before, after), after.log),
            *_member_changes(before, after),
            *_client_changes(before, after),
        ]
    return [f"    {name}: {'; '.join(changes)}"] if changes else []


def _role_changes(name: NodeId, before: View, after: View) -> Iterator[str]:
    if before.role is not after.role and before.role is not None and after.role is not None:
        yield f"{before.role.value} -> {after.role.value}"
    if before.term != after.term:
        yield f"term {before.term} -> {after.term}"
    if after.voted_for is not None and (before.term, before.voted_for) != (after.term, after.voted_for):
        yield f"votes for {after.voted_for}"
    if after.leader not in (None, before.leader, name):
        yield f"follows {after.leader}"


def _member_changes(before: View, after: View) -> Iterator[str]:
    if before.members != after.members:
        yield f"members are {after.members}"
    if before.transferring != after.transferring:
        yield f"hands over to {after.transferring}" if after.transferring else "hands over no more"


def _client_changes(before: View, after: View) -> Iterator[str]:
    if before.commit_index != after.commit_index:
        yield f"commits up to {after.commit_index}"
    applied = after.applied[len(before.applied) :]
    commands = [_command(entry) for entry in applied if entry.kind == EntryKind.COMMAND]
    if any(commands):
        yield "applies " + ", ".join(filter(None, commands))
    for read_id in after.reads[len(before.reads) :]:
        yield f"answers read {read_id}"
    for read_id in after.dropped_reads[len(before.dropped_reads) :]:
        yield f"drops read {read_id}"


def _snapshot_changes(before: View, after: View) -> Iterator[str]:
    if after.wanted not in (None, before.wanted):
        yield f"wants snapshot {_snapshot_text(after.wanted)}"
    if after.snapshot not in (None, before.snapshot):
        how = "installs" if after.snapshot == before.wanted else "takes"
        yield f"{how} snapshot {_snapshot_text(after.snapshot)}"
    if before.start != after.start:
        yield f"its log begins after {after.start.index}@{after.start.term}"


def _snapshot_text(snapshot: Snapshot | None) -> str:
    assert snapshot is not None
    return f"{snapshot.index}@{snapshot.term}"


def _left(before: View, after: View) -> Sequence[Entry]:
    """Return the log of `before` after what was cut off its beginning since."""
    return [entry for entry in before.log if entry.index > after.start.index]


def _log_changes(before: Sequence[Entry], after: Sequence[Entry]) -> Iterator[str]:
    same = 0
    while same < min(len(before), len(after)) and before[same] == after[same]:
        same += 1
    if before[same:]:
        yield "cuts " + ", ".join(map(entry_text, before[same:]))
    if after[same:]:
        yield "appends " + ", ".join(map(entry_text, after[same:]))
