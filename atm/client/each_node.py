"""Requests about a node itself, not its leader: sent once to each, on a new connection."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from threading import Thread

from atm.client.connection import Lost, NotSent, ServerConnection
from atm.client.errors import NotAllowed
from atm.config import Address, NodeConfig
from atm.wire.client_messages import ClientReply, ClientRequest
from atm.wire.codec import encode

CONNECT_S = 1.0
LATE_S = 0.1  # for the threads to end after the last answer


def ask_each(
    nodes: Iterable[NodeConfig], request: ClientRequest, answer_s: float
) -> dict[str, ClientReply | None]:
    """Ask all nodes at once; return the answers by node, None if none came within `answer_s`.

    Raise `NotAllowed` if that is what a node says.
    The threads are daemons, and none is waited for longer: to find the address of a host's name has no
    time limit of its own.
    """
    asked = list(nodes)
    answers: dict[str, ClientReply | None] = {node.name: None for node in asked}

    refusals: list[NotAllowed] = []

    def ask(node: NodeConfig) -> None:
        try:
            answers[node.name] = ask_one(node.client, request, answer_s)
        except NotAllowed as refusal:
            refusals.append(refusal)

    threads = [Thread(target=ask, args=(node,), daemon=True) for node in asked]
    until = time.monotonic() + answer_s + LATE_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if refusals:
        raise refusals[0]
    return dict(answers)


def ask_one(address: Address, request: ClientRequest, answer_s: float) -> ClientReply | None:
    """Ask the node with the client port `address`; return None if no answer came within `answer_s`."""
    started = time.monotonic()
    try:
        with closing(ServerConnection(address.pair, started + min(CONNECT_S, answer_s))) as connection:
            return connection.exchange(encode(request), request.id, started + answer_s)
    except (NotSent, Lost):
        return None
