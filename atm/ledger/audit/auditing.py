"""Audits one ledger: `python -m atm.ledger.audit LEDGER.DB [--at INDEX]... [--json]`; see docs/ledger.md.

Reads one snapshot through a connection that cannot write. A running node is not disturbed, except that it
cannot checkpoint its write-ahead log beyond the snapshot until the audit ends. Exit code 0: sound,
1: it found problems, 2: there is no such file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import cast

import apsw
import msgspec

from atm.ledger.audit.checks import CHECKS, EVERY_REVERSAL, EVERY_REVERSAL_OF_LEVEL_2, LEVEL_2_CHECKS
from atm.ledger.audit.detail_checks import DETAIL_CHECKS
from atm.ledger.audit.digest import table_digest, table_names
from atm.ledger.audit.findings import Findings
from atm.ledger.audit.journal_walk import JOURNAL, REMARKED_JOURNAL, JournalWalk, RemarkedRow
from atm.ledger.audit.read_only import DamagedLedger, NoLedger, open_read_only
from atm.ledger.commands import OPEN_TRANSFER_US
from atm.ledger.database import SCHEMAS, brief, expected_schema, schema_of
from atm.ledger.deeds import DEED_COLUMNS, deed_hash
from atm.ledger.posting import NO_HASH

DEEDS = f"select {DEED_COLUMNS}, hash from deed order by deed"
PROBLEMS_MAX = 60  # reported, so that the answer fits a frame; the others are counted
OF_ONE_CHECK_MAX = 20
NICE = 10
READ_AHEAD_BYTES = 4 * 1024 * 1024

UNREADABLE = (apsw.Error, UnicodeDecodeError, TypeError)  # a type that STRICT does not allow


def audit(path: Path, at: Sequence[int] = ()) -> Findings:
    """Return what is found in the ledger at `path`, with its chain at the log indexes `at`.

    Raise `NoLedger` if there is no such file; all that is wrong in it is a finding.
    """
    try:
        with open_read_only(path) as cursor:
            _read_ahead(path)
            return _Audit(cursor).run_checks(at)
    except DamagedLedger as error:
        return Findings(
            applied_index=None,
            postings=0,
            chain=(),
            digests={},
            problems=(str(error),),
            more_problems=0,
            seconds=0.0,
        )


def _read_ahead(path: Path) -> None:
    """Load the file into the system's cache by one sequential read: the checks read it at random."""
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        piece = bytearray(READ_AHEAD_BYTES)
        while file.readinto(piece):
            pass


def applied_index(path: Path) -> int | None:
    """Return the applied index of the ledger at `path`, None if it is unreadable; raise `NoLedger`."""
    with open_read_only(path) as cursor:
        return _applied_index(cursor)


# What an open transfer between lanes holds has no receipt yet (crossings.py).
REFERENCES = f"""select "table", parent, count(*) - iif("table" = 'hold' and parent = 'receipt',
    (select count(*) from hold left join receipt using (request_id)
    where expires_us = {OPEN_TRANSFER_US} and state = 'active' and op is null), 0) as missing
    from pragma_foreign_key_check group by 1, 2 having missing > 0"""


class _Audit:
    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self._problems: list[str] = []
        self._more_problems = 0

    def run_checks(self, at: Sequence[int]) -> Findings:
        started_s = time.monotonic()
        applied = _applied_index(self._cursor)
        if applied is None:
            self._report("the applied index cannot be read")
        walk = JournalWalk(self._of_one_check(), at)
        digests: dict[str, str] = {}
        self._try(self._check_file)
        if self._try(self._check_tables):
            self._try(self._check_references)
            has_level_2 = "deed" in table_names(self._cursor)
            every_reversal = EVERY_REVERSAL_OF_LEVEL_2 if has_level_2 else EVERY_REVERSAL
            for check in (*CHECKS, *((*LEVEL_2_CHECKS, *DETAIL_CHECKS) if has_level_2 else ())):
                self._try(partial(self._find, every_reversal + check.sql, check.line.format))
            if has_level_2:
                self._try(self._check_deeds)
            self._try(partial(self._walk, walk))
            if applied is not None:
                walk.finish(applied)
            self._try(partial(self._digest, digests))
        return Findings(
            applied_index=applied,
            postings=walk.count,
            chain=tuple((index, journal_hash.hex()) for index, journal_hash in walk.chain.items()),
            digests=digests,
            problems=tuple(self._problems),
            more_problems=self._more_problems,
            seconds=round(time.monotonic() - started_s, 3),
        )

    def _check_file(self) -> None:
        """SQLite's own checks: pages, indexes, types, constraints."""
        for (line,) in self._cursor.execute(f"pragma integrity_check({OF_ONE_CHECK_MAX})"):
            if line != "ok":
                self._report(f"the file is damaged: {line}")

    def _check_tables(self) -> bool:
        """Return whether the schema is one of this release: otherwise no other check makes sense."""
        if schema_of(self._cursor.connection) in map(expected_schema, SCHEMAS):
            return True
        self._report("its schema is not that of this release: another program or release changed it")
        return False

    def _check_references(self) -> None:
        self._find(
            REFERENCES,
            lambda table, parent, count: f"{table}: {count} of its rows refer to no {parent}",
        )

    def _check_deeds(self) -> None:
        """The chain of the record of deeds, which a ledger has from feature level 2 on."""
        report, last_hash = self._of_one_check(), NO_HASH
        for *columns, found in self._cursor.execute(DEEDS):
            if deed_hash(last_hash, *cast(list[str | int | None], columns)) != found:
                report(f"deed {columns[0]}: its hash does not fit its contents and the deed before it")
            last_hash = cast(bytes, found)

    def _walk(self, walk: JournalWalk) -> None:
        try:
            journal = REMARKED_JOURNAL if "remark" in table_names(self._cursor) else JOURNAL
            walk.walk_rows(cast(Iterator[RemarkedRow], self._cursor.execute(journal)))
        except UNREADABLE:
            self._report(f"the journal cannot be read after posting {walk.last_posting}")
            raise
        balances = self._cursor.execute("select account, amount from balance")
        walk.check_balances(cast(Iterator[tuple[str, int]], balances))

    def _digest(self, digests: dict[str, str]) -> None:
        for table in table_names(self._cursor):
            digests[table] = table_digest(self._cursor, table)

    # -- problems ------------------------------------------------------------------------------------------

    def _try(self, check: Callable[[], bool | None]) -> bool:
        """Return the result of `check`, False if it cannot read the file; each error is reported once."""
        try:
            return bool(check())
        except UNREADABLE as error:
            why = "a value of the wrong type" if isinstance(error, TypeError) else brief(error)
            line = f"the ledger cannot be read everywhere: {why}"
            if line not in self._problems:
                self._report(line)
            return False

    def _find(self, sql: str, line: Callable[..., str]) -> None:
        report = self._of_one_check()
        for row in self._cursor.execute(sql):
            report(line(*row))

    def _of_one_check(self) -> Callable[[str], None]:
        """Return a function that reports problems of one kind; beyond a bound it only counts them."""
        left = OF_ONE_CHECK_MAX

        def report(line: str) -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                self._report(line)
            else:
                self._more_problems += 1

        return report

    def _report(self, line: str) -> None:
        if len(self._problems) < PROBLEMS_MAX:
            self._problems.append(brief(line))
        else:
            self._more_problems += 1


def _applied_index(cursor: apsw.Cursor) -> int | None:
    try:
        found = cursor.execute("select log_index from applied").get
    except UNREADABLE:
        return None
    return found if isinstance(found, int) else None


# -- as a program ------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Audit a file; return the exit code."""
    parser = argparse.ArgumentParser(prog="atm.ledger.audit", description="Audit one ledger.")
    parser.add_argument("ledger", type=Path, metavar="LEDGER.DB")
    parser.add_argument("--at", type=int, action="append", default=[], metavar="INDEX")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument(
        "--behind", action="store_true", help="run at low priority, and end when standard input ends"
    )
    options = parser.parse_args(argv)
    if options.behind:
        os.nice(NICE)
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        found = audit(options.ledger, options.at)
    except NoLedger as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        for line in problem_lines(found):
            print(line)
        print(f"{found.postings:,} postings up to log entry {found.applied_index}, {found.seconds:.1f} s")
    return 1 if found.problems else 0


def problem_lines(found: Findings) -> list[str]:
    """Return a line for each problem, and one for those that were only counted."""
    more = [f"and {found.more_problems:,} more"] if found.more_problems else []
    return [*found.problems, *more]


def _end_with_stdin() -> None:
    os.read(0, 1)  # not sys.stdin: its lock, held here, would abort the interpreter's exit
    os._exit(1)
