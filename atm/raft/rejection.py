"""Why the core dropped a message: a value, so that the caller can report it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from atm.raft.messages import NodeId


class Violation(Enum):
    """What no server that follows the protocol sends: the sender is faulty, of another release, or forged."""

    TERM = "its term"
    SECOND_LEADER = "it leads"
    UNSOUND = "its entries"
    COMMITTED = "committed"
    ENTRY = "its entry"
    NEVER_SENT = "never sent"


class Rejection(Struct, frozen=True, kw_only=True):
    """A message was dropped; it changed nothing that is saved."""

    sender: NodeId
    violation: Violation
    what: str  # a line for the operator, with the numbers
