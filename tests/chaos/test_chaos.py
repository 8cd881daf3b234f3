"""A short run of all that `bin/chaos` does, and that it would not pass for nothing."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from atm.local_cluster import write_cluster_ini
from tests.chaos.__main__ import main
from tests.chaos.faults import FAULTS, OPERATIONS, why_not
from tests.chaos.orders import Order
from tests.chaos.report import Report, Struck
from tests.chaos.run import run
from tests.chaos.scene import Fault, Scene, Story, finish, wait_for
from tests.chaos.test_network import NAMESPACES, why_no_network
from tests.support.folders import delete_folder

ROOT = Path(__file__).parents[2]


@contextmanager
def chaos(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-P", "-m", "tests.chaos", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """One fault, between calm periods; customers give up soon."""
    monkeypatch.setattr("tests.chaos.run.CALM_S", 0.5)
    monkeypatch.setattr("tests.chaos.run.HOLD_S", (1.5, 1.5))
    monkeypatch.setattr("tests.chaos.run.SERVICE_WITHIN_S", 5.0)
    monkeypatch.setattr("tests.chaos.customers.PATIENT_S", 3.0)


def run_quietly(folder: Path, fault: Fault) -> Report:
    """Of six servers the sixth is spare."""
    config = write_cluster_ini(folder, 6, snapshot_log_mb=0.1)
    return run(config, None, [fault], seed=1, duration_s=0.6, clients=8, say=lambda line: None)


@pytest.mark.timeout(240)
def test_forty_seconds_of_faults_lose_nothing_and_invent_nothing(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    seed = random.randrange(1_000_000)
    with chaos("--minutes", "0.55", "--seed", str(seed), "--json", str(figures)) as process:
        told = process.communicate()[0]
    print(told)
    assert process.returncode == 0, told
    report = json.loads(figures.read_text())
    assert len(report["struck"]) >= 4
    assert report["acknowledged"] > 1000


@pytest.mark.timeout(240)
def test_all_that_operators_do_is_done_while_others_strike_and_loses_nothing(
    brief: None, tmp_path: Path
) -> None:
    not_fired, beside = [], []

    def each_once(scene: Scene) -> Story:
        scene.companions = [fault for fault in FAULTS if fault.name in ("kill leader", "pause leader")]
        yield "each"
        for fault in OPERATIONS:
            scene.struck_beside = ""
            story = fault.story(scene)
            detail = next(story)
            if not finish(story):
                not_fired.append(f"{fault.name}: {detail}")
            beside.append(scene.struck_beside)
        return True

    report = run_quietly(tmp_path, Fault("each", "", each_once))
    assert not report.findings
    assert not not_fired
    assert any(beside)
    assert report.backup_verified


def test_a_member_that_has_no_vote_at_the_end_is_a_finding(
    brief: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost_and_not_replaced(scene: Scene) -> Story:
        [name] = scene.followers()
        scene.kill(name)
        delete_folder(scene.data_of(name))
        scene.start(name)
        yield name
        monkeypatch.setattr("tests.chaos.scene.WELL_WITHIN_S", 2.0)
        return scene.wait_until_up(name)

    report = run_quietly(tmp_path, Fault("lost", "", lost_and_not_replaced))
    [finding] = report.findings
    assert "does not say that it has a vote" in finding


def test_a_backup_that_is_damaged_is_a_finding(brief: None, tmp_path: Path) -> None:
    def damaged(scene: Scene) -> Story:
        Order(scene, "backup", str(scene.folder / "backup")).wait()
        yield "a backup"
        [piece] = (scene.folder / "backup").glob("*-*")
        piece.write_bytes(piece.read_bytes()[:-1] + b"x")
        return True

    report = run_quietly(tmp_path, Fault("damaged", "", damaged))
    assert report.findings
    assert all(finding.startswith("'admin ") for finding in report.findings)
    assert "PASS: linearizable" not in report.text()


def test_the_report_says_how_often_each_kind_was_exercised_and_which_was_not() -> None:
    report = Report(seed=1, duration_s=10, clients=8)
    report.exercised = {"lost disk": 2, "kill leader": 1, "ring": 0}
    report.struck.append(Struck(name="lost disk", begin_s=1, beside="kill leader", fired=True))
    told = report.text()
    assert "exercised: lost disk 2, kill leader 1\nnot drawn in this run: ring\n" in told
    assert "lost disk + kill leader" in told


@pytest.mark.parametrize("needs", sorted({fault.needs for fault in FAULTS} - {""}))
def test_the_faults_that_need_more_than_processes_can_be_exercised_here(needs: str) -> None:
    """Skipped, with the reason, where the forty seconds above had to do without some."""
    reason = why_not(needs, why_no_network() if needs in ("namespaces", "switch") else "")
    if reason:
        names = ", ".join(fault.name for fault in FAULTS if fault.needs == needs)
        pytest.skip(f"{names}: {reason}")


def test_a_fault_that_did_not_fire_is_no_pass(brief: None, tmp_path: Path) -> None:
    def nothing(scene: Scene) -> Story:
        yield "no node"
        return False

    report = run_quietly(tmp_path, Fault("nothing", "", nothing))
    assert report.findings == ["'nothing' (no node) did not fire"] * len(report.struck)
    assert "NO PASS" in report.text()


def test_a_node_that_ends_by_itself_and_a_bank_that_does_not_come_back_are_findings(
    brief: None, tmp_path: Path
) -> None:
    def three_stay_dead(scene: Scene) -> Story:
        scene.kill_at_once(scene.nodes[:3])
        yield "three"
        return True

    report = run_quietly(tmp_path, Fault("for good", "", three_stay_dead))
    assert "not every customer was served again" in report.findings[0]
    assert [finding[:2] for finding in report.findings[1:4]] == ["n1", "n2", "n3"]


def test_a_bank_that_is_set_back_to_a_backup_is_found_by_both_judges(brief: None, tmp_path: Path) -> None:
    def set_back(scene: Scene) -> Story:
        data, backup = scene.cluster.data_dir, tmp_path / "backup"
        scene.kill_at_once(scene.nodes)
        shutil.copytree(data, backup)
        backed_up_us = time.time_ns() // 1000
        scene.start_all()
        yield "all five"
        assert wait_for_business(scene, backed_up_us), "nothing new to be lost"
        assert wait_for_business(scene, scene.newest_stamp_us() + 500_000), "too little to be lost"
        scene.kill_at_once(scene.nodes)
        shutil.rmtree(data)
        shutil.copytree(backup, data)
        scene.start_all()
        return True

    def wait_for_business(scene: Scene, until_us: int) -> bool:
        return wait_for(lambda: scene.newest_stamp_us() > until_us or None, 20.0) is not None

    report = run_quietly(tmp_path, Fault("backup", "", set_back))
    findings = "\n".join(report.findings)
    assert "was acknowledged and is not there" in findings
    assert "none of these fits" in findings


def test_where_there_are_no_namespaces_it_is_said_and_a_failed_run_is_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["--loopback", "--minutes", "0.03", "--clients", "8", "--seed", "1"]) == 1
    told = capsys.readouterr().out
    assert re.search("^NOT EXERCISED: .*ring.*: run with --loopback$", told, re.MULTILINE)
    assert "no fault was tried: that shows nothing" in told
    [kept] = tmp_path.iterdir()
    assert f"are kept in {kept}" in told
    assert "kind='query'" in (kept / "history.txt").read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_interrupted_leaves_no_namespace_and_no_process(how: signal.Signals) -> None:
    if reason := why_no_network():
        pytest.skip(f"namespaces: {reason}")
    with chaos("--minutes", "1", "--seed", "1", "--fault", "pause leader") as process:
        assert process.stdout is not None
        told = (line for line in process.stdout if not line.startswith("NOT EXERCISED"))
        assert "pause leader" in next(told)
        mine = [path.name for path in NAMESPACES.glob(f"chaos{process.pid}-*")]
        assert len(mine) == 7
        pids = [int(pid) for name in mine for pid in netns_pids(name)]
        assert len(pids) >= 6
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert not list(NAMESPACES.glob(f"chaos{process.pid}-*"))
    assert wait_for(lambda: not any(map(is_alive, pids)) or None, 10.0)


def netns_pids(name: str) -> list[str]:
    command = ["ip", "netns", "pids", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_rates_gaps_and_latencies_are_those_of_the_time_asked_for() -> None:
    report = Report(seed=1, duration_s=10, clients=8, begin_s=100.0, end_s=110.0)
    report.done_s = [100 + i / 10 for i in range(40)] + [106 + i / 10 for i in range(40)]
    report.took_ms = [5.0] * 79 + [500.0]
    assert report.rate(102.0, 104.0) == pytest.approx(10)
    assert report.rate(104.0, 106.0) == 0
    assert report.longest_gap_ms(103.0, 107.0) == pytest.approx(2100)
    assert report.p99_ms(100.0, 105.0) == 5
    assert report.p99_ms(100.0, 110.0) == 500
