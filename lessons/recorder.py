"""Watches a simulation, and makes a frame of each moment at which something happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import msgpack

from atm.raft.messages import NodeId, RaftMessage, RequestVoteResponse
from atm.raft.raft import Raft
from atm.wire.framing import PEER_FRAME_BYTES_MAX, FrameReader
from atm.wire.peer_messages import decode_peer_message
from lessons.core_mirror import Cause, CoreMirror
from lessons.frames import DETAIL, STEP, TURN, Event, Flight, Frame
from lessons.wording import amount_text, kind_of, message_text
from tests.simulation.onlooker import Onlooker
from tests.simulation.sim_server import SimServer
from tests.simulation.world import Simulation

_RAFT_MESSAGES = RaftMessage.__args__
_PAUSE_US = 20_000  # a server that does nothing for so long is shown as paused
_FAULTS = {
    "kill": "a process is killed, or is about to be",
    "power cut": "the power of a server fails, or is about to: what was not synced is lost",
    "failed sync": "the next sync of a disk will fail",
    "disk error": "the next read or write of a disk will fail",
    "disk full": "a disk is full",
    "slow disk": "a disk becomes slow",
    "wiped disk": "a server loses its disk",
    "lost ledger": "a server loses its ledger's file; its log is still there",
    "pause": "a process is paused",
    "slow node": "a server becomes slow",
    "isolated leader": "all links of the leader fail",
    "split": "the network splits in two",
    "one-way cut": "links fail in one direction",
    "ring": "each server reaches only its neighbours",
    "connection reset": "a connection breaks; what was under way on it is lost",
    "wall clock jump": "the clock of a server jumps",
    "stop": "a server is told to stop; a leader hands over first",
    "old copy": "an old copy of a server's folder is put back",
}


class Recorder(Onlooker):
    """Passes frames to `take`; give it to the simulation, and then call `watch`."""

    def __init__(self, take: Callable[[Frame], None]) -> None:
        self._take = take
        self._mirrors: dict[NodeId, CoreMirror] = {}
        self._keys: dict[NodeId, object] = {}
        self._events: list[Event] = []
        self._sent: list[Flight] = []
        self._gone: list[tuple[int, str]] = []
        self._shown: set[int] = set()  # the messages that are in flight in some frame
        self._cuts: frozenset[tuple[NodeId, NodeId]] = frozenset()
        self._early: list[tuple[SimServer, Raft]] = []  # started while the simulation was being made
        self._doomed = 0
        self._simulation: Simulation | None = None

    def watch(self, simulation: Simulation) -> None:
        """Begin: the first frame has all servers as they are."""
        self._simulation = simulation
        for server, raft in self._early:
            self._note_start(server, raft)
        self.happened()

    # -- what it is told ----------------------------------------------------------------------------------

    def started(self, server: SimServer, raft: Raft) -> None:
        if self._simulation is None:
            self._early.append((server, raft))
        else:
            self._note_start(server, raft)

    def before(self, raft: Raft) -> None:
        self._mirror(raft.node_id).before(raft)

    def after(self, raft: Raft, cause: Cause) -> None:
        self._events += self._mirror(raft.node_id).after(raft, cause)

    def carried(self, number: int, sender: NodeId, to: NodeId, payload: bytes, due_us: int) -> None:
        flight = _flight(number, sender, to, payload, due_us)
        if flight is not None:
            self._shown.add(number)
            self._sent.append(flight)

    def lost(self, sender: NodeId, to: NodeId, payload: bytes) -> None:
        assert self._simulation is not None
        self._doomed -= 1
        due_us = self._simulation.loop.now_us + self._simulation.plan.latency_us[1]
        flight = _flight(self._doomed, sender, to, payload, due_us, doomed=True)
        if flight is not None:
            self._sent.append(flight)

    def arrived(self, number: int, delivered: bool) -> None:
        if number in self._shown:
            self._shown.remove(number)
            self._gone.append((number, "arrived" if delivered else "lost"))

    def traced(self, what: str, details: tuple[object, ...]) -> None:
        match what, details:
            case "fault", (str(fault),):
                self._note("fault", "", f"Fault: {_FAULTS.get(fault, fault)}", weight=TURN)
            case "died", (str(node), how):
                why = "the power was cut: what was not synced is gone" if how else "what was written stays"
                self._note("died", node, f"{node} dies", why, TURN)
            case "died starting", (str(node),):
                self._note("died", node, f"{node} dies while it starts")
            case "request", (str(customer), str(node), bytes(payload)):
                self._note("request", node, f"Customer {customer} asks {node}: {request_text(payload)}")
            case "reply", (str(customer), str(outcome), bytes()):
                self._note("reply", "", f"Customer {customer} is answered: {outcome.replace('_', ' ')}")
            case "installed", (str(node), line):
                self._note("snapshot", node, f"{node} has installed a snapshot", str(line))
            case "reported", (str(node), line):
                self._note("report", node, f"{node} reports: {line}", weight=DETAIL)
            case "calm", ():
                text, why = "The faults end", "from now on there must be service, and all ledgers must agree"
                self._note("calm", "", text, why, TURN)

    def happened(self) -> None:
        """Make a frame, if anything happened or changed."""
        simulation = self._simulation
        if simulation is None:
            return
        nodes: dict[str, dict[str, Any]] = {}
        for server in simulation.servers.values():
            changes = self._changes(server)
            if changes:
                nodes[server.name] = changes
        cuts = simulation.network.cuts
        frame = Frame(
            time_us=simulation.loop.now_us,
            events=self._events,
            nodes=nodes,
            sent=self._sent,
            gone=self._gone,  # type: ignore[arg-type]
            cuts=sorted(cuts) if cuts != self._cuts else None,
        )
        if frame.is_empty:
            return
        self._cuts, self._events, self._sent, self._gone = cuts, [], [], []
        self._take(frame)

    def note(self, kind: str, node: NodeId, text: str, why: str = "", weight: int = STEP) -> None:
        """Add an event of the caller's own to the next frame."""
        self._note(kind, node, text, why, weight)

    # -- what it makes of that ----------------------------------------------------------------------------

    def _note(self, kind: str, node: NodeId, text: str, why: str = "", weight: int = STEP) -> None:
        self._events.append(Event(kind, node, text, why, weight))

    def _note_start(self, server: SimServer, raft: Raft) -> None:
        self._mirror(server.name).follow_log(raft, server.storage.store.entries)
        log = f"log up to {raft.last_index}, applied up to {raft.applied_index}"
        why = f"its disk says: term {raft.term}, {log}"
        self._note("started", server.name, f"{server.name} starts", why, TURN if raft.term else DETAIL)

    def _mirror(self, name: NodeId) -> CoreMirror:
        return self._mirrors.setdefault(name, CoreMirror(name))

    def _changes(self, server: SimServer) -> dict[str, Any]:
        """Return what to draw anew of a server."""
        mirror = self._mirror(server.name)
        if not server.up:
            if self._keys.get(server.name, ...) is None:
                return {}
            self._keys[server.name] = None
            down = {"up": False, "retired": server.retired, "role": "down", "votes": [], "match": {}}
            return mirror.take_changes(down)
        raft, applied = server.core.raft, server.bank.ledger.applied_index
        votes = len(getattr(raft.role_data, "votes", ()))
        key = (
            *(server.process, raft.role, raft.term, raft.voted_for, raft.leader, votes),
            *(raft.last_index, raft.log.last_term, raft.log.start.index, raft.commit_index, raft.saved_index),
            *(applied, server.busy_until_us),
        )
        if key == self._keys.get(server.name, ...):
            return {}
        if self._keys.get(server.name) is None or self._keys[server.name][-2] != applied:  # type: ignore[index]
            mirror.balances = server.storage.ledger_file.balances()
        self._keys[server.name] = key
        assert self._simulation is not None
        pause_us = server.busy_until_us - self._simulation.loop.now_us
        fields = mirror.fields(raft) | {
            "retired": False,
            "ledger": applied,
            "balances": mirror.balances,
            "paused_until_us": server.busy_until_us if pause_us > _PAUSE_US else 0,
        }
        return mirror.take_changes(fields)


def request_text(payload: bytes) -> str:
    """Return what a customer asks for, in a few words."""
    request = msgpack.decode(payload)
    words = [str(request.get("op", "something"))]
    if isinstance(request.get("amount"), int):
        words.append(amount_text(request["amount"]))
    words += [str(request[key]) for key in ("account", "target") if key in request]
    return " ".join(words)


def _flight(
    number: int, sender: NodeId, to: NodeId, payload: bytes, due_us: int, *, doomed: bool = False
) -> Flight | None:
    """Return a message of Raft as it is drawn; None for what servers say to each other besides."""
    (inner,) = FrameReader(PEER_FRAME_BYTES_MAX).feed(payload)
    message = decode_peer_message(inner)
    if not isinstance(message, _RAFT_MESSAGES):
        return None
    granted = message.granted if isinstance(message, RequestVoteResponse) else None
    return Flight(
        id=number,
        sender=sender,
        to=to,
        kind=kind_of(message),
        text=message_text(message),
        due_us=due_us,
        doomed=doomed,
        granted=granted,
    )
