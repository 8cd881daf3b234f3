"""What the core dropped and why: a value, so that whoever runs it can say so."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from atm.raft.messages import NodeId


class Violation(Enum):
    """What no server that keeps to Raft sends, so that each means a broken, other, or lying one."""

    TERM = "its term"
    SECOND_LEADER = "it leads"
    UNSOUND = "its entries"
    COMMITTED = "committed"
    ENTRY = "its entry"
    NEVER_SENT = "never sent"


class Rejection(Struct, frozen=True, kw_only=True):
    """A message was dropped; nothing that is saved has changed because of it."""

    sender: NodeId
    violation: Violation
    what: str  # for people, with the numbers
