"""bin/two_phase_demo after its set-up: the whole story with real processes, and nothing left behind."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atm.local_cluster import write_cluster_ini_for
from demo.two_phase.__main__ import main
from demo.two_phase.customers import Failed
from demo.two_phase.messages import COORDINATOR
from demo.two_phase.on_two_phase import BRANCHES, Bank

ROOT = Path(__file__).parent.parent.parent
OUTAGE_S = 2.0
DEADLINE_S = 90.0


def demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo, with its temporary folders in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "demo.two_phase", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_coordinators_death_blocks_for_the_outage_and_the_leaders_for_an_election(tmp_path: Path) -> None:
    with demo(tmp_path, "--outage", str(OUTAGE_S)) as process:
        output, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (0, ""), output
    for told in ("north: T1 in doubt", "south: T1 in doubt", "north: T2 in doubt", "east: T2 in doubt"):
        assert told in output
    assert (
        "T1 is aborted, for nothing was written (presumed abort). T2 is committed, as was written." in output
    )
    assert "Every balance is what it should be" in output
    assert set(re.findall(r"(T[12]): ok, after", output)) == {"T1", "T2"}
    assert "in the balances, each once." in output
    rows = re.findall(r"^(two-phase commit|Raft) .*? (\S+) +([0-9.]+)  (\w.*)$", output, re.MULTILINE)
    seconds = {account: float(text) for _, account, text, _ in rows}
    locked = [seconds.pop(account) for account in ("north/alice", "south/bob", "north/carol", "east/dave")]
    assert min(locked) >= OUTAGE_S
    assert seconds.pop("east/erin") < min(locked), "an account without a promise in it is served all the time"
    assert sorted(seconds) == ["alice", "bob", "carol", "dave", "erin"]
    assert {by_hand for system, _, _, by_hand in rows if system == "Raft"} == {"nothing"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("outage", "moment", "processes"),
    [("60", "east: T2 in doubt", 3), ("0.1", "It is not started again", 4)],
    ids=["two-phase", "raft"],
)
def test_whoever_ends_it_half_way_leaves_nothing_behind(
    tmp_path: Path, number: signal.Signals, outage: str, moment: str, processes: int
) -> None:
    with demo(tmp_path, "--outage", outage) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if moment in line:
                break
        children = [os.pidfd_open(int(pid)) for pid in _children(process.pid)]
        assert len(children) == processes, "all but the one that was killed"
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (128 + number, "")
    for child in children:
        assert select.select([child], [], [], DEADLINE_S)[0], "a process outlived the demo"
        os.close(child)
    assert list(tmp_path.iterdir()) == []


def test_a_branch_that_cannot_start_says_why_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    path = write_cluster_ini_for(tmp_path, (COORDINATOR, *BRANCHES))
    with socket.socket() as taken, Bank(path) as bank:
        taken.bind(bank.cluster.nodes["south"].client.pair)
        with pytest.raises(
            Failed, match=r"^the process south ended and said: cannot listen on 127"
        ) as failed:
            bank.start_branches()
    assert "\n" not in str(failed.value)


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    with demo(tmp_path, "--outage", "0.1") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("outage", ["0", "-1", "nan", "inf", "601", "soon"])
def test_an_outage_that_cannot_be_waited_for_is_usage(
    outage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"--outage={outage}"])
    assert ended.value.code == 2
    assert f"{outage!r} is not a number of seconds up to 600" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert main([]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("The demo cannot go on: ")


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
