"""The network of the simulation: it loses, doubles, delays, reorders and replays, and links fail one way."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection
from typing import NamedTuple

from atm.raft.messages import NodeId
from tests.simulation.loop import Loop
from tests.simulation.plan import Plan
from tests.simulation.sim_links import SimConnection

REMEMBERED = 200  # messages that may be replayed


class _Message(NamedTuple):
    """A payload on its way, with what its sender's and receiver's `stores` and their link were when sent."""

    sender: NodeId
    to: NodeId
    payload: bytes
    stores: tuple[int, int]
    reset: int
    connection: SimConnection


class SimNetwork:
    """Carries payloads between servers; `deliver(payload, connection)` takes them in."""

    def __init__(self, loop: Loop, plan: Plan, deliver: Callable[[bytes, SimConnection], None]) -> None:
        self.calm = False
        self.fired: Counter[str] = Counter()
        self._loop = loop
        self._plan = plan
        self._deliver = deliver
        self._cuts: Counter[tuple[NodeId, NodeId]] = Counter()  # a link may be cut for several reasons
        self._old: deque[_Message] = deque(maxlen=REMEMBERED)
        self._stores: Counter[NodeId] = Counter()  # how many disks a server has lost
        self._resets: Counter[tuple[NodeId, NodeId]] = Counter()
        self._carried = 0  # payloads, each with its number

    def cut(self, links: Collection[tuple[NodeId, NodeId]], for_us: int) -> None:
        """Let these (from, to) links fail for a while."""
        self._cuts.update(links)
        self._loop.after(for_us, lambda: self._cuts.subtract(links))

    @property
    def cuts(self) -> frozenset[tuple[NodeId, NodeId]]:
        """The links that fail now, as (from, to)."""
        return (
            frozenset() if self.calm else frozenset(link for link, times in self._cuts.items() if times > 0)
        )

    def mend(self) -> None:
        """All links work again, for now."""
        self._cuts.clear()

    def heal(self) -> None:
        """From now on the network only takes its time."""
        self.calm = True

    def new_store(self, name: NodeId) -> None:
        """`name` lost its disk: what it sent before may still arrive, but nothing that was sent to it."""
        self._stores[name] += 1

    def store_number(self, name: NodeId) -> int:
        """Return how many disks `name` has lost."""
        return self._stores[name]

    def reset(self, sender: NodeId, to: NodeId) -> None:
        """What is under way from `sender` to `to` is lost."""
        self._resets[sender, to] += 1

    def send(self, connection: SimConnection, payload: bytes, once: bool, delay_us: int) -> None:
        """Carry `payload` after `delay_us`, perhaps; if `once`, it is of the kind that TCP never doubles."""
        chance, faults = self._loop.chance, self._plan.message_faults
        sender, to = connection.dialer.name, connection.acceptor.name
        stores, reset = (self._stores[sender], self._stores[to]), self._resets[sender, to]
        message = _Message(sender, to, payload, stores, reset, connection)
        if self.calm or self._loop.now_us > self._plan.faults_end_us:
            self._carry(message, delay_us + self.latency_us())
            return
        if chance.random() < faults.get("lost", 0):
            self.fired["lost"] += 1
            self._loop.onlooker.lost(sender, to, payload)
            return
        latency_us = delay_us + self.latency_us()
        if chance.random() < faults.get("delayed", 0):
            self.fired["delayed"] += 1
            latency_us += chance.randint(0, 3 * self._plan.election_us)
        self._carry(message, latency_us)
        if once:
            return
        if chance.random() < faults.get("doubled", 0):
            self.fired["doubled"] += 1
            self._carry(message, delay_us + self.latency_us() * chance.choice((1, 1, 10)))
        if "replayed" in faults:
            if self._old and chance.random() < faults["replayed"]:
                self.fired["replayed"] += 1
                self._carry(chance.choice(self._old), self.latency_us())
            if chance.random() < 0.2:
                self._old.append(message)

    def exchange(
        self,
        asker: NodeId,
        other: NodeId,
        ask: Callable[[], bytes | None],
        take: Callable[[bytes | None], None],
    ) -> None:
        """Ask `other` on a connection of its own; take the answer, or after a while None if none came."""

        def there() -> None:
            answer = ask() if self._carries(asker, other) else None
            if answer is None or not self._carries(other, asker):
                self._loop.after(self._plan.election_us, lambda: take(None))
            else:
                self._loop.after(self.latency_us(), lambda: take(answer))

        self._loop.after(self.latency_us(), there)

    def _carries(self, sender: NodeId, to: NodeId) -> bool:
        """Whether what is sent on a connection now arrives; if not, the connection is lost."""
        if self.calm:
            return True
        lost = self._loop.chance.random() < self._plan.message_faults.get("lost", 0)
        return not lost and self._cuts[sender, to] <= 0

    def latency_us(self) -> int:
        return self._loop.chance.randint(*self._plan.latency_us)

    def _carry(self, message: _Message, latency_us: int) -> None:
        self._carried += 1
        number, due_us = self._carried, self._loop.now_us + latency_us
        self._loop.onlooker.carried(number, message.sender, message.to, message.payload, due_us)
        self._loop.after(
            latency_us, lambda: self._loop.onlooker.arrived(number, delivered=self._arrive(message))
        )

    def _arrive(self, message: _Message) -> bool:
        """Deliver `message` unless it is lost; return whether it was delivered."""
        sender, to = message.sender, message.to
        if message.reset != self._resets[sender, to] or message.stores[1] != self._stores[to]:
            return False
        if self._cuts[sender, to] > 0 and not self.calm:
            self.fired["cut off"] += 1
            return False
        self.fired["from before a wipe"] += message.stores[0] != self._stores[sender]
        self._deliver(message.payload, message.connection)
        return True
