"""What the ledger says of unknown outcomes makes a history harder to explain, never easier."""

from __future__ import annotations

import math
from types import SimpleNamespace

from tests.chaos.customers import resolved
from tests.chaos.linearizability import contradictions
from tests.chaos.one_bank import Operation
from tests.support.ledgers import Rows

ANSWERED = Operation("a", "main", "credit", 5, 0, 1, "ok", 5)
UNKNOWN = Operation("b", "main", "credit", 7, 2)


def ledger(*rows: SimpleNamespace) -> dict[str, Rows]:
    return {"receipt": list(rows)}


def receipt(name: str, balance: int) -> SimpleNamespace:
    return SimpleNamespace(request_id=name, outcome="ok", balance=balance, available=balance, log_index=9)


def test_what_is_in_the_ledger_was_done_with_that_result_and_stays_open_ended() -> None:
    [_, done] = resolved([ANSWERED, UNKNOWN], ledger(receipt("a", 5), receipt("b", 12)))
    assert (done.returned, done.outcome, done.balance) == (math.inf, "ok", 12)


def test_what_is_not_in_the_ledger_at_the_end_was_seen_by_nobody() -> None:
    seen = Operation("c", "main", "query", 0, 3, 4, "ok", 12)
    assert not contradictions([ANSWERED, UNKNOWN, seen], {"main": 0})
    assert contradictions(resolved([ANSWERED, UNKNOWN, seen], ledger(receipt("a", 5))), {"main": 0})
