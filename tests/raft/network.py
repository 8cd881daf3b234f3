"""Several cores in one process with scripted delivery, so that a test reads as a story.

Nothing happens by itself: `pass_time` lets time pass, `deliver` delivers messages, and a server performs
its `Ready` right after each call. Random numbers are seeded. `tests.support.checks` checks the promises of
Figure 3 after every step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from random import Random
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from atm.raft.checked import CheckedRaft
from atm.raft.config import RaftConfig
from atm.raft.log import BEGINNING
from atm.raft.membership import Configuration
from atm.raft.messages import (
    AppendEntries,
    CatchUp,
    Entry,
    HardState,
    NodeId,
    Outgoing,
    RaftMessage,
    RequestVote,
    Snapshot,
)
from atm.raft.ready import Ready, Role
from tests.raft.server import Server
from tests.support.checks import Checks
from tests.support.store import Store, entries_of_terms

NOW_US = 1_000_000
ELECTION_TICKS_MIN, ELECTION_TICKS_MAX, HEARTBEAT_TICKS = 30, 60, 5
EFFECTS = ("messages", "reset", "save", "responses", "apply", "answer", "advance")  # the order of `Ready`
INSTALL_STEPS = ("adopt", "replace", "installed")
DELIVERIES_MAX = 20_000


class Crashed(Exception):
    """The server died in the middle of performing a `Ready`."""


def snapshot_of(last: Entry, name: str = "", membership: bytes = b"") -> Snapshot:
    """Return a snapshot of what was applied up to `last`; the file's contents are told by `name`."""
    return Snapshot(
        index=last.index,
        term=last.term,
        time_us=last.time_us,
        size_bytes=1,
        sha256=sha256(name.encode()).hexdigest(),
        chain_hash="",
        membership=membership,
        cluster_id="",
    )


class Envelope(Struct, frozen=True):
    """A message in flight."""

    sender: NodeId
    to: NodeId
    message: RaftMessage


class Network:
    """Servers of these `names` (of a string, its characters); `logs` are given as terms of entries.

    Those of `joining` are no members yet: they wait for a leader to add them.
    """

    def __init__(
        self,
        names: Sequence[NodeId] = "abc",
        *,
        seed: int = 0,
        logs: Mapping[NodeId, Sequence[int]] | None = None,
        hard_states: Mapping[NodeId, HardState] | None = None,
        down: str = "",
        joining: Collection[NodeId] = (),
        checks: type[Checks] = Checks,
        **limits: Any,
    ) -> None:
        self.in_flight: deque[Envelope] = deque()
        self.delivered: list[Envelope] = []
        self.lost: set[tuple[NodeId, NodeId]] = set()  # links that fail, as (from, to)
        self.drops: Callable[[Envelope], bool] = lambda envelope: False
        self.rejects_leader = False  # whether servers may reject messages of the others
        self.fetches = True  # whether offered snapshots are fetched and installed as time passes
        self.now_us = NOW_US
        self.servers: dict[NodeId, Server] = {}
        for name in names:
            entries = entries_of_terms(*(logs or {}).get(name, ()))
            last_term = entries[-1].term if entries else 0
            hard_state = (hard_states or {}).get(name, HardState(term=last_term))
            joins = name in joining
            peers = () if joins else tuple(other for other in names if other not in (name, *joining))
            config = RaftConfig(node_id=name, peers=peers, **limits)
            chance = Random(f"{seed}/{name}")
            self.servers[name] = Server(
                name, config, Store(hard_state, entries), chance.randint, () if joins else None
            )
        self.checks = checks({name: server.store for name, server in self.servers.items()})
        self.checks.voters = frozenset((name, "") for name in names if name not in joining)
        for name in names:
            if name not in down:
                self.restart(name)

    def __getitem__(self, name: NodeId) -> CheckedRaft:
        return self.servers[name].core

    @property
    def alive(self) -> list[Server]:
        return [server for server in self.servers.values() if server.raft is not None]

    # -- what happens to servers -------------------------------------------------------------------

    def tick(self, names: Iterable[NodeId], ticks: int = 1) -> None:
        """Let time pass for `names` alone; nothing is delivered."""
        for _ in range(ticks):
            for name in names:
                if self.servers[name].raft is not None:
                    self[name].tick()
                    self.work(name)

    def pass_time(self, ticks: int, until: Callable[[], bool] = lambda: False, *, slow: bool = False) -> int:
        """Let time pass everywhere, delivering after each tick; return after how many ticks `until` held.

        On a `slow` network each message takes a tick, so that several servers may campaign at once.
        """
        for passed in range(ticks):
            if until():
                return passed
            for server in self.alive:
                self.tick([server.name])
            if self.fetches:
                for server in self.alive:
                    self.fetch(server.name)
            if slow:
                for _ in range(len(self.in_flight)):
                    self.deliver_one()
            else:
                self.deliver()
        return ticks

    def elect(self, name: NodeId) -> int:
        """Make `name` the leader by letting only its election timeout pass; return the term."""
        assert self[name].role is not Role.LEADER
        undelivered = self.in_flight
        self.in_flight = deque()
        others = [s.name for s in self.alive if s.name != name and s.core.role is not Role.LEADER]
        self.tick(others, ELECTION_TICKS_MIN)
        self.in_flight.clear()
        for _ in range(4 * ELECTION_TICKS_MAX):  # it may first have to learn of a higher term
            self.tick([name])
            if any(isinstance(envelope.message, RequestVote) for envelope in self.in_flight):
                self.in_flight.extendleft(reversed(undelivered))
                undelivered.clear()
                self.deliver()
            if self[name].role is Role.LEADER:
                break
        assert self[name].role is Role.LEADER, f"{name} was not elected: {self}"
        return self[name].term

    def submit(self, name: NodeId, *commands: bytes) -> int:
        """A client asks `name`, a leader, to replicate `commands`; return the index of the first."""
        index = self[name].propose(list(commands), self.now_us)
        self.work(name)
        return index

    def change(self, name: NodeId, members: Configuration) -> int:
        """Ask `name`, a leader, for this configuration; return its entry's index."""
        index = self[name].change_membership(members, self.now_us)
        self.work(name)
        return index

    def transfer(self, name: NodeId, target: NodeId | None = None) -> NodeId:
        """Ask `name`, a leader, to hand over; return to whom."""
        chosen = self[name].transfer(target)
        self.work(name)
        return chosen

    def read(self, name: NodeId, read_id: int) -> None:
        self[name].read(read_id)
        self.work(name)

    def inject(self, to: NodeId, message: RaftMessage) -> None:
        """Let `to` step `message`; it must not be rejected, as no server here breaks the protocol."""
        rejection = self[to].step(message)
        assert rejection is None or self.rejects_leader, rejection
        self.work(to)

    def crash(self, *names: NodeId) -> None:
        """Stop at once: only what was saved and applied is kept."""
        for name in names:
            self.servers[name].raft = None

    def restart(self, *names: NodeId, applied_index: int | None = None) -> None:
        """Start from the disk, with a state machine that holds what was applied up to `applied_index`."""
        for name in names:
            server = self.servers[name]
            server.crash_before = None
            if applied_index is not None:
                del server.applied[applied_index:]
            server.recover()
            self.checks.restarted(name, len(server.applied))
            server.start()

    def wipe(self, name: NodeId, disk: str = "new") -> None:
        """The disk of `name`, which is down, is lost; it gets another, with this store id."""
        server = self.servers[name]
        assert server.raft is None
        assert server.disk != disk
        self.checks.wiped(name, disk)
        server.disk = disk
        server.store.reset(BEGINNING)
        server.store.hard_state, server.applied = HardState(), []
        server.files.clear()

    def step_down(self, name: NodeId) -> None:
        """Drop all answers to `name` until check-quorum makes it step down."""
        drops, self.drops = self.drops, lambda envelope: True
        self.tick([name], 2 * ELECTION_TICKS_MAX)
        self.in_flight.clear()
        self.drops = drops
        assert self[name].role is not Role.LEADER

    # -- snapshots ---------------------------------------------------------------------------------

    def take_snapshot(self, name: NodeId, *, kept: int = 0, cut: bool = True) -> Snapshot:
        """`name` takes a snapshot of its state machine and cuts its log, but for the last `kept` entries."""
        server = self.servers[name]
        snapshot = snapshot_of(server.applied[-1], f"{name} {len(server.applied)}", server.membership)
        server.files[snapshot] = list(server.applied)
        self.checks.took_snapshot(name, snapshot)
        first_index = max(snapshot.index + 1 - kept, server.store.start.index + 1)
        if cut:
            if first_index > server.store.start.index + 1:
                server.store.cut(first_index)
            self[name].snapshot_taken(snapshot, first_index)
            self.work(name)
        return snapshot

    def fetch(self, name: NodeId, *, crash_before: str | None = None) -> bool:
        """`name` fetches the snapshot that it was told to, and installs it; return whether it could."""
        server = self.servers[name]
        snapshot, leader = server.wanted, self[name].leader
        if snapshot is None or leader is None or {(leader, name), (name, leader)} & self.lost:
            return False
        source = self.servers[leader]
        if source.raft is None or snapshot not in source.files or self[name].installing != snapshot:
            server.wanted = None
            self[name].install_failed(snapshot)
            return False
        content = list(source.files[snapshot])
        for step in INSTALL_STEPS:
            if step == crash_before:
                self.crash(name)
                return False
            match step:
                case "adopt":
                    server.files[snapshot] = content
                case "replace":
                    server.applied, server.wanted = list(content), None
                    self.checks.installed(name, snapshot)
                case "installed":
                    self[name].installed(snapshot)
        self.work(name)
        return True

    # -- links -------------------------------------------------------------------------------------

    def cut_one_way(self, sender: NodeId, to: NodeId) -> None:
        self.lost.add((sender, to))

    def cut(self, one: NodeId, other: NodeId) -> None:
        self.lost |= {(one, other), (other, one)}

    def isolate(self, *group: NodeId) -> None:
        """Cut all links between `group` and the rest."""
        for inside in group:
            for outside in self.servers.keys() - set(group):
                self.cut(inside, outside)

    def heal(self) -> None:
        self.lost.clear()
        self.drops = lambda envelope: False

    def deliver(self) -> int:
        """Deliver until no message is in flight; return how many arrived."""
        for count in range(DELIVERIES_MAX):
            if not self.in_flight:
                return count
            self.deliver_one()
        raise AssertionError(f"the servers never stop sending: {list(self.in_flight)[:5]}")

    def deliver_one(self) -> None:
        envelope = self.in_flight.popleft()
        if (
            (envelope.sender, envelope.to) in self.lost
            or self.drops(envelope)
            or not self.servers[envelope.to].raft
        ):
            return
        self.delivered.append(envelope)
        self.inject(envelope.to, envelope.message)

    def take_in_flight(
        self, kind: type[RaftMessage] | None = None, to: NodeId | None = None
    ) -> list[Envelope]:
        """Remove and return the messages in flight of `kind` to `to`."""
        taken = [
            envelope
            for envelope in self.in_flight
            if (kind is None or isinstance(envelope.message, kind)) and to in (None, envelope.to)
        ]
        self.in_flight = deque(envelope for envelope in self.in_flight if envelope not in taken)
        return taken

    # -- performing a `Ready` ----------------------------------------------------------------------

    def work(self, name: NodeId) -> None:
        """Perform each `Ready` of `name`, unless it crashes meanwhile."""
        server = self.servers[name]
        self.checks.stepped(name, server.core)
        try:
            while ready := server.core.ready():
                self._perform(server, ready)
                self.checks.stepped(name, server.core)
        except Crashed:
            self.crash(name)

    def _perform(self, server: Server, ready: Ready) -> None:
        self.checks.ready(server.name, ready)
        for effect in EFFECTS:
            if server.crash_before == effect and self._is_due(effect, ready):
                raise Crashed
            match effect:
                case "reset":
                    server.reset_log(ready.reset_log)
                case "messages":
                    self._send(server, ready.messages)
                    self._send(server, [self._caught_up(server, order) for order in ready.catch_ups])
                case "save":
                    server.store.save(ready.hard_state, ready.entries)
                    self.checks.saved(server.name)
                case "responses":
                    self._send(server, ready.messages_after_sync)
                case "apply":
                    self.checks.applied(server.name, ready.committed)
                    server.applied += ready.committed
                case "answer":
                    server.answer(ready)
                case "advance":
                    server.core.advance(ready)

    @staticmethod
    def _is_due(effect: str, ready: Ready) -> bool:
        """Whether `ready` has work of this kind, so that a crash before it makes a difference."""
        work = {
            "messages": bool(ready.messages or ready.catch_ups),
            "reset": ready.reset_log is not None,
            "responses": bool(ready.messages_after_sync),
            "apply": bool(ready.committed),
        }
        return work.get(effect, True)

    def _send(self, server: Server, outgoing: Sequence[Outgoing]) -> None:
        self.checks.sent(server.name, outgoing)
        self.in_flight.extend(Envelope(server.name, out.to, out.message) for out in outgoing)

    def _caught_up(self, server: Server, order: CatchUp) -> Outgoing:
        first = order.append.prev_log_index + 1
        entries = server.store.read_entries(first, order.last_index, server.config.batch_bytes_max)
        append: AppendEntries = replace(order.append, entries=tuple(entries))
        return Outgoing(order.to, append)

    # -- what a test looks at ----------------------------------------------------------------------

    def leader(self) -> NodeId | None:
        """Return the running leader of the highest term."""
        leaders = [server.core for server in self.alive if server.core.role is Role.LEADER]
        return max(leaders, key=lambda core: core.term).node_id if leaders else None

    def converged(self) -> bool:
        """Whether all running servers have the same log and have applied all of it."""
        one = self.alive[0]
        return all(s.applied == one.applied and s.store.last_index == len(one.applied) for s in self.alive)

    def __repr__(self) -> str:
        return "; ".join(map(str, self.servers.values()))
