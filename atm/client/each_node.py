"""Asking every node about itself, whoever leads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from atm.client.connection import Lost, NotSent, ServerConnection
from atm.config import NodeConfig
from atm.wire.client_messages import ClientReply, Status, Verify
from atm.wire.codec import encode

CONNECT_S = 1.0


def ask_each(
    nodes: Iterable[NodeConfig], request: Status | Verify, answer_s: float
) -> dict[str, ClientReply | None]:
    """Ask all nodes at once; return each one's answer by its name, None if none came within `answer_s`."""
    started = time.monotonic()
    asked = list(nodes)
    with ThreadPoolExecutor(max_workers=max(1, len(asked))) as executor:
        answers = executor.map(lambda node: _ask(node, request, started, answer_s), asked)
        return {node.name: answer for node, answer in zip(asked, answers, strict=True)}


def _ask(node: NodeConfig, request: Status | Verify, started: float, answer_s: float) -> ClientReply | None:
    try:
        connection = ServerConnection(node.client.pair, started + min(CONNECT_S, answer_s))
    except NotSent:
        return None
    try:
        return connection.exchange(encode(request), request.id, started + answer_s)
    except (NotSent, Lost):
        return None
    finally:
        connection.close()
