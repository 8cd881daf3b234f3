"""One client's connection without a server: what its two threads do with what comes in."""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Callable, Iterator
from threading import Event, Lock, Thread
from typing import Any

import msgspec
import pytest

from atm.ledger.commands import Batch, Debit, Leg
from atm.ledger.roles import RoleChange
from atm.server.clients import client_connection
from atm.server.clients.client_connection import ClientConnection
from atm.server.clients.rates import Rate
from atm.server.clients.slots import SlotCount
from atm.server.group.inbox import Inbox, PendingRequest
from atm.server.metrics.counters import RefusedRequests
from atm.server.net.connection import Connection
from atm.server.net.places import Places
from atm.server.net.reader import Reader
from atm.wire.backup_messages import BackupRequest
from atm.wire.client_messages import ClientRequest, ErrorReply, Events, Status, TakeSnapshot, Verify
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from tests.support.server_parts import DEADLINE_S, credit, wait_until

SEALED = "0" * 64


class FakeOwner:
    """Remembers what came to the node, in order; sealing and audits take until `may_end`."""

    def __init__(self) -> None:
        self.blocked: set[Connection] = set()
        self.touched: list[ClientConnection] = []
        self.partial_frame_s = 60.0
        self.changes: dict[str, RoleChange] = {}
        self._lock = Lock()
        self.inbox = Inbox(self._lock)
        self.slot_count = SlotCount(lambda: ())
        self.refused = RefusedRequests()
        self.operators_only = False
        self.sealing = Event()
        self.owners: list[str] = []  # of the PINs to seal
        self.may_end = Event()
        self.fault: Exception | None = None  # of sealing
        self.refusal: ErrorReply | None = None  # likewise

    def role_changes(self) -> dict[str, RoleChange]:
        return self.changes

    def may_ask(self, connection: ClientConnection, request: ClientRequest) -> bool:
        return not self.operators_only or isinstance(request, Status)

    def seal(
        self, pending: PendingRequest, owner: str, wanted: Callable[[], bool]
    ) -> PendingRequest | ErrorReply | None:
        self.owners.append(owner)
        self.sealing.set()
        assert self.may_end.wait(DEADLINE_S)
        if self.fault is not None:
            raise self.fault
        return (self.refusal or pending) if wanted() else None

    def audit(self, connection: ClientConnection, request: Verify) -> None:
        assert self.may_end.wait(DEADLINE_S)
        connection.send(frame(encode({"id": request.id, "outcome": "audited"})))

    def give_events(self, connection: ClientConnection, request: Events) -> None:
        raise AssertionError("no test here asks for events")

    def give_to_backup(
        self, connection: ClientConnection, request: BackupRequest, actor: str, roles: int
    ) -> None:
        raise AssertionError("no test here takes a backup")

    def take_snapshot(
        self, connection: ClientConnection, request: TakeSnapshot, actor: str, roles: int
    ) -> None:
        assert self.may_end.wait(DEADLINE_S)
        connection.send(frame(encode({"id": request.id, "outcome": "taken"})))

    @property
    def came(self) -> list[PendingRequest]:
        return self.inbox._inputs.commands

    @property
    def ids(self) -> list[str]:
        return [pending.request.id for pending in self.came]


class Client:
    """A connection, its own thread, and the other end."""

    def __init__(self, owner: FakeOwner) -> None:
        self.owner = owner
        here, self.socket = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        self.connection = ClientConnection(here, owner)
        self.raised: Exception | None = None
        self._frames = FrameReader(CLIENT_FRAME_BYTES_MAX)
        self._thread = Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.connection.run_jobs()
        except Exception as error:
            self.raised = error
        self.connection.close()

    @property
    def at_work(self) -> bool:
        return self._thread.is_alive()

    def bring(self, *requests: Any) -> bool:
        """Have one round of the reader bring these requests."""
        going_on = self.connection.receive(b"".join(frame(encode(request)) for request in requests))
        self.owner.inbox.put_gathered()
        return going_on

    def outcome(self) -> tuple[str, str]:
        """Return id and outcome of the next answer."""
        answer = self.answer()
        return answer["id"], answer["outcome"]

    def answer(self) -> dict[str, Any]:
        answers: list[bytes] = []
        while not answers:
            piece = self.socket.recv(4)  # a frame's head, or a bit of it: never more than one frame
            assert piece, "the connection has ended"
            answers += self._frames.feed(piece)
        return msgspec.msgpack.decode(answers[0], type=dict[str, Any])

    def end(self) -> None:
        self.connection.on_end()
        self.owner.may_end.set()
        self.socket.close()
        self._thread.join(DEADLINE_S)
        assert not self.at_work


@pytest.fixture
def owner() -> FakeOwner:
    return FakeOwner()


@pytest.fixture
def client(owner: FakeOwner) -> Iterator[Client]:
    client = Client(owner)
    yield client
    client.end()


def with_pin(request_id: str, pin: str = "1234") -> Debit:
    return Debit(id=request_id, account="ann", amount=1, pin=pin)


def test_what_needs_no_time_is_gathered_and_never_sees_the_connections_own_thread(client: Client) -> None:
    client.connection.receive(frame(encode(credit("a"))) + frame(encode(credit("b"))))
    assert [pending.request.id for pending in client.owner.inbox.gathered.commands] == ["a", "b"]


def test_requests_behind_one_with_a_pin_come_after_it(client: Client) -> None:
    owner = client.owner
    assert client.bring(with_pin("pin"), credit("a"))
    assert client.bring(credit("b"))
    assert owner.sealing.wait(DEADLINE_S)
    assert owner.ids == []
    owner.may_end.set()
    wait_until(lambda: owner.ids == ["pin", "a", "b"])
    wait_until(lambda: client.connection._jobs_given == client.connection._jobs_done)
    assert client.bring(credit("c"))
    assert owner.ids == ["pin", "a", "b", "c"]


def test_a_pin_that_is_sealed_at_once_does_not_overtake_what_came_before_it(client: Client) -> None:
    """However long the reader's round lasts."""
    owner = client.owner
    owner.may_end.set()
    client.connection.receive(frame(encode(credit("before"))) + frame(encode(with_pin("pin"))))
    wait_until(lambda: "pin" in owner.ids)
    assert owner.ids == ["before", "pin"]


def test_requests_before_a_malformed_one_reach_the_node(client: Client) -> None:
    assert not client.connection.receive(frame(encode(credit("good"))) + frame(b"bad"))
    assert client.owner.ids == ["good"]
    assert client.outcome() == ("", "bad_request")


def test_a_sealed_pin_from_a_client_is_rejected_without_being_sealed(client: Client) -> None:
    assert not client.bring(credit("before"), with_pin("sealed", SEALED), credit("behind"))
    assert client.outcome() == ("sealed", "bad_request")
    assert client.owner.ids == ["before"]
    assert not client.owner.sealing.is_set()


def test_what_waits_when_the_client_has_gone_is_dropped(client: Client) -> None:
    owner = client.owner
    assert client.bring(with_pin("pin"), credit("behind"), with_pin("another"))
    assert owner.sealing.wait(DEADLINE_S)
    assert not client.connection.receive(b"")
    owner.may_end.set()
    wait_until(lambda: client.connection._jobs_given == client.connection._jobs_done)
    assert owner.ids == []


def test_a_pin_that_is_refused_gets_its_reply_and_gives_its_slot_back(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "IN_FLIGHT_MAX", 2)
    owner = client.owner
    owner.refusal = ErrorReply(id="pin", outcome="busy")
    owner.may_end.set()
    assert client.bring(with_pin("pin"), credit("behind"))
    wait_until(lambda: owner.ids == ["behind"])
    [(channel, number, payload)] = owner.inbox._inputs.refused
    channel.reply(number, payload)
    client.connection.flush()
    assert client.outcome() == ("pin", "busy")
    assert client.bring(credit("next"))
    assert owner.ids == ["behind", "next"]


def test_turns_to_hash_a_pin_are_those_of_the_identity_or_address_that_asks(client: Client) -> None:
    places = Places(2)
    place = places.take("10.0.0.1")
    assert place is not None
    client.connection.place = place
    client.owner.may_end.set()
    assert client.bring(with_pin("a"))
    wait_until(lambda: client.owner.owners == ["10.0.0.1"])
    assert places.give_to(place, "identity ann")
    assert client.bring(with_pin("b"))
    wait_until(lambda: client.owner.owners == ["10.0.0.1", "identity ann"])


def test_what_waits_behind_a_pin_is_bounded_by_bytes_and_the_rest_is_busy(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    size_bytes = len(encode(credit("a")))
    pin_bytes = len(encode(with_pin("pin")))
    monkeypatch.setattr(client_connection, "WAITING_BYTES_MAX", pin_bytes + 2 * size_bytes)
    owner = client.owner
    assert client.bring(with_pin("pin"), credit("a"), credit("b"), credit("c"))
    assert client.outcome() == ("c", "busy")
    owner.may_end.set()
    wait_until(lambda: client.connection._jobs_given == client.connection._jobs_done)
    assert owner.ids == ["pin", "a", "b"]
    assert client.bring(with_pin("again"), credit("d"))
    wait_until(lambda: owner.ids == ["pin", "a", "b", "again", "d"])


def test_a_request_with_a_pin_is_forgotten_once_it_was_passed_on(client: Client) -> None:
    """The next one may be hours away, and memory is read by debuggers and core dumps."""

    class Job:
        def __call__(self) -> None:
            pass

    job = Job()
    remembered = weakref.ref(job)
    client.connection._give_job(job)
    del job
    wait_until(lambda: client.connection._jobs_given == client.connection._jobs_done)
    assert remembered() is None


def test_a_failure_of_one_connection_is_its_own_threads(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has all others to read."""
    fault = RuntimeError("a mistake of ours")

    def fail(*_: object) -> int:
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(client_connection, "slots", fail)
        assert not client.bring(credit("a"))
    client.connection.on_end()
    wait_until(lambda: not client.at_work)
    assert client.raised is fault


def test_a_job_that_fails_ends_the_connection_but_the_socket_stays_until_it_is_no_longer_read(
    client: Client,
) -> None:
    client.owner.fault = RuntimeError("no memory for a hash")
    client.owner.may_end.set()
    assert client.bring(with_pin("pin"), credit("behind"))
    assert client.socket.recv(1) == b""
    wait_until(client.connection._jobs.empty)  # it waits: it took what was behind
    assert client.at_work
    assert client.connection.sock.fileno() >= 0
    client.connection.on_end()
    wait_until(lambda: not client.at_work)
    assert client.connection.sock.fileno() < 0
    assert client.raised is client.owner.fault
    assert client.owner.ids == []


def test_after_a_job_that_failed_the_next_connection_with_its_descriptor_is_read(owner: FakeOwner) -> None:
    owner.fault = RuntimeError("no memory for a hash")
    owner.may_end.set()
    failures: list[BaseException] = []
    reader = Reader(owner.inbox.put_gathered, failures.append)
    reader.start()
    try:
        for number in range(3):
            client = Client(owner)
            reader.add_source(client.connection)
            client.socket.sendall(frame(encode(credit(f"good {number}".replace(" ", "-")))))
            client.socket.sendall(frame(encode(with_pin("pin"))))
            wait_until(lambda client=client: not client.at_work)  # type: ignore[misc]
            client.socket.close()
    finally:
        reader.close()
    assert owner.ids == ["good-0", "good-1", "good-2"]
    assert failures == []


def test_slots_are_taken_until_there_are_none_and_freed_by_the_replies(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "IN_FLIGHT_MAX", 3)
    client.owner.may_end.set()
    assert client.bring(credit("a"), with_pin("b"), credit("c"), credit("d"), with_pin("e"))
    assert client.outcome() == ("d", "busy")
    assert client.outcome() == ("e", "busy")
    wait_until(lambda: sorted(client.owner.ids) == ["a", "b", "c"])
    first = client.owner.came[0]
    first.channel.reply(first.number, encode({"id": "a", "outcome": "ok"}))
    assert client.owner.touched == [client.connection]
    client.connection.flush()
    assert client.outcome() == ("a", "ok")
    assert client.bring(credit("f"), credit("g"))
    assert client.outcome() == ("g", "busy")


def test_a_request_takes_as_many_slots_as_it_is_long(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a thousand requests of one connection would take 64 MiB."""
    monkeypatch.setattr(client_connection, "IN_FLIGHT_MAX", 5)
    legs = tuple(Leg(account="a" * 64, target=f"{number:064}", amount=1) for number in range(64))
    assert client.bring(Batch(id="long", legs=legs), credit("a"))
    assert client.outcome() == ("long", "busy")
    assert client.owner.ids == ["a"]


def test_no_connection_has_slots_if_all_together_have_too_many(
    client: Client, owner: FakeOwner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.server.clients.slots.SLOTS_MAX", 2)
    owner.slot_count = SlotCount(lambda: [client.connection])
    assert client.bring(credit("a"), credit("b"), credit("c"))
    assert client.outcome() == ("c", "busy")
    for pending in owner.came:
        pending.channel.reply(pending.number, encode({"id": pending.request.id, "outcome": "ok"}))
    owner.slot_count = SlotCount(lambda: [client.connection])
    assert client.bring(credit("d"))
    assert owner.ids == ["a", "b", "d"]


def test_who_asks_too_often_is_told_so(client: Client) -> None:
    client.connection.rate = Rate("ann", 1, lambda: 0.0, lambda owner, refusal: None)
    assert client.bring(credit("a"), credit("b"), credit("c"))
    payload = client.answer()
    assert (payload["id"], payload["outcome"]) == ("c", "busy")
    assert (
        payload["message"]
        == "ann asks more often than one client may, 1 times a second: slow down and ask again"
    )
    assert client.owner.ids == ["a", "b"]


def test_in_a_place_for_operators_a_first_request_that_is_no_operator_s_is_busy(client: Client) -> None:
    client.owner.operators_only = True
    assert not client.bring(credit("a"))
    client.connection.on_end()
    assert client.outcome() == ("a", "busy")
    assert client.socket.recv(1) == b"", "it may find a place with another connection"
    assert client.owner.ids == []


def test_in_a_place_for_operators_an_operator_may_go_on_as_he_likes(client: Client) -> None:
    client.owner.operators_only = True
    assert client.bring(Status(id="s"), credit("b"))
    assert client.owner.ids == ["b"]


# -- giving way ---------------------------------------------------------------------------------------


def test_an_idle_connection_that_gives_way_is_told_so(client: Client) -> None:
    assert client.connection.on_dismissed()
    client.connection.on_end()
    assert client.outcome() == ("", "busy")
    assert client.socket.recv(1) == b""


def test_a_connection_with_a_request_under_way_gives_way_to_nobody(client: Client) -> None:
    assert client.bring(credit("a"))
    assert not client.connection.on_dismissed()
    [pending] = client.owner.came
    pending.channel.reply(pending.number, encode({"id": "a", "outcome": "ok"}))
    client.connection.flush()
    assert client.outcome() == ("a", "ok")
    assert client.connection.on_dismissed()


def test_a_reply_that_is_not_sent_yet_keeps_the_connection(client: Client) -> None:
    """Or the client would be told that what was done is not done."""
    assert client.bring(credit("a"))
    [pending] = client.owner.came
    pending.channel.reply(pending.number, encode({"id": "a", "outcome": "ok"}))
    assert not client.connection.on_dismissed()
    client.connection.flush()
    assert client.outcome() == ("a", "ok")


def test_a_connection_that_was_used_since_its_place_was_given_away_has_it_again(client: Client) -> None:
    places = Places(1)
    place = places.take("10.0.0.1")
    assert place is not None
    client.connection.place = place
    assert place.bind(lambda: None, client.connection.activity)
    assert places.take("10.0.0.2") is not None
    assert place.lost
    assert client.bring(credit("a"))
    [pending] = client.owner.came
    pending.channel.reply(pending.number, encode({"id": "a", "outcome": "ok"}))
    client.connection.flush()
    assert not client.connection.on_dismissed()
    assert not place.lost
    assert client.outcome() == ("a", "ok")


def test_a_connection_with_a_job_under_way_gives_way_to_nobody(client: Client) -> None:
    assert client.bring(Verify(id="v"))
    assert not client.connection.on_dismissed()
    client.owner.may_end.set()
    assert client.outcome() == ("v", "audited")
    wait_until(lambda: client.connection.activity() is not None)
    assert client.connection.on_dismissed()


def test_a_connection_that_has_ended_cannot_end_again(client: Client) -> None:
    client.connection.on_end()
    assert not client.connection.on_dismissed()


def test_audits_that_wait_are_bounded_and_the_others_busy(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "JOBS_MAX", 2)
    assert client.bring(*(Verify(id=name) for name in "abcd"))
    assert [client.outcome() for _ in range(2)] == [("c", "busy"), ("d", "busy")]
    client.owner.may_end.set()
    assert [client.outcome() for _ in range(2)] == [("a", "audited"), ("b", "audited")]


def test_a_frame_in_many_pieces_has_one_deadline_and_each_further_frame_its_own(client: Client) -> None:
    connection, data = client.connection, frame(encode(credit("a")))
    deadlines_s = set()
    for position in range(len(data) - 1):
        assert connection.receive(data[position : position + 1])
        deadlines_s.add(connection.deadline_s)
    assert connection.receive(data[-1:] + data[:1])
    assert [pending.request.id for pending in client.owner.inbox.gathered.commands] == ["a"]
    deadlines_s.add(connection.deadline_s)
    assert len(deadlines_s - {None}) == 2
    assert connection.receive(data[1:])
    assert connection.deadline_s is None


def test_half_a_frame_for_too_long_gets_an_error_and_the_end(client: Client) -> None:
    client.connection.receive(b"\x00")
    client.connection.on_stall()
    assert client.outcome() == ("", "bad_request")


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 4, frame(b"\xc1"), frame(os.urandom(40))], ids=["too large", "unused", "random"]
)
def test_what_is_no_request_is_answered_by_the_connections_own_thread(client: Client, garbage: bytes) -> None:
    client.bring(with_pin("pin"))
    assert not client.connection.receive(garbage)
    client.socket.setblocking(False)
    with pytest.raises(BlockingIOError):  # not before what came first
        client.socket.recv(1)
    client.socket.settimeout(DEADLINE_S)
    client.owner.may_end.set()
    assert client.outcome() == ("", "bad_request")
    assert client.owner.ids == ["pin"]
