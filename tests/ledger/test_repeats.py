"""Every kind of request is applied once: its id gets the first receipt for ever, a decline too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest

from atm.ledger import rows
from atm.ledger.commands import (
    Approve,
    Command,
    GrantRole,
    LedgerReceipt,
    RaiseHold,
    RevokeRole,
    RotatePepper,
    SetApprovalLimit,
    SetCeiling,
)
from atm.ledger.ledger import Ledger
from tests.support.entries import apply_in_batches, command, records

GIVEN = (
    *("a1 open ann", "a2 open bob", "a3 open eve", "a4 credit ann 100", "a5 credit bob 100"),
    *("h0 hold ann 10 60s", "c0 credit ann 7", "d0 debit ann 7"),
)

# What is asked, and what is not the same although it comes under the same id.
DONE = {
    "credit ann 5": ("credit ann 6", "credit bob 5", "debit ann 5", "write_off ann 5"),
    "debit ann 5": ("debit ann 6", "debit bob 5", "credit ann 5", "hold ann 5 60s"),
    "transfer ann bob 5": ("transfer ann bob 6", "transfer ann eve 5", "transfer bob ann 5", "debit ann 5"),
    "batch ann bob 5, bob eve 5": ("batch ann bob 5", "batch bob eve 5, ann bob 5", "transfer ann bob 5"),
    "hold ann 5 60s": ("hold ann 6 60s", "hold ann 5 61s", "hold bob 5 60s"),
    "post h0": ("post h0 10", "post h1", "void h0"),
    "post h0 9": ("post h0", "post h0 10"),
    "void h0": ("void h1", "post h0"),
    "reverse d0": ("reverse d0 7", "reverse c0"),
    "reverse d0 5": ("reverse d0", "reverse d0 6"),
    "write_off ann 5": ("write_off ann 6", "write_off cash 5"),
    "open zoe": ("open zed", "freeze zoe"),
    "freeze ann": ("freeze bob", "unfreeze ann", "close ann"),
    "unfreeze ann": ("unfreeze bob", "freeze ann", "unlock ann"),
    "close eve": ("close bob", "open eve"),
    "set_pin ann 1234": ("set_pin ann 5678", "set_pin bob 1234", "login ann 1234"),
    "login ann 1234": ("login bob 1234", "unlock ann"),
    "unlock ann": ("unlock bob", "unfreeze ann"),
    "reset_pin ann": ("reset_pin bob", "unlock ann"),
    "set_limit ann 5": ("set_limit ann 6", "set_limit ann none", "set_limit bob 5"),
}

# What is asked, why it is declined, and after what it would not be.
DECLINED = """
credit zoe 5               | no_such_account     | o1 open zoe
debit ann 101              | insufficient_funds  | c1 credit ann 50
transfer ann zoe 5         | no_such_account     | o1 open zoe
batch ann bob 5, bob eve 106 | insufficient_funds | c1 credit bob 50
hold ann 101 60s           | insufficient_funds  | c1 credit ann 50
post h1                    | hold_not_found      | h1 hold ann 5 60s
void h1                    | hold_not_found      | h1 hold ann 5 60s
reverse a4                 | insufficient_funds  | v1 void h0
reverse d0 8               | exceeds_original    | -
reverse c1                 | original_not_found  | -
write_off zoe 5            | no_such_account     | o1 open zoe
open bob                   | exists              | -
freeze zoe                 | no_such_account     | o1 open zoe
unfreeze zoe               | no_such_account     | o1 open zoe
close bob                  | not_empty           | d1 debit bob 100
set_pin zoe 1234           | no_such_account     | o1 open zoe
login zoe 1234             | no_such_account     | o1 open zoe
unlock zoe                 | no_such_account     | o1 open zoe
reset_pin zoe              | no_such_account     | o1 open zoe
set_limit zoe 5            | no_such_account     | o1 open zoe
"""
DECLINES = [[cell.strip() for cell in line.split("|")] for line in DECLINED.strip().splitlines()]
CUTS = pytest.mark.parametrize("size", [1, 100], ids=["one by one", "in one batch"])


def applied(lines: Sequence[str], size: int) -> tuple[list[LedgerReceipt | None], str]:
    """Return receipts and digest of a ledger that these lines were applied to, `size` at a time."""
    ledger = Ledger(":memory:")
    entries = records([*GIVEN, *lines])
    receipts = []
    for start in range(0, len(entries), size):
        receipts += ledger.apply(entries[start : start + size])
    digest = ledger.digest()
    ledger.close()
    return receipts[len(GIVEN) :], digest


def test_the_tables_here_know_every_kind_of_command() -> None:
    # These need feature level 2: test_roles.py, test_pepper.py, test_approvals.py, test_hold_parts.py,
    # test_limits.py
    newer: set[object] = {
        GrantRole,
        RevokeRole,
        RotatePepper,
        SetApprovalLimit,
        Approve,
        RaiseHold,
        SetCeiling,
    }
    assert {type(command(f"x {line}")) for line in DONE} | newer == set(get_args(Command))
    assert {type(command(f"x {line}")) for line, *_ in DECLINES} | newer == set(get_args(Command))


@CUTS
@pytest.mark.parametrize("line", DONE)
def test_what_was_done_is_not_done_again(line: str, size: int) -> None:
    (first, *again), digest = applied([f"x {line}", *[f"x {line}"] * 3], size)
    assert first is not None
    assert first.outcome == "ok"
    assert again == [first] * 3
    assert digest == applied([f"x {line}", "-", "-", "-"], size)[1], "a repetition left a trace"


@CUTS
@pytest.mark.parametrize(("line", "other"), [(line, other) for line, more in DONE.items() for other in more])
def test_other_contents_under_the_same_id_are_refused_and_change_nothing(
    line: str, other: str, size: int
) -> None:
    receipts, digest = applied([f"x {line}", f"x {other}", f"x {line}"], size)
    assert [receipt and receipt.outcome for receipt in receipts] == ["ok", "id_reused", "ok"]
    assert receipts[2] == receipts[0]
    assert digest == applied([f"x {line}", "-", "-"], size)[1], "a refusal left a trace"


@CUTS
@pytest.mark.parametrize(("line", "why", "remedy"), DECLINES, ids=[line for line, *_ in DECLINES])
def test_a_decline_stays_one_whatever_happens_later(line: str, why: str, remedy: str, size: int) -> None:
    (first, _, second), digest = applied([f"x {line}", remedy, f"x {line}"], size)
    assert first is not None
    assert (first.outcome, second) == (why, first)
    assert digest == applied([f"x {line}", remedy, "-"], size)[1], "a repetition left a trace"
    if remedy != "-":
        receipts, _ = applied([remedy, f"x {line}"], size)
        assert [receipt and receipt.outcome for receipt in receipts] == ["ok", "ok"]


def test_receipts_of_every_kind_outlive_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    lines = [f"x{number} {line}" for number, line in enumerate(DONE)]
    path = tmp_path_factory.mktemp("repeats") / "ledger.db"
    ledger = Ledger(path)
    first = ledger.apply(records([*GIVEN, *lines]))[len(GIVEN) :]
    ledger.close()
    again = Ledger(path)
    assert again.apply(records(lines, again.applied_index + 1)) == first
    again.close()
    assert {receipt.outcome for receipt in first if receipt} >= {"ok", "hold_already_posted"}


def test_the_same_requests_in_any_batches_leave_the_same_ledger() -> None:
    lines = [
        *GIVEN,
        *(f"x{n} {line}" for n, line in enumerate(DONE)),
        *(f"y {line}" for line, *_ in DECLINES),
    ]
    digests = set()
    for size in (1, 2, 3, 7, len(lines)):
        ledger = Ledger(":memory:")
        apply_in_batches(ledger, records(lines), size)
        digests.add(ledger.digest())
        ledger.close()
    assert len(digests) == 1


def test_a_ledger_that_keeps_no_account_in_memory_decides_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        *(f"x{n} {line}" for n, line in enumerate(DONE)),
        *(f"y{n} {line[0]}" for n, line in enumerate(DECLINES)),
    ]
    kept = applied(lines, 1)
    monkeypatch.setattr(rows, "ACCOUNTS_KEPT_MAX", 0)
    assert applied(lines, 1) == kept
    assert applied(lines, 5) == kept
