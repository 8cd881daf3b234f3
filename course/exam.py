"""One seed on a student's core: a quiet start, turmoil, a majority alone, and calm.

The loop, the network, the plan of faults and the checks of Figure 3 are those of the project's own
simulation. What is left out is what a student does not write: members, snapshots, the disk's own faults,
reads, the bank.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

from atm.raft.config import RaftConfig
from atm.raft.messages import NodeId, Outgoing, RaftMessage
from atm.wire.codec import encode
from atm.wire.peer_messages import decode_peer_message
from course.faults import Faults
from course.interface import MakeCore
from course.server import Server
from course.stages import Stage
from tests.simulation.loop import Loop
from tests.simulation.plan import TICK_US, Plan
from tests.simulation.sim_links import SimConnection
from tests.simulation.sim_network import SimNetwork
from tests.support.checks import Checks, Violation, require

WAIT_ELECTIONS = 30  # election timeouts within which there must be a leader, or a commit
DRAIN_ELECTIONS = 4  # after which no message of the turmoil is under way: the network delays by three at most
STEADY_ELECTIONS = 6  # for which a leader must stay
EVENTS_MAX = 30_000  # many times what the project's own core needs
COMMANDS_MAX = 60  # of clients, while faults strike


class _Link:
    """The way from one server to another; the network asks for no more of a connection."""

    def __init__(self, dialer: Server, acceptor: Server) -> None:
        self.dialer, self.acceptor = dialer, acceptor


class Exam:
    """`run` raises `Violation` at the first broken promise, or `CoreFailed`."""

    def __init__(self, make: MakeCore, plan: Plan, stage: Stage) -> None:
        self.plan, self.stage = plan, stage
        self.loop = Loop(plan.luck, tracing=True)
        self.calling = ""  # which of the core's methods runs now
        random.seed(plan.luck)  # for a core that draws from there
        self.network = SimNetwork(self.loop, plan, self._deliver)
        self.servers: dict[NodeId, Server] = {}
        for name in plan.names:
            self.servers[name] = Server(name, self, make, self._config(name))
        self.checks = Checks({name: server.store for name, server in self.servers.items()})
        self.faults = Faults(self.loop, plan, self.servers, self.network, self.tell)
        self._links = {
            (one.name, two.name): cast(SimConnection, _Link(one, two))
            for one in self.servers.values()
            for two in self.servers.values()
            if one is not two
        }
        self._commands = 0

    @property
    def now_us(self) -> int:
        return self.loop.now_us

    def tell(self, sentence: str) -> None:
        self.loop.trace(sentence)

    def died(self, server: Server) -> None:
        self.faults.start_later(server)

    def run(self) -> None:
        """Run the whole seed."""
        servers = list(self.servers.values())
        self.network.calm = True
        for server in servers:
            server.start()
        self._tick()
        self._has_service(servers)
        self._turmoil()
        self._majority(servers)
        self._has_service(servers)
        if self.stage.proposes:
            last = len(self.checks.committed)
            applied = self._wait(lambda: all(len(server.applied) >= last for server in servers))
            require(applied, "all servers apply all commands", self._state())

    def _turmoil(self) -> None:
        self.network.calm = False
        self.faults.begin()
        self._client()
        self.loop.run_until(self.now_us + self.plan.turmoil_us)
        self.faults.stop()
        self.tell("From now on no fault strikes and no message is lost.")
        self._pass(DRAIN_ELECTIONS)

    def _majority(self, servers: list[Server]) -> None:
        """A minority is paused: the others must go on without it."""
        away = self.loop.chance.sample(servers, (len(servers) - 1) // 2)
        for server in away:
            server.pause()
        self._has_service([server for server in servers if server not in away])
        for server in away:
            server.resume(server.pauses)

    def _has_service(self, servers: list[Server]) -> None:
        """Among these there must be one leader soon, which stays, and commits what clients want."""
        for _ in range(
            2
        ):  # right after an election, somebody may time out before the first heartbeat arrives
            elected = self._wait(lambda: self._settled(servers))
            require(elected, "a leader is elected", f"none among {_names(servers)}: {self._state()}")
            self._pass(1)
        term = max(server.term for server in servers)
        self._pass(STEADY_ELECTIONS)
        later = max(server.term for server in servers)
        detail = f"nothing fails, but term {term} was followed by {later}: {self._state()}"
        require(later == term, "a leader keeps its term", detail)
        if self.stage.proposes:
            commands = self._commands
            done = self._wait(lambda: self._is_committed(servers, commands))
            require(done, "commands are committed", self._state())

    def _settled(self, servers: list[Server]) -> bool:
        """Whether one of these leads, and all are in its term."""
        leaders = [server for server in servers if server.leads]
        return len(leaders) == 1 and {server.term for server in servers} == {leaders[0].term}

    def _is_committed(self, servers: list[Server], before: int) -> bool:
        """Propose, until a command that was proposed from now on is applied by all of these."""
        mine = {b"command %d" % number for number in range(before + 1, self._commands + 1)}
        if mine and all(any(entry.data in mine for entry in server.applied) for server in servers):
            return True
        self._propose(servers)
        return False

    def _wait(self, condition: Callable[[], bool]) -> bool:
        for _ in range(4 * WAIT_ELECTIONS):
            if condition():
                return True
            self.loop.run_until(self.now_us + self.plan.election_us // 4)
        return condition()

    def _pass(self, elections: int) -> None:
        """Let so many election timeouts pass."""
        self.loop.run_until(self.now_us + elections * self.plan.election_us)

    # -- time, clients, messages -------------------------------------------------------------------

    def _tick(self) -> None:
        """All clocks tick together: nothing but the timeouts that a core draws keeps candidates apart."""
        self.loop.after(TICK_US, self._tick)
        if self.loop.events > EVENTS_MAX:
            detail = f"{EVENTS_MAX:,} events after {self.now_us / 1e6:.2f} s of simulated time"
            raise Violation(f"too many messages: {detail}", "the core comes to rest")
        for server in self.servers.values():
            server.tick()

    def _client(self) -> None:
        """Ask whoever takes itself for the leader; there may be two of them."""
        if not self.stage.proposes or self.network.calm or self._commands > COMMANDS_MAX:
            return
        self.loop.after(self.loop.chance.randint(1, self.plan.election_us), self._client)
        self._propose(list(self.servers.values()))

    def _propose(self, servers: list[Server]) -> None:
        leaders = [server for server in servers if server.leads and server.runs]
        if leaders:
            self._commands += 1
            self.loop.chance.choice(leaders).propose(b"command %d" % self._commands)

    def send(self, sender: NodeId, out: Outgoing) -> None:
        """Carry a message as bytes, as between real servers."""
        self.network.send(self._links[sender, out.to], encode(out.message), False, 0)

    def _deliver(self, payload: bytes, connection: SimConnection) -> None:
        message = cast(RaftMessage, decode_peer_message(payload))
        self.servers[connection.acceptor.name].step(message)

    def _config(self, name: NodeId) -> RaftConfig:
        plan = self.plan
        return RaftConfig(
            node_id=name,
            peers=tuple(other for other in plan.names if other != name),
            heartbeat_ticks=plan.heartbeat_ticks,
            election_ticks_min=plan.election_ticks_min,
            election_ticks_max=plan.election_ticks_max,
        )

    def _state(self) -> str:
        return "; ".join(
            f"{s.name} is {s.role.value} in term {s.term}, has {s.store.last_index} entries, "
            f"{len(s.applied)} applied"
            for s in self.servers.values()
        )


def _names(servers: list[Server]) -> str:
    return " ".join(server.name for server in servers)
