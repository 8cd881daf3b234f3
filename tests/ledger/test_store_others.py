"""Other programs on the ledger's file: readers do not block the node, and writers are detected."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from atm.ledger import database
from atm.ledger.commands import Exceptions, Lookup, Query, Read, Statement
from atm.ledger.ledger import Ledger, LedgerFault
from tests.ledger.store_files import LINES, MORE, line_of, shell
from tests.support.entries import apply_in_batches, balance_of, records

# -- readers --------------------------------------------------------------------------------------


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


def test_a_long_reader_sees_one_snapshot_and_blocks_no_write(
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


def test_a_long_reader_causes_no_checkpoint_at_every_commit(
    ledger: Ledger, other: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of the newest snapshot allows a full checkpoint, but no restart of the WAL."""
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
    """An open one would block the next checkpoint."""
    monkeypatch.setattr(database, "CHECKPOINT_PAGES", 0)
    for n, line in enumerate(MORE[:3], len(LINES) + 1):
        ledger.view(read)
        ledger.apply(records([line], n))


# -- writers --------------------------------------------------------------------------------------


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
