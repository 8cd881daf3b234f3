"""The order of effects, seen by parts that write down what is asked of them."""

from __future__ import annotations

from atm.events.recorder import FlightRecorder
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CatchUp,
    ConfirmedRead,
    Entry,
    EntryKind,
    HardState,
    Outgoing,
    Snapshot,
)
from atm.raft.ready import Ready, Role
from atm.server.group.perform import perform
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from tests.support.server_parts import Recorder, credit


def entry(index: int, command: bytes = b"") -> Entry:
    kind = EntryKind.COMMAND if command else EntryKind.NOOP
    return Entry(index=index, term=1, time_us=index, kind=kind, data=command)


def append(prev_log_index: int, entries: tuple[Entry, ...] = ()) -> AppendEntries:
    return AppendEntries(
        sender="n1",
        term=1,
        prev_log_index=prev_log_index,
        prev_log_term=1,
        entries=entries,
        leader_commit=0,
        round=0,
    )


RESPONSE = AppendEntriesResponse(
    sender="n1", term=1, success=True, match_index=2, conflict_index=0, conflict_term=0, round=0
)


def do(ready: Ready) -> Recorder:
    parts = Recorder()
    parts.on_disk = [entry(index) for index in range(1, 6)]
    perform(ready, parts, parts, parts, parts, parts, FlightRecorder("n1", lambda: 0))
    return parts


def test_messages_go_before_the_save_and_promises_after_it() -> None:
    ready = Ready(
        messages=(Outgoing("n2", append(2)),),
        hard_state=HardState(term=1),
        entries=(entry(3),),
        messages_after_sync=(Outgoing("n3", RESPONSE),),
        committed=(entry(1), entry(2, command_data("local", encode(credit("a"))))),
        reads=(ConfirmedRead(1, 2),),
        dropped_reads=(7,),
        role=Role.LEADER,
        leader="n1",
    )
    assert do(ready).events == [
        "send AppendEntries",
        "save 1",
        "send AppendEntriesResponse",
        "decide 1 2",
        "on committed 2",
        "answer reads 1",
        "drop reads 1",
    ]


def test_nothing_is_decided_when_nothing_was_committed() -> None:
    ready = Ready(hard_state=HardState(term=1), role=Role.FOLLOWER, leader=None)
    assert not [event for event in do(ready).events if event.startswith(("decide", "on committed"))]


def test_term_and_vote_are_saved_without_entries_too() -> None:
    ready = Ready(
        hard_state=HardState(term=2, voted_for="n3"),
        messages_after_sync=(Outgoing("n3", RESPONSE),),
        role=Role.FOLLOWER,
        leader=None,
    )
    assert do(ready).events[:2] == ["save 0", "send AppendEntriesResponse"]


def test_a_follower_far_behind_is_sent_entries_from_the_disk() -> None:
    catch_up = CatchUp(to="n2", append=append(1), last_index=4)
    ready = Ready(catch_ups=(catch_up,), hard_state=HardState(term=1), role=Role.LEADER, leader="n1")
    parts = do(ready)
    assert parts.events[:3] == ["read 2 to 4", "send AppendEntries", "save 0"]
    assert parts.sent == [Outgoing("n2", append(1, (entry(2), entry(3), entry(4))))]


def test_a_log_that_is_emptied_is_emptied_before_anything_is_saved_in_it() -> None:
    start = Snapshot(
        index=9, term=1, time_us=9, size_bytes=0, sha256="", chain_hash="", membership=b"", cluster_id=""
    )
    ready = Ready(
        reset_log=start,
        hard_state=HardState(term=1),
        entries=(entry(10),),
        messages_after_sync=(Outgoing("n3", RESPONSE),),
        role=Role.FOLLOWER,
        leader="n3",
    )
    assert do(ready).events[:3] == ["reset to 9", "save 1", "send AppendEntriesResponse"]
