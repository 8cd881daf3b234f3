"""Reads a CSV of another program: one row is one posting between an account and what is on its other side."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator

from atm.ledger.commands import CASH
from atm.office.foreign.entries import Change, Entry, NotCarried, Problem
from atm.office.foreign.mapping import BadMapping, CsvLayout, Mapping


def read_rows(text: str, mapping: Mapping) -> Iterator[Entry | Problem]:
    """Yield a transaction for each row that is not empty, the oldest first; raise `BadMapping`."""
    layout = mapping.csv
    if layout is None:
        raise BadMapping("a CSV needs [csv] in the mapping, which says what its columns are")
    rows = _rows(text, layout, mapping)
    return reversed(list(rows)) if layout.newest_first else rows


def _rows(text: str, layout: CsvLayout, mapping: Mapping) -> Iterator[Entry | Problem]:
    lines = io.StringIO(text, newline="")
    for _ in itertools.islice(lines, layout.skip_lines):
        pass
    reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_columns(header, layout, mapping.id)
        line = layout.skip_lines + reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                try:
                    yield _entry(line, _row(header, cells), layout, mapping)
                except NotCarried as error:
                    yield Problem(line, str(error))
            line = layout.skip_lines + reader.line_num + 1
    except csv.Error as error:
        yield Problem(layout.skip_lines + reader.line_num, f"this is no CSV: {error}")


def _check_columns(header: list[str], layout: CsvLayout, id_column: str | None) -> None:
    wanted = [*layout.columns, *([] if id_column is None else [id_column])]
    for column in wanted:
        if header.count(column) != 1:
            many = "no column" if column not in header else "more than one column"
            has = ", ".join(map(repr, header)) or "none"
            raise BadMapping(f"line {layout.skip_lines + 1} has {many} {column!r}; it has {has}")


def _row(header: list[str], cells: list[str]) -> dict[str, str]:
    if len(cells) != len(header):
        raise NotCarried(f"{len(cells)} cells, and the header has {len(header)}")
    return {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _entry(line: int, row: dict[str, str], layout: CsvLayout, mapping: Mapping) -> Entry:
    commodity = row[layout.commodity] if layout.commodity else ""
    received_minor = _received(row, layout, mapping, commodity)
    if layout.account_column is not None:
        account = mapping.account_for(row[layout.account_column])
    else:
        assert layout.account is not None, "CsvLayout checks it"
        account = layout.account
    other = mapping.account_for(row[layout.other_column]) if layout.other_column else CASH
    return Entry(
        line=line,
        day=row[layout.date] if layout.date else "",
        text=" ".join(filter(None, (row[column] for column in layout.text))),
        stated_id=row[mapping.id] if mapping.id else "",
        changes=(Change(account, received_minor), Change(other, -received_minor)),
    )


def _received(row: dict[str, str], layout: CsvLayout, mapping: Mapping, commodity: str) -> int:
    """Return what the account receives, below zero for what it pays."""
    if layout.amount is not None:
        return mapping.minor_units(row[layout.amount], commodity, bare=True)
    total_minor, told = 0, 0
    for column, sign in ((layout.paid_in, 1), (layout.paid_out, -1)):
        if column is not None and row[column]:
            amount_minor = mapping.minor_units(row[column], commodity, bare=True)
            if amount_minor < 0:
                raise NotCarried(f"{row[column]!r} in the column {column!r}, where amounts have no sign")
            total_minor += sign * amount_minor
            told += 1
    if not told:
        raise NotCarried("no amount")
    return total_minor
