"""Other programs at the ledger's file, and files that are no ledger: nothing is lost, and one is told why."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from atm.ledger import database
from atm.ledger.commands import Exceptions, Lookup, Query, Read, Statement
from atm.ledger.ledger import Ledger, LedgerFault
from tests.ledger.recording_disk import Change, RecordingDisk
from tests.support.entries import apply_in_batches, balance_of, records

LINES = ["-", "c1 credit main 500", "o1 open ann", "c2 credit ann 70", "d1 debit main 20"]
MORE = [f"m{n} credit main 1" for n in range(300)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger is."""
    return tmp_path / "a folder" / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Return a ledger that holds `LINES`."""
    path.parent.mkdir()
    found = Ledger(path)
    found.apply(records(LINES))
    yield found
    found.close()


@pytest.fixture
def other(ledger: Ledger, path: Path) -> Iterator[apsw.Connection]:
    """Return another program's connection to the ledger."""
    connection = apsw.Connection(str(path))
    yield connection
    connection.close()


def shell(path: Path, sql: str) -> str:
    """Return what the system's sqlite3 shell prints."""
    command = shutil.which("sqlite3")
    if command is None:
        pytest.skip("NOT TESTED: there is no sqlite3 shell on this machine")
    done = subprocess.run([command, str(path), sql], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def line_of(fault: pytest.ExceptionInfo[LedgerFault], path: Path) -> str:
    """Return the fault's text after checking that it is one line which names the file."""
    text = str(fault.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# -- readers ---------------------------------------------------------------------------------------


def test_the_shell_reads_a_running_ledger_and_disturbs_nothing(ledger: Ledger, path: Path) -> None:
    assert shell(path, "select * from balance order by account") == "ann|70\ncash|-550\nmain|480\nwriteoff|0"
    assert shell(path, "select sum(amount) from balance") == "0"
    assert shell(
        path, "select count(*) from journal; select count(*) from receipt; pragma integrity_check"
    ) == ("3\n4\nok")
    ledger.apply(records(MORE, 6))
    assert balance_of(ledger, "main") == 780
    assert shell(path, "select log_index from applied") == str(5 + len(MORE))


def test_the_shell_reads_the_file_of_a_stopped_node(ledger: Ledger, path: Path) -> None:
    ledger.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["ledger.db"]
    assert shell(path, "select amount from balance where account = 'main'; pragma quick_check") == "480\nok"
    again = Ledger(path)
    again.apply(records(MORE, 6))
    again.close()


def test_a_long_reader_sees_one_moment_and_stops_no_write(
    ledger: Ledger, path: Path, other: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 50)
    other.execute("begin")
    assert other.execute("select amount from balance where account = 'main'").get == 480
    apply_in_batches(ledger, records([*LINES, *MORE]), 1)
    assert balance_of(ledger, "main") == 780
    assert other.execute("select amount from balance where account = 'main'").get == 480
    other.execute("rollback")
    assert other.execute("select amount from balance where account = 'main'").get == 780


def test_the_wal_is_bounded_and_shrinks_again_after_a_long_reader(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = 100 * database.PAGE_BYTES
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 50)
    smaller = [(name, limit if name == "journal_size_limit" else value) for name, value in database.PRAGMAS]
    monkeypatch.setattr(database, "PRAGMAS", tuple(smaller))
    path.parent.mkdir()
    ledger, wal = Ledger(path), path.with_name("ledger.db-wal")
    lines = [f"b{n} credit main 1" for n in range(1500)]
    sizes = []
    for n in range(500):
        ledger.apply(records(lines[n : n + 1], n + 1))
        sizes.append(wal.stat().st_size)
    assert max(sizes) < limit
    reader = apsw.Connection(str(path))
    reader.execute("begin")
    assert reader.execute("select count(*) from journal").get == 500
    apply_in_batches(ledger, records(lines[:1000]), 1)
    assert wal.stat().st_size > 2 * limit
    reader.execute("rollback")
    reader.close()
    apply_in_batches(ledger, records(lines), 1)
    assert wal.stat().st_size <= limit
    ledger.close()


def test_a_long_reader_is_not_paid_for_by_a_checkpoint_at_every_commit(
    ledger: Ledger, other: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the newest moment lets all be folded in, but not the WAL start over."""
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 50)
    other.execute("begin")
    assert other.execute("select count(*) from journal").get == 3
    checkpoints: list[int] = []
    pages = ledger._database._wal_pages
    for n, line in enumerate(MORE, 6):
        ledger.apply(records([line], n))
        checkpoints.append(ledger._database._checkpoint_pages)
    written = ledger._database._wal_pages - pages
    assert 2 < len(set(checkpoints)) <= written // 50 + 1


@pytest.mark.parametrize(
    "read",
    [
        Query(id="q", account="main"),
        Query(id="q", account="main", at_us=2**61),
        Statement(id="q", account="main"),
        Lookup(id="q", request_id="c1"),
        Exceptions(id="q"),
    ],
    ids=lambda read: f"{type(read).__name__} {getattr(read, 'at_us', None)}",
)
def test_a_read_of_our_own_is_over_when_it_is_answered(
    read: Read, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was still open would be in the way of the next checkpoint."""
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 0)
    for n, line in enumerate(MORE[:3], len(LINES) + 1):
        ledger.view(read)
        ledger.apply(records([line], n))


# -- writers ---------------------------------------------------------------------------------------


def test_a_lock_that_is_held_for_long_is_a_fault_and_loses_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 50)
    path.parent.mkdir()
    ledger, other = Ledger(path), apsw.Connection(str(path))
    ledger.apply(records(LINES))
    before = ledger.digest()
    other.execute("begin immediate")
    with pytest.raises(LedgerFault) as fault:
        ledger.apply(records(MORE, 6))
    assert "locked by another program" in line_of(fault, path)
    assert (ledger.applied_index, ledger.digest()) == (5, before)
    other.execute("rollback")
    other.close()
    ledger.apply(records(MORE, 6))
    assert balance_of(ledger, "main") == 780
    ledger.close()


def test_a_lock_that_is_let_go_in_time_only_delays(ledger: Ledger, other: apsw.Connection) -> None:
    other.execute("begin immediate")
    applying = threading.Thread(target=lambda: ledger.apply(records(MORE, 6)))
    applying.start()
    applying.join(timeout=0.1)
    assert applying.is_alive()
    other.execute("rollback")
    applying.join(timeout=10)
    assert not applying.is_alive()
    assert balance_of(ledger, "main") == 780


def write_by_connection(path: Path) -> None:
    """Change a balance as another program would."""
    connection = apsw.Connection(str(path))
    connection.execute("update balance set amount = amount + 1 where account = 'main'")
    connection.close()


def write_by_shell(path: Path) -> None:
    """Change a balance with the sqlite3 shell."""
    shell(path, "update balance set amount = amount + 1 where account = 'main'")


@pytest.mark.parametrize("write", [write_by_connection, write_by_shell])
def test_a_foreign_write_is_noticed_before_anything_is_built_on_it(
    write: Callable[[Path], None], ledger: Ledger, path: Path
) -> None:
    write(path)
    with pytest.raises(LedgerFault) as fault:
        ledger.apply(records(MORE, 6))
    assert "written to by another program" in line_of(fault, path)
    with pytest.raises(LedgerFault):
        balance_of(ledger, "main")
    assert ledger.applied_index == 5
    ledger.close()
    with pytest.raises(LedgerFault, match="do not add up to 0"):
        Ledger(path)


def test_a_foreign_write_is_noticed_by_a_query_too(ledger: Ledger, path: Path) -> None:
    write_by_connection(path)
    with pytest.raises(LedgerFault, match="written to by another program"):
        balance_of(ledger, "main")


# -- files that are no ledger ----------------------------------------------------------------------


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
    rot_that_is_no_text: "text that is none",
    no_row_of_what_was_applied: "no known version",
}


@pytest.mark.parametrize(
    ("version", "what_to_do"),
    [
        (99, "written by a newer release: install that one"),
        (
            2,
            "written by release 1.0, and this release's is 3: export the books with that release",
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
    """Opening reads little, so that it is quick; what it did not read is checked when it is used."""
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


# -- folders and disks -----------------------------------------------------------------------------


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
    """What the file holds is not known, even if the disk has room again."""
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
