"""The product's five servers with their leader killed under load, and what customers noticed of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.money import format_amount
from demo.two_phase.customers import Customers, Failed
from demo.two_phase.story import Row, Story

SYSTEM = "Raft"
ACCOUNTS = ("alice", "bob", "carol", "dave", "erin")
TRANSFERS = (("T1", "alice", "bob"), ("T2", "carol", "dave"))
OPENING, AMOUNT = 100_00, 40_00
PATIENCE_S = 20.0
SERVED_BEFORE = 50  # deposits of each customer before the kill: a stream, not a beginning


def run(folder: Path) -> list[Row]:
    """Tell the story and return what was measured; raise `Failed`, `NoLeader` or `ClientError`."""
    story = Story("Raft: five servers keep one ledger, one of them leads")
    with LocalCluster(write_cluster_ini(folder)) as cluster, ExitStack() as clients:
        cluster.start_all()
        leader = cluster.wait_for_leader()
        # One customer at each server, so that one of them is at the leader that dies.
        at = {
            account: clients.enter_context(Client(cluster.cluster, node, PATIENCE_S))
            for account, node in zip(ACCOUNTS, cluster.cluster.nodes, strict=True)
        }
        for account, client in at.items():
            client.open(account)
            client.credit(account, OPENING)
        with Customers({account: _pay_in(client, account) for account, client in at.items()}) as customers:
            customers.wait_until_all_served(0.0, SERVED_BEFORE)
            story.tell("Five customers, one at each server, pay cents into five accounts, without pause.")
            killed_s = time.monotonic()
            cluster.kill(leader)
            story.tell(f"kill -9 to {leader}, the leader, in the middle of it. It is not started again.")
            _transfer(at, story)
            customers.wait_until_all_served(killed_s)
            story.tell("Every account is served again.")
            story.tell(f"{cluster.wait_for_leader()} leads: the other four have elected it.")
        _check_money(at, customers)
        total = sum(map(len, customers.served.values()))
        story.explain(f"All {total} deposits that were acknowledged are in the balances, each once.")
    return [
        Row(SYSTEM, "the leader", account, customers.unavailable_s(account, killed_s), "nothing")
        for account in ACCOUNTS
    ]


def _transfer(at: dict[str, Client], story: Story) -> None:
    """Ask for both transfers now, at once; tell when each was done."""
    amount = format_amount(AMOUNT)
    for name, source, target in TRANSFERS:
        story.tell(f"{name}: move {amount} from {source} to {target}.")
    with ThreadPoolExecutor(len(TRANSFERS)) as threads:
        began_s = time.monotonic()
        ends = {
            threads.submit(at[source].transfer, source, target, AMOUNT): name
            for name, source, target in TRANSFERS
        }
        for end in as_completed(ends):
            story.tell(f"{ends[end]}: {end.result().outcome}, after {time.monotonic() - began_s:.2f} s.")


def _pay_in(client: Client, account: str) -> Callable[[], bool]:
    return lambda: client.credit(account, 1).outcome == "ok"


def _check_money(at: dict[str, Client], customers: Customers) -> None:
    """Count the money; raise `Failed` if any is missing, or there twice."""
    expected = {account: OPENING + len(customers.served[account]) for account in ACCOUNTS}
    for _, source, target in TRANSFERS:
        expected[source] -= AMOUNT
        expected[target] += AMOUNT
    for account, client in at.items():
        balance = client.query(account).balance
        if balance != expected[account]:
            raise Failed(f"{account} should have {expected[account]} and has {balance}")
