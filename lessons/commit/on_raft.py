"""The same payments and faults on the product's own servers, in the simulation."""

from __future__ import annotations

from collections.abc import Callable

from lessons.commit.world import AMOUNT_MINOR
from lessons.frames import Frame
from lessons.playground import Playground

LATENCY_US = 10_000  # as in `world.World`
WARM_UP_US = 1_000_000  # until a leader is elected; it is cut off the front


class OnRaft:
    """A playground whose time begins when it has a leader."""

    name = "Raft"

    def __init__(self, take: Callable[[Frame], None], acknowledged: Callable[[int], None]) -> None:
        self._take, self._acknowledged = take, acknowledged
        self._began_us = 0
        self._early: list[Frame] = []
        self.playground = Playground(1, self._pass_on, {"latency_us": (LATENCY_US, LATENCY_US)})
        while self.playground.now_us < WARM_UP_US or self.playground.leader() is None:
            self.playground.advance(100_000)
        self._began_us = self.playground.now_us
        for frame in self._early:
            frame.time_us = 0
            frame.events.clear()
            frame.sent.clear()
            frame.gone.clear()
            take(frame)
        self._early = []

    def _pass_on(self, frame: Frame) -> None:
        if not self._began_us:
            self._early.append(frame)
            return
        frame.time_us -= self._began_us
        self._take(frame)

    @property
    def now_us(self) -> int:
        return self.playground.now_us - self._began_us

    @property
    def names(self) -> list[str]:
        """The servers, its leader first: that one stands for the coordinator."""
        leader = self.playground.leader()
        assert leader is not None
        return [leader, *(name for name in self.playground.names if name != leader)]

    def pay(self, node: str, payment: int) -> None:
        self.playground.credit(node, AMOUNT_MINOR, when_done=lambda: self._acknowledged(payment))

    def balances(self) -> set[int]:
        """Return the different balances that the ledgers have."""
        servers = self.playground.simulation.servers.values()
        return {server.storage.ledger_file.balances().get("main", 0) for server in servers if server.up}
