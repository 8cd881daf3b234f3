"""One thread that reads many sources, each until its end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from atm.server.group.inbox import Inbox
from atm.server.net.reader import Reader
from atm.server.server import Server
from tests.support.collecting import collecting
from tests.support.server_parts import DEADLINE_S, cluster_of, wait_until

LONG_S = 60.0


class FakeSource:
    """One end of a pair of sockets; records the reader's calls."""

    def __init__(self) -> None:
        self.sock, self.other = socket.socketpair()
        self.deadline_s: float | None = None
        self.patience_s = LONG_S  # while the bytes of a line are not all there
        self.received: list[str] = []
        self.text = b""
        self.gives_way = True
        self.when_dismissed: Callable[[], None] = lambda: None
        self.when_read: Callable[[], None] = lambda: None

    def receive(self, piece: bytes) -> bool:
        self.when_read()
        self.text += piece
        self.received.append("piece" if piece else "end of stream")
        if not self.text or self.text.endswith(b"\n"):
            self.deadline_s = None
        elif self.deadline_s is None:
            self.deadline_s = time.monotonic() + self.patience_s
        return bool(piece) and not self.text.endswith(b"bye\n")

    def on_stall(self) -> None:
        self.received.append("stalled")

    def on_dismissed(self) -> bool:
        self.received.append("dismissed")
        self.when_dismissed()
        return self.gives_way and "ended" not in self.received

    def on_end(self) -> None:
        self.received.append("ended")

    def close(self) -> None:
        self.sock.close()
        self.other.close()


class Room:
    """A reader and its sources."""

    def __init__(self) -> None:
        self.rounds = 0
        self.failures: list[BaseException] = []
        self.reader = Reader(self._count, self.failures.append)
        self.sources: list[FakeSource] = []

    def _count(self) -> None:
        self.rounds += 1

    def source(self) -> FakeSource:
        source = FakeSource()
        self.sources.append(source)
        self.reader.add_source(source)
        return source


@pytest.fixture
def room() -> Iterator[Room]:
    room = Room()
    yield room
    if not room.reader._closed:
        room.reader.close()
    for source in room.sources:
        source.close()


def has_received(source: FakeSource, *expected: str) -> Callable[[], bool]:
    return lambda: source.received == list(expected)


def test_pieces_come_as_they_arrive_and_a_round_ends_after_them(room: Room) -> None:
    room.reader.start()
    source = room.source()
    for number in range(1, 4):
        rounds = room.rounds
        source.other.send(b"hello\n")
        wait_until(lambda number=number: source.text == b"hello\n" * number)  # type: ignore[misc]
        wait_until(lambda rounds=rounds: room.rounds > rounds)  # type: ignore[misc]
    assert source.received == ["piece"] * 3


def test_a_source_that_was_added_before_the_start_is_read(room: Room) -> None:
    source = room.source()
    source.other.send(b"hello\n")
    assert source.received == []
    room.reader.start()
    wait_until(has_received(source, "piece"))


@pytest.mark.parametrize("how", ["closed", "shut down", "reset"])
def test_the_end_of_a_stream_is_received_once(room: Room, how: str) -> None:
    room.reader.start()
    source = room.source()
    match how:
        case "closed":
            source.other.close()
        case "shut down":
            source.other.shutdown(socket.SHUT_WR)
        case _:
            source.sock.send(b"unread: the end is a reset")
            source.other.close()
    wait_until(has_received(source, "end of stream", "ended"))
    room.reader.close()
    assert source.received == ["end of stream", "ended"]


def test_a_source_that_wants_no_more_is_read_no_more(room: Room) -> None:
    room.reader.start()
    source, other = room.source(), room.source()
    source.other.send(b"bye\n")
    wait_until(has_received(source, "piece", "ended"))
    source.other.send(b"and more\n")
    other.other.send(b"hello\n")
    wait_until(has_received(other, "piece"))
    assert source.received == ["piece", "ended"]


def test_what_has_begun_and_does_not_end_is_given_up_at_its_deadline(room: Room) -> None:
    room.reader.start()
    on_stall, patient, whole = room.source(), room.source(), room.source()
    on_stall.patience_s = 0.1
    patient.other.send(b"hel")
    whole.other.send(b"hello\n")
    on_stall.other.send(b"hel")
    wait_until(has_received(on_stall, "piece", "stalled", "ended"))
    patient.other.send(b"lo\n")
    wait_until(has_received(patient, "piece", "piece"))
    assert whole.received == ["piece"]


def test_what_ended_in_time_is_not_given_up(room: Room) -> None:
    room.reader.start()
    finished, on_stall = room.source(), room.source()
    finished.patience_s = 0.1
    finished.other.send(b"hel")
    wait_until(has_received(finished, "piece"))
    finished.other.send(b"lo\n")
    wait_until(has_received(finished, "piece", "piece"))
    on_stall.patience_s = 0.2
    on_stall.other.send(b"hel")
    wait_until(has_received(on_stall, "piece", "stalled", "ended"))
    assert finished.received == ["piece", "piece"]


def test_a_source_may_end_while_it_has_a_deadline(room: Room) -> None:
    room.reader.start()
    source, on_stall = room.source(), room.source()
    source.patience_s, on_stall.patience_s = 0.1, 0.2
    source.other.send(b"hel")
    source.other.close()
    on_stall.other.send(b"hel")
    wait_until(has_received(on_stall, "piece", "stalled", "ended"))
    assert source.received == ["piece", "end of stream", "ended"]


@pytest.mark.parametrize("started", [True, False])
def test_closing_ends_every_source_once(room: Room, started: bool) -> None:
    if started:
        room.reader.start()
    sources = [room.source() for _ in range(5)]
    room.reader.close()
    assert [source.received for source in sources] == [["ended"]] * 5


def test_a_source_that_comes_after_the_end_has_ended_at_once(room: Room) -> None:
    room.reader.start()
    room.reader.close()
    assert room.source().received == ["ended"]


def test_any_number_may_be_added_while_the_reader_is_busy(room: Room) -> None:
    """Each call wakes the reader, and must not wait until the reader has woken up."""
    sources = [room.source() for _ in range(400)]
    room.reader.start()
    for number, source in enumerate(sources):
        source.other.send(b"%d\n" % number)
    wait_until(lambda: [source.text for source in sources] == [b"%d\n" % number for number in range(400)])
    room.reader.close()
    assert {tuple(source.received) for source in sources} == {("piece", "ended")}


def test_a_source_that_fails_ends_all_reading_and_is_reported(room: Room) -> None:
    """Otherwise the node would go on without ever reading anything."""
    source, fault = room.source(), RuntimeError("a mistake of ours")

    def fail(piece: bytes) -> bool:
        raise fault

    source.receive = fail  # type: ignore[method-assign]
    room.reader.start()
    source.other.sendall(b"hello\n")
    wait_until(lambda: room.failures == [fault])


def test_a_node_whose_reader_fails_ends_with_that_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, raised = RuntimeError("a mistake of ours"), list[BaseException]()

    def fail(inbox: Inbox) -> None:
        raise fault

    monkeypatch.setattr(Inbox, "put_gathered", fail)
    cluster = cluster_of(tmp_path, "n1")
    server = Server(cluster, "n1", say=lambda line: None, logger=collecting([]))

    def run() -> None:
        try:
            server.run()
        except RuntimeError as error:
            raised.append(error)

    running = Thread(target=run, daemon=True)
    running.start()
    with socket.create_connection(cluster.nodes["n1"].client.pair) as client:
        client.sendall(b"\x00")
        running.join(DEADLINE_S)
    server.close()
    assert raised == [fault]


def test_a_source_that_is_dismissed_ends_if_it_gives_way_and_is_read_on_if_not(room: Room) -> None:
    source, other = room.source(), room.source()
    other.gives_way = False
    room.reader.start()
    for each in (source, other):
        room.reader.dismiss(each)
    wait_until(has_received(source, "dismissed", "ended"))
    other.other.sendall(b"line\n")
    wait_until(has_received(other, "dismissed", "piece"))


def test_a_source_may_be_added_and_dismissed_while_another_one_is_dismissed(room: Room) -> None:
    source = room.source()
    late = FakeSource()
    room.sources.append(late)

    def add_and_dismiss() -> None:
        room.reader.add_source(late)
        room.reader.dismiss(late)

    source.when_dismissed = add_and_dismiss
    room.reader.start()
    room.reader.dismiss(source)
    wait_until(has_received(source, "dismissed", "ended"))
    wait_until(has_received(late, "dismissed", "ended"))
    assert room.failures == []


def test_a_source_may_be_dismissed_in_the_round_in_which_its_bytes_arrive(room: Room) -> None:
    first, second = room.source(), room.source()

    def dismiss_and_close() -> None:
        room.reader.dismiss(second)
        second.other.close()

    first.when_read = dismiss_and_close
    room.reader.start()
    first.other.sendall(b"line\n")
    wait_until(lambda: "ended" in second.received)
    third = room.source()
    third.other.sendall(b"line\n")
    wait_until(has_received(third, "piece"))
    assert room.failures == []
