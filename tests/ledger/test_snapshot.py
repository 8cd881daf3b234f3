"""A snapshot is one state of a ledger in use, checked as it is read back from the disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import apsw
import pytest

from atm.files import sha256_of, sync_file
from atm.ledger import snapshot
from atm.ledger.commands import Founding
from atm.ledger.database import PAGE_BYTES
from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import LedgerState, NotMade, main, make, state_of
from tests.support.entries import apply_in_batches, records

ENTRIES = records([f"c{n} credit main {n + 1}" for n in range(600)])
HALF = 400


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return tmp_path / "snapshot" / "making.db"


@pytest.fixture
def running(path: Path, copy: Path) -> Iterator[Ledger]:
    copy.parent.mkdir()
    with closing(Ledger(path)) as ledger:
        apply_in_batches(ledger, ENTRIES[:HALF], 50)
        yield ledger


@pytest.fixture
def between_steps(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """Return a list of what is done between the steps of a copy, one each; steps are small."""
    monkeypatch.setattr(snapshot, "STEP_BYTES", 16 * 1024)
    done: list[Callable[[], None]] = []

    def pause(seconds: float) -> None:
        assert seconds >= 0
        if done:
            done.pop(0)()

    monkeypatch.setattr(time, "sleep", pause)
    return done


def test_the_copy_is_of_one_state_although_the_node_writes_between_the_steps(
    running: Ledger, path: Path, copy: Path, between_steps: list[Callable[[], None]]
) -> None:
    digest = running.digest()
    rest = list(ENTRIES[HALF:])

    def write() -> None:
        running.apply([rest.pop(0) for _ in range(40)])

    between_steps += [write] * 5
    made = make(path, copy)
    assert not between_steps, "there were fewer steps than writes"
    assert running.applied_index == HALF + 200
    assert made.index == HALF
    assert (made.size_bytes, made.sha256) == (copy.stat().st_size, sha256_of(copy))
    assert os.listdir(copy.parent) == [copy.name]
    assert state_of(copy) == LedgerState(
        index=made.index, cluster_id=made.cluster_id, chain_hash=made.chain_hash
    )
    assert os.listdir(copy.parent) == [copy.name]
    with closing(Ledger(copy)) as again:
        assert again.applied_index == HALF
        assert again.digest() == digest
        again.apply(ENTRIES[HALF : HALF + 200])
        assert again.digest() == running.digest()


def test_a_copy_is_synced_step_by_step_and_at_its_end(
    running: Ledger, path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "STEP_BYTES", 16 * 1024)
    synced: list[int] = []

    def noted(file: Path) -> None:
        sync_file(file)
        synced.append(file.stat().st_size)

    monkeypatch.setattr(snapshot, "sync_file", noted)
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    made = make(path, copy)
    steps = made.size_bytes // (16 * 1024)
    assert len(pauses) >= steps > 4
    assert synced[-1] == made.size_bytes
    assert all(later - earlier <= 64 * 1024 for earlier, later in pairwise(synced))


def test_the_state_is_that_of_cluster_journal_and_applied_index(path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.apply([(1, 1_000, Founding(cluster_id="ab" * 16, voters=("n1",)))])
    assert state_of(path) == LedgerState(index=1, cluster_id="ab" * 16, chain_hash="00" * 32, voters=("n1",))
    with closing(Ledger(path)) as ledger:
        ledger.apply([(2, 2_000, ENTRIES[0][2]), (3, 3_000, None)])
        [(last,)] = ledger._database.cursor().execute("select hash from journal")
    assert state_of(path) == LedgerState(
        index=3, cluster_id="ab" * 16, chain_hash=bytes(last).hex(), voters=("n1",)
    )


@pytest.mark.parametrize("content", [None, b"", b"no database" * 400, b"SQLite format 3\0" + bytes(5000)])
def test_what_is_no_ledger_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(NotMade) as caught:
        state_of(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(NotMade) as caught:
        make(path, tmp_path / "copy.db")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "copy.db").exists()
    assert set(os.listdir(tmp_path)) <= {"file.db"}


def test_a_ledger_with_values_of_the_wrong_kind_is_refused(running: Ledger, path: Path, copy: Path) -> None:
    running.close()
    with closing(apsw.Connection(str(path))) as other:
        other.execute("create table forged as select 'x' as log_index; drop table applied")
        other.execute("alter table forged rename to applied")
    with pytest.raises(NotMade, match="not a ledger that can be read"):
        make(path, copy)


@pytest.mark.parametrize("what", ["a page", "the end", "a whole state"])
def test_a_copy_that_is_not_as_it_was_written_is_no_snapshot(
    running: Ledger, path: Path, copy: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a disk would that loses or exchanges what was synced."""
    with closing(Ledger(copy.with_name("earlier.db"))) as earlier:
        earlier.apply(ENTRIES[:7])
    with closing(apsw.Connection(str(copy.with_name("earlier.db")))) as plain:
        plain.pragma("journal_mode", "delete")

    def damage(file: Path) -> None:
        content = bytearray(file.read_bytes())
        if what == "a page":
            middle = len(content) // 2 // PAGE_BYTES * PAGE_BYTES
            content[middle : middle + PAGE_BYTES] = bytes(PAGE_BYTES)
        elif what == "the end":
            del content[-20_000:]
        else:
            content[:] = copy.with_name("earlier.db").read_bytes()
        file.write_bytes(content)

    monkeypatch.setattr(snapshot, "_forget_cached", damage)
    with pytest.raises(NotMade, match=r"making\.db"):
        make(path, copy)
    assert not copy.exists()


def test_what_an_earlier_one_left_is_replaced(running: Ledger, path: Path, copy: Path) -> None:
    copy.write_bytes(b"left by a kill" * 100_000)
    assert make(path, copy).index == HALF
    assert state_of(copy).index == HALF


# -- as a program -----------------------------------------------------------------------------------


def run(*args: str, **more: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "atm.ledger.snapshot", *args]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def stdin() -> Iterator[int]:
    """Return a standard input that does not end."""
    read, write = os.pipe()
    yield read
    os.close(read)
    os.close(write)


def test_the_program_prints_one_line_of_json(running: Ledger, path: Path, copy: Path, stdin: int) -> None:
    done = run(str(path), str(copy), stdin=stdin)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    state = {"index", "cluster_id", "feature_level", "voters", "members", "chain_hash", "pepper"}
    assert told.keys() == state | {"size_bytes", "sha256", "seconds"}
    assert (told["index"], told["size_bytes"]) == (HALF, copy.stat().st_size)
    assert copy.stat().st_mode & 0o022 == 0


def test_the_program_says_in_one_line_why_there_is_none(tmp_path: Path, stdin: int) -> None:
    done = run(str(tmp_path / "none.db"), str(tmp_path / "copy.db"), stdin=stdin)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("no snapshot was made: ")
    assert done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_the_program_ends_with_its_parent_and_leaves_nothing(running: Ledger, path: Path, copy: Path) -> None:
    """Its standard input ends when the node does, however that ends."""
    with subprocess.Popen(
        [sys.executable, "-P", "-c", ENDLESS, str(path), str(copy)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"copying\n"
        assert copy.exists()
        process.stdin.close()
        try:
            assert process.wait(timeout=10) == 1
        finally:
            process.kill()
    assert os.listdir(copy.parent) == []


ENDLESS = """
import sys, threading
from atm.files import sha256_of, sync_file
from atm.ledger import snapshot
def pause(seconds):
    print("copying", flush=True)
    threading.Event().wait()
snapshot.time.sleep = pause
snapshot.STEP_BYTES = 16 * 1024
sys.exit(snapshot.main(sys.argv[1:]))
"""


def test_the_program_lets_everything_else_go_first(
    running: Ledger, path: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    niced: list[int] = []
    monkeypatch.setattr(os, "nice", niced.append)
    monkeypatch.setattr(snapshot, "_end_with_stdin", lambda copy: None)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    assert main([str(path), str(copy)]) == 0
    assert niced == [19]
