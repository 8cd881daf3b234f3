"""Who changes the pepper of the simulated bank.

Now and then somebody adds a line to the file and copies it to all servers, or to all but one, and asks a
server to make the newest pepper current.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

from msgspec import msgpack

from atm.ledger.commands import LoggedCommand, RotatePepper
from atm.wire.codec import encode
from atm.wire.log_entries import decode_entry
from tests.simulation.history import FAULTS
from tests.simulation.loop import Loop
from tests.simulation.peppers import peppers
from tests.simulation.plan import Plan
from tests.simulation.sim_server import SimServer
from tests.support.checks import Checks, require

LINES_MAX = 6
LEFT_OUT_SHARE = 0.3  # of the copies: one server is forgotten at first


class Asking:
    """The channel of one request."""

    def __init__(self, changer: PepperChanger, server: SimServer, request: RotatePepper) -> None:
        self._changer, self._server, self._request = changer, server, request

    def reply(self, number: int, payload: bytes) -> None:
        self._server.fuse.burn()
        self._changer.deliver(lambda: self._changer.answered(self._request, payload))


class PepperChanger:
    """Changes the pepper until `stop`; luck of its own, so that seeds without it are as they were."""

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        servers: Sequence[SimServer],
        checks: Checks,
    ) -> None:
        self.fired: Counter[str] = Counter()
        self._loop, self._plan, self._servers, self._checks = loop, plan, servers, checks
        self._chance = Random(f"pepper of {plan.luck}")
        self._number = 0
        self._stopped = False
        if plan.pepper_interval_us:
            self._later()

    def stop(self) -> None:
        """Change nothing more, and copy the file to all."""
        self._stopped = True
        self._copy(max(len(server.peppers.names) for server in self._servers))

    def _copy(self, lines: int, left_out: SimServer | None = None) -> None:
        for server in self._servers:
            if server is not left_out:
                server.peppers = peppers(lines)

    def _later(self) -> None:
        self._loop.after(int(self._chance.expovariate(1 / self._plan.pepper_interval_us)), self._act)

    def _act(self) -> None:
        if self._stopped:
            return
        lines = max(len(server.peppers.names) for server in self._servers)
        if self._chance.random() < 0.4 and lines < LINES_MAX:
            lines += 1
        left_out = self._chance.choice(self._servers) if self._chance.random() < LEFT_OUT_SHARE else None
        self._copy(lines, left_out)
        running = [server for server in self._servers if server.up]
        if running and lines > 1:
            self._ask(self._chance.choice(running), lines)
        self._later()

    def _ask(self, server: SimServer, generation: int) -> None:
        self._number += 1
        name = peppers(generation).names[-1]
        request = RotatePepper(id=f"pepper-{self._number}", generation=generation, pepper=name)
        payload = encode(request)
        self.deliver(lambda: server.ask(Asking(self, server, request), 1, payload))

    def deliver(self, arrival: Callable[[], None]) -> None:
        """Let something cross the network."""
        self._loop.after(self._chance.randint(*self._plan.latency_us), arrival)

    def answered(self, request: RotatePepper, payload: bytes) -> None:
        """What was done is so in the log."""
        answer = msgpack.decode(payload)
        self._loop.trace("answer", answer)
        if answer["outcome"] in FAULTS:
            return
        self.fired[f"rotate {answer['outcome']}"] += 1
        if answer["outcome"] != "ok":
            return
        index = answer["index"]
        require(0 < index <= len(self._checks.committed), "what was done is committed", (request, answer))
        said = decode_entry(self._checks.committed[index - 1])
        assert isinstance(said, LoggedCommand)
        assert isinstance(said.command, RotatePepper)
        same = (said.command.generation, said.command.pepper) == (request.generation, request.pepper)
        require(same, "what was done is in the log", (request, said))
