"""Transfers between lanes by real servers that are killed all the time: no cent is lost or there twice.

`python -m tests.chaos.crossings --seconds 60 --seed 1`: three servers share eight lanes on a PostgreSQL;
customers transfer between accounts of all lanes and take some transfers back, while a server is killed
(SIGKILL) every second or two and started again. At the end each request is asked for again under its id, and
the balances must be exactly what its receipts say, and an audit of all lanes must find nothing; then the exit
code is 0.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Thread

from atm.client import Client, OutcomeUnknown, Unavailable
from atm.client.receipt import Balance, Receipt
from atm.lanes.books import copied_lanes
from atm.lanes.share import lane_of
from atm.ledger.audit.auditing import audit
from atm.local_cluster import LocalCluster
from atm.local_postgres import LocalPostgres, why_no_postgres
from tests.support.lanes import bank_at

SERVERS, LANES, CUSTOMERS = 3, 8, 6
ACCOUNTS = [f"n{number}" for number in range(12)]
OPENING = 10_000
LEADER_S = 20.0
SETTLED_S = 30.0
Say = Callable[[str], None]


class Customer(Thread):
    """Asks one request after the other, each until it has a receipt or the run is over."""

    def __init__(
        self, bank: LocalCluster, number: int, seed: int, over: Event, *, pause_s: float = 0.0
    ) -> None:
        super().__init__(name=f"customer {number}", daemon=True)
        self._bank, self._number, self._over = bank, number, over
        self._pause_s = pause_s  # between requests
        self._draw = random.Random(f"{seed} {number}")
        self.asked: dict[str, tuple[str, str, int]] = {}  # by id: payer, receiver, amount
        self.taken_back: dict[str, str] = {}  # by id: of what

    def run(self) -> None:
        with Client(self._bank.cluster.path, timeout=5.0) as client:
            while not self._over.is_set():
                name = f"c{self._number}-{len(self.asked)}"
                payer, receiver = self._draw.sample(ACCOUNTS, 2)
                self.asked[name] = (payer, receiver, self._draw.randrange(1, 500))
                with contextlib.suppress(OutcomeUnknown, Unavailable):
                    receipt = self.ask(client, name)
                    if receipt.ok and self._draw.random() < 0.2:
                        self.taken_back[f"{name}-back"] = name
                        self.take_back(client, f"{name}-back")
                self._over.wait(self._pause_s)

    def ask(self, client: Client, name: str) -> Receipt:
        """Ask for a transfer, the first time or again."""
        payer, receiver, amount = self.asked[name]
        return client.transfer(payer, receiver, amount, request_id=name)

    def take_back(self, client: Client, name: str) -> Receipt:
        """Ask for a reversal, the first time or again."""
        return client.reverse(self.taken_back[name], request_id=name)


def run(folder: Path, seconds: float, seed: int, say: Say) -> list[str]:
    """Return what is wrong."""
    draw, over = random.Random(seed), Event()
    with LocalPostgres() as database:
        with bank_at(folder, database.uri(), SERVERS, lanes=LANES) as bank:
            bank.start_all()
            bank.wait_for_leader(LEADER_S)
            with Client(bank.cluster.path) as client:
                for account in ACCOUNTS:
                    client.open(account).check()
                    client.credit(account, OPENING).check()
            customers = [Customer(bank, number, seed, over) for number in range(CUSTOMERS)]
            for customer in customers:
                customer.start()
            kills, ends_s = 0, time.monotonic() + seconds
            while time.monotonic() < ends_s:
                time.sleep(0.5 + draw.random())
                name = draw.choice(sorted(bank.running()))
                bank.kill(name)
                kills += 1
                time.sleep(draw.random())
                bank.start(name)
            over.set()
            for customer in customers:
                customer.join()
            say(f"{kills} servers killed, {sum(len(each.asked) for each in customers)} transfers asked for")
            findings = judged(bank, customers, say)
        with copied_lanes(database.uri()) as copies:
            for each in copies:
                wrong = (*each.problems, *audit(each.path).problems)
                findings += [f"lane {each.lane}: {line}" for line in wrong]
    return findings


def judged(bank: LocalCluster, customers: Sequence[Customer], say: Say) -> list[str]:
    """Ask for every request again, and compare the balances with what the receipts say."""
    expected = Counter(dict.fromkeys(ACCOUNTS, OPENING))
    outcomes: Counter[str] = Counter()
    apart = 0
    with Client(bank.cluster.path, timeout=SETTLED_S) as client:
        for customer in customers:
            for name, (payer, receiver, amount) in customer.asked.items():
                receipt = customer.ask(client, name)
                outcomes[receipt.outcome] += 1
                apart += lane_of(payer, LANES) != lane_of(receiver, LANES)
                if receipt.ok:
                    expected[payer] -= amount
                    expected[receiver] += amount
            for name, original in customer.taken_back.items():
                receipt = customer.take_back(client, name)
                outcomes[f"reverse {receipt.outcome}"] += 1
                if receipt.ok:
                    payer, receiver, amount = customer.asked[original]
                    expected[payer] += amount
                    expected[receiver] -= amount
        found = {account: _balance(client, account) for account in ACCOUNTS}
    say(f"{apart} between lanes; " + ", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())))
    return [
        f"{account} has {found[account]}, and its receipts add up to {expected[account]}"
        for account in ACCOUNTS
        if found[account] != expected[account]
    ]


def _balance(client: Client, account: str) -> int:
    found = client.query(account).check()
    assert isinstance(found, Balance)
    return found.balance


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.crossings",
        description="Kill servers while money goes between lanes, and count it.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    options = parser.parse_args(argv)
    why = why_no_postgres()
    if why is not None:
        print(why, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="atm-crossings-") as folder:
        findings = run(Path(folder), options.seconds, options.seed, print)
    print("\n".join(findings) or "nothing is wrong")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
