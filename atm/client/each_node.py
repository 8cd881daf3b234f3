"""Requests about a node itself, not its leader: sent once to each, on a new connection."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

from atm.client.connection import Lost, NotSent, ServerConnection
from atm.config import Address, NodeConfig
from atm.wire.client_messages import ClientReply, ClientRequest
from atm.wire.codec import encode

CONNECT_S = 1.0


def ask_each(
    nodes: Iterable[NodeConfig], request: ClientRequest, answer_s: float
) -> dict[str, ClientReply | None]:
    """Ask all nodes at once; return the answers by node, None if none came within `answer_s`."""
    asked = list(nodes)
    with ThreadPoolExecutor(max_workers=max(1, len(asked))) as executor:
        answers = executor.map(lambda node: ask_one(node.client, request, answer_s), asked)
        return {node.name: answer for node, answer in zip(asked, answers, strict=True)}


def ask_one(address: Address, request: ClientRequest, answer_s: float) -> ClientReply | None:
    """Ask the node with the client port `address`; return None if no answer came within `answer_s`."""
    started = time.monotonic()
    try:
        with closing(ServerConnection(address.pair, started + min(CONNECT_S, answer_s))) as connection:
            return connection.exchange(encode(request), request.id, started + answer_s)
    except (NotSent, Lost):
        return None
