"""The sentences of a lesson: what a message says, what an entry asks for, why a vote was refused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

from msgspec import ValidationError

from atm.raft.log import Log
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshot,
    InstallSnapshotResponse,
    NodeId,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from atm.wire.codec import Malformed
from atm.wire.log_entries import decode_command
from lessons.frames import MessageKind

_KINDS = {
    EntryKind.NOOP: "no-op",
    EntryKind.BOOTSTRAP: "founding",
    EntryKind.MEMBERSHIP: "members",
    EntryKind.FEATURE_LEVEL: "feature level",
}
_PLAIN_BYTES_MAX = 24


def listed(names: Collection[str]) -> str:
    """Return `a`, `a and b`, or `a, b and c`."""
    *first, last = sorted(names) or ["nobody"]
    return f"{', '.join(first)} and {last}" if first else last


def majority_text(names: Collection[str], of: int) -> str:
    """Return who it is, and whether that is a majority of so many voters."""
    count = len(names)
    verdict = "a majority" if 2 * count > of else "no majority"
    return f"{listed(names)}: {count} of {of}, {verdict}"


def amount_text(amount_minor: int) -> str:
    """Return minor units with two decimals; the lessons' accounts are in one currency."""
    return f"{amount_minor // 100}.{amount_minor % 100:02d}"


def entry_text(entry: Entry) -> str:
    """Return what an entry asks for, in a few words."""
    if entry.kind != EntryKind.COMMAND:
        return _KINDS.get(EntryKind(entry.kind), "of a later release")
    return _command_text(entry.data)


@lru_cache(maxsize=4096)
def _command_text(data: bytes) -> str:
    try:
        command = decode_command(data).command
    except (Malformed, ValidationError):  # the stories' entries are plain text
        text = data.decode(errors="replace") if len(data) <= _PLAIN_BYTES_MAX else "a command"
        return "" if " of term " in text else text
    words = [str(command.__struct_config__.tag)]
    amount = getattr(command, "amount", None)
    if isinstance(amount, int):
        words.append(amount_text(amount))
    for name in ("account", "target"):
        value = getattr(command, name, None)
        if isinstance(value, str):
            words.append({"account": "", "target": "to "}[name] + value)
    return " ".join(words)


def range_text(entries: Sequence[Entry]) -> str:
    """Return which entries these are: `entry 5 of term 2`, `entries 5 to 7`."""
    first, last = entries[0], entries[-1]
    if first.index == last.index:
        what = entry_text(first)
        return f"entry {first.index} of term {first.term}" + (f" ({what})" if what else "")
    return f"entries {first.index} to {last.index}, up to term {last.term}"


def kind_of(message: RaftMessage) -> MessageKind:
    match message:
        case RequestVote():
            return "vote-request"
        case RequestVoteResponse():
            return "vote"
        case AppendEntries():
            return "append" if message.entries else "heartbeat"
        case AppendEntriesResponse():
            return "append-answer"
        case InstallSnapshot() | InstallSnapshotResponse():
            return "snapshot"
        case TimeoutNow():
            return "order"


def message_text(message: RaftMessage) -> str:  # noqa: C901 - a case for each message
    """Return what a message says, in a sentence without its sender and recipient."""
    term = f"in term {message.term}"
    match message:
        case RequestVote(pre_vote=True):
            return f"Would you vote for me {term}? My log ends with {_last(message)}"
        case RequestVote():
            return f"Vote for me {term}: my log ends with {_last(message)}"
        case RequestVoteResponse(granted=granted, pre_vote=pre_vote):
            would = "would" if pre_vote else "do"
            return f"{f'Yes, I {would}' if granted else f'No, I {would} not'} vote for you {term}"
        case AppendEntries(entries=()):
            return f"I lead {term}; entries up to {message.leader_commit} are committed"
        case AppendEntries():
            after = f"{message.prev_log_index} (term {message.prev_log_term})"
            return (
                f"Append {range_text(message.entries)}, after entry {after}; committed up to "
                f"{message.leader_commit}"
            )
        case AppendEntriesResponse(success=True):
            return f"I have your entries up to {message.match_index}"
        case AppendEntriesResponse():
            return f"My log does not fit at {message.match_index}; try from {message.conflict_index}"
        case InstallSnapshot():
            return f"Fetch my snapshot of entries 1 to {message.snapshot.index}"
        case InstallSnapshotResponse():
            have = "have" if message.installed else "do not have yet"
            return f"I {have} what is in the snapshot up to {message.index}"
        case TimeoutNow():
            return "Campaign now: I hand over to you"


def _last(request: RequestVote) -> str:
    return f"entry {request.last_log_index} of term {request.last_log_term}"


def why_vote_refused(
    request: RequestVote, *, term: int, voted_for: NodeId | None, leader_active: NodeId | None, log: Log
) -> str:
    """Return why the rules refuse this vote to `request`'s sender, or "" if they grant it (section 5.4.1).

    `term` and the rest are the voter's, before it handled the request.
    """
    if request.term < term:
        return f"term {request.term} is over: it is in term {term} already"
    if leader_active is not None and not request.transfer and (request.pre_vote or request.term > term):
        return f"it hears the leader {leader_active}, so there is no need for another"
    if not request.pre_vote and request.term == term and voted_for not in (None, request.sender):
        return f"it has voted for {voted_for} in term {term}, and a server votes once per term"
    if (request.last_log_term, request.last_log_index) < (log.last_term, log.last_index):
        return (
            f"the candidate's log ends with {_last(request)}, its own with entry {log.last_index} of term "
            f"{log.last_term}, which is newer: what is committed might be missing there"
        )
    return ""
