"""The customers of the simulation at a lane on PostgreSQL: it answers and books as the ledger on SQLite."""

from __future__ import annotations

from contextlib import closing
from random import Random

import pytest

from atm.ledger.commands import BANK, Command, Expire, LoggedCommand, Read
from atm.wire.codec import encode
from tests.simulation.people import caller
from tests.simulation.plan import draw
from tests.simulation.workload import KnownRequests, Workload
from tests.support.lanes import Twins

BATCHES = 60
NOW_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


@pytest.mark.parametrize("seed", range(6))
def test_a_lane_answers_and_books_as_the_ledger_does(seed: int) -> None:
    chance = Random(seed)
    plan, known = draw(seed), KnownRequests()
    customers = [Workload(f"c{number}", chance, plan, known) for number in range(4)]
    asked: list[Command] = []
    time_us = NOW_US
    with closing(Twins()) as twins:
        for number in range(BATCHES):
            batch: list[tuple[int, LoggedCommand]] = []
            for _ in range(chance.choice((1, 1, 2, 5, 30))):
                time_us += chance.choice((1, 1000, 1_000_000))
                customer = chance.choice(customers)
                if asked and chance.random() < 0.1:
                    command = customer.again(chance.choice(asked[-40:]))
                else:
                    command = customer.command()
                asked.append(command)
                actor, roles = caller("5000", encode(command))
                batch.append((time_us, LoggedCommand(actor, command, roles)))
                if chance.random() < 0.05:
                    batch.append((time_us, LoggedCommand(BANK, Expire(limit=chance.choice((None, 1, 3))))))
            receipts = twins.apply(batch)
            for (_, logged), receipt in zip(batch, receipts, strict=True):
                if receipt is not None and isinstance(logged.command, Command):
                    outcome, index = str(receipt.outcome), receipt.log_index
                    known.forget_refused(logged.command, outcome, index, receipt.time_us)
            reads: list[Read] = [chance.choice(customers).read() for _ in range(chance.randint(0, 6))]
            twins.views(reads, time_us)
            if number % 10 == 9:
                time_us += chance.choice((0, HOUR_US, 24 * HOUR_US))
                twins.take_again()
        twins.assert_same_rows()
