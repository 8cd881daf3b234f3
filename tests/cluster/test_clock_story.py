"""The clock of the next leader is two hours behind: log time does not go back, and no hold ends early."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from atm.client import Client, Receipt
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.ledgers import right_ledger
from tests.support.server_parts import wait_until

BEHIND_S = 2 * 3600
SLACK_S = 0.25  # what log time may lose when another leader goes on with it: an entry's way to a follower

# A node as `LocalCluster` starts it, but for its wall clock.
WITH_ANOTHER_CLOCK = f"""
import runpy, time
right = time.time_ns
time.time_ns = lambda: right() - {BEHIND_S} * 10**9
runpy.run_module("atm.local_cluster", run_name="__main__", alter_sys=True)
"""


class Clocks(LocalCluster):
    """Nodes in `behind` have a clock of their own when they are started."""

    def __init__(self, config_path: Path) -> None:
        super().__init__(config_path)
        self.behind: set[str] = set()

    def command(self, name: str) -> list[str]:
        if name not in self.behind:
            return super().command(name)
        return [sys.executable, "-P", "-c", WITH_ANOTHER_CLOCK, name, "--config", str(self.cluster.path)]

    def restart(self, name: str) -> None:
        """Kill and start a node, and return when it has caught up."""
        self.kill(name)
        self.start(name)
        self.wait_until_caught_up()

    def wait_until_caught_up(self) -> None:
        """Return when all running nodes follow the leader and have applied what it has."""
        leader = self.wait_for_leader()

        def caught_up() -> bool:
            statuses = [self.status(name) for name in self.running()]
            return len({(s.leader, s.applied_index) if s else None for s in statuses}) == 1

        wait_until(caught_up)
        assert self.wait_for_leader() == leader


@pytest.fixture
def clocks(tmp_path: Path) -> Iterator[Clocks]:
    """Three nodes; the leader's clock is right, those of the others are two hours behind."""
    with Clocks(write_cluster_ini(tmp_path, 3, max_clock_skew_ms=3 * 3600 * 1000)) as local:
        local.start_all()
        leader = local.wait_for_leader()
        local.behind = {name for name in local.cluster.nodes if name != leader}
        for name in local.behind:
            local.restart(name)
        assert local.wait_for_leader() == leader
        yield local


class Holder:
    """Holds 1.00 of an account and looks on, by small credits, until when it is held."""

    def __init__(self, client: Client, account: str, expires_ms: int) -> None:
        self._client, self.account = client, account
        client.open(account)
        client.credit(account, 100)
        self._until_s = time.monotonic() + expires_ms / 1000 - SLACK_S
        placed = client.hold(account, 100, expires_ms)
        self.expires_us = placed.time_us + expires_ms * 1000
        self.seen = [placed]

    def look(self) -> bool:
        """Return whether the amount is held."""
        self.seen.append(self._client.credit(self.account, 1))
        held = is_held(self.seen[-1])
        assert held or time.monotonic() > self._until_s, "it ended early by the customer's own clock"
        return held

    def assert_not_ended_early(self) -> None:
        """Assert that every look before the hold's end found it there."""
        assert is_held(self.seen[0])
        assert all(is_held(receipt) for receipt in self.seen if receipt.time_us < self.expires_us)


def is_held(receipt: Receipt) -> bool:
    assert receipt.balance is not None
    assert receipt.available is not None
    return receipt.balance - receipt.available == 100


def test_the_next_leader_is_two_hours_behind_and_no_time_goes_back_and_no_hold_ends_early(
    clocks: Clocks,
) -> None:
    with Client(clocks.cluster, timeout=15.0) as client:
        right = clocks.wait_for_leader()
        short, long = Holder(client, "short", 1_500), Holder(client, "long", 600_000)
        clocks.kill(right)
        behind = clocks.wait_for_leader()
        assert behind in clocks.behind
        late = Holder(client, "late", 1_500)
        assert late.seen[0].time_us / 1e6 > time.time() - 60, "log time went back with the clock"
        holders = [short, long, late]
        wait_until(lambda: len([h.look() for h in holders]) == 3 and time.time() > late.expires_us / 1e6)

        clocks.start(right)
        clocks.wait_until_caught_up()
        other = next(name for name in clocks.behind if name != behind)
        clocks.behind.remove(other)
        clocks.restart(other)
        holders.append(Holder(client, "handed-over", 3_000))
        clocks.kill(behind)
        assert clocks.wait_for_leader() not in clocks.behind
        holders.append(Holder(client, "next", 1_500))
        wait_until(lambda: [h.look() for h in holders] == [False, True, False, False, False])
        for holder in holders:
            holder.assert_not_ended_early()
    clocks.start(behind)
    ledger = right_ledger(clocks)
    states = {row.account: row.state for row in ledger["hold"]}
    assert states == {holder.account: "expired" for holder in holders} | {"long": "active"}
    in_order = sorted((r for holder in holders for r in holder.seen), key=lambda r: r.log_index)
    assert all(earlier.time_us < later.time_us for earlier, later in pairwise(in_order))
