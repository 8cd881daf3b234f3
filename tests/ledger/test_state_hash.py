"""The hashes that ledgers are compared by: equal if the ledgers are, and never else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.ledger.commands import Outcome
from atm.ledger.ledger import Ledger
from atm.ledger.state_hash import FIRST_ROW, ROWS_MAX, RowsFrom, StateHash
from tests.support.entries import logged, records
from tests.support.story import COMMANDS, RECORDS, write_ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with closing(Ledger(":memory:")) as ledger:
        yield ledger


def all_rows(ledger: Ledger) -> StateHash:
    return ledger.state_hash(FIRST_ROW, ROWS_MAX)


@pytest.mark.parametrize("size", [1, 3, len(RECORDS)])
def test_the_hashes_do_not_depend_on_how_the_log_was_cut(size: int, ledger: Ledger) -> None:
    with closing(Ledger(":memory:")) as other:
        other.apply(RECORDS)
        for start in range(0, len(RECORDS), size):
            ledger.decide(RECORDS[start : start + size])
        assert all_rows(ledger) == all_rows(other)


def test_what_was_decided_and_not_written_is_in_them_and_is_written_by_then(ledger: Ledger) -> None:
    ledger.decide(RECORDS)
    assert ledger.applied_index == 0
    assert all_rows(ledger).index == ledger.applied_index == ledger.decided_index == len(RECORDS)


@pytest.mark.parametrize("number", range(1, len(COMMANDS)))
def test_each_entry_that_decides_something_else_changes_the_hash_of_decisions(
    number: int, ledger: Ledger
) -> None:
    """Here: by another actor, so that nothing but a receipt differs."""
    command, outcome = COMMANDS[number]
    ledger.apply(RECORDS)
    odd = list(RECORDS)
    if command is not None:
        odd[number] = (*RECORDS[number][:2], logged(command, "eve"))
    with closing(Ledger(":memory:")) as other:
        other.apply(odd)
        ours, theirs = all_rows(ledger), all_rows(other)
    has_receipt = outcome not in (None, Outcome.ALREADY_REVERSED)  # that of the reversal stands for it
    assert (ours.decisions != theirs.decisions) == has_receipt
    assert (ours.rows != theirs.rows) == has_receipt
    assert ours.journal == theirs.journal


def test_the_hash_of_decisions_begins_anew_with_each_call_and_says_where(ledger: Ledger) -> None:
    ledger.apply(RECORDS[:10])
    first = all_rows(ledger)
    assert first.decided_from == 0
    ledger.apply(RECORDS[10:])
    second = all_rows(ledger)
    assert second.decided_from == 10
    assert all_rows(ledger).decided_from == len(RECORDS)
    with closing(Ledger(":memory:")) as other:
        other.apply(RECORDS[:10])
        all_rows(other)
        other.apply(RECORDS[10:])
        assert all_rows(other) == second


def test_a_repeated_request_decides_nothing(ledger: Ledger) -> None:
    ledger.apply(records(["c1 credit main 5"]))
    all_rows(ledger)
    before = all_rows(ledger).decisions
    ledger.apply([(2, 10**15, records(["c1 credit main 5"])[0][2])])
    assert all_rows(ledger).decisions == before


# What may rot in each table; each changes the row with the highest key.
CHANGES = {
    "account": "wrong_pins = wrong_pins + 1",
    "applied": "schema_version = 9",
    "balance": "amount = amount + 1",
    "cluster": "feature_level = 9",
    "exception": "kind = 'late'",
    "hold": "posted = posted + 1",
    "journal": "time_us = time_us + 1",
    "receipt": "available = 77",
    "reversal": "reversal = 'c1'",
}


@pytest.mark.parametrize("rows_max", [1, 2, 7, 50])
def test_pieces_go_through_every_row_of_every_table_once_and_begin_anew(
    rows_max: int, ledger: Ledger
) -> None:
    ledger.apply(RECORDS)
    count = sum(ledger._database.cursor().execute(f"select count(*) from {table}").get for table in CHANGES)
    place, pieces, seen = FIRST_ROW, 0, list[RowsFrom]()
    while pieces == 0 or place != FIRST_ROW:
        place = ledger.state_hash(place, rows_max).rows_to
        seen.append(place)
        pieces += 1
        assert pieces <= count + 1
    assert pieces == count // rows_max + 1
    if rows_max == 1:
        assert {each.table for each in seen[:-1]} == set(CHANGES)


@pytest.mark.parametrize("table", CHANGES)
def test_any_changed_or_missing_row_changes_the_hash_of_its_piece_and_of_no_other(
    table: str, ledger: Ledger
) -> None:
    ledger.apply(RECORDS)
    places, place = [FIRST_ROW], ledger.state_hash(FIRST_ROW, 5).rows_to
    while place != FIRST_ROW:
        places.append(place)
        place = ledger.state_hash(place, 5).rows_to
    before = [ledger.state_hash(each, 5).rows for each in places]
    execute = ledger._database.cursor().execute
    key = execute(f"select name from pragma_table_info('{table}') where cid = 0").get
    execute(f"update {table} set {CHANGES[table]} where {key} = (select max({key}) from {table})")
    after = [ledger.state_hash(each, 5).rows for each in places]
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_an_unknown_table_is_passed_over(ledger: Ledger) -> None:
    ledger.apply(RECORDS)
    behind = ledger.state_hash(RowsFrom("i"), ROWS_MAX)
    assert behind.rows == ledger.state_hash(RowsFrom("journal"), ROWS_MAX).rows
    end = ledger.state_hash(RowsFrom("zzz", 5), ROWS_MAX)
    assert end.rows_to == FIRST_ROW


def test_the_rows_are_read_from_the_file_past_what_the_ledger_remembers(tmp_path: Path) -> None:
    path = write_ledger(tmp_path / "ledger.db")
    with closing(Ledger(path)) as ledger:
        before = all_rows(ledger)
        assert all_rows(ledger).rows == before.rows
        right = path.read_bytes()
        path.write_bytes(right.replace(b"h-overdrawn", b"h-overgrown"))
        assert all_rows(ledger).rows != before.rows
        path.write_bytes(right)
        assert all_rows(ledger).rows == before.rows
