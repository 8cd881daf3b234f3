"""Five servers that can die, on a network that takes its time and can be split; all of it drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lessons.frames import STEP, TURN, Event, Flight, Frame, MessageKind
from tests.simulation.loop import Loop
from tests.simulation.onlooker import Onlooker

NAMES = ("5000", "5001", "5002", "5003", "5004")
LATENCY_US = 10_000
TIMEOUT_US = 500_000  # after which a server takes another for dead, or asks again
AMOUNT_MINOR = 10_00  # of each payment


class World(Onlooker):
    """Servers are names here; a protocol keeps what they know. Frames go to `take`."""

    def __init__(self, take: Callable[[Frame], None], names: Sequence[str] = NAMES) -> None:
        self.names = tuple(names)
        self.loop = Loop(1, onlooker=self)
        self.up = dict.fromkeys(names, True)
        self._processes = dict.fromkeys(names, 0)
        self._group = dict.fromkeys(names, 0)
        self._take = take
        self._frame = Frame(time_us=0)
        self._messages = 0

    @property
    def now_us(self) -> int:
        return self.loop.now_us

    # -- what a protocol uses ---------------------------------------------------------------------------

    def send(self, sender: str, to: str, text: str, kind: MessageKind, arrival: Callable[[], object]) -> None:
        """Let `arrival` happen at `to` after the latency, if it is up then and the network is whole."""
        self._messages += 1
        number, due_us = self._messages, self.now_us + LATENCY_US
        self._frame.sent.append(Flight(number, sender, to, kind, text, due_us))

        def arrive() -> None:
            arrives = self.reaches(sender, to) and self.up[to]
            self._frame.gone.append((number, "arrived" if arrives else "lost"))
            if arrives:
                arrival()

        self.loop.after(LATENCY_US, arrive)

    def later(self, node: str, delay_us: int, action: Callable[[], object]) -> None:
        """Let `action` happen at `node` after a while, unless its process has died by then."""
        process = self._processes[node]

        def if_alive() -> None:
            if self.up[node] and self._processes[node] == process:
                action()

        self.loop.after(delay_us, if_alive)

    def reaches(self, one: str, other: str) -> bool:
        return self._group[one] == self._group[other]

    def note(self, kind: str, node: str, text: str, why: str = "", weight: int = STEP) -> None:
        self._frame.events.append(Event(kind, node, text, why, weight))

    def show(self, node: str, **fields: Any) -> None:
        """Let fields of a server's state be drawn anew."""
        self._frame.nodes.setdefault(node, {}).update(fields)

    # -- faults -------------------------------------------------------------------------------------------

    def kill(self, node: str) -> None:
        """The process dies; what it has noted durably is kept by the protocol."""
        self.up[node] = False
        self._processes[node] += 1
        self.note("died", node, f"{node} dies", weight=TURN)
        self.show(node, up=False)

    def start(self, node: str) -> None:
        self.up[node] = True
        self.note("started", node, f"{node} starts again", weight=TURN)
        self.show(node, up=True)

    def split(self, group: Sequence[str]) -> None:
        """Nothing passes between `group` and the others."""
        for name in self.names:
            self._group[name] = int(name in group)
        others = [name for name in self.names if name not in group]
        self.note("fault", "", f"The network splits: {', '.join(group)} and {', '.join(others)}", weight=TURN)
        self._frame.cuts = [(a, b) for a in self.names for b in self.names if not self.reaches(a, b)]

    def mend(self) -> None:
        self._group = dict.fromkeys(self.names, 0)
        self.note("mended", "", "The network is whole again", weight=TURN)
        self._frame.cuts = []

    # -- frames -------------------------------------------------------------------------------------------

    def happened(self) -> None:
        if not self._frame.is_empty:
            self._frame.time_us = self.now_us
            self._take(self._frame)
        self._frame = Frame(time_us=self.now_us)
