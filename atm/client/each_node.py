"""Requests about a node itself, not its leader: sent once to each, on a new connection."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from threading import Thread
from typing import TYPE_CHECKING

from atm.client.connection import Lost, NotSent, NotTrusted, ServerConnection
from atm.client.errors import NotAllowed, Unavailable
from atm.config import Address, NodeConfig
from atm.wire.client_messages import UPGRADING, ClientReply, ClientRequest, ErrorReply
from atm.wire.codec import encode

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials

CONNECT_S = 1.0
LATE_S = 0.1  # for the threads to end after the last answer
TELLING = {"no_space", "busy"}  # outcomes whose message says why the bank is not available


def ask_each(
    nodes: Iterable[NodeConfig],
    request: ClientRequest,
    answer_s: float,
    credentials: Credentials | None = None,
    distrust: dict[str, NotTrusted] | None = None,
) -> dict[str, ClientReply | None]:
    """Ask all nodes at once; return the answers by node, None if none came within `answer_s`.

    What cannot be trusted is noted in `distrust`, by node. Raise `NotAllowed` if that is what a node says.
    The threads are daemons, and none is waited for longer: to find the address of a host's name has no time
    limit of its own.
    """
    asked = list(nodes)
    answers: dict[str, ClientReply | None] = {node.name: None for node in asked}

    refusals: list[NotAllowed] = []

    def ask(node: NodeConfig) -> None:
        try:
            answers[node.name] = _ask(node.client, request, answer_s, credentials, node.name)
        except NotTrusted as error:
            if distrust is not None:
                distrust[node.name] = error
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


def ask_one(
    address: Address,
    request: ClientRequest,
    answer_s: float,
    credentials: Credentials | None = None,
    node: str = "",
) -> ClientReply | None:
    """Ask the node with the client port `address`; return None if no answer came within `answer_s`.

    With credentials, it must be `node`.
    """
    try:
        return _ask(address, request, answer_s, credentials, node)
    except NotTrusted:
        return None


def fault_of(distrust: Mapping[str, NotTrusted]) -> NotAllowed | Unavailable:
    """Return what to raise when no node answered, some perhaps because of the certificates."""
    refused = next((error for error in distrust.values() if error.by_server), None)
    if refused is not None:
        return NotAllowed(f"The bank does not let this client in: {refused}")
    return Unavailable(str(next(iter(distrust.values())))) if distrust else Unavailable()


def told_by(answer: ClientReply | None) -> str:
    """Return a node's words on why the bank takes nothing at present, "" if it said nothing of the kind."""
    if isinstance(answer, ErrorReply) and (answer.outcome in TELLING or answer.message == UPGRADING):
        return answer.message
    return ""


def _ask(
    address: Address, request: ClientRequest, answer_s: float, credentials: Credentials | None, node: str
) -> ClientReply | None:
    """Return None if no answer came; raise `NotTrusted`."""
    started = time.monotonic()
    until = started + min(CONNECT_S, answer_s)
    try:
        with closing(ServerConnection(address.pair, until, credentials=credentials, node=node)) as connection:
            return connection.exchange(encode(request), request.id, started + answer_s)
    except NotTrusted:
        raise
    except (NotSent, Lost):
        return None
