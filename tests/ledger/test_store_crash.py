"""However a node ends, its ledger is consistent at some earlier index, and the log is replayed from there."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import apsw
import pytest

from atm.ledger import database
from atm.ledger.commands import (
    Approve,
    Command,
    GrantRole,
    LoggedCommand,
    RaiseHold,
    RevokeRole,
    RotatePepper,
    SetApprovalLimit,
    SetCeiling,
)
from atm.ledger.ledger import Ledger
from tests.ledger.audit import audit
from tests.ledger.recording_disk import Change, RecordingDisk, files_after
from tests.support.entries import apply_in_batches, balance_of, records

LINES = [
    "-",
    *(f"o{n} open account-{n}" for n in range(10)),
    *(f"c{n} credit account-{n % 10} {100 + n}" for n in range(40)),
    *(f"c{n} credit account-{n % 10} {100 + n}" for n in range(5)),
    *(f"d{n} debit account-{n % 10} {7 * n + 1}" for n in range(20)),
    *(f"t{n} transfer account-{n} account-{n + 1} {n + 1}" for n in range(9)),
    *(f"b{n} batch account-{n} account-{n + 1} 3, account-{n + 1} account-{n + 2} 3" for n in range(5)),
    *(f"h{n} hold account-{n % 10} {n + 1} {10 + n}s" for n in range(12)),
    *("p0 post h0", "p1 post h1 1", "v2 void h2", "v3 void h3", "p0 post h0", "v1 void h1"),
    *(f"r{n} reverse d{n} 1" for n in range(5)),
    *("r5 reverse t0", "r6 reverse b0", "r7 reverse r99", "r8 reverse late", "late credit account-0 1"),
    *(
        "s0 set_pin account-0 1234",
        "l0 login account-0 9999",
        "l1 login account-0 1234",
        "y0 unlock account-0",
        "z0 reset_pin account-0",
    ),
    *("m1 set_limit account-1 50", "d99 debit account-1 50", "f2 freeze account-2", "d98 debit account-2 1"),
    *("u2 unfreeze account-2", "w3 write_off account-3 5", "w4 write_off cash 5", "k4 close account-4"),
    *("o99 open spare", "k99 close spare", "expire", "p4 post h4", "-"),
]
BATCH = 7
ENTRIES = [(index, index * 1_000_000, command) for index, _, command in records(LINES)]  # a second apart


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[RecordingDisk]:
    """Return a disk that can refuse writes, with frequent checkpoints."""
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 12)
    found = RecordingDisk()
    yield found
    found.unregister()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> list[Change]:
    """Return all that a ledger did to its disk from creation to close, with several checkpoints."""
    path = tmp_path_factory.mktemp("first") / "ledger.db"
    disk = RecordingDisk()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "CHECKPOINT_PAGES", 12)
        ledger = Ledger(path)
        apply_in_batches(ledger, ENTRIES, BATCH)
        ledger.close()
    disk.unregister()
    assert sum(change.kind == "sync" and change.file == path.name for change in disk.changes) >= 4
    return disk.changes


@pytest.fixture(scope="module")
def digests() -> dict[int, str]:
    """Return the digest of a ledger at each index that a batch may end at."""
    ledger = Ledger(":memory:")
    found = {0: ledger.digest()}
    for start in range(0, len(LINES), BATCH):
        ledger.apply(ENTRIES[start : start + BATCH])
        found[ledger.applied_index] = ledger.digest()
    ledger.close()
    return found


def reopened(folder: Path, files: dict[str, bytes]) -> Ledger:
    """Return the ledger that these files hold, opened in `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return Ledger(folder / "ledger.db")


def fails(ledger: Ledger) -> bool:
    """Return whether applying `LINES` ends in a fault."""
    try:
        apply_in_batches(ledger, ENTRIES, BATCH)
    except database.LedgerFault:
        return True
    return False


def test_the_log_here_has_every_kind_of_entry_done_at_least_once() -> None:
    ledger = Ledger(":memory:")
    receipts = ledger.apply(ENTRIES)
    done = {
        type(entry.command)
        for (_, _, entry), receipt in zip(ENTRIES, receipts, strict=True)
        if isinstance(entry, LoggedCommand) and receipt and receipt.outcome == "ok"
    }
    newer: set[object] = {
        GrantRole,
        RevokeRole,
        RotatePepper,
        SetApprovalLimit,
        Approve,
        RaiseHold,
        SetCeiling,
    }
    assert done | newer == set(get_args(Command))  # these need feature level 2
    kinds = ledger._database.cursor().execute("select kind from exception order by posting").fetchall()
    assert kinds == [("written_off",), ("written_off",), ("late",)]
    audit(ledger)
    ledger.close()


def test_a_kill_between_any_two_writes_leaves_a_whole_batch_and_loses_none(
    history: list[Change], digests: dict[int, str], tmp_path: Path
) -> None:
    last = 0
    for end in range(len(history) + 1):
        ledger = reopened(tmp_path / "again", files_after(history[:end]))
        assert ledger.digest() == digests[ledger.applied_index], f"after {end} changes"
        assert ledger.applied_index >= last, f"after {end} changes a committed batch was gone"
        last = ledger.applied_index
        apply_in_batches(ledger, ENTRIES, len(LINES))
        assert ledger.digest() == digests[len(LINES)], f"after {end} changes"
        ledger.close()
    assert last == len(LINES)


@pytest.mark.parametrize("seed", range(2))
def test_a_power_cut_at_any_point_leaves_a_whole_batch(
    seed: int, history: list[Change], digests: dict[int, str], tmp_path: Path
) -> None:
    made = next(at for at, change in enumerate(history) if change.file == "ledger.db-wal")
    chance = random.Random(seed)
    for end in range(made, len(history) + 1):
        ledger = reopened(tmp_path / "again", files_after(history[:end], chance))
        assert ledger.digest() == digests[ledger.applied_index], f"seed {seed}, after {end} changes"
        apply_in_batches(ledger, ENTRIES, len(LINES))
        assert ledger.digest() == digests[len(LINES)], f"seed {seed}, after {end} changes"
        ledger.close()


def test_a_write_that_fails_at_any_point_leaves_a_whole_batch(
    digests: dict[int, str], tmp_path: Path, disk: RecordingDisk
) -> None:
    failed = 0
    for fail_at in range(0, 200, 5):
        folder = tmp_path / str(fail_at)
        folder.mkdir()
        ledger = Ledger(folder / "ledger.db")
        disk.changes.clear()

        def refuse(change: Change, fail_at: int = fail_at) -> None:
            if len(disk.changes) >= fail_at:
                raise apsw.IOError("planned")

        disk.refuse = refuse
        if fails(ledger):
            failed += 1
            with pytest.raises(database.LedgerFault, match=r"ledger\.db"):
                balance_of(ledger, "main")
        disk.refuse = lambda change: None
        ledger.close()
        again = Ledger(folder / "ledger.db")
        assert again.digest() == digests[again.applied_index]
        apply_in_batches(again, ENTRIES, BATCH)
        assert again.digest() == digests[len(LINES)]
        again.close()
    assert failed > 10
