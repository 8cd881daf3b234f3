"""Bad log entries of earlier releases: the node names the fault, the repair removes it, the bank serves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.office.main import main
from atm.raft.messages import NUMBER_MAX, Entry, EntryKind, HardState
from atm.raft.term_limit import TERM_MAX
from atm.storage.log_file import LogFile
from tests.support.ledgers import assert_books_are_right, wait_until_equal

NODES = ("n1", "n2", "n3")
CREDITS = 12

How = Callable[[HardState, Entry], tuple[HardState, list[Entry]]]


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three nodes that have worked and stopped."""
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Client(bank.cluster) as client:
            for _ in range(CREDITS):
                assert client.credit("main", 100).outcome == "ok"
        wait_until_equal(bank)
        for name in NODES:  # a leader that is stopped hands over: another one's entry is in some logs only
            bank.kill(name)
        yield bank


def poison(bank: LocalCluster, how: How) -> None:
    """Append to each log what `how` makes of its state and its last entry, as an older release would have."""
    for name in NODES:
        with closing(LogFile(bank.cluster.data_dir / name)) as log:
            (last,) = log.read_entries(log.last_index, log.last_index, 1)
            log.save(*how(log.hard_state, last))


def forged(last: Entry, behind: int = 1, **changes: object) -> Entry:
    entry = replace(
        last, index=last.index + behind, time_us=last.time_us + behind, kind=EntryKind.NOOP, data=b""
    )
    return replace(entry, **changes)


def a_term(state: HardState, last: Entry) -> tuple[HardState, list[Entry]]:
    return HardState(term=NUMBER_MAX, voted_for="n2", commit_index=last.index), []


def a_stamp(state: HardState, last: Entry) -> tuple[HardState, list[Entry]]:
    """The second is what the leader wrote behind the first: a number that does not even decode."""
    stamps = (NUMBER_MAX, NUMBER_MAX + 1)
    entries = [forged(last, behind, time_us=stamp) for behind, stamp in enumerate(stamps, 1)]
    return replace(state, commit_index=last.index + 1), entries


def garbage(state: HardState, last: Entry) -> tuple[HardState, list[Entry]]:
    entries = [forged(last, 1, kind=EntryKind.COMMAND, data=b"garbage"), forged(last, 2)]
    return replace(state, commit_index=last.index + 1), entries


def entries_of_a_term(state: HardState, last: Entry) -> tuple[HardState, list[Entry]]:
    entries = [forged(last, 1, term=NUMBER_MAX), forged(last, 2, term=NUMBER_MAX)]
    return HardState(term=NUMBER_MAX, voted_for=None, commit_index=last.index + 2), entries


POISONS: dict[How, str] = {
    a_term: "is in term 4611686018427387904",
    a_stamp: "is stamped 4611686018427387904 us after 1970",
    garbage: "is no command of this release",
    entries_of_a_term: "is in term 4611686018427387904",
}


def ledger(bank: LocalCluster, *arguments: str) -> int:
    return main(["repair", *arguments, "--config", str(bank.cluster.path)])


def start_refused(bank: LocalCluster) -> str:
    """Return the one line with which a node refuses to start."""
    command = [sys.executable, "-m", "atm.server.main", "n1", "--config", str(bank.cluster.path)]
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    return line


@pytest.mark.parametrize("how", POISONS, ids=lambda how: str(how.__name__))
def test_a_poisoned_bank_says_so_is_repaired_and_serves(
    bank: LocalCluster,
    capsys: pytest.CaptureFixture[str],
    how: How,
) -> None:
    poison(bank, how)
    line = start_refused(bank)
    assert POISONS[how] in line
    assert "bin/ledger repair" in line
    assert "an error of its own" not in line
    for name in NODES:
        assert ledger(bank, name) == 1
        assert "Nothing was changed" in capsys.readouterr().out
    for name in NODES:
        assert ledger(bank, name, "--term", "9", "--yes") == 0, capsys.readouterr()
        assert ledger(bank, name) == 0
    assert {path.name for path in bank.cluster.data_dir.glob("*.before-repair-*")} == {
        f"{name}.before-repair-1" for name in NODES
    }
    bank.start_all()
    bank.wait_for_leader()
    with Client(bank.cluster) as client:
        assert client.credit("main", 100).balance == 100 * (CREDITS + 1)
    assert_books_are_right(wait_until_equal(bank))
    bank.stop_all()
    bank.start_all()
    bank.wait_for_leader()


def test_a_repair_without_a_term_or_a_yes_changes_nothing(bank: LocalCluster) -> None:
    poison(bank, a_term)
    for arguments in ((), ("--term", "9"), ("--yes",)):
        assert ledger(bank, "n1", *arguments) == 1
        assert POISONS[a_term] in start_refused(bank)


@pytest.mark.parametrize("term", ["0", str(TERM_MAX + 1), str(NUMBER_MAX)])
def test_a_term_below_an_entry_or_without_room_is_not_given(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str], term: str
) -> None:
    poison(bank, a_term)
    assert ledger(bank, "n1", "--term", term, "--yes") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot be given term {term}" in line
    assert POISONS[a_term] in start_refused(bank)


def test_a_sane_term_is_never_lowered_and_its_vote_is_kept(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(bank, lambda state, last: (HardState(term=7, voted_for="n3", commit_index=0), []))
    assert ledger(bank, "n1", "--term", "6", "--yes") == 1
    assert "takes one from 7" in capsys.readouterr().err
    assert ledger(bank, "n1", "--term", "7", "--yes") == 0
    with closing(LogFile(bank.cluster.data_dir / "n1")) as log:
        assert (log.hard_state.term, log.hard_state.voted_for) == (7, "n3")
    assert ledger(bank, "n1", "--term", "8", "--yes") == 0
    with closing(LogFile(bank.cluster.data_dir / "n1")) as log:
        assert (log.hard_state.term, log.hard_state.voted_for) == (8, None)


def test_an_entry_of_a_newer_release_is_not_removed_by_a_repair(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    poison(bank, lambda state, last: (replace(state, commit_index=last.index + 1), [forged(last, kind=9)]))
    assert ledger(bank, "n1", "--term", "9", "--yes") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "is of kind 9 and version 1, written by a newer release: install that one" in line
    assert line.removeprefix("ledger: ") in start_refused(bank)


def test_a_node_that_runs_or_never_ran_is_not_repaired(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    bank.start_all()
    bank.wait_for_leader()
    assert ledger(bank, "n1", "--term", "9", "--yes") == 1
    assert "node n1 is already running" in capsys.readouterr().err
    assert ledger(bank, "n9") == 2
    assert "no node 'n9'" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_cluster_ini(tmp_path, 3)
    assert main(["repair", "n1", "--config", str(config)]) == 1
    assert "there is nothing to repair" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
