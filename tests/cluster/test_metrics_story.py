"""Three real nodes: every metric that an alert or the dashboard names is there, and moves when it should."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest

from atm.client import Client
from atm.client.admin_client import AdminClient
from atm.local_cluster import LocalCluster
from atm.wire.client_messages import TransferLeadership
from tests.support.backups import admin
from tests.support.certificates import Authority, write_tls_ini
from tests.support.metrics import Scrape, add_metrics, monitored, scrape
from tests.support.server_parts import wait_until

NODES = ("n1", "n2", "n3")
# What moves only where this story does not go, and the test that has it move.
ELSEWHERE = {
    "atm_alarm": "tests/server/test_publisher.py",
    "atm_connections_given_up_total": "tests/server/test_connection.py",
    "atm_connections_refused_total": "tests/server/test_listener.py",
    "atm_pin_requests_waiting": "tests/server/test_pin_queue.py",
    "atm_requests_waiting": "tests/server/test_request_router.py",
    "atm_is_voter": "tests/server/test_neighbours.py",
    "atm_lanes_here": "of a bank on PostgreSQL: tests/cluster/test_lanes.py",
    "atm_build_info": "the labels tell it",
    "process_max_fds": "it is a limit",
    "up": "Prometheus' own",
}


class Bank(LocalCluster):
    """Three real nodes with TLS and metrics."""

    def ask(self, name: str, path: str) -> tuple[int, str]:
        """Return status and body, 0 if the node does not answer; fail if that takes a second."""
        began_s = time.monotonic()
        try:
            with urlopen(f"http://{self.cluster.nodes[name].metrics}{path}", timeout=2.0) as answer:
                found = answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                found = error.code, error.read().decode()
        except URLError:
            return 0, ""
        assert time.monotonic() - began_s < 1, path
        return found

    def scrape(self, name: str) -> Scrape:
        status, text = self.ask(name, "/metrics")
        assert status == 200
        return scrape(text)

    def ready(self, name: str) -> bool:
        return self.ask(name, "/readyz")[0] == 200


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    path = write_tls_ini(tmp_path, Authority(), 3)
    add_metrics(path)
    with Bank(path) as bank:
        bank.start_all()
        bank.wait_for_leader()
        wait_until(lambda: all(bank.ready(name) for name in NODES))
        yield bank


class Seen:
    """Which metrics have moved, and which are there at all."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.moved: set[str] = set()

    def note(self, before: Scrape, after: Scrape, *moved: str) -> None:
        """Fail if one of these has not moved."""
        self.names |= before.types.keys() | after.types.keys()
        for name in moved:
            own = [key for key in {*before, *after} if (key if isinstance(key, str) else key[0]) == name]
            assert own, f"{name} is missing"
            assert any(before.get(key) != after.get(key) for key in own), f"{name} stands still"
            self.moved.add(name.removesuffix("_count"))

    def wait(self, before: Scrape, look: Callable[[], Scrape], *moved: str) -> None:
        """Wait until all of these have moved."""

        def have_moved() -> bool:
            try:
                self.note(before, look(), *moved)
            except AssertionError:
                return False
            return True

        wait_until(have_moved)


def test_what_is_monitored_is_there_and_moves(bank: Bank) -> None:
    seen = Seen()
    leader = bank.wait_for_leader()
    follower, other = (name for name in NODES if name != leader)
    work(bank, leader, follower, seen)
    back_up(bank, seen)
    promtool_accepts(bank.ask(leader, "/metrics")[1])
    pause_a_follower(bank, leader, other, seen)
    hand_over(bank, leader, follower, seen)
    kill_the_leader(bank, seen)
    assert monitored() - seen.names == {"up", "atm_lanes_here"}, "what an alert or a panel names is there"
    assert monitored() - seen.moved - ELSEWHERE.keys() == set(), "and moves"
    assert seen.moved & ELSEWHERE.keys() == set()


def work(bank: Bank, leader: str, follower: str, seen: Seen) -> None:
    """Credits and queries, at the leader and at a follower; a snapshot."""
    at_leader, at_follower = bank.scrape(leader), bank.scrape(follower)
    with Client(bank.cluster.path, node=leader) as client:
        client.open("ann")
        for _ in range(20):
            client.credit("ann", 5)
        assert client.debit("ann", 10_000).outcome == "insufficient_funds"
        now = bank.scrape(leader)
        assert now["atm_connections"] > at_leader["atm_connections"]
        assert now["atm_requests_total", "credit", "ok"] == 20
        assert now["atm_requests_total", "debit", "insufficient_funds"] == 1
        assert now["atm_request_seconds_count"] >= 22
        seen.wait(
            at_leader,
            lambda: bank.scrape(leader),
            "atm_requests_total",
            "atm_request_seconds_count",
            "atm_log_sync_seconds_count",
            "atm_commit_index",
            "atm_applied_index",
            "atm_last_index",
            "atm_log_bytes",
            "atm_ledger_bytes",
            "atm_disk_free_bytes",
            "atm_connections",
            "atm_clock_offset_seconds",
            "atm_uptime_seconds",
            "atm_run_loop_idle_seconds",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
        )
    with Client(bank.cluster.path, node=follower) as client:
        for _ in range(5):
            client.credit("ann", 5)
    now = bank.scrape(follower)
    seen.note(at_follower, now, "atm_requests_forwarded_total", "atm_request_seconds_count")
    assert ("atm_requests_total", "credit", "ok") not in now, "the leader has counted them"
    assert bank.scrape(leader)["atm_requests_total", "credit", "ok"] == 25
    before = bank.scrape(leader)
    AdminClient(bank.cluster, 5.0).take_snapshot(leader, 30.0)
    seen.wait(before, lambda: bank.scrape(leader), "atm_snapshot_index")
    certificates = {bank.scrape(name)["atm_certificate_expiry_timestamp_seconds"] for name in NODES}
    assert min(certificates) > time.time()
    seen.moved.add("atm_certificate_expiry_timestamp_seconds")


def back_up(bank: Bank, seen: Seen) -> None:
    """Each server tells when, whichever gave the backup."""
    before = {name: bank.scrape(name) for name in NODES}
    began_s = time.time()
    folder = bank.cluster.path.parent / "backup"
    assert admin("--config", bank.cluster.path, "backup", folder, "--verify") == 0
    for name in NODES:
        seen.wait(before[name], lambda name=name: bank.scrape(name), "atm_backup_begun_timestamp_seconds")  # type: ignore[misc]
        assert -1 < bank.scrape(name)["atm_backup_begun_timestamp_seconds"] - began_s < 30


def pause_a_follower(bank: Bank, leader: str, other: str, seen: Seen) -> None:
    """Its lag grows; once it goes on it catches up, and is ready again."""
    before = bank.scrape(leader)
    bank.pause(other)
    with Client(bank.cluster.path, node=leader) as client:
        for _ in range(5):
            client.credit("ann", 5)
    seen.wait(before, lambda: bank.scrape(leader), "atm_peer_lag_entries")
    assert bank.scrape(leader)["atm_peer_lag_entries", other] >= 5
    bank.resume(other)
    wait_until(lambda: bank.ready(other))
    wait_until(lambda: bank.scrape(leader)["atm_peer_lag_entries", other] == 0)
    wait_until(lambda: bank.scrape(other)["atm_applied_index"] >= before["atm_applied_index"] + 5)


def hand_over(bank: Bank, leader: str, follower: str, seen: Seen) -> None:
    at_leader, at_follower = bank.scrape(leader), bank.scrape(follower)
    reply = AdminClient(bank.cluster, 5.0).change(TransferLeadership(id="t", node=follower))
    assert reply.outcome == "ok", reply
    moved = ("atm_is_leader", "atm_role", "atm_term", "atm_leader_changes_total")
    seen.wait(at_leader, lambda: bank.scrape(leader), "atm_step_downs_total", *moved)
    seen.wait(at_follower, lambda: bank.scrape(follower), *moved)
    assert bank.scrape(leader)["atm_step_downs_total", "handed_over"] == 1


def kill_the_leader(bank: Bank, seen: Seen) -> None:
    """Those that are left tell of the new one.

    With two of three gone the last one is alive, and not ready.
    """
    leader = bank.wait_for_leader()
    left = [name for name in NODES if name != leader]
    before = {name: bank.scrape(name) for name in left}
    bank.kill(leader)
    for name in left:
        seen.wait(before[name], lambda name=name: bank.scrape(name), "atm_leader_changes_total")  # type: ignore[misc]
        seen.note(before[name], bank.scrape(name), "atm_peer_connections", "atm_peer_connected")
        assert bank.scrape(name)["atm_peer_connected", leader] == 0
    wait_until(lambda: all(bank.ready(name) for name in left))
    leader, last = sorted(left, key=lambda name: not bank.scrape(name)["atm_is_leader"])
    before_last = bank.scrape(last)
    bank.kill(leader)
    killed_s = time.monotonic()
    wait_until(lambda: not bank.ready(last))
    assert time.monotonic() - killed_s < 1.2, "a second, and what the machine is busy with"
    wait_until(lambda: "no leader is known" in bank.ask(last, "/readyz")[1])
    assert bank.ask(last, "/livez") == (200, "ok\n")
    seen.note(before_last, bank.scrape(last), "atm_has_leader", "atm_ready")


def promtool_accepts(text: str) -> None:
    """Ask promtool, if it is here; tests/test_monitoring.py says so if it is not."""
    promtool = shutil.which("promtool")
    if promtool is not None:
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")
