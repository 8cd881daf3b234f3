"""A whole server tells how it is, also while its disk hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from msgspec.structs import replace

from atm.config import Address, Cluster
from atm.local_cluster import free_ports
from atm.server.group.timed_disk import TimedDisk
from atm.server.metrics.health import HUNG_S, Published
from atm.server.metrics.node_metrics import METRICS
from atm.server.net.listener import AddressUnavailable
from atm.server.server import Server
from tests.support.collecting import collecting
from tests.support.metrics import Scrape, scrape
from tests.support.server_parts import DEADLINE_S, RunningServer, Wire, cluster_of, wait_until


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = cluster_of(tmp_path, "n1")
    address = Address("127.0.0.1", free_ports(1)[0])
    return replace(cluster, nodes={"n1": replace(cluster.nodes["n1"], metrics=address)})


@pytest.fixture
def server(cluster: Cluster) -> Iterator[RunningServer]:
    with RunningServer(cluster, "n1") as server:
        server.wait_for_leader()
        wait_until(lambda: asked(cluster, "/readyz") == (200, "ok\n"))
        yield server


def asked(cluster: Cluster, path: str) -> tuple[int, str]:
    """Return status and body; fail if that takes a second."""
    address = cluster.nodes["n1"].metrics
    try:
        with urlopen(f"http://{address}{path}", timeout=1.0) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def scraped(cluster: Cluster) -> Scrape:
    status, text = asked(cluster, "/metrics")
    assert status == 200
    return scrape(text)


def test_a_request_is_counted_and_timed(cluster: Cluster, server: RunningServer) -> None:
    with Wire(server.client) as wire:
        for number in range(3):
            wire.ask({"id": f"c{number}", "op": "credit", "account": "main", "amount": 5})
        wire.ask({"id": "d", "op": "debit", "account": "main", "amount": 100})
        wire.ask({"id": "q", "op": "query", "account": "main"})
        wait_until(lambda: scraped(cluster)["atm_commit_index"] >= 5)  # it is published once a tick
        found = scraped(cluster)
        assert found["atm_connections"] == 1
    assert found["atm_requests_total", "credit", "ok"] == 3
    assert found["atm_requests_total", "debit", "insufficient_funds"] == 1
    assert found["atm_requests_total", "query", "ok"] == 1
    assert found["atm_request_seconds_count"] == 5
    assert found["atm_request_seconds_sum"] > 0
    assert found["atm_log_sync_seconds_count"] > 3
    assert found["atm_is_leader"] == found["atm_ready"] == found["atm_role", "leader"] == 1
    assert found["atm_commit_index"] >= 5


def test_what_is_no_request_and_what_is_refused_at_the_port_is_counted(
    cluster: Cluster, server: RunningServer
) -> None:
    with Wire(server.client) as wire:
        wire.ask({"id": "x", "op": "no such op"})
    found = scraped(cluster)
    assert found["atm_requests_total", "unknown", "bad_request"] == 1
    assert not any("no such op" in key for key in found if isinstance(key, tuple))


def test_every_metric_of_a_server_is_in_the_table_with_its_type(
    cluster: Cluster, server: RunningServer
) -> None:
    wait_until(lambda: "atm_ledger_bytes" in scraped(cluster))
    found = scraped(cluster)
    assert found.types == {name: kind for name, (kind, _) in METRICS.items() if name in found.types}
    absent = METRICS.keys() - found.types.keys()
    assert absent <= {
        "atm_backup_begun_timestamp_seconds",  # none was
        "atm_certificate_expiry_timestamp_seconds",  # without TLS
        "atm_clock_offset_seconds",  # without other servers
        "atm_lanes_here",  # of a bank on PostgreSQL
        "atm_peer_connected",
        "atm_peer_lag_entries",
        "atm_requests_total",  # nobody has asked yet
        "process_open_fds",  # not on every system
        "process_resident_memory_bytes",
    }


def test_a_leader_that_is_removed_is_counted(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, "n1", "n2")
    with RunningServer(cluster, "n1") as n1, RunningServer(cluster, "n2") as n2:
        servers = {"n1": n1, "n2": n2}

        def leaders() -> list[str]:
            """Return who leads, once what a new leader proposes by itself is committed."""
            seen = [(name, published(each)) for name, each in servers.items()]
            return [name for name, at in seen if at.role == "leader" and at.commit_index == at.last_index > 0]

        wait_until(lambda: len(leaders()) == 1)
        [leader] = leaders()
        with Wire(servers[leader].client) as wire:
            wire.ask({"id": "c", "op": "credit", "account": "main", "amount": 5})
            wire.send({"id": "r", "op": "remove_member", "node": leader, "yes": True})
            wait_until(lambda: published(servers[leader]).step_downs["removed"] == 1)
    assert sum(published(servers[leader]).step_downs.values()) == 1


def published(server: RunningServer) -> Published:
    """Return what the run loop has published last, once it has."""
    health = server.server._health
    wait_until(lambda: health.published is not None)
    assert health.published is not None
    return health.published


def test_all_three_answer_while_the_disk_hangs_and_ready_tells_it_within_a_second(
    cluster: Cluster, server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, goes_on = Event(), Event()

    def hang(_disk: TimedDisk, _file: int) -> None:
        hanging.set()
        assert goes_on.wait(DEADLINE_S)

    monkeypatch.setattr("atm.storage.disk.OsDisk.sync", hang)
    try:
        with Wire(server.client) as wire:
            wire.send({"id": "c", "op": "credit", "account": "main", "amount": 5})
            assert hanging.wait(DEADLINE_S)
            began_s = time.monotonic()
            wait_until(lambda: asked(cluster, "/readyz")[0] == 503, within_s=1.5)
            assert time.monotonic() - began_s < 1.2, "a second, and what the machine is busy with"
            assert asked(cluster, "/readyz")[1].endswith("it waits for its disk\n")
            assert asked(cluster, "/livez") == (200, "ok\n")
            found = scraped(cluster)
            assert found["atm_ready"] == 0
            assert found["atm_run_loop_idle_seconds"] > 0.5
            monkeypatch.setattr("atm.server.metrics.health.HUNG_S", 0.5)
            assert HUNG_S > 30
            assert asked(cluster, "/livez") == (200, "ok\n"), "a restart repairs no disk"
            goes_on.set()
            assert wire.answer() is not None
    finally:
        goes_on.set()
    wait_until(lambda: asked(cluster, "/readyz") == (200, "ok\n"))


def test_a_server_that_stops_says_so_until_its_end(cluster: Cluster, server: RunningServer) -> None:
    server.server.stop()
    assert asked(cluster, "/readyz") == (503, "the node stops\n")
    assert asked(cluster, "/livez") == (200, "ok\n")


def test_without_the_key_there_is_no_port_and_a_taken_one_is_one_line(
    cluster: Cluster, server: RunningServer, tmp_path: Path
) -> None:
    other = cluster_of(tmp_path / "other", "n1")
    taken = cluster.nodes["n1"].metrics
    with pytest.raises(AddressUnavailable, match=f"cannot listen on {taken}: another node"):
        Server(
            replace(other, nodes={"n1": replace(other.nodes["n1"], metrics=taken)}),
            "n1",
            say=lambda line: None,
            logger=collecting([]),
        )
    assert not (other.data_dir / "n1").exists(), "nothing is made before"
