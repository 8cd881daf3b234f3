"""A node gives to one backup at a time, from a process of its own that ends with the connection."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from atm.server.clients.backup_source import IDLE_S_MAX, BackupSource
from atm.server.clients.client_connection import ClientConnection
from atm.storage.entry_file import decode_entries
from atm.wire.backup_messages import (
    BACKUP_FRAME_BYTES_MAX,
    BackupBegin,
    BackupChunk,
    BackupEntries,
    BackupRequest,
)
from atm.wire.client_messages import ErrorReply
from atm.wire.codec import encode
from atm.wire.framing import FrameReader, frame
from tests.support.backups import CLUSTER, StoryNode, story_entries
from tests.support.server_parts import (
    DEADLINE_S,
    RunningServer,
    Wire,
    cluster_of,
    credit,
    query,
    wait_until,
)

STORY = story_entries()
LAST = len(STORY)
BEGIN = BackupBegin(id="b")
REPLIES = 150  # of 100 kB at least: more than the kernel's buffers and an outbox hold


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with StoryNode(tmp_path, STORY) as node:
        return node.folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(folder: Path, clock: Clock) -> Iterator[BackupSource]:
    with closing(BackupSource(folder, clock=clock)) as source:
        yield source


def ask(source: BackupSource, owner: object, request: BackupRequest) -> dict[str, Any]:
    return msgspec.msgpack.decode(source.reply(owner, request), type=dict[str, Any])


def pid_of(source: BackupSource) -> int:
    assert source._reader is not None
    return source._reader.process.pid


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_the_offer_is_what_the_files_hold(source: BackupSource) -> None:
    offer = ask(source, "one", BEGIN)
    assert (offer["outcome"], offer["node"], offer["cluster"]) == ("ok", "n1", CLUSTER)
    assert (offer["first_index"], offer["last_index"], offer["nodes"]) == (1, LAST, ["n1"])
    assert offer["pepper"] == "the-pepper"
    data = ask(source, "one", BackupEntries(id="e", first=1, last=LAST))
    assert data["outcome"] == "ok"
    assert data["end"]


def test_only_what_was_offered_is_given(source: BackupSource) -> None:
    assert ask(source, "one", BackupEntries(id="e", first=1, last=5))["outcome"] == "unavailable"
    ask(source, "one", BEGIN)
    assert ask(source, "one", BackupEntries(id="e", first=0, last=5))["outcome"] == "unavailable"
    assert (
        ask(source, "one", BackupEntries(id="e", first=LAST + 1, last=LAST + 9))["outcome"] == "unavailable"
    )
    assert (
        ask(source, "one", BackupChunk(id="c", index=1, sha256="a" * 64, offset=0))["outcome"]
        == "unavailable"
    )
    assert ask(source, "one", BackupBegin(id="b", after_index=LAST + 1))["outcome"] == "unavailable"


def test_what_is_not_committed_is_not_given(tmp_path: Path) -> None:
    with StoryNode(tmp_path, STORY[:30]) as node:
        node.append(STORY[30:], applied=False)
    with closing(BackupSource(node.folder)) as source:
        assert ask(source, "one", BEGIN)["last_index"] == 30
        assert ask(source, "one", BackupEntries(id="e", first=31, last=31))["outcome"] == "unavailable"
        data = ask(source, "one", BackupEntries(id="e", first=1, last=LAST))["data"]
        assert [entry.index for entry in decode_entries(data)] == list(range(1, 31))


def test_one_backup_at_a_time_until_the_first_one_ends(source: BackupSource) -> None:
    ask(source, "one", BEGIN)
    first = pid_of(source)
    assert ask(source, "two", BEGIN)["outcome"] == "busy"
    assert ask(source, "two", BackupEntries(id="e", first=1, last=5))["outcome"] == "unavailable"
    source.release("two")
    assert ask(source, "one", BackupEntries(id="e", first=1, last=5))["outcome"] == "ok"
    source.release("one")
    assert is_gone(first)
    assert ask(source, "two", BEGIN)["outcome"] == "ok"


def test_one_that_asks_nothing_any_more_makes_way(source: BackupSource, clock: Clock) -> None:
    ask(source, "one", BEGIN)
    clock.now_s += IDLE_S_MAX - 1
    assert ask(source, "two", BEGIN)["outcome"] == "busy"
    clock.now_s += 1
    assert ask(source, "two", BEGIN)["outcome"] == "ok"
    assert ask(source, "one", BackupEntries(id="e", first=1, last=5))["outcome"] == "unavailable"


def test_each_backup_is_recorded_once_before_anything_is_read_for_it(source: BackupSource) -> None:
    recorded: list[str] = []

    def record(request: BackupBegin) -> None:
        recorded.append(request.id)

    def asked(request: BackupRequest, owner: str = "one") -> str:
        reply = msgspec.msgpack.decode(source.reply(owner, request, record), type=dict[str, Any])
        return str(reply["outcome"])

    given = BackupEntries(id="e", first=1, last=LAST)
    assert asked(given) == "unavailable"
    for request in (BackupBegin(id="b1"), BackupBegin(id="b2"), given, given):
        assert asked(request) == "ok"
    assert recorded == ["b1"], "a backup asks for its beginning until the ledger is far enough"
    assert asked(BackupBegin(id="b3"), "two") == "busy"
    assert asked(BackupBegin(id="b4")) == "ok", "the next backup on the same connection"
    assert recorded == ["b1", "b4"]


def test_a_backup_that_cannot_be_recorded_gets_nothing_and_keeps_no_place(source: BackupSource) -> None:
    refusal = ErrorReply(id="b", outcome="unavailable", message="not recorded")
    assert source.reply("one", BEGIN, lambda request: refusal) == encode(refusal)
    assert ask(source, "one", BackupEntries(id="e", first=1, last=5))["outcome"] == "unavailable"
    assert ask(source, "two", BEGIN)["outcome"] == "ok"


def test_a_process_that_died_is_replaced_by_the_next_beginning(source: BackupSource) -> None:
    ask(source, "one", BEGIN)
    assert source._reader is not None
    source._reader.process.kill()
    source._reader.process.wait()
    assert ask(source, "one", BackupEntries(id="e", first=1, last=5))["outcome"] == "unavailable"
    assert ask(source, "one", BEGIN)["outcome"] == "ok"


def test_a_stopping_node_ends_its_process(source: BackupSource) -> None:
    ask(source, "one", BEGIN)
    first = pid_of(source)
    source.close()
    assert is_gone(first)
    assert ask(source, "one", BEGIN)["outcome"] == "unavailable"


# -- at a server -------------------------------------------------------------------------------------------


class BackupWire(Wire):
    """A connection that takes long replies."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(server.client)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # and the kernel lets it be
        self._reader = FrameReader(BACKUP_FRAME_BYTES_MAX)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as running:
        yield running.wait_for_leader()
        assert running.reported == []


def test_replies_longer_than_the_socket_holds_arrive_whole_while_others_are_served(
    server: RunningServer,
) -> None:
    """The client reads nothing until all is asked for; meanwhile another one's credits are answered."""
    with BackupWire(server) as backup, Wire(server.client) as teller:
        for number in range(1500):
            teller.send(credit(f"c{number}"))
            if number % 100 == 99:
                assert all((teller.answer() or {})["outcome"] == "ok" for _ in range(100))
        wait_until(lambda: int(backup.ask(BEGIN).get("last_index", 0)) > 1500)
        last = int(backup.ask(BEGIN)["last_index"])
        wanted = frame(encode(BackupEntries(id="e", first=1, last=last)))
        backup.socket.sendall(wanted * REPLIES)
        source = server.server._client_server._backups
        assert isinstance(source, BackupSource)
        reader = source._reader
        assert reader is not None
        assert isinstance(reader.owner, ClientConnection)
        wait_until(lambda: bool(server.server._client_server.blocked))
        before = -1
        while before != reader.owner._jobs_done:  # until no more is read for it
            before = reader.owner._jobs_done
            for number in range(300):
                assert teller.ask(query(f"q{number}"))["balance"] == 1500 * 100
        replies = [backup.answer() for _ in range(REPLIES)]
        assert all(reply == replies[0] for reply in replies)
        assert replies[0] is not None
        assert len(replies[0]["data"]) > 100_000


def test_the_process_ends_with_the_connection(server: RunningServer) -> None:
    source = server.server._client_server._backups
    assert isinstance(source, BackupSource)
    with BackupWire(server) as first:
        wait_until(lambda: first.ask(BEGIN)["outcome"] == "ok")
        pid = pid_of(source)
        with BackupWire(server) as second:
            assert second.ask(BEGIN)["outcome"] == "busy"
    wait_until(lambda: is_gone(pid))
    with BackupWire(server) as second:
        wait_until(lambda: second.ask(BEGIN)["outcome"] == "ok")
        assert second.socket.gettimeout() == DEADLINE_S
