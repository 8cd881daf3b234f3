"""What three real nodes tell of a failover, and that nothing in it waits for whoever reads their lines."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atm.client import Client
from atm.config import load
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.server_parts import wait_until

WITHIN_S = 20.0


class Bank(LocalCluster):
    """Three nodes whose lines are JSON."""

    def __init__(self, folder: Path) -> None:
        path = write_cluster_ini(folder, 3)
        with path.open("a") as file:
            file.write("\n[log]\nlevel = debug\nformat = json\n")
        super().__init__(path)

    def events(self, name: str, event: str = "") -> list[dict[str, Any]]:
        """Return what a node has told of, or what of this event."""
        lines = [json.loads(line) for line in self.output(name).splitlines() if line.startswith("{")]
        assert all(line["node"] == name for line in lines)
        return [line for line in lines if event in ("", line["event"])]

    def wait_for_event(self, name: str, event: str, **fields: object) -> dict[str, Any]:
        """Return the first line of this event with these fields."""

        def found() -> list[dict[str, Any]]:
            told = self.events(name, event)
            return [line for line in told if fields.items() <= line.items()]

        wait_until(lambda: bool(found()), WITHIN_S)
        return found()[0]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    with Bank(tmp_path) as bank:
        bank.start_all()
        bank.wait_for_leader()
        for name in bank.cluster.nodes:
            for peer in bank.cluster.nodes.keys() - {name}:
                bank.wait_for_event(name, "peer.connected", peer=peer)
        yield bank


def leader_after(bank: Bank, old: str, term: int) -> str:
    """Wait for a leader of a later term, and return it."""

    def leaders() -> list[str]:
        found = [answer for name in bank.running() if name != old and (answer := bank.status(name))]
        return [answer.node for answer in found if answer.role == "leader" and answer.term > term]

    wait_until(lambda: bool(leaders()), WITHIN_S)
    return leaders()[0]


def test_a_failover_can_be_read_from_the_lines_of_those_who_live(bank: Bank) -> None:
    """Trial 9: a leader is lost and comes back; who voted, who did not and why; it starts, and stops."""
    old = bank.wait_for_leader()
    won = bank.events(old, "election.won")[-1]
    status = bank.status(old)
    assert status is not None
    term = status.term
    assert won["term"] == term
    bank.kill(old)
    new = leader_after(bank, old, term)
    [other] = bank.cluster.nodes.keys() - {old, new}
    told = bank.wait_for_event(new, "election.won", term=term + 1)
    assert told["message"] == (
        f"leads term {term + 1}: elected by {' and '.join(f'node {name}' for name in sorted((new, other)))}; "
        f"node {old} did not answer in time"
    )
    begun = bank.events(new, "election.begun")[-1]
    assert f"heard nothing of the leader, node {old}, for an election timeout" in begun["message"]
    vote = bank.wait_for_event(other, "vote.granted", candidate=new, term=term + 1)
    assert "log" in vote["message"]
    bank.wait_for_event(other, "leader.followed", leader=new, term=term + 1)
    for name in (new, other):
        assert bank.wait_for_event(name, "peer.lost", peer=old)["level"] == "warning"
    bank.start(old)
    for name in (new, other):
        back = bank.wait_for_event(name, "peer.connected", peer=old, level="info")
        assert back["away_s"] is None
        wait_until(lambda name=name: bool(bank.events(name, "peer.connected")[-1]["away_s"]), WITHIN_S)  # type: ignore[misc]
        assert "again, after" in bank.events(name, "peer.connected")[-1]["message"]
    started = bank.events(old, "node.started")
    assert [line["release"] for line in started] == [started[0]["release"]] * 2
    assert (started[0]["cluster"], started[0]["last_index"]) == ("", 0)
    assert started[1]["cluster"]
    assert started[1]["last_index"] > 0
    bank.stop(other)
    [stopped] = bank.events(other, "node.stopped")  # behind it may stand how many lines were left out
    assert stopped["message"] == f"node {other} has stopped, by SIGTERM"
    times = [line["time"] for line in bank.events(new)]
    assert times == sorted(times)


def test_a_leader_that_stood_still_tells_that_and_why_it_leads_no_more(bank: Bank) -> None:
    """Trial 9: after an unexplained change of leader on a busy machine nothing could be found out."""
    old = bank.wait_for_leader()
    status = bank.status(old)
    assert status is not None
    bank.pause(old)
    new = leader_after(bank, old, status.term)
    bank.resume(old)
    down = bank.wait_for_event(old, "leader.stepped_down", cause="higher-term")
    assert down["level"] == "warning"
    assert down["message"].startswith(f"leads term {status.term} no more: node ")
    assert bank.wait_for_event(old, "node.stalled")["stalled_ms"] >= 100
    bank.wait_for_event(old, "leader.followed", leader=new)


def test_a_server_whose_log_is_behind_is_refused_a_vote_and_told_why(bank: Bank) -> None:
    leader = bank.wait_for_leader()
    behind, other = (name for name in bank.cluster.nodes if name != leader)
    bank.stop(behind)
    with Client(bank.cluster, timeout=WITHIN_S) as client:
        assert client.credit("main", 1).outcome == "ok"
    bank.stop_all()
    bank.start(behind)
    wait_until(lambda: len(bank.events(behind, "node.started")) == 2, WITHIN_S)
    patient = "[cluster]\nelection_timeout_ms = 20000-40000"  # so that only the other one campaigns
    bank.cluster.path.write_text(bank.cluster.path.read_text().replace("[cluster]", patient))
    bank.start(other)
    refused = bank.wait_for_event(other, "vote.refused", candidate=behind, refusal="log-behind")
    assert "behind the own one, which ends at" in refused["message"]


def test_a_calm_cluster_prints_nothing_after_its_start(tmp_path: Path) -> None:
    with LocalCluster(write_cluster_ini(tmp_path, 3, election_timeout_ms="2000-4000")) as bank:
        bank.start_all()
        bank.wait_for_leader(WITHIN_S)
        with Client(bank.cluster, timeout=WITHIN_S) as client:
            client.credit("main", 1)
            wait_until(
                lambda: all("feature level 2, it was" in bank.output(name) for name in bank.cluster.nodes),
                WITHIN_S,
            )
            wait_until(
                lambda: all(bank.output(name).count("connected to") >= 2 for name in bank.cluster.nodes),
                WITHIN_S,
            )
            before = {name: bank.output(name) for name in bank.cluster.nodes}
            for _ in range(200):
                client.credit("main", 1)
        assert {name: bank.output(name) for name in bank.cluster.nodes} == before


def test_a_node_whose_lines_nobody_reads_serves_on_and_stops(tmp_path: Path) -> None:
    """A pipe takes 64 KiB: with a line for each request, it is full after some thousand."""
    path = write_cluster_ini(tmp_path, 1)
    bank = LocalCluster(path)
    with path.open("a") as file:
        file.write("\n[log]\nlevel = debug\n")
    read, write = os.pipe()
    process = subprocess.Popen([*bank.command("n1"), "-v"], stdin=subprocess.PIPE, stdout=write, stderr=write)
    try:
        os.close(write)
        with Client(load(path), timeout=WITHIN_S) as client:
            for number in range(3000):
                assert client.credit("main", 1).balance == number + 1
        process.terminate()
        assert process.wait(WITHIN_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(read)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_node_without_stdout_or_stderr_serves(tmp_path: Path, closed: str) -> None:
    path = write_cluster_ini(tmp_path, 1)
    command = LocalCluster(path).command("n1")
    process = subprocess.Popen(
        ["/bin/sh", "-c", f'exec "$@" {closed}>&-', "sh", *command], stdin=subprocess.PIPE
    )
    try:
        with Client(load(path), timeout=WITHIN_S) as client:
            assert client.credit("main", 1).balance == 1
    finally:
        process.terminate()
        assert process.wait(WITHIN_S) == 0
        assert process.stdin is not None
        process.stdin.close()
