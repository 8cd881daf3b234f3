"""Who watches a run: a lesson draws what it is told. It must change nothing, and draw no chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atm.events.recorder import FlightRecorder
from atm.raft.messages import NodeId, RaftMessage
from atm.raft.raft import Raft
from tests.simulation.unrecorded import Unrecorded

if TYPE_CHECKING:
    from tests.simulation.sim_server import SimServer


class Onlooker:
    """Is told of everything, and here does nothing with it."""

    def traced(self, what: str, details: tuple[object, ...]) -> None:
        """A line of the trace, before it is text; only while tracing."""

    def recorder(self, _node: NodeId) -> FlightRecorder:
        """Return what a server that starts now notes its events in."""
        return Unrecorded()

    def happened(self) -> None:
        """One event of the loop is over."""

    def started(self, server: SimServer, raft: Raft) -> None:
        """A server has started, with this core."""

    def before(self, raft: Raft) -> None:
        """A core is about to handle something."""

    def after(self, raft: Raft, cause: RaftMessage | str) -> None:
        """A core has handled a message, or what `cause` names."""

    def carried(self, number: int, sender: NodeId, to: NodeId, payload: bytes, due_us: int) -> None:
        """The network carries a payload, which is to arrive then."""

    def lost(self, sender: NodeId, to: NodeId, payload: bytes) -> None:
        """The network loses a payload at once."""

    def arrived(self, number: int, delivered: bool) -> None:
        """What was carried arrives, or is lost on the way."""
