"""Stories of the bank as tables, a row for each log entry, applied one by one and in one batch.

    given ann 100, bob 0
    time | request              | outcome            | ledger | available | booked
    0    | t1 transfer ann bob 30 | ok               | 70     | 70        | ann > bob 30

`given` opens accounts and pays in. `time` is in seconds or spans since a midnight; log time also rises by
a microsecond with each row. `ledger` and `available` are the receipt's, `none` if it shows no account.
`booked` are the postings, in order, with `(late)` and so on for what is on the list of exceptions.
The row `query ann` asks how things stand: its outcome is `open`, `frozen` or `closed`, followed by `set` or
`locked` for the PIN, and for how many seconds, or how many tries are left (`1 left`), if that is told; and
how many wrong ones there were (`4 wrong`). `level 2` raises the feature level; `reseal 2 ann=2:5678`
carries a PIN over. A row of nothing but time and request must be `ok`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from atm.ledger.commands import LedgerReceipt, LoggedCommand, Query
from atm.ledger.ledger import Ledger, Record
from tests.ledger.audit import audit
from tests.support.entries import amount, entry, seconds
from tests.support.lanes import assert_same_on_postgresql

MIDNIGHT_US = 1_700_006_400_000_000  # of a day in November 2023, UTC

BOOKED = """select debit_account || ' > ' || credit_account || ' ' || amount
    || iif(kind is null, '', ' (' || kind || ')')
    from journal left join exception using (posting) where posting / 64 = ? order by posting"""


class Row(NamedTuple):
    """One line of a story; an expected value is None where the table has none."""

    time_us: int
    request: str
    outcome: str
    ledger: str | None
    available: str | None
    booked: str | None


def check_story(story: str) -> None:
    """Apply the story to a new ledger entry by entry, and check each row; then all of it in one batch.

    And once more entry by entry, but written only at the end. The ledgers must agree in every table and
    receipt, and pass an audit. So must a ledger at the newest feature level and a lane on PostgreSQL.
    """
    given, rows = _read(story)
    one_by_one, at_once, gathered = Ledger(":memory:"), Ledger(":memory:"), Ledger(":memory:")
    log: list[Record] = []
    receipts: list[LedgerReceipt | None] = []
    try:
        for line in given:
            log.append((len(log) + 1, MIDNIGHT_US - 1000 + len(log), entry(line)))
            receipts += one_by_one.apply(log[-1:])
        for row in rows:
            if row.request.startswith("query "):
                _check_query(one_by_one, row)
                continue
            log.append((len(log) + 1, row.time_us, entry(row.request)))
            receipts += one_by_one.apply(log[-1:])
            _check(one_by_one, row, receipts[-1])
            audit(one_by_one)
        assert at_once.apply(log) == receipts
        assert [receipt for record in log for receipt in gathered.decide([record])] == receipts
        gathered.write()
        assert at_once.digest() == gathered.digest() == one_by_one.digest()
        assert_same_on_postgresql(
            [(time_us, asked) for _, time_us, asked in log if isinstance(asked, LoggedCommand)]
        )
    finally:
        one_by_one.close()
        at_once.close()
        gathered.close()


def _read(story: str) -> tuple[list[str], list[Row]]:
    lines = story.strip().splitlines()
    given: list[str] = []
    if lines[0].startswith("given "):
        for number, item in enumerate(lines.pop(0).removeprefix("given ").split(", ")):
            account, text = item.split()
            given.append(f"given-open-{number} open {account}")
            left = amount(text)
            while left:
                paid = min(left, amount("LARGEST"))
                given.append(f"given-{number}-{left} credit {account} {paid}")
                left -= paid
    rows = []
    for order, line in enumerate(lines[1:]):
        time, request, *expected = (cell.strip() for cell in line.split("|"))
        time_us = MIDNIGHT_US + seconds(time) * 1_000_000 + order
        if expected:
            outcome, ledger, available, booked = (*expected, "", "", "")[:4]
            rows.append(Row(time_us, request, outcome, ledger, available, booked))
        else:
            outcome = "" if request.split()[0] in {"expire", "-", "level", "reseal"} else "ok"
            rows.append(Row(time_us, request, outcome, None, None, None))
    return given, rows


def _check(ledger: Ledger, row: Row, receipt: LedgerReceipt | None) -> None:
    if receipt is None:
        assert row.outcome == "", row
        return
    assert receipt.outcome == row.outcome, row
    if row.ledger is None:
        return
    repeated = receipt.time_us != row.time_us
    assert (_shown(receipt.balance), _shown(receipt.available)) == (row.ledger, row.available), row
    assert "; ".join(_booked(ledger)) == row.booked, row
    assert not (repeated and row.booked), row


def _booked(ledger: Ledger) -> Sequence[str]:
    return [text for (text,) in ledger._database.cursor().execute(BOOKED, (ledger.applied_index,))]


def _check_query(ledger: Ledger, row: Row) -> None:
    view = ledger.view(Query(id="q", account=row.request.removeprefix("query ")), row.time_us)
    states = [str(view.state), *([view.pin] if view.pin in {"set", "locked"} else [])]
    if view.locked_until_us is not None:
        states.append(f"{-(-(view.locked_until_us - row.time_us) // 1_000_000)}s")
    if view.tries_left is not None:
        states.append(f"{view.tries_left} left")
    if view.wrong_pins is not None:
        states.append(f"{view.wrong_pins} wrong")
    assert " ".join(states) == row.outcome, row
    assert (_shown(view.balance), _shown(view.available)) == (row.ledger, row.available), row


def _shown(number: int | None) -> str:
    named = {amount(name): name for name in ("LARGEST", "FULL", "FULL-1")}
    return "none" if number is None else named.get(number, str(number))
