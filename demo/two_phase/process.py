"""A branch or the coordinator as a process: python -m demo.two_phase.process NAME --config FILE.

It listens at the address that `FILE`, a cluster.ini, gives tellers for that name (the address for servers is
not used), and keeps its file in that cluster's data folder. It ends with its starter, as nodes do.
"""

from __future__ import annotations

import argparse
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from atm.client.connection import Lost, NotSent, ServerConnection
from atm.config import Cluster, load
from atm.local_cluster import end_with_starter
from atm.server.logger.logger import Collected, Logger
from atm.server.net.connection import Connection, Incoming, tune
from atm.server.net.listener import AddressUnavailable, Listener
from atm.server.net.places import Places
from atm.tls.tls_socket import TlsSocket
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, frame
from demo.two_phase.branch import Ask, Branch
from demo.two_phase.coordinator import Coordinator
from demo.two_phase.messages import (
    COORDINATOR,
    Malformed,
    Reply,
    Request,
    decode_reply,
    decode_request,
    encode,
)

ANSWER_TIMEOUT_S = 2.0
INQUIRE_EVERY_S = 0.1
CONNECTIONS_MAX = 64


def main() -> int:
    """Run until killed or stopped; return the exit code if it could not begin."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--config", required=True)
    parser.add_argument("--account", action="append", default=[], metavar="NAME=AMOUNT")
    parser.add_argument("--stop", action="append", default=[], metavar="TRANSACTION=STAGE")
    options = parser.parse_args()
    end_with_starter()
    cluster = load(options.config)
    path = cluster.data_dir / f"{options.name}.db"
    ask = asking(cluster, ANSWER_TIMEOUT_S)
    try:
        if options.name == COORDINATOR:
            run_coordinator(cluster, path, ask, stops=set(options.stop))
        else:
            accounts = {name: int(amount) for name, amount in (a.split("=") for a in options.account)}
            run_branch(cluster, Branch(options.name, path, accounts), ask)
    except AddressUnavailable as error:
        say(str(error))
    return 1


def run_coordinator(cluster: Cluster, path: Path, ask: Ask, stops: set[str]) -> None:
    """Serve for ever; a transaction that reaches a stage of `stops` gets no further."""

    def reached(transaction: str, stage: str) -> None:
        say(f"{transaction} {stage}")
        if f"{transaction}={stage}" in stops:
            threading.Event().wait()  # for kill -9

    serve(cluster, COORDINATOR, Coordinator(path, ask, reached).answer)
    threading.Event().wait()


def run_branch(cluster: Cluster, branch: Branch, ask: Ask) -> None:
    """Serve for ever, and ask again and again about each promise that waits for its end."""
    serve(cluster, branch.name, branch.answer)
    said: dict[str, str] = {}
    while True:
        for promise in branch.in_doubt():
            why = branch.settle(promise, ask)
            line = f"{promise.id} in doubt: {why}" if why else f"{promise.id} ended"
            if said.get(promise.id) != line:
                said[promise.id] = line
                say(line)
        time.sleep(INQUIRE_EVERY_S)


def serve(cluster: Cluster, name: str, answer: Callable[[Request], Reply]) -> None:
    """Answer every client that connects, in threads, frame by frame; raise `AddressUnavailable`."""

    class Answering(Listener[Connection]):
        def connect(self, sock: socket.socket | TlsSocket) -> Connection:
            connection = Connection(sock, CLIENT_FRAME_BYTES_MAX, set())
            tune(connection.sock)
            return connection

        def serve(self, connection: Connection) -> None:
            incoming = Incoming(connection.sock, CLIENT_FRAME_BYTES_MAX)
            while (payloads := incoming.read()) is not None:
                for payload in payloads:
                    connection.sock.sendall(frame(encode(answer(decode_request(payload)))))

    Answering(
        cluster.nodes[name].client,
        places=Places(CONNECTIONS_MAX),
        logger=Logger(Collected(lambda record: say(record.msg))),
        verbose=True,
    ).start()


def asking(cluster: Cluster, timeout_s: float) -> Ask:
    """Return the function that asks one process of `cluster` by its name."""

    def ask(whom: str, request: Request) -> Reply | None:
        until = time.monotonic() + timeout_s
        try:
            with closing(ServerConnection(cluster.nodes[whom].client.pair, until)) as connection:
                return decode_reply(connection.exchange_payload(encode(request), until))
        except (NotSent, Lost, Malformed):
            return None

    return ask


def say(line: str) -> None:
    """Write a line to what the starter collects."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
