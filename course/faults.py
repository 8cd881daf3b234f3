"""What happens to the servers of an exam: the simulation's faults, without those of disks and members."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

from atm.raft.messages import NodeId
from course.server import Server
from tests.simulation.loop import Loop
from tests.simulation.plan import Plan
from tests.simulation.sim_network import SimNetwork

EFFECTS_MAX = 12  # until a server that is to be killed is


class Faults:
    """They strike from `begin` on, as often and as long as the plan says, until `stop`."""

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        servers: dict[NodeId, Server],
        network: SimNetwork,
        tell: Callable[[str], None],
    ) -> None:
        self._loop, self._plan, self._servers, self._network, self._tell = loop, plan, servers, network, tell
        self._strikes = False

    def begin(self) -> None:
        self._strikes = True
        self._later()

    def stop(self) -> None:
        """No more faults: all links work, and all servers run."""
        self._strikes = False
        self._network.mend()
        self._network.heal()
        for server in self._servers.values():
            server.fuse.put_out()
            if not server.up:
                server.start()
            server.resume(server.pauses)

    def start_later(self, server: Server) -> None:
        """A server that was killed comes back."""
        self._loop.after(self._while_us(), lambda: None if server.up else server.start())

    def _later(self) -> None:
        interval_us = self._plan.fault_interval_us
        self._loop.after(self._loop.chance.randint(interval_us // 2, interval_us * 3 // 2), self._strike)

    def _strike(self) -> None:
        if not self._strikes:
            return
        self._later()
        faults = self._plan.faults
        if not faults or self._loop.now_us > self._plan.faults_end_us:
            return
        (fault,) = self._loop.chance.choices(list(faults), list(faults.values()))
        match fault:
            case "kill":
                self._kill()
            case "pause":
                self._pause()
            case _:
                self._cut(fault)

    def _kill(self) -> None:
        server = self._one()
        if server.up:
            server.fuse.effects_left = self._loop.chance.randint(1, EFFECTS_MAX)

    def _pause(self) -> None:
        server = self._one()
        if server.runs:
            pause = server.pause()
            self._loop.after(self._while_us(), lambda: server.resume(pause))

    def _cut(self, fault: str) -> None:
        names, for_us = list(self._servers), self._while_us()
        chance = self._loop.chance
        match fault:
            case "isolated leader":
                leaders = [server.name for server in self._servers.values() if server.leads]
                if not leaders:
                    return
                alone = chance.choice(leaders)
                links = [link for link in permutations(names, 2) if alone in link]
                told = f"All links of {alone} fail"
            case "split":
                some = sorted(chance.sample(names, chance.randint(1, len(names) - 1)))
                links = [(one, two) for one, two in permutations(names, 2) if (one in some) != (two in some)]
                told = f"The network splits: {' '.join(some)} on one side"
            case "ring":
                order = chance.sample(names, len(names))
                near = {frozenset((order[place - 1], order[place])) for place in range(len(order))}
                links = [link for link in permutations(names, 2) if frozenset(link) not in near]
                told = f"Each server reaches its neighbours alone, in the ring {' '.join(order)}"
            case _:
                links = chance.sample(list(permutations(names, 2)), chance.randint(1, len(names)))
                told = f"Links fail one way: {', '.join(f'{one} to {two}' for one, two in sorted(links))}"
        if not links:
            return  # in a ring of three, all are neighbours
        self._tell(f"{told}, for {for_us / 1e6:.2f} s.")
        self._network.cut(links, for_us)

    def _one(self) -> Server:
        """Return some server, a leader more often than not."""
        servers = list(self._servers.values())
        leaders = [server for server in servers if server.leads]
        return self._loop.chance.choice(leaders if leaders and self._loop.chance.random() < 0.5 else servers)

    def _while_us(self) -> int:
        return self._loop.chance.randint(self._plan.election_us // 4, 4 * self._plan.election_us)
