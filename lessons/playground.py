"""A cluster of five whose faults a person makes: kill, start, pause, cut links, mend them, move money.

It is the simulation without any fault of its own and without customers: the servers, their disks and their
network are those of `tests/simulation`, and every promise is checked after each step here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, permutations
from typing import Any

from msgspec import msgpack

from atm.ledger.commands import Command, Credit, Debit, Query, Read
from atm.raft.messages import NodeId
from atm.raft.ready import Role
from atm.wire.codec import encode
from lessons.frames import STEP, TURN, Frame
from lessons.recorder import Recorder
from lessons.wording import amount_text
from tests.simulation import plan as plans
from tests.simulation.customers import Connection
from tests.simulation.history import FAULTS
from tests.simulation.people import caller
from tests.simulation.sim_server import SimServer
from tests.simulation.world import Simulation, told

QUIET: dict[str, Any] = {
    "nodes": 5,
    "spares": 0,
    "clients": 0,
    "faults": {},
    "message_faults": {},
    "changes": {},
    "old_release_share": 0.0,
    "pepper_interval_us": 0,
    "clock_rates": (1.0, 1.0),
    "wall_skew_us": 0,
    "latency_us": (4_000, 12_000),
    "heartbeat_ticks": 5,
    "election_ticks_min": 30,
    "election_ticks_max": 60,
    "batch_entries_max": 8,
    "window_batches": 2,
    "memory_bytes_max": 8 << 20,
    "segment_bytes_max": 64 << 20,
    "snapshot_log_bytes": 64 << 20,
    "follower_apply_ticks": 0,
}
FOR_EVER_US = 10**15
STEP_US = 10_000
PATIENCE_US = 400_000  # a teller waits so long for an answer, and asks another server then
PAUSE_US = 100_000  # between two tries
TRIES_MAX = 300


class Playground:
    """Frames go to `take`; each call is made between two moments, and shows in the frames that follow."""

    def __init__(
        self, luck: int, take: Callable[[Frame], None], changes: dict[str, Any] | None = None
    ) -> None:
        self._recorder = Recorder(take)
        plan = plans.changed(luck, QUIET | (changes or {}))
        self.simulation = Simulation(plan, tracing=True, onlooker=self._recorder)
        self._recorder.watch(self.simulation)
        self._numbers = count(1)
        self.broken = ""  # the promise that was broken, with what was found

    @property
    def now_us(self) -> int:
        return self.simulation.loop.now_us

    @property
    def names(self) -> Sequence[NodeId]:
        return list(self.simulation.servers)

    def advance(self, by_us: int) -> None:
        """Let so much time pass; after a broken promise it stands still."""
        if self.broken:
            return
        try:
            self.simulation.loop.run_until(self.now_us + by_us)
        except Exception as error:  # with a planted defect
            self.broken = told(error)
            self._recorder.note("broken", "", f"A promise is broken: {self.broken}", weight=TURN)
        self._recorder.happened()

    def until_campaign(self) -> None:
        """Let time pass until somebody campaigns for the first time."""
        servers = self.simulation.servers.values()
        while all(server.core.role is Role.FOLLOWER for server in servers if server.up):
            self.advance(STEP_US)

    def leader(self) -> NodeId | None:
        """Return the running leader of the highest term."""
        led = [s for s in self.simulation.servers.values() if s.up and s.core.role.value == "leader"]
        return max(led, key=lambda server: server.core.term).name if led else None

    # -- faults -------------------------------------------------------------------------------------------

    def kill(self, node: NodeId) -> None:
        """End the process at once; what it has written stays."""
        self._end(node, power_cut=False)

    def power_cut(self, node: NodeId) -> None:
        """What was not synced is lost, too."""
        self._end(node, power_cut=True)

    def _end(self, node: NodeId, *, power_cut: bool) -> None:
        if self._server(node).up:
            self._server(node).die(power_cut=power_cut)
            self._recorder.happened()

    def start(self, node: NodeId) -> None:
        self._server(node).start_again()
        self._recorder.happened()

    def pause(self, node: NodeId, for_us: int) -> None:
        """The process of `node` does nothing for a while, as after SIGSTOP."""
        self._recorder.note("fault", node, f"{node} is paused for {for_us / 1e6:g} s", weight=TURN)
        self._server(node).pause(for_us)
        self._recorder.happened()

    def cut(self, one: NodeId, other: NodeId) -> None:
        """The link between two servers fails, both ways."""
        self._cut([(one, other), (other, one)], f"The link between {one} and {other} is cut")

    def isolate(self, *group: NodeId) -> None:
        """All links between `group` and the others fail."""
        others = [name for name in self.names if name not in group]
        links = [(a, b) for a, b in permutations(self.names, 2) if (a in group) != (b in group)]
        self._cut(links, f"The links between {', '.join(group)} and {', '.join(others)} are cut")

    def _cut(self, links: list[tuple[NodeId, NodeId]], text: str) -> None:
        new = [link for link in links if link not in self.simulation.network.cuts]
        self.simulation.network.cut(new, FOR_EVER_US)
        self._recorder.note("fault", "", text, weight=TURN)
        self._recorder.happened()

    def mend(self) -> None:
        """All links work again."""
        self.simulation.network.mend()
        self._recorder.note("mended", "", "All links work again", weight=TURN)
        self._recorder.happened()

    # -- money --------------------------------------------------------------------------------------------

    def credit(
        self,
        node: NodeId,
        amount_minor: int,
        account: str = "main",
        when_done: Callable[[], None] = lambda: None,
    ) -> None:
        self._ask(node, lambda id: Credit(id=id, account=account, amount=amount_minor), when_done)

    def debit(self, node: NodeId, amount_minor: int, account: str = "main") -> None:
        self._ask(node, lambda id: Debit(id=id, account=account, amount=amount_minor))

    def query(self, node: NodeId, account: str = "main") -> None:
        self._ask(node, lambda id: Query(id=id, account=account))

    def _ask(
        self,
        node: NodeId,
        make: Callable[[str], Command | Read],
        when_done: Callable[[], None] = lambda: None,
    ) -> None:
        number = next(self._numbers)
        requests = (make(f"t{number}-{draw}") for draw in count())
        request = next(each for each in requests if caller("", encode(each))[0] != "audrey")  # an auditor
        names = self.names
        first = names.index(node)
        servers = [self.simulation.servers[name] for name in (*names[first:], *names[:first])]
        _Teller(f"T{number}", self.simulation, self._recorder, servers, request, when_done).send()
        self._recorder.happened()

    def _server(self, node: NodeId) -> SimServer:
        return self.simulation.servers[node]


class _Teller:
    """Asks one thing until it is answered: at the next server and under the same id."""

    def __init__(
        self,
        name: str,
        simulation: Simulation,
        recorder: Recorder,
        servers: Sequence[SimServer],
        request: Command | Read,
        when_done: Callable[[], None],
    ) -> None:
        self._when_done = when_done
        self._name, self._simulation, self._recorder = name, simulation, recorder
        self._servers: Iterator[SimServer] = (servers[n % len(servers)] for n in range(TRIES_MAX))
        self._request = request
        self._try = 0
        self._done = False
        self._began_us = simulation.loop.now_us

    def send(self) -> None:
        server = next(self._servers, None)
        if self._done or server is None:
            return
        self._try += 1
        this_try, loop = self._try, self._simulation.loop
        payload = self._simulation.history.record_call(self._request)
        if this_try == 1 or this_try % 10 == 0:
            loop.trace("request", self._name, server.name, payload)
        connection = Connection(self, server, this_try, payload)  # type: ignore[arg-type]  # all it needs
        self.deliver(lambda: server.ask(connection, this_try, payload))
        loop.after(PATIENCE_US, lambda: self._again(this_try))

    def deliver(self, arrival: Callable[[], None], late_us: int = 0) -> None:
        latency_us = self._simulation.network.latency_us()
        self._simulation.loop.after(late_us + latency_us, arrival)

    def receive(self, try_number: int, payload: bytes, answer: bytes) -> None:
        outcome = self._simulation.history.receive_reply(payload, answer)
        if self._done:
            return
        if outcome in FAULTS:
            if try_number == self._try:
                self._simulation.loop.after(PAUSE_US, lambda: self._again(try_number))
            return
        self._done = True
        self._when_done()
        said, took_us = msgpack.decode(answer), self._simulation.loop.now_us - self._began_us
        balance = said.get("balance")
        text = f"Teller {self._name} is answered: {outcome.replace('_', ' ')}"
        if isinstance(balance, int):
            text += f", the balance is {amount_text(balance)}"
        tries = f"{self._try} tries, all under one id, so it is done once" if self._try > 1 else "one try"
        self._recorder.note("reply", "", text, f"after {took_us / 1e6:.2f} s and {tries}", STEP)

    def _again(self, try_number: int) -> None:
        if try_number == self._try and not self._done:
            self.send()
