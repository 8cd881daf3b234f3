"""`bin/bench` as a command: what it refuses, prints, writes and leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.systems import PEERS
from bench.usage import PROC_SELF
from tests.bench.fakes import Absent, Broken, MadeUp, assert_refused

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-P", "-m", "bench"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--peers", "etcd,zookeeper"],
            "there is no peer 'zookeeper', only atm-postgresql, etcd, postgresql, postgresql-serializable, ",
        ),
        (["--only", "credits-65"], "there is no work 'credits-65', only credits-1, "),
        (["--only", ","], "--only names no work"),
        (["--nodes", "4"], "argument --nodes: invalid choice: 4 (choose from "),
        (["--rounds", "0"], "'0' is not a number above 0"),
        (["--rounds", "2.5"], "'2.5' is not a number above 0"),
        (["--seconds", "nan"], "'nan' is not a number above 0"),
        (["--json", "/nowhere/figures.json"], "/nowhere/figures.json cannot be written"),
        (["--plot", "/nowhere/run.png"], "/nowhere/run.png cannot be written"),
        (["--folder", "/nowhere"], "--folder /nowhere: there is no such folder"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line_before_anything_is_measured(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(bench.main, arguments, line, capsys)


def test_a_picture_without_a_format_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra 'bench'")
    assert bench.main(["--plot", str(tmp_path / "picture")]) == 2
    assert "should end in one of .png, .svg, .pdf" in capsys.readouterr().err


def test_the_table_goes_out_the_progress_beside_it_and_the_exit_code_tells_of_a_breakdown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(bench, "Atm", MadeUp)
    monkeypatch.setitem(PEERS, "etcd", Absent)
    monkeypatch.setitem(PEERS, "sqlite", Broken)
    figures = tmp_path / "figures.json"
    assert bench.main(["--peers", "etcd", "--rounds", "1", "--json", str(figures)]) == 0
    told = capsys.readouterr()
    assert "NOT MEASURED: not installed: install it" in told.out
    assert "SKIPPED: absent: not installed: install it" in told.err
    assert "made-up 1.2: none" in told.err
    assert {row["system"] for row in json.loads(figures.read_text())} == {"made-up"}
    assert bench.main(["--peers", "sqlite", "--rounds", "1"]) == 1


class Interrupted(MadeUp):
    name = "interrupted"

    def fail_over(self) -> float:
        raise KeyboardInterrupt


def test_what_was_measured_until_an_interruption_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "Atm", Interrupted)
    assert bench.main(["--peers", "", "--rounds", "1"]) == 130
    assert "credits-256  interrupted" in capsys.readouterr().out
    assert Interrupted.running == 0


def test_a_tiny_run_of_the_real_thing_writes_what_it_measured(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = [
        "--only",
        "credits-8,failover",
        "--peers",
        "limit,sqlite",
        "--seconds",
        "0.3",
        "--quick",
        "--nodes",
        "3",
    ]
    done = subprocess.run(
        [*COMMAND, *arguments, "--rounds", "2", "--json", figures, "--folder", tmp_path],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(figures.read_text())
    assert [(row["system"], row["work"], len(row["p50_ms"])) for row in rows] == [
        ("atm", "credits", 2),
        ("sqlite", "credits", 2),
        ("atm", "failover", 2),
    ]
    assert all(rate > 0 for row in rows[:2] for rate in row["ops_per_s"])
    if PROC_SELF.exists():
        assert all(used > 0 for row in rows[:2] for used in row["servers_us"])
    assert {row["nodes"] for row in rows} == {3}
    assert "atm 1" in done.stderr
    assert ": 3 nodes with the defaults" in done.stderr
    assert done.stdout.count("\n") == 2 + len(rows)
    assert list(tmp_path.iterdir()) == [figures], "the systems' folders are gone"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends processes with their starter")
@pytest.mark.parametrize(
    ("peer", "sent"), [("etcd", signal.SIGKILL), ("sqlite", signal.SIGTERM), ("postgresql", signal.SIGKILL)]
)
def test_no_server_outlives_the_benchmark(open_folder: Path, peer: str, sent: signal.Signals) -> None:
    if why := PEERS[peer].missing():
        pytest.skip(f"{peer}: {why}")
    arguments = ["--only", "credits-1", "--peers", peer, "--seconds", "0.2", "--folder", str(open_folder)]
    with subprocess.Popen([*COMMAND, *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        while f"  {peer} " not in run.stderr.readline():
            assert run.poll() is None
        wait_until(lambda: bool(users_of(open_folder)))
        run.send_signal(sent)
        run.stderr.read()
    wait_until(lambda: not users_of(open_folder))


def users_of(folder: Path) -> list[int]:
    """Return the processes whose command line names the folder, but not the benchmark itself."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(f"{folder}/".encode()) or f"={folder}/".encode() in word for word in words):
            found.append(int(entry.parent.name))
    return found


def wait_until(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
