"""A lane of a bank on PostgreSQL follows the pepper of lane 0, and carries its own PINs over."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg
import pytest

from atm.lanes.bank import open_bank
from atm.lanes.engine import EngineConnection
from atm.lanes.lane_ledger import LaneLedger
from atm.lanes.share import lane_of
from atm.ledger.commands import BANK, LogCommand, LoggedCommand, Open, SetPin
from atm.ledger.peppers import PepperState, generation_of
from atm.server.group import pepper_keeper
from atm.server.lanes.pepper_change import CarryingOver
from atm.server.security.peppers import new_peppers
from tests.support.postgresql import new_database

NOW_US, LANES, LANE = 1_700_000_000_000_000, 2, 1
ACCOUNTS = [name for name in (f"c{number}" for number in range(20)) if lane_of(name, LANES) == LANE][:4]
PEPPERS = new_peppers().with_new()
CURRENT = PepperState(2, PEPPERS.names[1], 7, None)


def sealed(name: str, generation: int = 1) -> str:
    """Return the seal of an account's PIN."""
    return PEPPERS.carried(hashlib.sha256(name.encode()).hexdigest(), generation)


@pytest.fixture
def url() -> str:
    """Return the address of a bank in whose lane 1 some accounts have PINs."""
    found = new_database()
    with closing(EngineConnection(found)) as engine:
        open_bank(engine, LANES)
    with closing(LaneLedger(found, LANE, "n1")) as ledger:
        decide(ledger, *(Open(id=f"o{name}", account=name) for name in ACCOUNTS))
        decide(ledger, *(SetPin(id=f"s{name}", account=name, pin=sealed(name)) for name in ACCOUNTS))
    return found


def decide(ledger: LaneLedger, *commands: LogCommand) -> Sequence[object]:
    """Have commands decided and written; return the receipts."""
    return ledger.apply(NOW_US, [LoggedCommand(BANK, command) for command in commands])


def rows(url: str, sql: str) -> list[Any]:
    """Return what an administrator of PostgreSQL sees."""
    with psycopg.connect(url) as connection:
        return connection.execute(sql.encode()).fetchall()


def test_a_writer_that_follows_takes_no_pin_for_an_older_pepper_nor_does_the_next_one(url: str) -> None:
    name = ACCOUNTS[0]
    with closing(LaneLedger(url, LANE, "n1")) as ledger:
        ledger.follow({}, {}, CURRENT)
        late = SetPin(id="late", account=name, pin=sealed(name), old_pin=sealed(name))
        assert decide(ledger, late) == [None]
        assert rows(url, "select lane, generation, name, carried_index from atm.pepper") == [
            (LANE, 2, CURRENT.name, None)
        ]
        ledger.follow({}, {}, PepperState())
        assert ledger.pepper.generation == 2, "what lane 0 was seen to say before"
    with closing(LaneLedger(url, LANE, "n2")) as ledger:  # it has not seen lane 0 yet
        ledger.follow({}, {}, PepperState())
        assert decide(ledger, late) == [None]


def test_each_writer_carries_its_lane_over_from_the_beginning(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pepper_keeper, "ACCOUNTS_AT_ONCE", 1)
    monkeypatch.setattr(pepper_keeper, "REQUESTS_AT_ONCE", 1)
    times = iter(range(1_000))
    carrying = CarryingOver(lambda: PEPPERS, lambda: next(times))
    with closing(LaneLedger(url, LANE, "n1")) as ledger:
        assert not carrying.is_due(ledger)
        ledger.follow({}, {}, CURRENT)
        lost = [carrying.next(ledger) for _ in range(2)]
        assert all(lost), "prepared, and never written"
    with closing(LaneLedger(url, LANE, "n1")) as ledger:  # as it does after a fault
        ledger.follow({}, {}, CURRENT)
        while carrying.is_under_way(ledger):
            reseal = carrying.next(ledger)
            if reseal is not None:
                assert decide(ledger, reseal) == [None]
        assert ledger.pepper.carried_index == ledger.applied_index
    found: dict[str, str] = dict(rows(url, "select account, pin from atm.account where pin is not null"))
    assert found == {name: sealed(name, 2) for name in ACCOUNTS}
    assert {generation_of(seal) for seal in found.values()} == {2}
    details = rows(url, "select distinct details from atm.receipt where op = 'set_pin'")
    assert [str(each[0]).replace(" ", "") for each in details] == ['{"pin":""}']


def test_steps_have_a_pause_between_them_and_need_the_pepper(url: str) -> None:
    now_s = [1.0]
    carrying = CarryingOver(lambda: PEPPERS, lambda: now_s[0])
    with closing(LaneLedger(url, LANE, "n1")) as ledger:
        ledger.follow({}, {}, CURRENT)
        assert not CarryingOver(new_peppers, lambda: 1.0).is_under_way(ledger)
        assert carrying.next(ledger) is not None
        assert (carrying.is_due(ledger), carrying.next(ledger)) == (False, None)
        now_s[0] += pepper_keeper.PAUSE_S
        assert carrying.is_due(ledger)
