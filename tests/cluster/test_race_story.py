"""Two tellers race for the same money through different nodes: one gets it, the other is declined."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from atm.client import Client
from atm.local_cluster import LocalCluster
from tests.cluster.tellers import tellers
from tests.support.ledgers import right_ledger

ROUNDS = 1_000
ACCOUNTS = 20  # that are raced for at once, so that the rounds take seconds and not minutes
PRIZE = 5_000


def race(cluster: LocalCluster, account: str) -> Counter[str]:
    """Run this account's share of the rounds, each between two drawn nodes; return who won how often."""
    winners: Counter[str] = Counter()
    start = Barrier(2)
    chance = random.Random(account)
    with tellers(cluster) as at, ThreadPoolExecutor(2) as both:

        def debit_at(node: str) -> tuple[str, str]:
            start.wait()
            return at[node].debit(account, PRIZE).outcome, node

        for _ in range(ROUNDS // ACCOUNTS):
            pair = chance.sample(list(at), 2)
            assert at[pair[0]].credit(account, PRIZE).balance == PRIZE
            declined, done = sorted(both.map(debit_at, pair))
            assert (declined[0], done[0]) == ("insufficient_funds", "ok")
            winners[done[1]] += 1
    return winners


def test_of_two_tellers_at_different_nodes_one_gets_the_money_a_thousand_times(cluster: LocalCluster) -> None:
    accounts = [f"prize-{number}" for number in range(ACCOUNTS)]
    with Client(cluster.cluster) as client:
        for account in accounts:
            client.open(account)
    with ThreadPoolExecutor(ACCOUNTS) as races:
        winners = sum(races.map(race, [cluster] * ACCOUNTS, accounts), Counter[str]())
    assert winners.total() == ROUNDS
    assert winners.keys() == cluster.cluster.nodes.keys(), "some node's tellers never win: that was no race"
    ledger = right_ledger(cluster)
    outcomes = Counter(row.outcome for row in ledger["receipt"] if row.op == "debit")
    assert outcomes == {"ok": ROUNDS, "insufficient_funds": ROUNDS}
    prizes = [row for row in ledger["journal"] if row.debit_account in accounts]
    assert len(prizes) == ROUNDS
    assert {row.debit_balance for row in prizes} == {0}
