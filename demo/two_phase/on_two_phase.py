"""Two-phase commit with its coordinator killed between the phases, and what customers noticed of it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from atm.local_cluster import LocalCluster, write_cluster_ini_for
from atm.money import format_amount
from demo.two_phase import process
from demo.two_phase.branch import ALONE
from demo.two_phase.coordinator import DECIDED, VOTED
from demo.two_phase.customers import Customers, Failed
from demo.two_phase.messages import COORDINATOR, Deposit, Look, Outcome, Transfer, branch_of
from demo.two_phase.story import Row, Story

ALICE, CAROL, BOB, DAVE, ERIN = "north/alice", "north/carol", "south/bob", "east/dave", "east/erin"
ACCOUNTS = (ALICE, BOB, CAROL, DAVE, ERIN)
BRANCHES = ("north", "south", "east")
OPENING = 100_00
TRANSFERS = (
    Transfer(id="T1", source=ALICE, target=BOB, amount=40_00),
    Transfer(id="T2", source=CAROL, target=DAVE, amount=40_00),
)
STOPS = {"T1": VOTED, "T2": DECIDED}
PING = Look(account="")  # answered by any process that listens
DEADLINE_S = 15.0
POLL_S = 0.01

T = TypeVar("T")


class Bank(LocalCluster):
    """The branches and the coordinator as processes; started, killed and ended as the product's nodes are."""

    def __init__(self, config_path: Path) -> None:
        super().__init__(config_path)
        self.ask = process.asking(self.cluster, DEADLINE_S)

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-P", "-m", process.__name__, name, "--config", str(self.cluster.path)]

    def start_branches(self) -> None:
        """Start each branch with its accounts."""
        for branch in BRANCHES:
            accounts = [a for a in ACCOUNTS if branch_of(a) == branch]
            self.start(branch, *(f"--account={account}={OPENING}" for account in accounts))
        for branch in BRANCHES:
            self._wait_until_it_answers(branch)

    def start_coordinator(self, *stops: str) -> None:
        """Start the coordinator; transactions get no further than `stops`."""
        self.start(COORDINATOR, *(f"--stop={stop}" for stop in stops))
        self._wait_until_it_answers(COORDINATOR)

    def wait_for_line(self, name: str, beginning: str) -> str:
        """Return the first line that the process said and that begins so; raise `Failed`."""

        def found() -> str | None:
            return next((x for x in self.output(name).splitlines() if x.startswith(beginning)), None)

        return self._wait(name, found)

    def pay_in(self, account: str) -> Callable[[], bool]:
        """Return a call that pays a cent into the account and returns whether that was done."""
        deposit = Deposit(account=account, amount=1)

        def call() -> bool:
            reply = self.ask(branch_of(account), deposit)
            if reply is None:  # done or not: the count at the end would not be certain
                raise Failed(f"the branch of {account} does not answer")
            return reply.outcome is Outcome.DONE

        return call

    def balance(self, account: str) -> int:
        """Return what is in the account; raise `Failed`."""
        reply = self.ask(branch_of(account), Look(account=account))
        if reply is None or reply.balance is None:
            raise Failed(f"the branch of {account} does not answer")
        return reply.balance

    def _wait_until_it_answers(self, name: str) -> None:
        self._wait(name, lambda: self.ask(name, PING))

    def _wait(self, name: str, condition: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + DEADLINE_S
        while (met := condition()) is None:
            last = self.output(name).strip().rpartition("\n")[2] or "nothing"
            if self.processes[name].poll() is not None:
                raise Failed(f"the process {name} ended and said: {last}")
            if time.monotonic() > deadline:
                raise Failed(f"the process {name} did not get on within {DEADLINE_S:g} s and said: {last}")
            time.sleep(POLL_S)
        return met


def run(folder: Path, outage_s: float) -> list[Row]:
    """Tell the story, with the coordinator away for `outage_s`; return what was measured. Raise `Failed`."""
    story = Story("Two-phase commit: three branches keep accounts, a coordinator moves money between them")
    with Bank(write_cluster_ini_for(folder, (COORDINATOR, *BRANCHES))) as bank:
        bank.start_branches()
        bank.start_coordinator(*(f"{transaction}={stage}" for transaction, stage in STOPS.items()))
        with Customers({account: bank.pay_in(account) for account in ACCOUNTS}) as customers:
            customers.wait_until_all_served(0.0)
            story.tell("Five customers pay cents into five accounts, without pause.")
            askers = _ask_for_transfers(bank, story)
            killed_s = time.monotonic()
            bank.kill(COORDINATOR)
            story.tell("kill -9 to the coordinator, between the phases.")
            for asker in askers:
                asker.join()
            _tell_who_waits(bank, story)
            time.sleep(max(0.0, killed_s + outage_s - time.monotonic()))
            story.tell(f"Deposits refused so far: {_refusals(customers)}.")
            bank.start_coordinator()
            story.tell("A person has started the coordinator again, on the disk that has its decisions.")
            customers.wait_until_all_served(killed_s)
            story.tell("Every account is served again.")
        _tell_the_end(bank, story, customers)
    return [
        Row(
            system="two-phase commit",
            died="the coordinator",
            account=account,
            unavailable_s=customers.unavailable_s(account, killed_s),
            by_hand="nothing (no promise given)" if account == ERIN else "start the coordinator again",
        )
        for account in ACCOUNTS
    ]


def _ask_for_transfers(bank: Bank, story: Story) -> list[threading.Thread]:
    """Begin the transfers, and return once each has come to its stop; the threads wait for the answers."""
    askers = [threading.Thread(target=bank.ask, args=(COORDINATOR, transfer)) for transfer in TRANSFERS]
    for asker, transfer in zip(askers, TRANSFERS, strict=True):
        amount = format_amount(transfer.amount)
        story.tell(f"{transfer.id}: move {amount} from {transfer.source} to {transfer.target}.")
        asker.start()
        bank.wait_for_line(COORDINATOR, f"{transfer.id} {STOPS[transfer.id]}")
    story.tell("Phase one is over: the branches have promised, so the four accounts are locked.")
    story.explain(
        "For T1 the coordinator has all the promises, and has written nothing yet;",
        'for T2 it has written "commit" to its disk, and has not sent it yet.',
    )
    return askers


def _tell_who_waits(bank: Bank, story: Story) -> None:
    """Tell what the branches say of themselves."""
    story.tell("The customers who asked for T1 and T2 have no answer.")
    for transfer in TRANSFERS:
        for branch in map(branch_of, (transfer.source, transfer.target)):
            line = bank.wait_for_line(branch, f"{transfer.id} in doubt: {ALONE}")
            story.tell(f"{branch}: {line}.")
    story.explain(
        "Why does no branch give up, or go ahead? From where they stand T1 and T2 look the same:",
        "all have promised. Yet T1 is open and T2 decided, and for all they know others were told.",
        "A guess is wrong about one of them: alice has paid what bob never gets, or dave",
        "has been given what carol never paid. So they wait, and what they promised stays locked.",
    )


def _refusals(customers: Customers) -> str:
    return ", ".join(f"{account.partition('/')[2]} {count}" for account, count in customers.refused.items())


def _tell_the_end(bank: Bank, story: Story, customers: Customers) -> None:
    """Ask again for the transfers under their ids, and count the money; raise `Failed` if any is wrong."""
    for transfer, expected in zip(TRANSFERS, (Outcome.ABORTED, Outcome.COMMITTED), strict=True):
        reply = bank.ask(COORDINATOR, transfer)
        if reply is None or reply.outcome is not expected:
            raise Failed(f"{transfer.id} should be {expected}, and the coordinator says {reply}")
    story.tell("T1 is aborted, for nothing was written (presumed abort). T2 is committed, as was written.")
    paid_in = {account: len(times) for account, times in customers.served.items()}
    moved = {CAROL: -TRANSFERS[1].amount, DAVE: TRANSFERS[1].amount}
    for account in ACCOUNTS:
        expected_balance = OPENING + paid_in[account] + moved.get(account, 0)
        if bank.balance(account) != expected_balance:
            raise Failed(f"{account} should have {expected_balance} and has {bank.balance(account)}")
    story.explain("Every balance is what it should be: two-phase commit was safe. It was not available.")
