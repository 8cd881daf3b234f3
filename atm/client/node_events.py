"""What has happened in a node, as the node itself tells it: all it still knows, or what is new since."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from threading import Thread

from msgspec.structs import replace

from atm.client.connection import Lost, NotSent, NotTrusted, ServerConnection
from atm.client.each_node import CONNECT_S, fault_of
from atm.client.errors import ClientError, Rejected, Unavailable
from atm.client.receipt import new_request_id
from atm.config import NodeConfig
from atm.events.event import Event, Header
from atm.events.recording import Recording
from atm.tls.credentials import Credentials
from atm.wire.client_messages import ErrorReply, Events, EventsReply
from atm.wire.codec import encode

ANSWER_S = 2.0
OLD_RELEASE = "it is of a release before 1.2, which notes no events"


@dataclass(frozen=True)
class EventCursor:
    """Up to where the events of a node were read: the name of its numbering, and the last number."""

    recorder: int = 0
    after: int = 0


@dataclass(frozen=True)
class NodeEvents:
    """Events of one node, in order; `header.missed` numbers before them were asked for and are lost.

    Ask for what comes next with `cursor`.
    """

    header: Header
    events: tuple[Event, ...]
    cursor: EventCursor

    @property
    def recording(self) -> Recording:
        """The same as a file would hold it."""
        return Recording(self.header, list(self.events))


def events_of(
    node: NodeConfig,
    cursor: EventCursor | None = None,
    *,
    answer_s: float = ANSWER_S,
    credentials: Credentials | None = None,
) -> NodeEvents:
    """Return all events that `node` has behind the cursor, as of now.

    Raise `Unavailable` if it does not answer, `Rejected` if it is too old, `NotAllowed`.
    """
    until = time.monotonic() + answer_s
    cursor = cursor or EventCursor()
    events: list[Event] = []
    missed = 0
    asked: Header | None = None
    try:
        connect_until = time.monotonic() + min(CONNECT_S, answer_s)
        with closing(
            ServerConnection(node.client.pair, connect_until, credentials=credentials, node=node.name)
        ) as connection:
            while True:
                page = _next_page(connection, cursor, until)
                events += page.events
                missed += page.header.missed
                cursor = EventCursor(page.header.recorder, page.next)
                asked = asked or page.header
                if not page.events or events[-1].at_us >= asked.monotonic_us:
                    break
    except NotTrusted as error:
        raise fault_of({node.name: error}) from None
    except (NotSent, Lost):
        raise Unavailable(f"{node.name} does not answer") from None
    return NodeEvents(replace(page.header, missed=missed), tuple(events), cursor)


def _next_page(connection: ServerConnection, cursor: EventCursor, until: float) -> EventsReply:
    request = Events(id=new_request_id(), after=cursor.after, recorder=cursor.recorder)
    answer = connection.exchange(encode(request), request.id, until)
    if isinstance(answer, EventsReply):
        return answer
    if isinstance(answer, ErrorReply) and answer.outcome == "bad_request":
        raise Rejected(OLD_RELEASE)
    raise Unavailable(answer.message if isinstance(answer, ErrorReply) else "its answer is none to this")


def events_of_each(
    nodes: Mapping[str, NodeConfig],
    cursors: Mapping[str, EventCursor],
    *,
    answer_s: float = ANSWER_S,
    credentials: Credentials | None = None,
) -> dict[str, NodeEvents | ClientError]:
    """Ask all nodes at once, each behind its own cursor; return what came of each, also what it raised."""
    found: dict[str, NodeEvents | ClientError] = {}

    def ask(name: str) -> None:
        try:
            found[name] = events_of(
                nodes[name], cursors.get(name), answer_s=answer_s, credentials=credentials
            )
        except ClientError as error:
            found[name] = error

    threads = [Thread(target=ask, args=(name,), daemon=True) for name in nodes]
    for thread in threads:
        thread.start()
    until = time.monotonic() + answer_s + CONNECT_S
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return {name: found.get(name) or Unavailable(f"{name} does not answer") for name in nodes}
