"""Which peers are accepted on the peers' port, and what becomes of their messages."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from logging import WARNING
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from atm.config import Cluster
from atm.ledger.commands import Debit
from atm.ledger.state_hash import RowsFrom
from atm.raft import Member
from atm.raft.messages import RequestVote
from atm.server.group.inbox import Inbox, Inputs
from atm.server.group.roster import Roster
from atm.server.logger.logger import Collected, EventRecord, Logger
from atm.server.logger.rate_limit import RateLimit
from atm.server.net.reader import Reader
from atm.server.peers import peer_connection, peer_server
from atm.server.peers.handshake import Handshake, receive_hello
from atm.server.peers.links import Links, batches
from atm.server.peers.peer_connection import PeerConnection
from atm.server.peers.peer_server import PeerServer
from atm.server.peers.snapshot_server import SnapshotServer
from atm.server.security.peppers import new_peppers, read_peppers
from atm.storage.data_folder import DataFolder
from atm.version import PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.client_messages import Status
from atm.wire.codec import encode
from atm.wire.framing import PEER_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.peer_messages import (
    CheckLedger,
    Forward,
    ForwardReply,
    Hello,
    Refused,
    Welcome,
    decode_hello,
    decode_hello_reply,
    decode_peer_message,
    incarnation_of,
)
from tests.support.collecting import collecting, collecting_events
from tests.support.server_parts import (
    DEADLINE_S,
    RunningServer,
    Wire,
    cluster_of,
    credit,
    messages,
    wait_until,
)
from tests.support.snapshot_files import FakeFiles

TCP_REPAIR = 19  # Linux; the module socket does not name it


@dataclass
class Port:
    """The servers' port of n1 without the rest of the node."""

    cluster: Cluster
    folder: DataFolder
    inbox: Inbox
    lock: Lock
    reported: list[str] = field(default_factory=list)
    handshake: Handshake = field(init=False)
    server: PeerServer = field(init=False)
    acknowledged: int = 0

    def hello(self, node: str = "n2") -> Hello:
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            release=RELEASE,
            feature_level=2,
            cluster="",
            config=self.cluster.identity(),
            node=node,
            store=f"store of {node}",
            pepper=read_peppers(self.cluster.pepper_file).names[0],
        )

    def connections(self) -> set[PeerConnection]:
        return self.server._connections

    def dial(self) -> Wire:
        return Wire(self.cluster.nodes["n1"].peer)

    def stranger(self) -> Wire:
        """Return a connection that has begun a frame: the kernel keeps one without a byte to itself."""
        wire = self.dial()
        wire.socket.sendall(b"\0")
        return wire

    def greeted(self, node: str = "n2") -> Wire:
        wire = self.dial()
        assert greet(wire, self.hello(node)) == Welcome(node="n1", learner=False, protocol=PROTOCOL_MAX)
        return wire

    def take(self) -> Inputs:
        with self.lock:
            return self.inbox.drain()

    def wait_for_inputs(self) -> Inputs:
        """Return what comes in next, but for who comes and goes."""
        inputs = Inputs()
        while inputs == Inputs(hellos=inputs.hellos):
            self.inbox.sleep(DEADLINE_S)
            inputs = self.take()
        inputs.hellos.clear()
        return inputs


def greet(wire: Wire, hello: Hello) -> Welcome | Refused:
    wire.send(hello)
    payload = wire.payload()
    assert payload is not None
    return decode_hello_reply(payload)


def levels_of(inputs: Inputs) -> list[tuple[str, int]]:
    """Return the feature level of each peer that has come, and 0 for each that has gone."""
    return [(peer, hello.feature_level if hello else 0) for peer, hello in inputs.hellos]


def vote(sender: str) -> RequestVote:
    return RequestVote(sender=sender, term=1, last_log_index=0, last_log_term=0, pre_vote=False)


VOTE = vote("n2")
CHECK = CheckLedger(sender="n2", index=7, rows_from=RowsFrom(), rows_max=5)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[Port]:
    cluster = cluster_of(tmp_path, "n1", "n2", "n3")
    lock = Lock()
    port = Port(cluster, DataFolder(cluster, "n1"), Inbox(lock), lock)
    limit = RateLimit()
    logger = Logger(
        Collected(lambda record: port.reported.extend(e.msg for e in limit.admit(record)), WARNING)
    )
    members = tuple(Member(node=node, voter=True) for node in cluster.nodes)
    port.handshake = Handshake(port.hello("n1"), Roster(0, members, {}, cluster.nodes))
    links = Links(port.handshake, port.inbox, logger)
    reader = Reader(port.inbox.put_gathered, lambda error: port.reported.append(repr(error)))
    server = PeerServer(
        cluster.nodes["n1"].peer,
        handshake=port.handshake,
        folder=port.folder,
        inbox=port.inbox,
        reader=reader,
        links=links,
        acknowledged=lambda peer: port.acknowledged,
        snapshots=SnapshotServer(FakeFiles(), logger),
        logger=logger,
    )
    port.server = server
    reader.start()
    server.start()
    yield port
    server.close()
    reader.close()
    port.folder.close()


def test_messages_of_a_welcomed_peer_reach_the_inbox(port: Port) -> None:
    with port.greeted() as wire:
        wire.send(vote("n2"))
        assert port.wait_for_inputs().messages == [vote("n2")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"protocol_min": 5, "protocol_max": 6, "release": "9"},
            "its release '9' speaks protocol 5 to 6, and",
        ),
        (
            {"protocol_min": 0, "protocol_max": 2},
            f"speaks protocol 2, and release '{RELEASE}' here speaks 3 to 4: install",
        ),
        ({"config": "elsewhere"}, "another cluster"),
        ({"pepper": "0123456789abcdef"}, "its PIN pepper is not the one here: copy the pepper_file"),
        ({"node": "n1"}, "run each name once"),
        ({"node": "n9"}, "no node 'n9'"),
    ],
)
def test_a_hello_of_the_wrong_kind_is_refused_with_its_reason(
    port: Port, changes: dict[str, str | int], reason: str
) -> None:
    for _ in range(3):
        with port.dial() as wire:
            answer = greet(wire, replace(port.hello(), **changes))
            assert isinstance(answer, Refused)
            assert reason in answer.reason
            assert wire.payload() is None
    assert len(port.reported) == 1
    assert reason in port.reported[0]


def test_strangers_give_way_to_newcomers_and_a_member_gives_way_to_nobody(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_server, "HELLO_S", 60.0)
    with port.greeted("n2") as member, ExitStack() as stack:
        strangers = [stack.enter_context(port.stranger()) for _ in range(peer_server.PLACES_MAX + 5)]
        assert strangers[0].payload() is None
        with port.greeted("n3"):
            member.send(VOTE)
            assert port.wait_for_inputs().messages == [VOTE]
            wait_until(lambda: len(port.connections()) == 1 + peer_server.PLACES_MAX)


@pytest.mark.skipif(not hasattr(socket, "TCP_DEFER_ACCEPT"), reason="THIS SYSTEM HAS NO TCP_DEFER_ACCEPT")
def test_who_connects_and_says_nothing_costs_no_thread(port: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_server, "HELLO_S", 60.0)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(port.dial())
        stack.enter_context(port.stranger())
        wait_until(lambda: len(port.connections()) > 0)
        assert len(port.connections()) == 1, "the silent ones came first"


def test_a_server_of_the_cluster_that_is_no_member_here_keeps_its_place_only_while_there_is_room(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows the cluster's id could call himself by any number of names."""
    monkeypatch.setattr(peer_server, "HELLO_S", 60.0)
    port.handshake.join("an id")
    with port.dial() as unknown, ExitStack() as stack:
        assert isinstance(greet(unknown, replace(port.hello("n9"), cluster="an id")), Welcome)
        for _ in range(peer_server.PLACES_MAX):
            stack.enter_context(port.stranger())
        assert unknown.payload() is None


def test_lines_about_one_hide_none_about_another(
    port: Port,
) -> None:
    """64 different lines of a stranger, and nothing was reported any more, on the tree before."""

    def refused(**changes: str | int) -> None:
        with port.dial() as wire:
            assert isinstance(greet(wire, replace(port.hello(), **changes)), Refused)

    for number in range(70):
        refused(node=f"stranger{number}")
        refused(node="n3", release=f"{number}", protocol_min=5, protocol_max=6)
    refused(config="elsewhere")
    about_others, about_n3, (about_n2,) = (
        [line for line in port.reported if line.startswith(f"refused node '{name}")]
        for name in ("stranger", "n3", "n2")
    )
    assert len(about_others) == len(about_n3) == peer_server.LINES_OF_ONE_MAX
    assert "another cluster" in about_n2


def test_over_tls_a_line_is_about_whom_the_certificate_names(port: Port) -> None:
    n2, n3 = (
        cast(PeerConnection, SimpleNamespace(tls=SimpleNamespace(identity=SimpleNamespace(name=name))))
        for name in ("n2", "n3")
    )
    for number in range(peer_server.LINES_OF_ONE_MAX + 3):
        port.server._about(n2, port.hello("n3")).warning("peer.refused", f"n2 says that it is n3, {number}")
    port.server._about(n3, port.hello("n3")).warning("peer.refused", "about n3")
    assert len(port.reported) == peer_server.LINES_OF_ONE_MAX + 1
    assert port.reported[-1] == "about n3"


def test_bytes_that_are_no_hello_are_refused(port: Port) -> None:
    for garbage in (b"\xff" * 100, frame(b"\xc1"), frame(encode(Status(id="s"))), frame(encode(vote("n2")))):
        with port.dial() as wire:
            wire.socket.sendall(garbage)
            payload = wire.payload()
            assert payload is not None
            assert isinstance(decode_hello_reply(payload), Refused)
            assert wire.payload() is None


def test_a_message_in_anothers_name_ends_the_connection(port: Port) -> None:
    with port.greeted("n2") as wire:
        wire.send(vote("n3"))
        assert wire.payload() is None
    assert port.take().messages == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x00\x00", "timed out after 0.05 s waiting for the rest of a frame"),
        (frame(encode(VOTE))[:-1], "timed out after 0.05 s"),
        (b"\xff" * 4, "over the limit"),
        (frame(b"\xc1"), ""),
    ],
    ids=["half a length", "half a message", "too large", "no message"],
)
def test_a_peer_whose_bytes_are_no_messages_is_closed_and_reported(
    port: Port, monkeypatch: pytest.MonkeyPatch, sent: bytes, reason: str
) -> None:
    monkeypatch.setattr(peer_connection, "PARTIAL_FRAME_S", 0.05)
    with port.greeted() as wire:
        wire.send(vote("n2"))
        wire.socket.sendall(sent)
        assert wire.payload() is None
    assert port.take().messages == [vote("n2")], "what came before counts"
    wait_until(lambda: len(port.reported) == 1)
    assert port.reported[0].startswith("a peer's connection was closed: ")
    assert reason in port.reported[0]
    with port.greeted() as wire:
        wire.send(vote("n2"))
        assert port.wait_for_inputs().messages == [vote("n2")]


def test_the_level_of_a_peer_is_put_when_it_connects_and_when_it_disconnects(port: Port) -> None:
    levels: list[tuple[str, int]] = []

    def has_received(*expected: tuple[str, int]) -> bool:
        levels.extend(levels_of(port.take()))
        return levels == list(expected)

    with port.greeted("n2"):
        wait_until(lambda: has_received(("n2", 2)))
        with port.greeted("n3"):
            wait_until(lambda: has_received(("n2", 2), ("n3", 2)))
        wait_until(lambda: has_received(("n2", 2), ("n3", 2), ("n3", 0)))
    wait_until(lambda: has_received(("n2", 2), ("n3", 2), ("n3", 0), ("n2", 0)))


def test_a_connection_that_was_replaced_takes_nothing_with_it(port: Port) -> None:
    levels: list[tuple[str, int]] = []
    with port.greeted() as older, port.greeted():
        assert older.payload() is None
        wait_until(lambda: len(port.connections()) == 1)
        levels.extend(levels_of(port.take()))
    assert levels[-1:] == [("n2", 2)]


def test_a_newer_connection_of_a_peer_replaces_the_older(port: Port) -> None:
    with port.greeted() as older, port.greeted() as newer:
        assert older.payload() is None
        newer.send(vote("n2"))
        assert port.wait_for_inputs().messages == [vote("n2")]


def test_a_peer_with_another_store_is_demoted_before_its_messages(port: Port) -> None:
    with port.greeted() as before:
        before.socket.shutdown(socket.SHUT_WR)
        assert before.payload() is None
    port.take()
    with port.dial() as wire:
        changed = replace(port.hello(), store="another")
        assert greet(wire, changed) == Welcome(node="n1", learner=True, protocol=PROTOCOL_MAX)
        assert port.take().demotions == [("n2", "another")]
    assert "came back with an empty data folder" in port.reported[0]
    assert not port.folder.register_peer_store("n2", "another")


# -- old copies of data folders, and folders that the log names -----------------------------------------


def started(port: Port, starts: int, drawn: int = 7, **changes: str | int) -> Hello:
    """Return n2's hello of a process that was the `starts`-th on its folder."""
    return replace(port.hello(), incarnation=incarnation_of(starts, drawn), last_index=90, **changes)


def stale(port: Port, hello: Hello) -> bool:
    """Say hello, close, and return whether the folder was taken for an old copy."""
    with port.dial() as wire:
        answer = greet(wire, hello)
        assert isinstance(answer, Welcome)
        assert answer.learner or not answer.stale
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.payload() is None
    wait_until(lambda: not port.connections())  # or the next one from another folder may be refused
    return answer.stale


@pytest.mark.parametrize("second", [(1, 7), (2, 8), (1, 9)])
def test_an_old_copy_of_a_data_folder_is_told_so_and_not_let_in(port: Port, second: tuple[int, int]) -> None:
    """It shows no more starts than were seen: a process that was there before, or beside this one."""
    assert not stale(port, started(port, 2))
    port.take()
    with port.dial() as wire:
        answer = greet(wire, started(port, *second))
        assert answer == Welcome(node="n1", learner=True, protocol=PROTOCOL_MAX, stale=True)
        wire.send(VOTE)
        wire.socket.shutdown(socket.SHUT_WR)
        assert wire.payload() is None
    assert port.take().messages == []
    assert "node n2 runs on an old copy of its data folder" in port.reported[0]


def test_an_old_copy_is_told_so_however_often_it_was_started_since(port: Port) -> None:
    """Its second start was another one than the second that was seen."""
    seen = (incarnation_of(1, 5), incarnation_of(2, 7))
    assert not stale(port, replace(started(port, 2), earlier=seen[:1]))
    for starts in (2, 3, 4, 9):
        own = tuple(incarnation_of(start, 6) for start in range(2, starts))
        assert stale(port, replace(started(port, starts, 6), earlier=(seen[0], *own)))


def test_a_server_that_was_started_often_meanwhile_is_no_old_copy(port: Port) -> None:
    seen = tuple(incarnation_of(start, start) for start in range(1, 9))
    for starts, told in ((2, 1), (3, 2), (5, 4), (8, 2)):
        earlier = seen[starts - 1 - told : starts - 1]
        assert not stale(port, replace(started(port, starts, starts), earlier=earlier))
    assert port.reported == []


def test_a_server_that_connects_again_is_no_old_copy(port: Port) -> None:
    assert not any(stale(port, started(port, starts)) for starts in (1, 1, 1, 2, 2, 7))
    assert not stale(port, port.hello()), "release 1.1 counts no starts"
    assert port.reported == []


def test_what_was_seen_of_a_peer_is_kept(port: Port) -> None:
    assert not stale(port, started(port, 3))
    assert port.folder.highest_incarnation("n2", "store of n2") == incarnation_of(3, 7)


def test_a_log_that_lacks_what_it_acknowledged_is_an_old_copy(port: Port) -> None:
    port.acknowledged = 90
    assert not stale(port, started(port, 1))
    port.acknowledged = 91
    assert stale(port, started(port, 2))
    assert not stale(port, started(port, 1, store="a new disk")), "it is a learner anyhow"


def test_the_data_folder_that_the_log_names_counts_and_no_other(port: Port) -> None:
    with port.greeted() as before:
        before.socket.shutdown(socket.SHUT_WR)
        assert before.payload() is None
    members = (Member("n1", True), Member("n2", True, store="new disk"), Member("n3", True))
    port.handshake.roster = Roster(0, members, {}, port.cluster.nodes)
    for store, counted in (("new disk", True), ("store of n2", False), ("new disk", True)):
        port.take()
        with port.dial() as wire:
            answer = greet(wire, replace(port.hello(), store=store))
            assert answer == Welcome(node="n1", learner=not counted, protocol=PROTOCOL_MAX)
            assert port.take().demotions == [("n2", store)], "the core compares it with the configuration"
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.payload() is None


def test_a_removed_peer_is_dropped_unless_its_own_log_names_it_in_a_later_entry(port: Port) -> None:
    members = (Member("n1", True), Member("n3", True))
    roster = Roster(70, members, {"n2": 70}, port.cluster.nodes)
    with port.greeted() as removed:
        port.server.follow(roster)
        assert removed.payload() is None
    with port.dial() as wire:
        assert isinstance(greet(wire, replace(port.hello(), member_at=71)), Welcome)
        port.server.follow(roster)
        wire.send(VOTE)
        while not (inputs := port.wait_for_inputs()).messages:
            assert inputs.demotions
        assert inputs.messages == [VOTE]


def test_another_store_while_the_peer_is_connected_is_refused_and_reported_and_demotes_no_node(
    port: Port,
) -> None:
    with port.greeted() as true:
        for number in range(20):
            with port.dial() as wire:
                answer = greet(wire, replace(port.hello(), store=f"another {number}"))
                assert isinstance(answer, Refused)
                assert "another data folder, and node n2 is connected" in answer.reason
                assert f"noticed within {peer_server.PEER_GONE_S} s" in answer.reason
        true.send(vote("n2"))
        assert port.wait_for_inputs() == messages(vote("n2"), size_bytes=len(encode(vote("n2"))))
    assert len(port.reported) == 1
    assert port.reported[0].startswith("refused node 'n2': it comes from another data folder")


def test_a_peer_that_lost_its_disk_is_let_in_once_its_old_connection_is_gone(port: Port) -> None:
    with port.greeted():
        pass
    changed = replace(port.hello(), store="another")
    wait_until(lambda: _welcomed(port, changed))
    assert port.take().demotions == [("n2", "another")]
    with port.dial() as wire:
        assert greet(wire, changed) == Welcome(node="n1", learner=True, protocol=PROTOCOL_MAX)
        with port.dial() as again:
            assert greet(again, changed) == Welcome(node="n1", learner=True, protocol=PROTOCOL_MAX), (
                "its own older one is no other"
            )
            with port.dial() as true:
                assert greet(true, port.hello()) == Welcome(node="n1", learner=False, protocol=PROTOCOL_MAX)


def _welcomed(port: Port, hello: Hello) -> bool:
    with port.dial() as wire:
        return isinstance(greet(wire, hello), Welcome)


def test_the_connection_of_a_machine_that_is_gone_without_a_word_is_noticed_in_time(port: Port) -> None:
    """Two followers send each other nothing, so TCP probes: first after PEER_IDLE_S."""
    with port.greeted() as wire:
        port.take()
        try:
            wire.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except PermissionError:
            pytest.skip("A MACHINE GONE WITHOUT A WORD NOT TRIED: it takes CAP_NET_ADMIN to close so")
        wire.socket.close()  # in repair mode nothing is sent: the other side does not know
        changed = replace(port.hello(), store="another")
        assert not _welcomed(port, changed)
        began_s = time.monotonic()
        wait_until(lambda: _welcomed(port, changed))
        assert time.monotonic() - began_s < peer_server.PEER_GONE_S + 2
    assert port.take().demotions == [("n2", "another")]


def test_forwarded_requests_are_checked_one_by_one(port: Port) -> None:
    good, bad = encode(credit("a")), encode({"op": "rob", "id": "b"})
    with port.greeted() as wire:
        wire.send(
            Forward(
                sender="n2", requests=((7, "eve", good), (8, "eve", bad), (9, "eve", encode(Status(id="s"))))
            )
        )
        inputs = port.wait_for_inputs()
        [pending] = inputs.commands
        assert (pending.number, pending.payload, pending.forwarded) == (7, good, True)
        assert pending.actor == "eve", "who asked is known to the server that read it"
        assert [number for _, number, _ in inputs.refused] == [8, 9]


def test_a_forwarded_plain_pin_is_refused(port: Port) -> None:
    """It would stand in the log of every server."""
    leg = {"account": "main", "target": "bob", "amount": 5}
    plain: list[dict[str, object]] = [
        {"op": "debit", "id": "a", "account": "main", "amount": 5, "pin": "1234"},
        {"op": "login", "id": "b", "account": "main", "pin": "123456789012"},
        {"op": "set_pin", "id": "c", "account": "main", "pin": "ab" * 32, "old_pin": "1234"},
        {"op": "batch", "id": "d", "legs": [leg | {"pin": "ab" * 32}, leg | {"pin": "1234"}]},
    ]
    sealed = encode(Debit(id="e", account="main", amount=5, pin="ab" * 32))
    requests = (*((number, "eve", encode(fields)) for number, fields in enumerate(plain)), (9, "eve", sealed))
    with port.greeted() as wire:
        wire.send(Forward(sender="n2", requests=requests))
        inputs = port.wait_for_inputs()
    assert [(pending.number, pending.payload) for pending in inputs.commands] == [(9, sealed)]
    assert [number for _, number, _ in inputs.refused] == [0, 1, 2, 3]
    assert all(b"a forwarded request has a plain PIN" in payload for _, _, payload in inputs.refused)
    assert not any(b"1234" in payload for _, _, payload in inputs.refused)


def test_a_forwarded_request_that_names_its_end_user_is_refused(port: Port) -> None:
    """A server of release 1.1 could not read it in its log."""
    named = encode(Debit(id="a", account="main", amount=5, end_user="eve"))
    with port.greeted() as wire:
        wire.send(Forward(sender="n2", requests=((7, "shop/eve", named),)))
        [(_, number, payload)] = port.wait_for_inputs().refused
    assert (number, b"names its end user" in payload) == (7, True)


def test_a_reply_is_sent_only_while_the_connection_of_its_request_is_open(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number means nothing, or something else, to a peer that has started anew."""
    given: list[int] = []
    monkeypatch.setattr(Links, "send_reply", lambda links, to, number, payload: given.append(number))
    with port.greeted() as wire:
        wire.send(Forward(sender="n2", requests=((7, "eve", encode(credit("a"))),)))
        (pending,) = port.wait_for_inputs().commands
        connection = pending.channel
        assert isinstance(connection, PeerConnection)
        connection.reply(7, b"in time")
    wait_until(lambda: not connection.open)
    connection.reply(8, b"too late")
    assert given == [7]


def test_forwarded_replies_reach_the_inbox(port: Port) -> None:
    with port.greeted() as wire:
        wire.send(ForwardReply(sender="n2", answers=((7, b"answer"),)))
        assert port.wait_for_inputs().forward_replies == [(7, b"answer")]


def test_what_a_peer_says_about_itself_waits_for_the_next_iteration(port: Port) -> None:
    with port.greeted() as wire:
        wire.send(CHECK)
        assert port.wait_for_inputs() == Inputs(peer_reports=[CHECK])
        assert not port.inbox._should_run(), "it wakes nobody"
        wire.send(CHECK)
        wire.send(replace(CHECK, sender="n3"))
        assert wire.payload() is None, "a report in another's name"


@pytest.mark.parametrize("protocol", [PROTOCOL_MAX - 1, PROTOCOL_MAX])
def test_what_a_node_says_about_itself_is_sent_to_peers_that_know_such_messages(
    port: Port, protocol: int
) -> None:
    address = port.cluster.nodes["n2"].peer
    with socket.create_server(address.pair) as listener:
        links = Links(port.handshake, port.inbox, collecting(port.reported))
        links.follow({"n2": [address]})
        links.start()
        try:
            peer, _ = listener.accept()
            with peer:
                receive_hello(peer, DEADLINE_S)
                peer.sendall(frame(encode(Welcome(node="n2", learner=False, protocol=protocol))))
                wait_until(lambda: links._links["n2"].up)
                links.send_report(CHECK)
                links.forward("n2", [(1, "eve", 0, b"request")])
                links.flush()
                reader, kinds = FrameReader(PEER_FRAME_BYTES_MAX), list[type]()
                while Forward not in kinds:
                    kinds += [type(decode_peer_message(each)) for each in reader.feed(peer.recv(65536))]
        finally:
            links.close()
    assert kinds == [CheckLedger, Forward][-1 if protocol < PROTOCOL_MAX else 0 :]


def test_a_peer_that_is_not_reached_for_a_while_is_told_of_once(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.server.peers.links.UNREACHED_S", 0.3)
    tries: list[float] = []
    dial = port.handshake.dial

    def count(*arguments: Any) -> Any:
        tries.append(time.monotonic())
        return dial(*arguments)

    monkeypatch.setattr(port.handshake, "dial", count)
    told: list[EventRecord] = []
    address = port.cluster.nodes["n2"].peer  # nobody listens there
    began_s = time.monotonic()
    links = Links(port.handshake, port.inbox, collecting_events(told, "peer.unreached"))
    links.follow({"n2": [address]})
    links.start()
    try:
        wait_until(lambda: bool(told))
        assert time.monotonic() >= began_s + 0.3, "others may still be starting"
        tried = len(tries)
        assert tried > 1
        wait_until(lambda: len(tries) >= tried + 3)
    finally:
        links.close()
    [event] = told
    assert (event.levelno, event.fields) == (WARNING, {"peer": "n2", "address": str(address)})
    assert event.msg.startswith(f"node n2 was not reached at {address} for 0.3 s: ")


def test_a_peer_that_was_greeted_with_the_old_store_id_is_greeted_again(port: Port) -> None:
    """It counts what is sent on that connection as promises of the old data folder."""
    address = port.cluster.nodes["n2"].peer
    welcome = frame(encode(Welcome(node="n2", learner=False, protocol=PROTOCOL_MAX)))
    with socket.create_server(address.pair) as listener:
        links = Links(port.handshake, port.inbox, collecting(port.reported))
        links.follow({"n2": [address]})
        links.start()
        try:
            with listener.accept()[0] as first:
                assert decode_hello(receive_hello(first, DEADLINE_S)).store == "store of n1"
                port.handshake.show_store("new")
                links.redial()  # there is no connection yet
                first.sendall(welcome)
                listener.settimeout(DEADLINE_S)
                with listener.accept()[0] as second:
                    assert decode_hello(receive_hello(second, DEADLINE_S)).store == "new"
                    second.sendall(welcome)
                    wait_until(lambda: links._links["n2"].up)
        finally:
            links.close()


def test_batches_keep_all_and_fit_a_frame() -> None:
    numbered = [(number, b"x" * 60_000) for number in range(100)]
    runs = batches(numbered)
    assert [pair for run in runs for pair in run] == numbered
    assert len(runs) > 1
    assert max(sum(len(payload) for _, payload in run) for run in runs) < 1_200_000


def test_three_nodes_elect_and_a_follower_answers_through_the_leader(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, "n1", "n2", "n3")
    with (
        RunningServer(cluster, "n1", verbose=True) as one,
        RunningServer(cluster, "n2", verbose=True) as two,
        RunningServer(cluster, "n3", verbose=True) as three,
    ):
        servers = [one, two, three]
        for number, server in enumerate(servers):
            wait_until(partial(_credited, server, f"c{number}"))
        lines = [line for server in servers for line in server.said]
        assert lines.count("Redirecting client request") >= 2
        assert lines.count("Returning client request") >= 3
        assert [server.reported for server in servers] == [[], [], []]


def _credited(server: RunningServer, request_id: str) -> bool:
    with Wire(server.client) as wire:
        return bool(wire.ask(credit(request_id))["outcome"] == "ok")


def test_a_node_of_another_cluster_is_reported_once_at_both_ends(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, "n1", "n2")
    stranger = cluster_of(tmp_path / "elsewhere", "n1", "n2", "n3")
    stranger.nodes["n1"] = cluster.nodes["n1"]
    with RunningServer(cluster, "n1") as one, RunningServer(stranger, "n2") as two:
        wait_until(lambda: bool(one.reported and two.reported))
        assert "another cluster" in one.reported[0]
        assert "another cluster" in two.reported[0]


def test_servers_with_different_peppers_report_it_and_never_work_together(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, "n1", "n2")
    other = replace(cluster, pepper_file=tmp_path / "other.key")
    other.pepper_file.write_bytes(new_peppers().contents())
    with RunningServer(cluster, "n1") as one, RunningServer(other, "n2") as two:
        wait_until(lambda: bool(one.reported and two.reported))
        assert "copy the pepper_file of one machine to all others" in one.reported[0]
        assert "copy the pepper_file of one machine to all others" in two.reported[0]
