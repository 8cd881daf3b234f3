"""Files that are no ledger, damage, and failing disks: nothing is lost, and the error says why."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from atm.ledger import database
from atm.ledger.commands import Query
from atm.ledger.ledger import Ledger, LedgerFault
from tests.ledger.recording_disk import Change, RecordingDisk
from tests.ledger.store_files import LINES, MORE, line_of
from tests.support.entries import apply_in_batches, balance_of, records

# -- files that are no ledger ---------------------------------------------------------------------


def no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, today I was a file of another kind. " * 100)


def another_database(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("create table diary (line)")
    connection.close()


def a_trigger(path: Path) -> None:
    Ledger(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("create trigger greed after insert on journal begin select 1; end")
    connection.close()


def overwritten_pages(path: Path) -> None:
    ledger = Ledger(path)
    ledger.apply(records(LINES))
    ledger.close()
    content = bytearray(path.read_bytes())
    for start in range(database.PAGE_BYTES, len(content), database.PAGE_BYTES):
        content[start : start + 100] = b"\xa5" * 100
    path.write_bytes(content)


def rot_in_the_middle_of_a_definition(path: Path) -> None:
    Ledger(path).close()
    path.write_bytes(path.read_bytes().replace(b"-- asked: on which acc", b'"- asked: on which acc'))


def rot_that_is_no_text(path: Path) -> None:
    Ledger(path).close()
    path.write_bytes(path.read_bytes().replace(b"-- asked: on which acc", b"-- asked: on which \xa0cc"))


def no_row_of_what_was_applied(path: Path) -> None:
    Ledger(path).close()
    connection = apsw.Connection(str(path))
    connection.execute("delete from applied")
    connection.close()


NO_LEDGERS = {
    no_database: "not a SQLite database",
    another_database: "not a ledger",
    a_trigger: "changed by another program",
    overwritten_pages: "damaged",
    rot_in_the_middle_of_a_definition: "damaged (malformed database schema",  # SQLite quotes ten lines
    rot_that_is_no_text: "text that is not valid UTF-8",
    no_row_of_what_was_applied: "no known version",
}


@pytest.mark.parametrize(
    ("version", "what_to_do"),
    [
        (99, "written by a newer release: install that one"),
        (
            2,
            "written by release 1.0, and this release's are 3 and 4: export the books with that release",
        ),
    ],
)
def test_a_ledger_of_another_release_is_refused_untouched_and_says_how(
    version: int, what_to_do: str, path: Path
) -> None:
    path.parent.mkdir()
    Ledger(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(f"update applied set schema_version = {version}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(LedgerFault, match=f"is a ledger of version {version}") as fault:
        Ledger(path)
    text = line_of(fault, path)
    assert what_to_do in text
    assert "delete" not in text, "the log of another release does not rebuild it here"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("spoil", "reason"), NO_LEDGERS.items(), ids=lambda value: getattr(value, "__name__", None)
)
def test_what_is_no_ledger_is_refused_untouched_and_can_be_deleted(
    spoil: Callable[[Path], None], reason: str, path: Path
) -> None:
    path.parent.mkdir()
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(LedgerFault) as fault:
        Ledger(path)
    text = line_of(fault, path)
    assert reason in text
    assert "delete" in text
    assert path.read_bytes() == before
    for file in path.parent.iterdir():
        file.unlink()
    anew = Ledger(path)
    assert anew.applied_index == 0
    anew.close()


def test_a_page_that_rots_under_a_ledger_is_a_fault_when_it_is_read(path: Path) -> None:
    """Opening reads little, to be fast; the rest is checked when it is used."""
    path.parent.mkdir()
    ledger = Ledger(path)
    ledger.apply(records([f"long-request-id-{n:04} credit main 1" for n in range(2000)]))
    ledger.close()
    connection = apsw.Connection(str(path))
    root = connection.execute("select rootpage from sqlite_schema where name = 'receipt'").get
    connection.close()
    content = bytearray(path.read_bytes())
    start = (root - 1) * database.PAGE_BYTES
    content[start : start + 200] = b"\xa5" * 200
    path.write_bytes(content)
    again = Ledger(path)
    with pytest.raises(LedgerFault) as fault:
        again.apply(records(MORE, 2001))
    assert "damaged" in line_of(fault, path)
    again.close()


def test_a_receipt_that_cannot_be_read_is_damage(path: Path) -> None:
    path.parent.mkdir()
    ledger = Ledger(path)
    ledger.apply(records(LINES))
    ledger.close()
    connection = apsw.Connection(str(path))
    connection.execute("update receipt set outcome = 'stolen' where request_id = 'c1'")
    connection.close()
    again = Ledger(path)
    with pytest.raises(LedgerFault) as fault:
        again.apply(records(["c1 credit main 500"], 6))
    assert "receipt that cannot be read" in line_of(fault, path)
    again.close()


def test_a_lost_file_beside_its_old_wal_is_made_anew(ledger: Ledger, path: Path) -> None:
    copy = path.parent / "copy"
    copy.mkdir()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        shutil.copy(path.with_name(name), copy / name)
    anew = Ledger(copy / "ledger.db")
    assert (anew.applied_index, balance_of(anew, "main")) == (0, 0)
    apply_in_batches(anew, records(LINES), 2)
    assert anew.digest() == ledger.digest()
    anew.close()


def test_an_empty_file_is_made_a_ledger(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    ledger = Ledger(path)
    assert ledger.applied_index == 0
    ledger.close()


# -- folders and disks ----------------------------------------------------------------------------


def test_a_folder_that_is_missing_is_named(path: Path) -> None:
    with pytest.raises(LedgerFault) as fault:
        Ledger(path)
    assert "folder" in line_of(fault, path)


def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(LedgerFault) as fault:
        Ledger(path)
    assert "cannot be written" in line_of(fault, path)


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_that_may_not_be_written_is_refused(exists: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        path, user = Path(name, "ledger.db"), os.geteuid()
        if exists:
            Ledger(path).close()
            path.chmod(0o444)
        path.parent.chmod(0o555)
        if user == 0:
            os.seteuid(65534)  # root may write everywhere
        try:
            with pytest.raises(LedgerFault) as fault:
                Ledger(path)
        finally:
            os.seteuid(user)
            path.parent.chmod(0o755)
        assert "cannot be written" in line_of(fault, path)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="NOT TESTED: this system has no /proc")
def test_a_folder_that_not_even_root_may_write_is_refused() -> None:
    path = Path("/proc/self/ledger.db")
    with pytest.raises(LedgerFault) as fault:
        Ledger(path)
    assert "cannot be written" in line_of(fault, path)


def test_a_full_disk_is_named_and_loses_nothing(ledger: Ledger, path: Path) -> None:
    pages = ledger._database.cursor().execute("pragma page_count").get
    ledger._database._connection.pragma("max_page_count", pages + 2)
    with pytest.raises(LedgerFault) as fault:
        apply_in_batches(ledger, records([*LINES, *MORE]), 10)
    assert "disk is full" in line_of(fault, path)
    reached = ledger.applied_index
    ledger.close()
    again = Ledger(path)
    assert again.applied_index == reached
    apply_in_batches(again, records([*LINES, *MORE]), 10)
    assert balance_of(again, "main") == 780
    again.close()


def test_after_a_fault_the_ledger_does_nothing_more_until_it_is_opened_anew(ledger: Ledger) -> None:
    """The contents of the file are unknown, even if the disk has room again."""
    pages = ledger._database.cursor().execute("pragma page_count").get
    ledger._database._connection.pragma("max_page_count", pages)
    with pytest.raises(LedgerFault):
        apply_in_batches(ledger, records([*LINES, *MORE]), 10)
    ledger._database._connection.pragma("max_page_count", pages + 1000)
    before = ledger.applied_index
    with pytest.raises(LedgerFault, match="disk is full"):
        ledger.view(Query(id="q", account="main"))
    with pytest.raises(LedgerFault, match="disk is full"):
        ledger.apply(records([*LINES, *MORE])[before:])
    assert ledger.applied_index == before


def test_a_failed_sync_at_a_checkpoint_is_not_kept_quiet(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 12)
    path.parent.mkdir()
    disk = RecordingDisk()
    ledger = Ledger(path)

    def refuse(change: Change) -> None:
        if change.kind == "sync":
            raise apsw.IOError("planned")

    disk.refuse = refuse
    with pytest.raises(LedgerFault) as fault:
        apply_in_batches(ledger, records([*LINES, *MORE]), 10)
    assert "Check the disk" in line_of(fault, path)
    disk.refuse = lambda change: None
    ledger.close()
    disk.unregister()
