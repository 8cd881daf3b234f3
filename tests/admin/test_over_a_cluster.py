"""bin/admin against real nodes, where it is interrupted, and where nodes are gone or hang."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.admin.main import main
from atm.client import Client
from atm.local_cluster import LocalCluster, free_ports, write_cluster_ini
from tests.support.server_parts import wait_until


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        wait_until(lambda: all(_level(local, name) == 2 for name in local.cluster.nodes))
        yield local


def _level(nodes: LocalCluster, name: str) -> int | None:
    status = nodes.status(name)
    return None if status is None else status.feature_level


def admin(nodes: LocalCluster, *arguments: str) -> int:
    return main(["--config", str(nodes.cluster.path), *arguments])


def test_an_add_that_ctrl_c_ends_says_what_it_leaves_and_can_be_taken_back(
    nodes: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    peer, client = (f"127.0.0.1:{port}" for port in free_ports(2))
    command = ["add", "n4", "--peer", peer, "--client", client]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "atm.admin", "--config", str(nodes.cluster.path), *command],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    said = []
    with process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "n4 does not answer" in line:
                process.send_signal(signal.SIGINT)
                break
        said += process.stderr.readlines()
    assert process.returncode == 130
    assert said[-1] == (
        "admin: Interrupted: n4 is a learner, which goes on catching up and has no vote. To go on: bin/admin "
        f"add n4 --peer {peer} --client {client}; to take it out: bin/admin remove n4\n"
    )
    assert admin(nodes, "health") == 1
    assert capsys.readouterr().out == "degraded: n4 has no vote\n"
    with Client(nodes.cluster) as bank:
        assert bank.credit("main", 1).outcome == "ok"  # a learner costs nobody's majority
    assert admin(nodes, "remove", "n4") == 0
    wait_until(lambda: admin(nodes, "health") == 0)


def test_a_majority_that_hangs_or_is_killed_is_told_within_two_seconds(
    nodes: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.pause("n1")
    nodes.pause("n2")
    try:
        started = time.monotonic()
        assert admin(nodes, "health") == 3
        assert time.monotonic() - started < 2
    finally:
        nodes.resume("n1")
        nodes.resume("n2")
    nodes.wait_for_leader()
    nodes.kill("n1")
    nodes.kill("n2")
    started = time.monotonic()
    assert admin(nodes, "health") == 3
    assert time.monotonic() - started < 2
    assert admin(nodes, "status") == 3
    assert capsys.readouterr().out.splitlines()[-1] == (
        "The bank is not available: 1 of 3 servers answer, and none of them leads a majority"
    )


def test_a_voter_that_is_down_is_not_removed_without_yes_and_two_are_enough_with_it(
    nodes: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes.kill("n3")
    nodes.wait_for_leader()
    assert admin(nodes, "remove", "n3") == 1
    assert "Nothing was changed" in capsys.readouterr().err
    assert admin(nodes, "remove", "n3", "--yes") == 0
    assert admin(nodes, "remove", "n3", "--yes") == 2
    assert "there is no member n3: the members are n1, n2" in capsys.readouterr().err
    assert admin(nodes, "health") == 0
