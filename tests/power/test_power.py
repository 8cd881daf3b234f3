"""A few power cuts in every test run; `python -m tests.power` makes as many as you like."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.power import snapshots
from tests.power.cuts import run
from tests.power.filesystem import FileSystem, why_not

# As the interpreter's own start-up hook: a node that never syncs its log.
WITHOUT_SYNCS = "import os\nos.fdatasync = lambda file: None\n"


@pytest.fixture(scope="module", autouse=True)
def _power_can_be_cut() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(f"POWER CUTS NOT TRIED: {reason}")


def test_a_cut_takes_what_was_not_synced_and_leaves_what_was(tmp_path: Path) -> None:
    with FileSystem(tmp_path) as disk:
        for name, is_synced in (("kept", True), ("lost", False)):
            with (disk.path / name).open("w") as file:
                file.write(name)
                file.flush()
                if is_synced:
                    os.fsync(file.fileno())
        folder = os.open(disk.path, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        (disk.path / "lost too").write_text("never synced")
        disk.cut()
        with pytest.raises(OSError, match="Input/output error"):
            (disk.path / "late").write_text("the power is off")
        disk.restore()
        content = {path.name: path.read_text() for path in disk.path.iterdir() if path.is_file()}
        assert content == {"kept": "kept", "lost": ""}


def test_the_power_comes_back_whoever_else_has_copies_of_all_mounts(tmp_path: Path) -> None:
    with FileSystem(tmp_path) as disk:
        command = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo; read line"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as another:
            assert another.stdout is not None
            another.stdout.readline()
            disk.cut()
            disk.restore()
            (disk.path / "written").write_text("the power is on")
            another.communicate()


def test_no_acknowledged_request_is_lost_in_a_power_cut_of_all_nodes_at_once() -> None:
    tally = run(5, seed=1)
    assert tally.cuts == 5
    assert tally.acknowledged > 100


def test_no_acknowledged_request_is_lost_when_some_lose_their_power_and_the_others_go_on() -> None:
    tally = run(6, seed=1, some=True)
    assert tally.cuts == 6
    assert 1 <= min(tally.cuts_of) < max(tally.cuts_of) <= 4
    assert tally.acknowledged > 100


def test_a_power_cut_during_snapshots_leaves_log_ledger_and_snapshot_that_belong_together() -> None:
    met = snapshots.run(12, seed=3)
    assert met["cuts"] == 12
    assert met["cut logs"] > 6
    assert met["installed"]


@pytest.mark.parametrize("some", [False, True])
def test_nodes_that_do_not_sync_their_log_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, some: bool
) -> None:
    """Or else the tests above would show nothing.

    What was forgotten is missing, or another answer is given, or a node meets what cannot be and ends, or
    waits for good for what its leader believes it has.
    """
    monkeypatch.setattr("tests.power.cuts.RETURN_DEADLINE_S", 10.0)
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_SYNCS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(AssertionError, match=r"was acknowledged as|a customer saw|ended with|in time"):
        run(20 if some else 1, seed=1, nodes=3, some=some)
