"""Clients and strangers who take all they can get of a cluster, each kind in a process of its own."""

from __future__ import annotations

import multiprocessing
import resource
import select
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from multiprocessing.synchronize import Event

from atm.client import Client
from atm.config import Cluster, NodeConfig
from atm.ledger.commands import Credit, Debit, Hold, Request
from atm.wire.client_messages import Verify
from atm.wire.codec import encode
from atm.wire.framing import frame

READY_S = 30.0
PIN, PIN_ACCOUNTS = "4711", 40
REFUSED_S = 0.05  # until a stranger tries again a port that nobody listens on

Flood = Callable[[NodeConfig, Cluster, Event, Event], None]  # against the leader; ready, and then stop


def silent_clients(leader: NodeConfig, cluster: Cluster, ready: Event, stop: Event) -> None:
    """H3: more silent connections than a server has places, opened again whenever one is closed."""
    _stay(2_200, [leader.client.port], ready, stop)


def silent_strangers(leader: NodeConfig, cluster: Cluster, ready: Event, stop: Event) -> None:
    """H5: more silent connections at each server's peer port than it has places."""
    _stay(80, [node.peer.port for node in cluster.nodes.values()], ready, stop)


def pins(leader: NodeConfig, cluster: Cluster, ready: Event, stop: Event) -> None:
    """H2: right PINs to hash, on 50 connections, for accounts without money: wrong ones would lock them."""
    accounts = [f"flood-{number}" for number in range(PIN_ACCOUNTS)]
    with Client(cluster, timeout=READY_S) as client:
        for account in accounts:
            client.open(account)
            client.set_pin(account, PIN)

    def request(number: int) -> Request:
        return Debit(id=_id(number), account=accounts[number % PIN_ACCOUNTS], amount=1, pin=PIN)

    _ask(leader, 50, 20, request, ready, stop)


def holds(leader: NodeConfig, cluster: Cluster, ready: Event, stop: Event) -> None:
    """H4: as many holds as one account may have and more, which end every second."""

    def request(number: int) -> Request:
        if not number:
            return Credit(id=_id(number), account="main", amount=10_000_000)
        return Hold(id=_id(number), account="main", amount=1, expires_ms=1_000)

    _ask(leader, 1, 200, request, ready, stop)


def audits(leader: NodeConfig, cluster: Cluster, ready: Event, stop: Event) -> None:
    """M3: audits of the ledger, one after the other on 15 connections."""
    _ask(leader, 15, 1, lambda number: Verify(id=_id(number)), ready, stop)


def pipelines(leader: NodeConfig, cluster: Cluster, ready: Event, stop: Event) -> None:
    """One connection with as many credits under way as it may have."""
    _ask(leader, 1, 1_024, lambda number: Credit(id=_id(number), account="main", amount=1), ready, stop)


FLOODS: dict[str, Flood] = {
    "silent-clients": silent_clients,
    "silent-strangers": silent_strangers,
    "pins": pins,
    "holds": holds,
    "audits": audits,
    "pipeline": pipelines,
}


@contextmanager
def flood(name: str, leader: NodeConfig, cluster: Cluster) -> Iterator[None]:
    """Flood the cluster until the end of the block; raise `TimeoutError` if it does not begin."""
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Event(), context.Event()
    process = context.Process(target=FLOODS[name], args=(leader, cluster, ready, stop), daemon=True)
    process.start()
    try:
        if not ready.wait(READY_S):
            raise TimeoutError(f"the flood {name} did not begin within {READY_S:g} s")
        yield
    finally:
        stop.set()
        process.join(READY_S)
        if process.is_alive():
            process.kill()
            process.join()


def _id(number: int) -> str:
    return f"{time.time_ns() // 1_000_000:011x}-flood-{number}"


def _stay(each: int, ports: Sequence[int], ready: Event, stop: Event) -> None:
    """Keep so many silent connections to each port."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    poll = select.epoll()
    standing: dict[int, tuple[socket.socket, int]] = {}
    due = [(0.0, port) for port in ports for _ in range(each)]
    while not stop.is_set():
        later: list[tuple[float, int]] = []
        for at_s, port in due:
            if at_s > time.monotonic():
                later.append((at_s, port))
                continue
            sock = socket.socket()
            sock.setblocking(False)
            with suppress(BlockingIOError):
                sock.connect(("127.0.0.1", port))
            standing[sock.fileno()] = sock, port
            poll.register(sock.fileno(), select.EPOLLIN)
        due = later
        if len(standing) == each * len(ports):
            ready.set()
        for descriptor, _ in poll.poll(REFUSED_S):
            sock, port = standing.pop(descriptor)
            poll.unregister(descriptor)
            pause_s = 0.0
            try:
                sock.recv(65536)
            except OSError:
                pause_s = REFUSED_S
            sock.close()
            due.append((time.monotonic() + pause_s, port))


def _ask(
    leader: NodeConfig,
    connections: int,
    depth: int,
    request: Callable[[int], Request],
    ready: Event,
    stop: Event,
) -> None:
    """Keep so many requests under way on each connection; whatever the answer is, ask again at once."""
    numbers = count()
    poll = select.epoll()
    open_ones: dict[int, socket.socket] = {}

    def connect() -> None:
        sock = socket.create_connection(leader.client.pair, timeout=READY_S)
        sock.settimeout(5.0)
        open_ones[sock.fileno()] = sock
        poll.register(sock.fileno(), select.EPOLLIN)
        send(sock, depth)

    def send(sock: socket.socket, how_many: int) -> None:
        sock.sendall(b"".join(frame(encode(request(next(numbers)))) for _ in range(how_many)))

    unread: dict[int, bytearray] = {}
    for _ in range(connections):
        connect()
    ready.set()
    while not stop.is_set():
        for descriptor, _ in poll.poll(0.1):
            sock = open_ones[descriptor]
            try:
                piece = sock.recv(65536)
                if piece:
                    answers = _frames(unread.setdefault(descriptor, bytearray()), piece)
                    send(sock, answers)
                    continue
            except OSError as error:
                print(f"a flooding connection broke: {error}", file=sys.stderr)
            poll.unregister(descriptor)
            unread.pop(descriptor, None)
            open_ones.pop(descriptor).close()
            connect()


def _frames(unread: bytearray, piece: bytes) -> int:
    """Add a piece to what is unread; take the whole frames out, and return how many they were."""
    unread += piece
    taken = position = 0
    while len(unread) >= position + 4:
        end = position + 4 + int.from_bytes(unread[position : position + 4], "big")
        if len(unread) < end:
            break
        position, taken = end, taken + 1
    del unread[:position]
    return taken
