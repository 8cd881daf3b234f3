"""Links between real nodes that are cut: nothing passes, nobody is told, and what follows is Raft's."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from atm.client import Client, Credit, new_request_id
from atm.client.each_node import ask_one
from atm.config import Address
from atm.ledger.commands import Query
from atm.local_cluster import LocalCluster, free_ports, write_cluster_ini
from atm.local_links import LinkedCluster
from atm.local_proxy import CONNECTIONS_MAX, Cuts, Entrance
from atm.wire.codec import encode
from atm.wire.framing import frame
from tests.support.hellos import hello_of
from tests.support.running import wait_until

LOOPBACK = "127.0.0.1"
QUIET_S = 0.3  # for so long nothing must come
DEADLINE_S = 10.0
HELLO = frame(encode(hello_of("n1")))
THERE, BACK = ("n1", "n2"), ("n2", "n1")


class Ends:
    """Both ends of a connection of n1 to n2 with the proxy between them."""

    def __init__(self) -> None:
        self.cuts = Cuts()
        self._stack = ExitStack()
        self._server = self._stack.enter_context(socket.create_server((LOOPBACK, 0)))
        self._server.settimeout(DEADLINE_S)
        port = free_ports(1)[0]
        self.entrance = Entrance(
            "n2", Address(LOOPBACK, port), Address(*self._server.getsockname()), self.cuts
        )

    def dial(self) -> socket.socket:
        host, port = self.entrance.server_address[:2]
        return self._stack.enter_context(socket.create_connection((str(host), int(port)), DEADLINE_S))

    def accept(self) -> socket.socket:
        end = self._stack.enter_context(self._server.accept()[0])
        end.settimeout(DEADLINE_S)
        return end

    def joined(self) -> tuple[socket.socket, socket.socket]:
        """Dial with n1's hello; return the dialler's end, and the server's behind the hello."""
        dialler = self.dial()
        dialler.sendall(HELLO)
        server = self.accept()
        assert read(server, len(HELLO)) == HELLO
        return dialler, server

    def close(self) -> None:
        self.entrance.close()
        self._stack.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with closing(Ends()) as made:
        yield made


def read(end: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (piece := end.recv(size - len(got))):
        got += piece
    return got


def nothing_comes(end: socket.socket) -> bool:
    """Return whether neither bytes come for a while, nor the end of the connection."""
    end.settimeout(QUIET_S)
    try:
        end.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        end.settimeout(DEADLINE_S)
    return False


def test_a_whole_link_passes_all_bytes_both_ways_and_both_ends_of_it(ends: Ends) -> None:
    dialler, server = ends.joined()
    much = bytes(range(256)) * 8_000
    threading.Thread(target=dialler.sendall, args=(much,)).start()
    assert read(server, len(much)) == much
    server.sendall(b"answer")
    assert read(dialler, 6) == b"answer"
    server.close()
    assert dialler.recv(1) == b""


def test_nothing_passes_a_cut_link_and_neither_end_is_told_and_what_waited_comes_once_it_is_mended(
    ends: Ends,
) -> None:
    dialler, server = ends.joined()
    ends.cuts.replace({THERE, BACK})
    dialler.sendall(b"to n2")
    server.sendall(b"to n1")
    assert nothing_comes(server)
    assert nothing_comes(dialler)
    ends.cuts.replace(())
    assert (read(server, 5), read(dialler, 5)) == (b"to n2", b"to n1")


def test_one_direction_may_be_cut_alone(ends: Ends) -> None:
    dialler, server = ends.joined()
    ends.cuts.replace({THERE})
    server.sendall(b"to n1")
    dialler.sendall(b"to n2")
    assert read(dialler, 5) == b"to n1"
    assert nothing_comes(server)


def test_a_new_connection_does_not_get_through_a_cut_link_and_one_of_another_server_does(
    ends: Ends,
) -> None:
    ends.cuts.replace({THERE})
    dialler = ends.dial()
    dialler.sendall(HELLO)
    assert nothing_comes(dialler)
    other = ends.dial()
    other.sendall(frame(encode(hello_of("n3"))))
    assert read(ends.accept(), 1)
    ends.cuts.replace(())
    assert read(ends.accept(), len(HELLO)) == HELLO


def test_a_connection_on_which_something_waits_too_long_is_given_up(
    ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atm.local_proxy.HELD_S_MAX", 0.1)
    dialler, server = ends.joined()
    ends.cuts.replace({THERE, BACK})
    assert nothing_comes(dialler)  # while nothing waits
    dialler.sendall(b"to n2")
    assert (server.recv(1), dialler.recv(1)) == (b"", b"")


def test_what_is_no_hello_gets_through_to_the_server_that_refuses_it(ends: Ends) -> None:
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\1x"):
        with ends.dial() as dialler:
            dialler.sendall(junk)
            with ends.accept() as server:
                assert read(server, len(junk)) == junk


def test_connections_are_bounded_and_give_their_places_back(ends: Ends) -> None:
    ends.cuts.replace({THERE})
    held = [ends.dial() for _ in range(CONNECTIONS_MAX)]
    for each in held:
        each.sendall(HELLO)
    assert nothing_comes(held[-1])
    with ends.dial() as refused:
        assert refused.recv(1) == b""
    ends.cuts.replace(())
    servers = [ends.accept() for _ in held]
    for end in (*held, *servers):
        end.close()
    wait_until(lambda: _passes(ends))


def _passes(ends: Ends) -> bool:
    with ends.dial() as dialler:
        dialler.sendall(HELLO)
        return nothing_comes(dialler)


def test_a_closed_entrance_ends_its_connections_and_frees_its_address(ends: Ends) -> None:
    dialler, server = ends.joined()
    host, port = ends.entrance.server_address[:2]
    ends.entrance.close()
    assert (dialler.recv(1), server.recv(1)) == (b"", b"")
    with pytest.raises(ConnectionRefusedError):
        ends.dial()
    socket.create_server((str(host), int(port))).close()


# -- real nodes --------------------------------------------------------------------------------------------


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[LinkedCluster]:
    with LinkedCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


def test_a_leader_that_is_cut_off_gives_no_false_answer_and_follows_the_new_one_once_mended(
    bank: LinkedCluster,
) -> None:
    old = bank.wait_for_leader()
    around = [(old, other) for other in bank.cluster.nodes if other != old]
    around += [(other, own) for own, other in around]
    address = bank.cluster.nodes[old].client
    with Client(bank.cluster.path) as client:
        client.open("ann").check()
        bank.cut(around)
        credit = Credit(id=new_request_id(), account="ann", amount=5_00)
        for asked in (credit, Query(id=new_request_id(), account="ann")):
            answer = ask_one(address, asked, 1.0)
            assert answer is None or answer.outcome in ("unknown", "unavailable"), answer
        _wait_for_another_leader(bank, old)
        client.credit("ann", 7_00).check()
        told = ask_one(address, Query(id=new_request_id(), account="ann"), 1.0)
        assert told is None or told.outcome == "unavailable", told
        bank.mend(bank.cuts)
        wait_until(lambda: (status := bank.status(old)) is not None and status.role == "follower")
        client.credit("ann", 5_00, request_id=credit.id).check()
        assert client.query("ann").balance == 12_00


def _wait_for_another_leader(bank: LinkedCluster, old: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while bank.wait_for_leader() == old:
        assert time.monotonic() < deadline


def test_the_address_of_a_node_that_ended_is_free_and_cuts_outlive_its_restart(bank: LinkedCluster) -> None:
    leader = bank.wait_for_leader()
    name, third = (each for each in bank.cluster.nodes if each != leader)
    bank.cut([(leader, name), (name, leader)])
    bank.processes[name].kill()  # not through the cluster
    wait_until(lambda: _refuses(bank.cluster.nodes[name].peer))
    bank.kill(name)  # again: that it has ended is only noted now
    bank.start(name)
    wait_until(lambda: bank.status(name) is not None)
    assert bank.status(third) is not None
    time.sleep(QUIET_S)
    found = bank.status(name)
    assert found is not None
    assert found.leader is None
    bank.mend(bank.cuts)
    wait_until(lambda: (status := bank.status(name)) is not None and status.leader is not None)


def _refuses(address: Address) -> bool:
    try:
        socket.create_connection(address.pair, DEADLINE_S).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # just now it still listened
        return False
    return False


def test_nothing_that_people_see_tells_of_the_proxy(bank: LinkedCluster) -> None:
    leader = bank.wait_for_leader()
    found = bank.status(leader)
    assert found is not None
    assert found.peer == str(bank.cluster.nodes[leader].peer)
    names = {path.name for path in bank.cluster.data_dir.iterdir()}
    assert names == {*bank.cluster.nodes, *(f"{name}.log" for name in bank.cluster.nodes)}
    assert bank.linked == list(bank.cluster.nodes)


def test_a_node_whose_address_is_taken_says_so_as_without_a_proxy(tmp_path: Path) -> None:
    with LinkedCluster(write_cluster_ini(tmp_path, 3)) as bank:
        taken = bank.cluster.nodes["n1"].peer
        with socket.create_server(taken.pair):
            bank.start("n1")
            assert bank.processes["n1"].wait(DEADLINE_S) == 1
        assert f"cannot listen on {taken}: another node or program uses this port" in bank.output("n1")
        assert bank.linked == []


def test_without_web_there_is_no_proxy_and_with_one_it_ends_with_the_nodes(tmp_path: Path) -> None:
    path = write_cluster_ini(tmp_path, 3)
    assert not any("listen-peer" in word for word in LocalCluster(path).command("n1"))
    with LinkedCluster(path) as bank:
        bank.start("n1")
        assert any("listen-peer" in word for word in bank.command("n1"))
        proxy = bank._proxy
        assert proxy is not None
    assert proxy.poll() is not None
