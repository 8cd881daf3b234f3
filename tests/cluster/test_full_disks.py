"""Disks run full: another server leads; while too few have room, only queries go on; then all by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client, Unavailable
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.ledgers import right_ledger
from tests.support.odd_node import OddCluster
from tests.support.server_parts import Wire, credit, wait_until

NO_SPACE = "the disks of too many servers are nearly full"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[OddCluster]:
    with OddCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


def alarms(cluster: LocalCluster, name: str) -> tuple[str, ...]:
    status = cluster.status(name)
    return status.alarms if status else ()


def test_a_leader_whose_disk_is_nearly_full_hands_over_to_one_that_has_room(cluster: OddCluster) -> None:
    leader = cluster.wait_for_leader()
    low, *others = (name for name in cluster.cluster.nodes if name != leader)
    cluster.set(low, free_mib=10)
    wait_until(lambda: len(alarms(cluster, low)) == 1)
    with Client(cluster.cluster, timeout=15.0) as client:
        assert client.credit("main", 1).outcome == "ok"
        cluster.set(leader, free_mib=10)
        wait_until(lambda: len(alarms(cluster, leader)) == 1)
        with Client(cluster.cluster, timeout=1.0) as hasty, pytest.raises(Unavailable, match=NO_SPACE):
            hasty.credit("main", 2)
        cluster.set(low)
        wait_until(lambda: cluster.wait_for_leader() != leader)
        assert client.credit("main", 4).balance == 5
    assert alarms(cluster, leader)[0].startswith("the disk is nearly full: 10 MiB are free")
    assert cluster.wait_for_leader() in (low, *others)


def test_while_too_few_have_room_queries_go_on_and_changes_begin_again_by_themselves(
    cluster: OddCluster,
) -> None:
    names = list(cluster.cluster.nodes)
    with Client(cluster.cluster, timeout=1.0) as client:
        assert client.credit("main", 100).outcome == "ok"
        for name in names[:2]:
            cluster.set(name, free_mib=255)
        wait_until(lambda: all(alarms(cluster, name) for name in names[:2]))
        with Wire(cluster.cluster.nodes[cluster.wait_for_leader()].client) as wire:
            wait_until(lambda: wire.ask(credit("probe", 1))["outcome"] == "no_space")
        with pytest.raises(Unavailable, match=NO_SPACE):
            client.debit("main", 1)
        assert client.query("main").balance == 100 + probed(client)
        told = teller(cluster, "credit 5")
        assert told.returncode == 3
        assert NO_SPACE in told.stderr + told.stdout
        cluster.set(names[0], free_mib=270)
        with pytest.raises(Unavailable):
            client.debit("main", 1)
        cluster.set(names[0], free_mib=300)
        wait_until(lambda: teller(cluster, "credit 5").returncode == 0)
        assert alarms(cluster, names[0]) == ()
    right_ledger(cluster)


def probed(client: Client) -> int:
    """Return 1 if a probe was still taken, before the leader knew."""
    return int(client.lookup("probe").outcome == "ok")


def teller(cluster: LocalCluster, line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atm.teller", "--config", str(cluster.cluster.path), "-c", line]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_start_on_a_full_disk_says_so(cluster: OddCluster) -> None:
    name = cluster.wait_for_leader()
    assert cluster.stop(name) == 0
    cluster.set(name, free_mib=0)
    cluster.start(name).wait(15)
    assert cluster.stop(name) == 1
    line = cluster.output(name).splitlines()[-1]
    assert f" ERROR {name} node {name} stops: the disk of " in line
    assert line.endswith(
        "0 KiB are free, and a start takes 1024 at least. Make room and start again; nothing is lost"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="A REALLY FULL DISK NOT TRIED: it takes root to mount one")
def test_a_disk_that_is_really_full_ends_the_start_with_the_right_words(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(data)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"A REALLY FULL DISK NOT TRIED: {mounted.stderr}")
    try:
        with LocalCluster(write_cluster_ini(tmp_path, 1)) as cluster:
            cluster.start_all()
            cluster.wait_for_leader()
            wait_until(lambda: bool(alarms(cluster, "n1")) is False)
            fill(data, leaving_kib=200)
            wait_until(lambda: len(alarms(cluster, "n1")) == 1)
            with Client(cluster.cluster, timeout=1.0) as client, pytest.raises(Unavailable, match=NO_SPACE):
                client.credit("main", 1)
            assert cluster.stop("n1") == 0
            for kib in (200, 40, 16, 0):
                fill(data, leaving_kib=kib)
                cluster.start("n1").wait(15)
                assert cluster.stop("n1") == 1
                line = cluster.output("n1").splitlines()[-1]
                assert "the disk of" in line, line
                assert "is full" in line, line
            (data / "filler").unlink()
            cluster.start("n1")
            cluster.wait_for_leader()
            with Client(cluster.cluster, timeout=15.0) as client:
                assert client.credit("main", 1).outcome == "ok"
    finally:
        subprocess.run(["umount", str(data)], check=True)


def fill(folder: Path, leaving_kib: int) -> None:
    """Fill the disk of `folder` but for so much."""
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(folder)
    filler.write_bytes(bytes(max(0, free.f_bavail * free.f_frsize - leaving_kib * 1024)))
