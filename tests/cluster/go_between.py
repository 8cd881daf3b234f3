"""A go-between on the way to one node's tellers' port, which can keep a request waiting or lose an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from socketserver import BaseRequestHandler, ThreadingTCPServer

from msgspec.structs import replace

from atm.config import Address, Cluster
from atm.local_cluster import LOOPBACK
from atm.wire.client_messages import ClientReply, decode_client_reply
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame

ANSWER_S = 20.0  # no test waits longer


@dataclass
class Doings:
    """What happens on the way; each is called in the thread of the connection, one request at a time."""

    before_request: Callable[[], None] = lambda: None
    passes_answer: Callable[[ClientReply], bool] = lambda _: True


@contextmanager
def go_between(cluster: Cluster, node: str, doings: Doings) -> Iterator[Cluster]:
    """Yield the cluster as a client sees it that reaches `node` through the go-between."""
    behind = cluster.nodes[node].client

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(behind.pair, timeout=ANSWER_S) as server:
                while (request := _receive(self.request)) is not None:
                    doings.before_request()
                    server.sendall(frame(request))
                    answer = _receive(server)
                    if answer is None or not doings.passes_answer(decode_client_reply(answer)):
                        return
                    self.request.sendall(frame(answer))

    with ThreadingTCPServer((LOOPBACK, 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        there = replace(cluster.nodes[node], client=Address(*listener.server_address))
        try:
            yield replace(cluster, nodes={**cluster.nodes, node: there})
        finally:
            listener.shutdown()
            thread.join()


def _receive(connection: socket.socket) -> bytes | None:
    """Return the next frame's payload, or None at the end; a client has one request under way at a time."""
    reader = FrameReader(CLIENT_FRAME_BYTES_MAX)
    while piece := connection.recv(CLIENT_FRAME_BYTES_MAX):
        for payload in reader.feed(piece):
            return payload
    return None
