"""The faults of a run: which, when, whom and how long, all drawn from the seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations

from atm.raft.ready import Role
from tests.simulation.loop import Loop
from tests.simulation.plan import Plan
from tests.simulation.sim_network import SimNetwork
from tests.simulation.sim_server import SimServer

EFFECTS_MAX = 12  # a kill comes within so many effects
STATEMENTS_MAX = 30  # or, somewhere within the ledger, statements of SQL
DISK_CHANGES_MAX = 4
WIPES_MAX = 3
DISK_CALLS = ("read", "write", "open", "sync_folder", "truncate")
INTERVAL_US_MIN = 2_000  # between faults on average; with none at all, time would stand still
RARER_MAX = 16  # how many times as rare as planned they become at most
HOUR_US = 3_600_000_000


class Faults:
    """Strikes at drawn times until `stop`."""

    def __init__(
        self,
        loop: Loop,
        plan: Plan,
        servers: Sequence[SimServer],
        network: SimNetwork,
        bears_loss: Callable[[SimServer], bool],
    ) -> None:
        """`bears_loss` tells whether the cluster can go on without what a server has promised."""
        self._bears_loss = bears_loss
        self.fired: Counter[str] = Counter()
        self._loop, self._plan, self._servers, self._network = loop, plan, servers, network
        self._interval_us: float = plan.fault_interval_us  # on average
        self._stopped = False
        self._later()

    def stop(self) -> None:
        """No more faults; what is broken is mended, and who is down starts."""
        self._stopped = True
        self._network.heal()
        for server in self._servers:
            server.fuse.put_out()
            server.disk.power_cut_at = None
            server.disk.room_bytes = None  # a sync that is to fail still will, and the server starts again
            server.slow_us = server.sync_us = 0
            server.start_again()

    def hasten(self, factor: float) -> None:
        """Let faults come so many times as often, but never so rarely that none comes any more."""
        wanted_us = max(INTERVAL_US_MIN, self._interval_us / factor)
        self._interval_us = min(wanted_us, RARER_MAX * self._plan.fault_interval_us)

    def _later(self) -> None:
        if self._plan.faults:
            self._loop.after(int(self._loop.chance.expovariate(1 / self._interval_us)), self._strike)

    def _strike(self) -> None:
        if self._stopped or self._loop.now_us > self._plan.faults_end_us:
            return
        names = list(self._plan.faults)
        (fault,) = self._loop.chance.choices(names, [self._plan.faults[name] for name in names])
        if self._do(fault):
            self.fired[fault] += 1
            self._loop.trace("fault", fault)
        self._later()

    def _for_us(self) -> int:
        """How long a fault lasts: from a fraction of an election timeout to several."""
        return int(self._plan.election_us * self._loop.chance.choice((0.1, 0.5, 1.0, 2.0, 2.0, 4.0)))

    def _do(self, fault: str) -> bool:  # noqa: C901  (a row for each kind)
        """Apply the fault to a server; return False if there is none to apply it to."""
        chance = self._loop.chance
        up = [server for server in self._servers if server.up]
        if not up:
            return False
        leaders = [server for server in up if server.core.role is Role.LEADER]
        victim = chance.choice(leaders if leaders and chance.random() < 0.5 else up)
        match fault:
            case "isolated leader" if not leaders:
                return False
            case "isolated leader":
                self._cut(fault, chance.choice(leaders).name)
            case "kill" | "power cut" | "failed sync" | "disk error" | "disk full" | "lost ledger":
                self._kill(victim, fault)
            case "wiped disk":
                return self._wipe(victim)
            case "old copy":
                return self._put_back(victim)
            case "stop":
                victim.stop()
                self._loop.after(self._for_us(), lambda: self._start_stopped(victim))
            case "pause":
                victim.pause(self._for_us())
            case "slow node" | "slow disk":
                what = "slow_us" if fault == "slow node" else "sync_us"
                setattr(victim, what, chance.choice((self._plan.election_us // 20, self._plan.election_us)))
                self._loop.after(self._for_us(), lambda: setattr(victim, what, 0))
            case "wall clock jump":
                victim.wall_clock_ahead_us = chance.randint(-HOUR_US, HOUR_US)
            case "connection reset":
                peer = chance.choice([server.name for server in self._servers if server is not victim])
                for_us = self._for_us()
                self._network.reset(victim.name, peer)
                self._network.cut([(victim.name, peer)], for_us)
                victim.lose_link(peer)
            case _:
                self._cut(fault, victim.name)
        return True

    def _kill(self, victim: SimServer, how: str) -> None:
        chance = self._loop.chance
        match how:
            case "kill" if chance.random() < 0.5:
                victim.fuse.statements_left = chance.randint(1, STATEMENTS_MAX)
            case "kill":
                victim.fuse.effects_left = chance.randint(1, EFFECTS_MAX)
            case "power cut":
                victim.disk.power_cut_at = victim.disk.changes + chance.randint(1, DISK_CHANGES_MAX)
            case "failed sync":
                victim.disk.fail_next("sync")
            case "disk error":
                victim.disk.fail_next(chance.choice(DISK_CALLS))
            case "lost ledger":
                victim.die(power_cut=False)
                victim.storage.ledger_file.lose()
            case _:
                victim.disk.room_bytes = chance.randint(0, 100)
        self._loop.after(self._for_us(), lambda: self._restart(victim, how))

    def _restart(self, victim: SimServer, how: str) -> None:
        """Start the victim; if it had nothing to do and so did not die of itself, kill it first."""
        if self._stopped and victim.up and not victim.disk.fails_next:
            return
        if victim.up:
            victim.die(power_cut=how == "power cut")
        victim.start_again()

    def _wipe(self, victim: SimServer) -> bool:
        """Unless that is more than Raft can bear: a majority of voters keeps its promises.

        Nor if a server has never met this one: until the log names the first folders, it would take the next
        folder for the first, as docs/reliability.md says (seed 44).
        """
        if self.fired["wiped disk"] >= WIPES_MAX or not self._bears_loss(victim) or not victim.was_met:
            return False
        victim.die(power_cut=False)
        victim.wipe()
        self._loop.after(self._for_us(), lambda: self._restart(victim, "kill"))
        return True

    def _put_back(self, victim: SimServer) -> bool:
        """Put the copy of some folder back that has been used since, or make the first."""
        copied = [server for server in self._servers if server.has_old_copy and self._bears_loss(server)]
        if not copied:
            if victim.storage.copy is None:
                victim.die(power_cut=False)
                victim.storage.take_copy()
                self._loop.after(self._for_us(), lambda: self._restart(victim, "kill"))
            return False
        if copied[0].up:
            copied[0].die(power_cut=False)
        copied[0].restore()
        self._loop.after(self._for_us(), lambda: self._restart(copied[0], "kill"))
        return True

    def _start_stopped(self, victim: SimServer) -> None:
        if victim.up and victim.stops:
            self._loop.after(self._plan.election_us, lambda: self._start_stopped(victim))
        else:
            victim.start_again()

    def _cut(self, fault: str, victim: str) -> None:
        chance = self._loop.chance
        names = self._plan.all_names
        others = [name for name in names if name != victim]
        links = set(permutations(names, 2))
        match fault:
            case "isolated leader":
                cut = {link for link in links if victim in link}
            case "split":
                side = set(chance.sample(names, chance.randint(1, len(names) // 2)))
                cut = {(a, b) for a, b in links if (a in side) != (b in side)}
            case "one-way cut":
                deaf = chance.sample(others, chance.randint(1, len(others)))
                cut = {(victim, other) if chance.random() < 0.5 else (other, victim) for other in deaf}
            case "ring":
                order = chance.sample(names, len(names))
                near = {(order[i], order[(i + 1) % len(order)]) for i in range(len(order))}
                cut = {(a, b) for a, b in links if (a, b) not in near and (b, a) not in near}
            case _:
                raise AssertionError(f"no such fault: {fault}")
        self._network.cut(sorted(cut), self._for_us())
