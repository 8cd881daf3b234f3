"""Customers of the simulated bank: they retry with the same id, give up, and repeat ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import msgpack

from atm.ledger.commands import Command, Read
from atm.wire.client_messages import UPGRADING
from tests.simulation.history import COMMANDS, FAULTS, History
from tests.simulation.loop import Loop
from tests.simulation.plan import Plan
from tests.simulation.sim_server import SimServer
from tests.simulation.workload import KnownRequests, Workload

REMEMBERED = 20  # answered requests that may be repeated

HASTE = 8  # tries again, on average, within so many times less than an election timeout takes

# Once the faults have stopped: election timeouts of patience, and how many times slower requests come.
CALMER = 5


class Connection:
    """A connection of a customer to a server: a channel for one try of one request."""

    def __init__(self, customer: Customer, server: SimServer, try_number: int, payload: bytes) -> None:
        self._customer = customer
        self._server = server
        self._process = server.process
        self._try = try_number
        self._payload = payload

    def reply(self, number: int, payload: bytes) -> None:
        """The server answers: the last of its effects, and the crash may come just before."""
        assert number == self._try
        self._server.fuse.burn()
        self._server.decided(payload)
        self._customer.deliver(
            lambda: self._customer.receive(self._try, self._payload, payload), self._server.late_us
        )


class Customer:
    """One request at a time, each until it is answered or given up."""

    def __init__(
        self,
        name: str,
        loop: Loop,
        plan: Plan,
        servers: Sequence[SimServer],
        history: History,
        known: KnownRequests,
        *,
        writes: bool,
    ) -> None:
        self.answered_calmly = False  # something that was called after the faults had stopped
        self.calm = False
        self.stopped = False
        self._name, self._loop, self._plan, self._servers, self._history = name, loop, plan, servers, history
        self._server = loop.chance.choice([server for server in servers if not server.retired])
        self._past: list[Command] = []
        self._known_requests = known
        self._workload = Workload(name, loop.chance, plan, known)
        self._read_share = plan.read_share if writes else 1.0
        self._request: Command | Read | None = None
        self._called_calmly = False
        self._tries_left = 0
        self._try = 0
        loop.after(loop.chance.randint(0, plan.think_us), self._next_request)

    def deliver(self, arrival: Callable[[], None], late_us: int = 0) -> None:
        """Let something cross the network between a customer and a server, or get lost."""
        if self.calm or self._loop.chance.random() >= self._plan.message_faults.get("lost", 0):
            self._loop.after(late_us + self._loop.chance.randint(*self._plan.latency_us), arrival)

    def receive(self, try_number: int, payload: bytes, answer: bytes) -> None:
        """An answer arrives; a late one, too, must be true."""
        outcome = self._history.receive_reply(payload, answer)
        if self._loop.tracing:
            self._loop.trace("reply", self._name, outcome, answer)
        if try_number != self._try or self._request is None:
            return
        if outcome in FAULTS and msgpack.decode(answer)["message"] == UPGRADING:
            self._finish()  # it may take until the end of the run
            return
        if outcome in FAULTS:
            self._try_again()
            return
        self.answered_calmly |= self._called_calmly
        if isinstance(self._request, COMMANDS):
            receipt = msgpack.decode(answer)
            self._known_requests.forget_refused(
                self._request, outcome, receipt["log_index"], receipt["time_us"]
            )
            self._past = [*self._past[-REMEMBERED:], self._request]
        self._finish()

    def _finish(self) -> None:
        self._request = None
        think_us = self._plan.think_us * (CALMER if self.calm else 1)
        self._loop.after(self._loop.chance.randint(0, 2 * think_us), self._next_request)

    def _next_request(self) -> None:
        if self.stopped:
            return
        self._request = self._draw_request()
        self._called_calmly = self.calm
        self._tries_left = self._plan.tries_max if not self.calm else 1000
        self._send()

    def _send(self) -> None:
        request = self._request
        assert request is not None
        self._try += 1
        self._tries_left -= 1
        try_number, server = self._try, self._server
        payload = self._history.record_call(request)
        connection = Connection(self, server, try_number, payload)
        if self._loop.tracing:
            self._loop.trace("request", self._name, server.name, payload)
        self.deliver(lambda: server.ask(connection, try_number, payload))
        patience_us = self._plan.patience_us
        if self.calm:
            patience_us = max(patience_us, CALMER * self._plan.election_us)
        self._loop.after(patience_us, lambda: self._loses_patience(try_number))

    def _loses_patience(self, try_number: int) -> None:
        if try_number == self._try and self._request is not None:
            self._try_again()

    def _try_again(self) -> None:
        if self.calm or self._loop.chance.random() >= self._plan.loyalty:
            running = [server for server in self._servers if not server.retired]
            self._server = self._loop.chance.choice(running)
        if self._tries_left <= 0:
            self._finish()  # gives up; the request may be done or not
            return
        self._try += 1  # no answer to the last try counts from now on
        this_try = self._try
        pause_us = max(self._plan.think_us, self._plan.election_us // HASTE)
        self._loop.after(self._loop.chance.randint(0, pause_us), lambda: self._send_if(this_try))

    def _send_if(self, try_number: int) -> None:
        if try_number == self._try and self._request is not None:
            self._send()

    def _draw_request(self) -> Command | Read:
        chance = self._loop.chance
        if self._past and chance.random() < self._plan.repeat_share:
            return self._workload.again(chance.choice(self._past))
        return self._workload.read() if chance.random() < self._read_share else self._workload.command()
