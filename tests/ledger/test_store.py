"""The ledger on disk: what it keeps, what it answers, and that batches make no difference."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from atm.ledger import database, rows
from atm.ledger import ledger as ledger_module
from atm.ledger.commands import Credit, Open, Outcome, Reverse, Statement
from atm.ledger.ledger import Ledger, LedgerFault, NotNext
from atm.ledger.posting import BANK_MINOR_MIN
from tests.support.entries import apply_in_batches, balance_of, logged, records, time_us

STORY = """
-
c1 credit main 5000
d1 debit main 6000
d1 debit main 6000
o1 open ann
c2 credit ann 250
c1 credit main 5000
c1 credit main 1
-
n1 debit bob 1
d2 debit main 4000
c3 credit main LARGEST
""".strip().splitlines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the ledger is."""
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Return a new ledger."""
    found = Ledger(path)
    yield found
    found.close()


def table(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Return the rows of a query on the ledger's file."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


def test_accounts_in_memory_are_bounded_however_many_there_are(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "ACCOUNTS_KEPT_MAX", 5)
    names = [f"a{number}" for number in range(40)]
    for index, name in enumerate(names, 1):
        ledger.apply([(index, time_us(index), logged(Open(id=f"o{index}", account=name)))])
        assert sum(ledger._rows.cached_account(each) is not None for each in names) <= 6
    assert all(balance_of(ledger, name) == 0 for name in names)


def test_a_new_ledger_has_main_and_cash_and_nothing_applied(ledger: Ledger) -> None:
    assert ledger.applied_index == 0
    assert (balance_of(ledger, "main"), balance_of(ledger, "cash"), balance_of(ledger, "ann")) == (0, 0, None)


def test_balances_journal_receipts_and_applied_index_are_consistent(ledger: Ledger, path: Path) -> None:
    receipts = ledger.apply(records(STORY))
    outcomes = [receipt and str(receipt.outcome) for receipt in receipts]
    assert outcomes == [
        *(None, "ok", "insufficient_funds", "insufficient_funds", "ok", "ok", "ok", "id_reused"),
        *(None, "no_such_account", "ok", "ok"),
    ]
    assert receipts[6] == receipts[1]
    assert receipts[3] == receipts[2]
    assert table(path, "select * from applied") == [(1, len(STORY), database.SCHEMA_VERSION)]
    assert table(path, "select sum(amount) from balance") == [(0,)]
    assert table(
        path, "select log_index, debit_account, credit_account, amount, request_id from journal"
    ) == [
        (2, "cash", "main", 5000, "c1"),
        (6, "cash", "ann", 250, "c2"),
        (11, "main", "cash", 4000, "d2"),
        (12, "cash", "main", 10**14 - 1, "c3"),
    ]
    from_journal = """select account, sum(change) from (
        select credit_account as account, amount as change from journal
        union all select debit_account, -amount from journal) group by account order by account"""
    held = "select * from balance where account <> 'writeoff' order by account"
    assert table(path, from_journal) == table(path, held)
    assert table(path, "select request_id, log_index from receipt order by log_index") == [
        *(("c1", 2), ("d1", 3), ("o1", 5), ("c2", 6), ("n1", 10), ("d2", 11), ("c3", 12)),
    ]


def test_receipts_outlive_a_restart(ledger: Ledger, path: Path) -> None:
    first = ledger.apply(records(STORY))
    ledger.close()
    again = Ledger(path)
    assert again.applied_index == len(STORY)
    repeated = records([line for line in STORY if line != "c1 credit main 1"], len(STORY) + 1)
    expected = [receipt for receipt in first if receipt is None or receipt.outcome != "id_reused"]
    assert again.apply(repeated) == expected
    assert balance_of(again, "main") == 5000 - 4000 + 10**14 - 1
    again.close()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_how_the_log_is_cut_into_batches_leaves_no_trace(size: int, ledger: Ledger) -> None:
    whole = Ledger(":memory:")
    whole.apply(records(STORY))
    apply_in_batches(ledger, records(STORY), size)
    assert ledger.digest() == whole.digest()
    whole.close()


@pytest.mark.parametrize(
    "sql",
    [
        "update balance set amount = amount + 1 where account = 'main'",
        "update journal set time_us = time_us + 1 where log_index = 2",
        "update receipt set outcome = 'exists' where request_id = 'n1'",
        "update applied set log_index = 1",
        "delete from receipt where request_id = 'n1'",
    ],
)
def test_the_digest_sees_every_table(sql: str) -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(STORY))
    before = ledger.digest()
    assert ledger.digest() == before
    ledger._database.cursor().execute(sql)
    assert ledger.digest() != before
    ledger.close()


@pytest.mark.parametrize("first", [1, 2, 4, 9])
def test_a_record_that_is_not_the_next_one_is_refused(first: int) -> None:
    ledger = Ledger(":memory:")
    ledger.apply(records(STORY[:2]))
    before = ledger.digest()
    with pytest.raises(NotNext) as refused:
        ledger.apply(records(STORY, first))
    assert (refused.value.expected, ledger.applied_index, ledger.digest()) == (3, 2, before)
    ledger.close()


def test_a_gap_within_a_batch_changes_nothing(ledger: Ledger) -> None:
    entries = records(STORY)
    del entries[4]
    with pytest.raises(NotNext):
        ledger.apply(entries)
    assert (ledger.applied_index, balance_of(ledger, "main")) == (0, 0)


def test_no_records_are_no_work(ledger: Ledger) -> None:
    assert ledger.apply([]) == []
    assert ledger.applied_index == 0


def test_what_is_decided_is_in_no_table_until_it_is_written(ledger: Ledger, path: Path) -> None:
    receipts = [receipt for record in records(STORY) for receipt in ledger.decide([record])]
    assert table(path, "select log_index from applied") == [(0,)]
    assert ledger.applied_index == 0
    assert balance_of(ledger, "main") == 5000 - 4000 + 10**14 - 1, "but a balance is read as it was decided"
    ledger.write()
    assert table(path, "select log_index from applied") == [(len(STORY),)]
    assert receipts == Ledger(":memory:").apply(records(STORY))


def test_a_query_of_more_than_a_balance_sees_what_was_decided(ledger: Ledger) -> None:
    ledger.decide(records(STORY[:2]))
    found = ledger.view(Statement(id="s", account="main"))
    assert found.lines is not None
    assert [line.request_id for line in found.lines] == ["c1"]


def test_what_was_decided_and_not_written_is_decided_again_after_a_restart(
    ledger: Ledger, path: Path
) -> None:
    ledger.apply(records(STORY[:4]))
    first = ledger.decide(records(STORY)[4:])
    ledger.close()
    again = Ledger(path)
    assert (again.applied_index, again.apply(records(STORY)[4:])) == (4, first)
    again.close()


def test_an_error_in_the_middle_of_a_batch_leaves_the_last_whole_batch(ledger: Ledger, path: Path) -> None:
    ledger.apply(records(STORY[:6]))
    before = ledger.digest()
    bad = records(["x1 credit main 7", "x2 credit ann 7", "x3 credit main 7"], 7)
    bad[1] = (8, 8, logged(Credit(id="x2", account="ann", amount=7.5)))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        ledger.apply(bad)
    assert (ledger.applied_index, ledger.digest()) == (6, before)
    ledger.apply(records(STORY)[6:])
    assert table(path, "select count(*) from receipt where request_id glob 'x*'") == [(0,)]


def test_an_error_while_a_batch_is_written_leaves_nothing_of_it(
    ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.apply(records(STORY[:6]))
    before = ledger.digest()
    with monkeypatch.context() as broken:
        broken.setattr(
            ledger_module, "SET_APPLIED", "update nowhere set log_index = ?"
        )  # what is written last
        with pytest.raises(LedgerFault):
            ledger.apply(records(STORY)[6:])
    ledger.close()
    again = Ledger(path)
    assert (again.applied_index, again.digest()) == (6, before)
    again.close()


@pytest.mark.parametrize("wrong", [7.5, "seven", b"7", None])
def test_the_file_itself_takes_no_amount_but_a_whole_number(wrong: object) -> None:
    ledger = Ledger(":memory:")
    with pytest.raises(apsw.ConstraintError):
        ledger._database.cursor().execute("update balance set amount = ?", (wrong,))
    with pytest.raises(apsw.ConstraintError):
        ledger._database.cursor().execute(
            "update balance set amount = -9007199254740992 where account = 'main'"
        )
    ledger.close()


def test_an_account_opened_in_a_batch_can_be_used_in_it(ledger: Ledger) -> None:
    ledger.apply(records(["o1 open ann", "c1 credit ann 5", "d1 debit ann 2"]))
    assert (balance_of(ledger, "ann"), balance_of(ledger, "cash")) == (3, -3)


@pytest.mark.parametrize("size", [1, 3])
def test_what_was_booked_in_an_earlier_batch_can_be_reversed(size: int, ledger: Ledger) -> None:
    entries = records(["c1 credit main 500", "d1 debit main 200", "r1 reverse d1"])
    apply_in_batches(ledger, entries, size)
    assert balance_of(ledger, "main") == 500


def test_the_sum_over_full_accounts_fits_the_shells_integers(tmp_path: Path) -> None:
    """The lowest balance of cash is one above the least 64-bit integer, so a sum in any order fits."""
    ledger = Ledger(tmp_path / "full.db")
    cursor = ledger._database.cursor()
    full = 2**53 - 1
    held = [
        ("cash", BANK_MINOR_MIN),
        *((f"a{n}", full) for n in range(1024)),
        ("rest", 2**63 - 1 - 1024 * full),
    ]
    cursor.executemany("insert or replace into balance values (?, ?)", held)
    orders = ("account", "account desc", "amount", "amount desc")
    sums = [
        cursor.execute(f"select sum(amount) from (select amount from balance order by {o})").get
        for o in orders
    ]
    assert sums == [0, 0, 0, 0]
    ledger.close()


def test_closing_twice_is_closing_once(path: Path) -> None:
    ledger = Ledger(path)
    ledger.close()
    ledger.close()


def test_every_setting_is_as_wanted(ledger: Ledger) -> None:
    cursor = ledger._database.cursor()
    found = {name: cursor.execute(f"pragma {name}").get for name, _ in database.PRAGMAS}
    assert found == dict(database.PRAGMAS)
    assert (found["journal_mode"], found["synchronous"]) == ("wal", 1)


def test_each_commit_is_synced_where_no_log_makes_up_for_it(path: Path) -> None:
    with closing(Ledger(path, synchronous=database.FULL)) as ledger:
        assert ledger._database.cursor().execute("pragma synchronous").get == 2
    with closing(Ledger(path)) as ledger:
        assert ledger._database.cursor().execute("pragma synchronous").get == 1


def test_a_request_of_an_earlier_batch_can_be_reversed(ledger: Ledger) -> None:
    ledger.apply(records(["c1 credit main 500"]))
    (receipt,) = ledger.apply([(2, time_us(2), logged(Reverse(id="r1", original="c1")))])
    assert receipt is not None
    assert (receipt.outcome, balance_of(ledger, "main")) == (Outcome.OK, 0)


def test_a_batch_parses_no_statement_that_the_batches_before_it_used(ledger: Ledger) -> None:
    lines = [f"c{n} credit main 1" for n in range(4 * 67)]
    apply_in_batches(ledger, records(lines[:67]), 67)
    connection = ledger._database.cursor().connection
    before = connection.cache_stats()["misses"]
    for start in (67, 134, 201):
        ledger.apply(records(lines)[start : start + 67])
    assert connection.cache_stats()["misses"] == before
