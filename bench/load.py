"""Closed-loop load on a running cluster: connections that each keep so many credits under way at all times.

    python -m bench.load --config cluster.ini --connections 64 --depth 1 --seconds 5

Counts only credits that were acknowledged, and fails on any other answer. It runs on the same cores as the
nodes, so its own CPU time is reported beside the rate.
"""

from __future__ import annotations

import argparse
import multiprocessing
import selectors
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import msgspec
from msgspec.msgpack import Decoder

from atm.config import Address, Cluster, load
from atm.ledger.commands import Credit
from atm.local_cluster import ask_status
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from atm.wire.serializer import encode

ID_CHARS = 24
PLACE = "x" * ID_CHARS
CONNECT_S = 5.0


class Reply(msgspec.Struct):
    """As much of an answer as is looked at."""

    id: str
    outcome: str
    message: str = ""


_reply = Decoder(Reply)


class NotAcknowledged(Exception):
    """A credit was answered by anything but `ok`."""


@dataclass
class Result:
    """What one process, or all together, saw within the measured time."""

    acknowledged: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    def percentile_ms(self, share: float) -> float:
        """Return the latency that this share of the credits kept within."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    @property
    def per_second(self) -> float:
        """Return the rate of acknowledged credits."""
        return self.acknowledged / self.seconds if self.seconds else 0.0


class Teller:
    """One connection with `depth` credits under way."""

    _framed = frame(encode(Credit(id=PLACE, account="main", amount=1)))
    _before, _after = _framed.split(PLACE.encode())

    def __init__(self, address: Address, name: str, depth: int) -> None:
        self.socket = socket.create_connection(address.pair, timeout=CONNECT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._name = name
        self._sent = 0
        self._frames = FrameReader(CLIENT_FRAME_BYTES_MAX)
        self._since_s: dict[str, float] = {}
        self.send(depth, time.monotonic())

    def send(self, count: int, now_s: float) -> None:
        """Send so many new credits in one piece."""
        pieces = []
        for _ in range(count):
            self._sent += 1
            request_id = f"{self._name}-{self._sent}".ljust(ID_CHARS, ".")
            self._since_s[request_id] = now_s
            pieces += [self._before, request_id.encode(), self._after]
        self.socket.sendall(b"".join(pieces))

    def receive(self, now_s: float) -> list[float]:
        """Return the latencies of the credits that were acknowledged now; raise `NotAcknowledged`."""
        piece = self.socket.recv(CLIENT_FRAME_BYTES_MAX)
        if not piece:
            raise NotAcknowledged("the node closed the connection")
        latencies_s = []
        for payload in self._frames.feed(piece):
            reply = _reply.decode(payload)
            if reply.outcome != "ok":
                raise NotAcknowledged(f"{reply.outcome}: {reply.message}")
            latencies_s.append(now_s - self._since_s.pop(reply.id))
        return latencies_s


def drive(addresses: Sequence[Address], name: str, depth: int, warm_up_s: float, seconds: float) -> Result:
    """Keep one connection to each of `addresses` busy and return what was acknowledged after the warm-up."""
    selector = selectors.DefaultSelector()
    for number, address in enumerate(addresses):
        teller = Teller(address, f"{name}-{number}", depth)
        selector.register(teller.socket, selectors.EVENT_READ, teller)
    result = Result()
    start_s = time.monotonic() + warm_up_s
    end_s = start_s + seconds
    cpu_before_s = time.process_time()
    while (now_s := time.monotonic()) < end_s:
        for key, _ in selector.select(0.1):
            latencies_s = key.data.receive(now_s := time.monotonic())
            if latencies_s:
                key.data.send(len(latencies_s), now_s)
            if start_s <= now_s < end_s:
                result.acknowledged += len(latencies_s)
                result.latencies_s += latencies_s
    result.seconds = seconds
    result.cpu_s = (time.process_time() - cpu_before_s) * seconds / (seconds + warm_up_s)
    return result


def run(
    addresses: Sequence[Address],
    *,
    connections: int,
    depth: int,
    seconds: float,
    warm_up_s: float,
    processes: int,
) -> Result:
    """Share the connections among processes and return their sum; raise `NotAcknowledged`."""
    total = Result(seconds=seconds)
    started = []
    run_name = f"{time.time_ns():x}"[-10:]
    for number in range(min(processes, connections)):
        mine = [addresses[i % len(addresses)] for i in range(number, connections, processes)]
        here, there = multiprocessing.Pipe(duplex=False)
        arguments = (there, mine, f"{run_name}-{number}", depth, warm_up_s, seconds)
        process = multiprocessing.Process(target=_report_to, args=arguments)
        process.start()
        there.close()
        started.append((process, here))
    for process, here in started:
        result = here.recv()
        process.join()
        if isinstance(result, str):
            raise NotAcknowledged(result)
        total.acknowledged += result.acknowledged
        total.cpu_s += result.cpu_s
        total.latencies_s += result.latencies_s
    return total


def leader_address(cluster: Cluster) -> Address | None:
    """Return where the leader's tellers connect."""
    for node in cluster.nodes.values():
        status = ask_status(node.client)
        if status is not None and status.leader in cluster.nodes:
            return cluster.nodes[status.leader].client
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Measure once and print a line."""
    parser = argparse.ArgumentParser(prog="load", description="Closed-loop load on a running cluster.")
    parser.add_argument("--config", default="cluster.ini")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--depth", type=int, default=1, help="credits under way on each connection")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warm-up", type=float, default=1.0)
    parser.add_argument("--processes", type=int, default=1, help="that share the connections")
    parser.add_argument("--spread", action="store_true", help="use all nodes, not the leader alone")
    options = parser.parse_args(argv)
    cluster = load(options.config)
    leader = leader_address(cluster)
    if leader is None:
        print("no leader", file=sys.stderr)
        return 3
    addresses = [node.client for node in cluster.nodes.values()] if options.spread else [leader]
    try:
        result = run(
            addresses,
            connections=options.connections,
            depth=options.depth,
            seconds=options.seconds,
            warm_up_s=options.warm_up,
            processes=options.processes,
        )
    except NotAcknowledged as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{options.connections} connections, {options.depth} deep: {result.per_second:,.0f} credits/s,"
        f" p50 {result.percentile_ms(0.5):.2f} ms, p99 {result.percentile_ms(0.99):.2f} ms,"
        f" load's own CPU {result.cpu_s / result.seconds:.2f} cores"
    )
    return 0


def _report_to(parent: Connection, *arguments: object) -> None:
    try:
        parent.send(drive(*arguments))  # type: ignore[arg-type]
    except (NotAcknowledged, OSError) as error:
        parent.send(str(error))


if __name__ == "__main__":
    sys.exit(main())
