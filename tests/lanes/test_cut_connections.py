"""The connection dies at every step of a batch: what is asked again under the same ids is done once."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from atm.lanes.faults import EngineFault
from tests.support.entries import command as asked
from tests.support.entries import logged
from tests.support.lanes import Twins

NOW_US = 1_700_000_000_000_000
BEFORE = ["o1 open ann", "c1 credit ann 500", "h1 hold ann 100 1h", "t1 transfer ann main 50"]
BATCH = ["c2 credit ann 5", "p1 post h1", "r1 reverse t1", "t2 transfer ann main 7", "x1 freeze main"]
STEPS_MAX = 40


class Cut:
    """Cuts a connection before its statement number `at`; tells how many there were."""

    def __init__(self, twins: Twins, at: int) -> None:
        self._engine = twins.postgresql._engine
        self._execute = self._engine.psycopg.execute
        self._at, self.count = at, 0

    def execute(self, *arguments: Any, **named: Any) -> Any:
        """Take the place of the connection's method."""
        if self.count == self._at:
            self._engine.cut()
        self.count += 1
        return self._execute(*arguments, **named)


def timed(lines: list[str]) -> list[Any]:
    """Return commands with their time stamps."""
    return [(NOW_US + number, logged(asked(line))) for number, line in enumerate(lines)]


def test_a_batch_that_is_cut_off_at_any_statement_is_done_once_when_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(Twins()) as twins:
        twins.apply(timed(BEFORE))
        batch = timed(BATCH)
        for at in range(STEPS_MAX):
            cut = Cut(twins, at)
            with monkeypatch.context() as patched:
                patched.setattr(twins.postgresql._postgresql, "execute", cut.execute)
                try:
                    twins.postgresql.decide(batch)
                    twins.postgresql.commit()
                except EngineFault:
                    twins.take_again()
                    assert twins.postgresql.applied_index == len(BEFORE) + 2
                    continue
            break
        assert 5 < at < STEPS_MAX - 1
        receipts = twins.sqlite.apply(
            [(index, *each) for index, each in enumerate(batch, twins.sqlite.applied_index + 1)]
        )
        twins.take_again()
        assert [str(receipt.outcome) for receipt in receipts if receipt] == ["ok"] * len(BATCH)
        twins.assert_same_rows()


def test_a_batch_that_was_done_and_not_answered_is_found_and_not_done_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(Twins()) as twins:
        twins.apply(timed(BEFORE))
        engine = twins.postgresql._engine
        execute = engine.psycopg.execute
        batch = timed(BATCH)
        twins.postgresql.decide(batch)

        def done_and_cut(*arguments: Any) -> Any:
            execute(*arguments)
            engine.cut()
            return execute("select 1")  # what the driver says of an answer that never came

        monkeypatch.setattr(engine.psycopg, "execute", done_and_cut)
        with pytest.raises(EngineFault) as fault:
            twins.postgresql.commit()
        assert fault.value.may_be_done
        twins.take_again()
        again = twins.postgresql.apply(NOW_US + 60, [logged(asked(line)) for line in BATCH[:4]])
        receipts = twins.sqlite.apply(
            [(index, *each) for index, each in enumerate(batch, twins.sqlite.applied_index + 1)]
        )
        assert again == receipts[:4]
