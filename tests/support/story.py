"""A ledger in which everything has happened once: all kinds of commands, and every table has rows."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from atm.ledger.commands import (
    Batch,
    Close,
    Credit,
    Debit,
    Expire,
    Freeze,
    Hold,
    Leg,
    LogCommand,
    Open,
    Outcome,
    Post,
    Reverse,
    SetLimit,
    SetPin,
    Transfer,
    Void,
    WriteOff,
)
from atm.ledger.ledger import Ledger, Record
from tests.support.entries import logged, time_us

COMMANDS: tuple[tuple[LogCommand | None, Outcome | None], ...] = (
    (None, None),
    (Open(id="o1", account="alice"), Outcome.OK),
    (Open(id="o2", account="bob"), Outcome.OK),
    (Open(id="o3", account="Carol_x.y-z"), Outcome.OK),
    (Open(id="o4", account="gone"), Outcome.OK),
    (Credit(id="c1", account="alice", amount=100_00), Outcome.OK),
    (Credit(id="c2", account="bob", amount=50_05), Outcome.OK),
    (Credit(id="c3", account="gone", amount=9_00), Outcome.OK),
    (Debit(id="d1", account="alice", amount=10_00), Outcome.OK),
    (Debit(id="d2", account="bob", amount=999_00), Outcome.INSUFFICIENT_FUNDS),
    (Transfer(id="t1", account="alice", target="bob", amount=5_00), Outcome.OK),
    (
        Batch(
            id="b1",
            legs=(
                Leg(account="alice", target="bob", amount=1_00),
                Leg(account="bob", target="Carol_x.y-z", amount=2_50),
            ),
        ),
        Outcome.OK,
    ),
    (Hold(id="h-active", account="alice", amount=7_00, expires_ms=10_000_000), Outcome.OK),
    (Hold(id="h-posted", account="alice", amount=6_00, expires_ms=10_000_000), Outcome.OK),
    (Post(id="p1", hold="h-posted", amount=4_00), Outcome.OK),
    (Hold(id="h-voided", account="bob", amount=1_00, expires_ms=10_000_000), Outcome.OK),
    (Void(id="v1", hold="h-voided"), Outcome.OK),
    (Hold(id="h-late", account="bob", amount=30_00, expires_ms=1), Outcome.OK),
    (Hold(id="h-overdrawn", account="Carol_x.y-z", amount=2_00, expires_ms=1), Outcome.OK),
    (Hold(id="h-gone", account="gone", amount=9_00, expires_ms=1), Outcome.OK),
    (None, None),
    (None, None),
    (Expire(), None),
    (Post(id="p-late", hold="h-late"), Outcome.OK),
    (Debit(id="d3", account="Carol_x.y-z", amount=2_50), Outcome.OK),
    (Post(id="p-overdrawn", hold="h-overdrawn"), Outcome.OK),
    (Debit(id="d4", account="gone", amount=9_00), Outcome.OK),
    (Close(id="x1", account="gone"), Outcome.OK),
    (Post(id="p-gone", hold="h-gone"), Outcome.OK),
    (WriteOff(id="w1", account="bob", amount=3_00), Outcome.OK),
    (WriteOff(id="w2", account="cash", amount=1_11), Outcome.OK),
    (Reverse(id="r1", original="d1", amount=2_00), Outcome.OK),
    (Reverse(id="r2", original="b1"), Outcome.INSUFFICIENT_FUNDS),
    (Reverse(id="r3", original="t1"), Outcome.OK),
    (Reverse(id="r4", original="w1", amount=1_00), Outcome.OK),
    (Reverse(id="r5", original="never-came"), Outcome.ORIGINAL_NOT_FOUND),
    (Credit(id="never-came", account="bob", amount=1), Outcome.ALREADY_REVERSED),
    (SetPin(id="s1", account="alice", pin="ab" * 32), Outcome.OK),
    (SetLimit(id="l1", account="alice", amount=500_00), Outcome.OK),
    (Freeze(id="f1", account="bob"), Outcome.OK),
    (Credit(id="c4", account="Carol_x.y-z", amount=20_00), Outcome.OK),
    (Hold(id="h-reversed", account="Carol_x.y-z", amount=1_00, expires_ms=10_000_000), Outcome.OK),
    (Reverse(id="r6", original="h-reversed"), Outcome.OK),
)

RECORDS: tuple[Record, ...] = tuple(
    (log_index, time_us(log_index), None if command is None else logged(command))
    for log_index, (command, _) in enumerate(COMMANDS, 1)
)


def write_ledger(path: Path) -> Path:
    """Make the ledger at `path` and return it."""
    with closing(Ledger(path)) as ledger:
        receipts = ledger.apply(RECORDS)
    outcomes = [receipt and receipt.outcome for receipt in receipts]
    assert outcomes == [outcome for _, outcome in COMMANDS]
    return path
