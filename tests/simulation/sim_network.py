"""The network of the simulation: it loses, doubles, delays, reorders and replays, and links fail one way."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection

from atm.raft.messages import NodeId
from tests.simulation.loop import Loop
from tests.simulation.plan import Plan

REMEMBERED = 200  # messages that may be replayed


class SimNetwork:
    """Carries payloads between servers; `deliver(to, sender, payload)` takes them in."""

    def __init__(self, loop: Loop, plan: Plan, deliver: Callable[[NodeId, NodeId, bytes], None]) -> None:
        self.calm = False
        self.fired: Counter[str] = Counter()
        self._loop = loop
        self._plan = plan
        self._deliver = deliver
        self._cuts: Counter[tuple[NodeId, NodeId]] = Counter()  # a link may be cut for several reasons
        self._old: deque[tuple[NodeId, NodeId, bytes]] = deque(maxlen=REMEMBERED)
        self._eras: Counter[NodeId] = Counter()  # what was sent in an earlier era of a server is gone

    def cut(self, links: Collection[tuple[NodeId, NodeId]], for_us: int) -> None:
        """Let these (from, to) links fail for a while."""
        self._cuts.update(links)
        self._loop.after(for_us, lambda: self._cuts.subtract(links))

    def heal(self) -> None:
        """From now on the network only takes its time."""
        self.calm = True

    def forget(self, name: NodeId) -> None:
        """Nothing that `name` has sent arrives any more: its connections died with its disk."""
        self._eras[name] += 1
        self._old = deque((m for m in self._old if m[0] != name), maxlen=REMEMBERED)

    def send(self, sender: NodeId, to: NodeId, payload: bytes, once: bool) -> None:
        """Carry `payload`, perhaps; if `once`, it is of the kind that TCP never doubles."""
        chance, faults = self._loop.chance, self._plan.message_faults
        if self.calm:
            self._carry(sender, to, payload, self._latency_us())
            return
        if chance.random() < faults.get("lost", 0):
            self.fired["lost"] += 1
            return
        latency_us = self._latency_us()
        if chance.random() < faults.get("delayed", 0):
            self.fired["delayed"] += 1
            latency_us += chance.randint(0, 3 * self._plan.election_us)
        self._carry(sender, to, payload, latency_us)
        if once:
            return
        if chance.random() < faults.get("doubled", 0):
            self.fired["doubled"] += 1
            self._carry(sender, to, payload, self._latency_us() * chance.choice((1, 1, 10)))
        if "replayed" in faults:
            if self._old and chance.random() < faults["replayed"]:
                self.fired["replayed"] += 1
                self._carry(*chance.choice(self._old), self._latency_us())
            if chance.random() < 0.2:
                self._old.append((sender, to, payload))

    def _latency_us(self) -> int:
        return self._loop.chance.randint(*self._plan.latency_us)

    def _carry(self, sender: NodeId, to: NodeId, payload: bytes, latency_us: int) -> None:
        era = self._eras[sender]
        self._loop.after(latency_us, lambda: self._arrive(sender, to, payload, era))

    def _arrive(self, sender: NodeId, to: NodeId, payload: bytes, era: int) -> None:
        if era != self._eras[sender]:
            return
        if self._cuts[sender, to] > 0 and not self.calm:
            self.fired["cut off"] += 1
            return
        self._deliver(to, sender, payload)
