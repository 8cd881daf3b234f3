"""What a lesson is made of: frames in the order of their time, each with what happened and what it changed.

A frame is a change and not a state, so that a long run stays small. `atm/learn/static/timeline.js` adds
frames up to a state; `cluster_view.js` draws a state.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct, field

DETAIL, STEP, TURN = 0, 1, 2  # how much an event matters: a turn is what a reader should not miss

MessageKind = Literal[
    "vote-request", "vote", "append", "heartbeat", "append-answer", "snapshot", "order", "other"
]
Fate = Literal["arrived", "lost"]


class Event(Struct, frozen=True, omit_defaults=True):
    """Something that happened, in a sentence, with the reason in another.

    `node` is the server it happened at, or "" if at none. `kind` is a word that a page may give a colour.
    """

    kind: str
    node: str
    text: str
    why: str = ""
    weight: int = STEP


class Flight(Struct, frozen=True, omit_defaults=True):
    """A message that is sent; `text` says what is in it. A `doomed` one is lost at once."""

    id: int
    sender: str
    to: str
    kind: MessageKind
    text: str
    due_us: int
    doomed: bool = False
    granted: bool | None = None


class Frame(Struct, omit_defaults=True):
    """What one moment changed.

    `nodes` has, by server, the fields of its state that changed (`core_mirror.CoreMirror`). A log's change is
    `{"start", "keep", "add"}`: after the entry at index `start` it keeps those up to index `keep`, and then
    has those of `add`, each `[term, text]`. `cuts`, if not None, are all links that fail now, as [from, to].
    """

    time_us: int
    events: list[Event] = field(default_factory=list)
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: list[Flight] = field(default_factory=list)
    gone: list[tuple[int, Fate]] = field(default_factory=list)
    cuts: list[tuple[str, str]] | None = None

    @property
    def is_empty(self) -> bool:
        return not (self.events or self.nodes or self.sent or self.gone or self.cuts is not None)
