"""One seed's run: five servers and their customers, turmoil, calm, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from traceback import extract_tb

from msgspec import Struct

from atm.raft.ready import Role
from tests.raft.store import Store
from tests.simulation import plan as plans
from tests.simulation.bank_model import BankModel
from tests.simulation.checks import Checks, Violation, require
from tests.simulation.customers import Customer
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.loop import Loop
from tests.simulation.sim_network import SimNetwork
from tests.simulation.sim_server import SimServer

COMMITS_MIN = 10  # of customers' commands; a run with fewer has shown nothing
COMMITS_ENOUGH = 250  # and one with more would show little that is new
STRETCH_MAX = 10  # how many times as long the turmoil may last where commits are hard to get
CALM_ELECTIONS_MAX = 40  # election timeouts until there must be service, and then agreement
FAULTS_MIN = 5


class Report(Struct):
    """What happened in one run."""

    seed: int
    commits: int
    terms: int
    crashes: int
    fired: dict[str, int]
    outcomes: dict[str, int]
    digest: int


class Simulation:
    """All of one seed; `run` raises at the first broken promise."""

    def __init__(self, seed: int, *, tracing: bool = False) -> None:
        self.loop = Loop(seed, tracing=tracing)
        self.plan = plans.draw(seed)
        self.checks = Checks({name: Store() for name in plans.NODES})
        self.model = BankModel()
        self.checks.on_commit = self._note_commit
        self.history = History(self.model)
        self.network = SimNetwork(self.loop, self.plan, self._deliver)
        digests: dict[int, str] = {}
        self.servers = {
            name: SimServer(
                name, self.loop, self.plan, self.checks, self.model, digests, self.network.send, self._decided
            )
            for name in plans.NODES
        }
        for server in self.servers.values():
            server.start()
        servers = list(self.servers.values())
        self.faults = Faults(self.loop, self.plan, servers, self.network)
        self.customers = [
            Customer(f"c{number}", self.loop, self.plan, servers, self.history, writes=number % 3 < 2)
            for number in range(self.plan.clients)
        ]

    def run(self) -> Report:
        self._turmoil()
        self._calm_down()
        self.history.judge_promises()
        report = self._report()
        self._require_substance(report)
        return report

    def _turmoil(self) -> None:
        for eighth in range(8 * STRETCH_MAX):
            commits = self._commits()
            long_enough = eighth >= 8 and commits >= COMMITS_MIN
            if long_enough or (eighth >= 2 and commits > COMMITS_ENOUGH):
                return
            if eighth and eighth % 8 == 0:
                self.faults.interval_us *= 2
            self.loop.run_until(self.loop.now_us + self.plan.turmoil_us // 8)

    def _calm_down(self) -> None:
        """The faults stop: from then on there is service, and in the end all servers agree."""
        self.faults.stop()
        for customer in self.customers:
            customer.calm = True
        self.loop.trace("calm")
        served = self._wait(lambda: all(customer.answered_calmly for customer in self.customers))
        require(served, "there is service once the faults have stopped", self._state())
        for customer in self.customers:
            customer.stopped = True
        require(self._wait(self._agree), "all servers agree in the end", self._state())
        require(
            len({server.storage.digest() for server in self.servers.values()}) == 1, "all ledgers are equal"
        )

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Let time pass until `condition` holds, but not for ever."""
        for _ in range(CALM_ELECTIONS_MAX):
            if condition():
                return True
            self.loop.run_until(self.loop.now_us + self.plan.election_us)
        return condition()

    def _agree(self) -> bool:
        """Whether there is one leader, and everybody has its whole log and has applied all of it."""
        servers = list(self.servers.values())
        if not all(server.up for server in servers):
            return False
        logs = [server.storage.store.entries for server in servers]
        applied = {server.bank.applied_index for server in servers}
        leaders = [server for server in servers if server.core.role is Role.LEADER]
        return len(leaders) == 1 and all(log == logs[0] for log in logs) and applied == {len(logs[0])}

    def _report(self) -> Report:
        fired: Counter[str] = Counter()
        fired.update(self.faults.fired)
        fired.update(self.network.fired)
        return Report(
            seed=self.plan.seed,
            commits=self._commits(),
            terms=len(self.checks.leaders),
            crashes=sum(server.crashes for server in self.servers.values()),
            fired=dict(fired),
            outcomes=dict(self.history.outcomes),
            digest=self.loop.digest,
        )

    def _commits(self) -> int:
        return sum(decision is not None for decision in self.model.decisions)

    def _require_substance(self, report: Report) -> None:
        require(report.commits >= COMMITS_MIN, "a run commits something", report)
        require(sum(report.fired.values()) >= FAULTS_MIN, "a run has faults", report)

    def _note_commit(self, index: int) -> None:
        self.model.commit(self.checks.committed[index - 1])
        if index % 16 == 0:
            require(self.model.total() == 0, "all balances add up to 0", index)
        require(not self.model.overdrawn(), "no account is overdrawn", index)

    def _deliver(self, to: str, sender: str, payload: bytes) -> None:
        self.servers[to].deliver(sender, payload)

    def _decided(self, server: SimServer, payload: bytes) -> None:
        self.history.decided(server.name, server.bank.applied_index, payload)

    def _state(self) -> str:
        """Return where each server stands, for people."""
        return "; ".join(
            f"{s.name} {s.core.role.value} in term {s.core.term}, commit {s.core.commit_index}, "
            f"last {s.storage.store.last_index}, applied {s.bank.applied_index}"
            if s.up
            else f"{s.name} is down"
            for s in self.servers.values()
        )


def run(seed: int) -> Report:
    """Run one seed; raise `Violation`, whatever went wrong, with seed, last events and how to replay."""
    try:
        return Simulation(seed).run()
    except Exception as error:
        raise Violation(f"seed {seed}: {told(error)}\n{retell(seed)}") from error


def told(error: Exception) -> str:
    """Return what was raised and, unless the checks say it all, where."""
    if isinstance(error, Violation):
        return str(error)
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (in {place.name}: {place.line})"


def retell(seed: int, listener: Callable[[str], None] = lambda line: None) -> str:
    """Run `seed` again with the trace on; return the last events and how to see them all."""
    simulation = Simulation(seed, tracing=True)
    simulation.loop.listener = listener
    last = "it ended well: had it failed before, the simulation would not be deterministic"
    try:
        simulation.run()
    except Exception as error:
        last = told(error)
    lines = "\n".join(simulation.loop.lines)
    return f"{lines}\n{last}\nreplay it: python -m tests.simulation --seeds {seed} --trace"
