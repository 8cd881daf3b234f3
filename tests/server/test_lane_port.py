"""What another server of a bank on PostgreSQL sends: requests for lanes of this one, and nonsense."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest

from atm.ledger.commands import Arrive, Credit, NoteDeed, Settle
from atm.server.group.inbox import Inbox, Inputs
from atm.server.lanes.peer_port import LaneConnection
from atm.wire.codec import Malformed, encode
from atm.wire.peer_messages import Forward, ForwardReply, ForwardToLane

CREDIT = Credit(id="c", account="ann", amount=5)
ARRIVE = Arrive(id="t", account="ann", payer="bob", amount=5)


@pytest.fixture
def connection() -> Iterator[LaneConnection]:
    """Return the connection of the server n2."""
    here, there = socket.socketpair()
    links: Any = SimpleNamespace()
    found = LaneConnection(here, Inbox(Lock()), links)
    found._peer = "n2"
    yield found
    there.close()
    found.close()


def received(connection: LaneConnection, message: Any) -> Inputs:
    connection.on_frame(encode(message))
    return connection._inbox.gathered


def test_requests_come_with_their_lane_their_actor_and_the_roles_of_that(connection: LaneConnection) -> None:
    requests = ((7, "eve", 16, encode(CREDIT)), (8, "bob", 0, encode(ARRIVE)))
    inputs = received(connection, ForwardToLane.of("n2", requests, lane=3))
    found = [(each.number, each.lane, each.actor, each.roles, each.forwarded) for each in inputs.commands]
    assert found == [(7, 3, "eve", 16, True), (8, 3, "bob", 0, True)]
    assert [each.request for each in inputs.commands] == [CREDIT, ARRIVE]


def test_replies_come_by_their_numbers(connection: LaneConnection) -> None:
    inputs = received(connection, ForwardReply(sender="n2", answers=((7, b"x"),)))
    assert inputs.forward_replies == [(7, b"x")]


def test_what_is_no_request_for_a_lane_is_refused_alone(connection: LaneConnection) -> None:
    settle = Settle(id="t", outcome="ok")  # type: ignore[arg-type]
    plain = {"op": "login", "id": "l", "account": "ann", "pin": "1234"}
    requests = [
        (number, "eve", 0, encode(each))
        for number, each in enumerate(({"op": "rob", "id": "r"}, settle, plain))
    ]
    inputs = received(connection, ForwardToLane.of("n2", [*requests, (9, "eve", 0, encode(CREDIT))], lane=0))
    assert [number for _, number, _ in inputs.refused] == [0, 1, 2]
    assert [each.number for each in inputs.commands] == [9]


@pytest.mark.parametrize(
    "message",
    [
        ForwardToLane.of("n3", ((7, "eve", 0, encode(CREDIT)),), lane=0),  # in another's name
        ForwardReply(sender="n3", answers=()),
        Forward.of("n2", ((7, "eve", 0, encode(CREDIT)),)),  # it names no lane
        [33, "n2", [], b""],
        [33, "n2", [], b"", -1],
        [33, "n2", [], b"x", 0],
        [1, "n2", 5],  # of Raft
        "nonsense",
    ],
)
def test_anything_else_ends_the_connection(connection: LaneConnection, message: Any) -> None:
    with pytest.raises(Malformed):
        received(connection, message)


def test_a_note_of_a_deed_goes_home(connection: LaneConnection) -> None:
    note = NoteDeed(id="d", deed="snapshot", target="n1")
    inputs = received(connection, ForwardToLane.of("n2", ((1, "eve", 1, encode(note)),), lane=0))
    assert [(each.request, each.lane) for each in inputs.commands] == [(note, 0)]
