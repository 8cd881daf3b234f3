"""One seed's run: five servers and their customers, turmoil, calm, and the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from time import process_time
from traceback import extract_tb
from unittest.mock import patch

from atm.ledger import approvals
from atm.raft.ready import Role
from tests.simulation import bank_rules
from tests.simulation import plan as plans
from tests.simulation.administrator import Administrator
from tests.simulation.bank_model import BankModel
from tests.simulation.customers import Customer
from tests.simulation.faults import Faults
from tests.simulation.history import History
from tests.simulation.loop import Loop
from tests.simulation.onlooker import Onlooker
from tests.simulation.pepper_changes import PepperChanger
from tests.simulation.plan import Plan
from tests.simulation.report import COMMITS_MIN, POSTINGS_MIN, Report, hollow
from tests.simulation.sim_links import SimConnection
from tests.simulation.sim_network import SimNetwork
from tests.simulation.sim_server import SimServer
from tests.simulation.workload import KnownRequests
from tests.support.checks import Checks, Violation, require
from tests.support.store import Store

COMMITS_ENOUGH = 200  # of customers' commands; a run with more would show little that is new
EVENTS_ENOUGH = 8_000
APPROVE_ELECTIONS = 6  # election timeouts in place of a day, so that some approvals come too late
CALM_ELECTIONS_MAX = 40  # election timeouts until there must be service, and then agreement


class Simulation:
    """All of one seed, or of one plan; `run` raises at the first broken promise."""

    def __init__(self, case: int | Plan, *, tracing: bool = False, onlooker: Onlooker | None = None) -> None:
        self.plan = case if isinstance(case, Plan) else plans.draw(case)
        self.loop = Loop(self.plan.luck, tracing=tracing, onlooker=onlooker)
        self.commits_in_turmoil = self.postings_in_turmoil = 0
        names = self.plan.all_names
        first = {name: f"{name}/1" for name in names}
        founders = frozenset((name, first[name]) for name in self.plan.names)
        self.checks = Checks({name: Store() for name in names}, voters=founders, first_disks=first)
        self.model = BankModel()
        self.checks.on_commit = self._note_commit
        self.history = History(self.model)
        self.network = SimNetwork(self.loop, self.plan, self._deliver)
        digests: dict[int, str] = {}
        self.servers = {
            name: SimServer(
                name, self.loop, self.plan, self.checks, self.model, digests, self.network, self._decided
            )
            for name in names
        }
        servers = list(self.servers.values())
        for server in servers:
            server.others = [other for other in servers if other is not server]
        for server in servers:
            server.start_again()
        self.administrator = Administrator(self.loop, self.plan, servers, self.checks)
        self.pepper_changer = PepperChanger(self.loop, self.plan, servers, self.checks)
        self.faults = Faults(self.loop, self.plan, servers, self.network, self.administrator.bears_loss)
        known = KnownRequests()
        self.customers = [
            Customer(f"c{number}", self.loop, self.plan, servers, self.history, known, writes=number % 3 < 2)
            for number in range(self.plan.clients)
        ]

    def run(self) -> Report:
        within_us = APPROVE_ELECTIONS * self.plan.election_us
        with ExitStack() as patches:
            for module in (approvals, bank_rules):
                patches.enter_context(patch.object(module, "APPROVE_WITHIN_US", within_us))
            self._turmoil()
            self._calm_down()
        self.history.judge_promises()
        return self._report()

    def _turmoil(self) -> None:
        """Until enough has happened; where little does, faults come more rarely or more often."""
        for eighth in range(8 * self.plan.stretch_max):
            commits = self.commits_in_turmoil = self._commits()
            postings = self.postings_in_turmoil = len(self.model.journal.rows)
            much = commits > COMMITS_ENOUGH or self.loop.events > EVENTS_ENOUGH
            if eighth >= (2 if much else 8) and not hollow(commits, postings, self._drawn(), self._fired()):
                return
            if eighth and (much or eighth % 8 == 0):
                shows_little = commits < COMMITS_MIN or postings < POSTINGS_MIN
                self.faults.hasten(0.5 if shows_little else 2)
            self.loop.run_until(self.loop.now_us + self.plan.turmoil_us // 8)

    def _calm_down(self) -> None:
        """The faults stop: from then on there is service, and in the end all servers agree."""
        self.faults.stop()
        self.administrator.stop()
        self.pepper_changer.stop()
        for customer in self.customers:
            customer.calm = True
        self.loop.trace("calm")
        served = self._wait(lambda: all(customer.answered_calmly for customer in self.customers))
        require(served, "there is service once the faults have stopped", self._state())
        for customer in self.customers:
            customer.stopped = True
        require(self._wait(self._agree), "all servers agree in the end", self._state())
        require(self._wait(self._nothing_is_due), "what is due ends", self._state())
        require(self._wait(self._all_is_carried_over), "PINs are carried over", self.model.older())
        require(self._wait(self._agree), "all servers agree again", self._state())
        require(len({server.storage.digest() for server in self._members()}) == 1, "all ledgers are equal")

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Let time pass until `condition` holds, but not for ever."""
        for _ in range(CALM_ELECTIONS_MAX + self._left_us() // self.plan.election_us):
            self.administrator.start_members()
            if condition():
                return True
            self.loop.run_until(self.loop.now_us + self.plan.election_us)
        return condition()

    def _left_us(self) -> int:
        """Return how long a leader may take to commit what is queued now, and to send what a follower lacks,
        a batch in each round trip.

        What a customer has given up on is done all the same. Where customers ask again sooner than the plan's
        batches carry what they ask for, hundreds of such tries wait when the faults stop (seed 40265). One
        that has just lost its disk gets the whole log, where no snapshot is due (seeds 51029 and 54514).
        """
        queued = max((server.queued for server in self.servers.values() if server.up), default=0)
        lasts = [server.storage.store.last_index for server in self._members()]
        round_trip_us = 2 * self.plan.latency_us[1]
        return (queued + max(lasts) - min(lasts)) * round_trip_us // self.plan.batch_entries_max

    def _agree(self) -> bool:
        """Whether there is one leader, and all servers have its whole log and have applied all of it."""
        servers = self._members()
        if not all(server.up for server in servers):
            return False
        stores = [server.storage.store for server in servers]
        first_index = max(store.start.index for store in stores) + 1
        logs = [store.tail(first_index) for store in stores]
        applied = {server.bank.applied_index for server in servers}
        leaders = [server for server in servers if server.core.role is Role.LEADER]
        same = all(log == logs[0] for log in logs) and applied == {stores[0].last_index}
        return len(leaders) == 1 and same

    def _members(self) -> list[SimServer]:
        return [self.servers[member.node] for member in self.administrator.members()]

    def _report(self) -> Report:
        return Report(
            seed=self.plan.seed,
            commits=self._commits(),
            commits_in_turmoil=self.commits_in_turmoil,
            postings_in_turmoil=self.postings_in_turmoil,
            terms=len(self.checks.leaders),
            crashes=sum(server.crashes for server in self.servers.values()),
            reopened=sum(server.storage.ledger_file.reopened for server in self.servers.values()),
            drawn=self._drawn(),
            fired=self._fired(),
            outcomes=dict(self.history.outcomes + self._of_its_own()),
            simulated_us=self.loop.now_us,
            events=self.loop.events,
            digest=self.loop.digest,
        )

    def _nothing_is_due(self) -> bool:
        """Whether the leader, by its own clock, has ended the holds that are due."""
        leaders = [each for each in self.servers.values() if each.up and each.core.role is Role.LEADER]
        if len(leaders) != 1:
            return False
        due_us = leaders[0].bank.next_expiry_us
        return due_us is None or due_us > leaders[0].guards.time_us()

    def _all_is_carried_over(self) -> bool:
        """Whether all servers know that nothing is sealed for an older pepper."""
        return all(server.up and server.bank.pepper.carried_index is not None for server in self._members())

    def _of_its_own(self) -> Counter[str]:
        """Return what the bank did that no answer tells: holds it ended, exceptions it listed."""
        expired = {"expire something": 0, "expire nothing": 0}
        for holds, times in self.model.ended.items():
            expired["expire something" if holds else "expire nothing"] += times
        return Counter(expired) + Counter(f"exception {kind}" for _, kind in self.model.exception.rows)

    def _drawn(self) -> list[str]:
        return [*self.plan.faults, *self.plan.message_faults]

    def _fired(self) -> dict[str, int]:
        of_servers = sum((server.fired for server in self.servers.values()), Counter[str]())
        return dict(
            self.faults.fired
            + self.network.fired
            + of_servers
            + self.administrator.fired
            + self.pepper_changer.fired
        )

    def _commits(self) -> int:
        return sum(decision is not None for decision in self.model.decisions)

    def _note_commit(self, index: int) -> None:
        self.model.commit(self.checks.committed[index - 1])
        if index % 16 == 0:
            require(not any(self.model.totals().values()), "the balances of a currency add up to 0", index)
        overdrawn = self.model.overdrawn()
        require(not overdrawn, "no account is overdrawn but by a listed exception", (index, overdrawn))
        overheld = self.model.overheld()
        require(not overheld, "nothing is held that is not there, but by a listed exception", overheld)

    def _deliver(self, payload: bytes, connection: SimConnection) -> None:
        connection.acceptor.deliver(payload, connection)

    def _decided(self, server: SimServer, payload: bytes) -> None:
        self.history.decided(server.name, server.bank.decided_index, payload)

    def _state(self) -> str:
        """Return where each server stands, for people."""
        return "; ".join(
            f"{s.name} {s.core.role.value} in term {s.core.term}, commit {s.core.commit_index}, "
            f"last {s.storage.store.last_index}, applied {s.bank.applied_index}"
            if s.up
            else f"{s.name} is down"
            for s in self.servers.values()
        )


def run(case: int | Plan) -> Report:
    """Run one seed or plan; raise `Violation`, whatever it was, with the last events and how to replay."""
    started_s = process_time()
    try:
        report = Simulation(case).run()
    except Exception as error:
        name = f"seed {case}" if isinstance(case, int) else f"plan {plans.tell(case)}"
        raise Violation(f"{name}: {told(error)}\n{retell(case)}") from error
    report.machine_s = process_time() - started_s
    return report


def told(error: Exception) -> str:
    """Return what was raised and, unless the checks say it all, where."""
    if isinstance(error, Violation):
        return str(error)
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (in {place.name}: {place.line})"


def retell(
    case: int | Plan, listener: Callable[[str], None] = lambda line: None, *, failed_before: bool = True
) -> str:
    """Run a seed or plan again with the trace on; return the last events and how to see them all."""
    simulation = Simulation(case, tracing=True)
    simulation.loop.listener = listener
    last = "it passed"
    if failed_before:
        last += ", but had failed before: the simulation is not deterministic"
    try:
        simulation.run()
    except Exception as error:
        last = told(error)
    lines = "\n".join(simulation.loop.lines)
    return f"{lines}\n{last}\n{how_to_replay(case)}"


def how_to_replay(case: int | Plan) -> str:
    """Return the commands that show a seed or plan again."""
    command = "python -m tests.simulation"
    if isinstance(case, int):
        return f"replay it: {command} --seeds {case} --trace; make it smaller: {command} --shrink {case}"
    return f"replay it: {command} --trace --plan '{plans.tell(case)}'"
