"""A bank on PostgreSQL changes its pepper over all lanes while customers pay and servers die."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from atm.admin.main import main
from atm.client import Client
from atm.lanes.share import lane_of
from atm.ledger.peppers import generation_of
from atm.local_cluster import LocalCluster
from atm.office.main import main as office
from tests.cluster import slow_keeper
from tests.cluster.pin_customers import PinCustomers, pepper
from tests.support.lanes import all_lane_tables, bank_at
from tests.support.postgresql import new_database
from tests.support.server_parts import wait_until

PIN, WRONG, LANES = "4821", "1111", 3
ACCOUNTS = [f"c{number:02}" for number in range(24)]
SOME_S = 60.0


class SlowBank(LocalCluster):
    """Three servers that carry PINs over one at a time."""

    def command(self, name: str) -> list[str]:
        return [
            sys.executable,
            "-P",
            slow_keeper.__file__,
            "--of-lanes",
            name,
            "--config",
            str(self.cluster.path),
        ]

    def admin(self, *arguments: str) -> int:
        return main(["--config", str(self.cluster.path), *arguments])

    def begin(self) -> None:
        self.start_all()
        self.wait_for_leader()
        wait_until(lambda: all(self.status(name) for name in self.cluster.nodes))


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[SlowBank]:
    with SlowBank(bank_at(tmp_path, new_database(), 3, lanes=LANES).cluster.path) as bank:
        bank.begin()
        yield bank


def open_accounts(bank: SlowBank) -> None:
    assert {lane_of(name, LANES) for name in ACCOUNTS} == set(range(LANES))
    with Client(bank.cluster, timeout=SOME_S) as client:
        for name in ACCOUNTS:
            client.open(name)
            client.credit(name, 100_000)
            assert client.set_pin(name, PIN, request_id=f"pin-{name}").outcome == "ok"
        for _ in range(2):
            assert client.login(ACCOUNTS[-1], WRONG).outcome == "wrong_pin"


def assert_carried_over(bank: SlowBank) -> None:
    """Assert that no lane holds anything that is sealed for the first pepper, and that all still works."""
    for tables in all_lane_tables(bank.cluster.engine.url):
        seals = [pin for row in tables["account"] for pin in row if isinstance(pin, str) and len(pin) >= 64]
        assert {generation_of(seal) for seal in seals} == {2}
        [generation] = [row[0] for row in tables["pepper"]]
        assert generation == 2
    with psycopg.connect(bank.cluster.engine.url) as engine:
        kept = engine.execute("select details from atm.receipt where op = 'set_pin'").fetchall()
        assert all('"pin":"2:' in details or '"pin":""' in details for (details,) in kept)
        unused = engine.execute('select count(*) from atm.receipt where details like \'%"pin":"2:%\'')
        assert unused.fetchall() != [(0,)], "customers set some since"
    with Client(bank.cluster, timeout=SOME_S) as client:
        assert {client.query(name).sealed_for for name in ACCOUNTS} == {2}
        assert client.login(ACCOUNTS[0], PIN).outcome == "ok"
        assert client.login(ACCOUNTS[-1], WRONG).outcome == "wrong_pin"
        assert client.login(ACCOUNTS[-1], PIN).outcome == "locked", "its counts are as they were"
    assert office(["verify", "--config", str(bank.cluster.path)]) == 0


def test_servers_die_midway_and_the_others_go_on_while_customers_pay(
    bank: SlowBank, capsys: pytest.CaptureFixture[str]
) -> None:
    open_accounts(bank)
    assert bank.admin("pepper", "add") == 0
    with PinCustomers(bank.cluster, ACCOUNTS[:-1], PIN, timeout_s=SOME_S, new_pin_every=6) as customers:
        assert bank.admin("pepper", "rotate") == 0
        with Client(bank.cluster, timeout=SOME_S) as client:
            killed = 0
            for name in bank.cluster.nodes:
                if not 0 < pepper(client).older <= len(ACCOUNTS):
                    break
                bank.kill(name)
                bank.start(name)
                bank.wait_for_leader(SOME_S)
                killed += 1
            assert killed > 1
            wait_until(lambda: pepper(client).carried_index is not None, SOME_S)
            before = customers.outcomes["ok"]
            wait_until(lambda: customers.outcomes["ok"] > before + len(ACCOUNTS), SOME_S)
    assert customers.outcomes.keys() == {"ok"}, "no customer noticed"
    assert_carried_over(bank)
    capsys.readouterr()
    assert bank.admin("pepper", "show") == 0
    assert "the books hold nothing that is sealed for an older one" in capsys.readouterr().out
    assert bank.admin("--timeout", "0.5", "pepper", "rotate") == 0
    assert "is current already" in capsys.readouterr().out
    with Client(bank.cluster, timeout=SOME_S) as client:
        assert [deed.op for deed in client.deeds().deeds or ()] == ["rotate_pepper"]


def test_all_servers_die_midway_and_go_on(bank: SlowBank) -> None:
    open_accounts(bank)
    assert bank.admin("pepper", "add") == 0
    assert bank.admin("pepper", "rotate") == 0
    with Client(bank.cluster, timeout=SOME_S) as client:
        wait_until(lambda: 0 < pepper(client).older < len(ACCOUNTS) - 3, SOME_S)
        for name in bank.cluster.nodes:
            bank.kill(name)
        bank.start_all()
        bank.wait_for_leader(SOME_S)
        wait_until(lambda: pepper(client).carried_index is not None, SOME_S)
        assert client.set_pin(ACCOUNTS[0], PIN, old_pin=PIN).outcome == "ok"
    assert_carried_over(bank)


def test_a_server_that_is_down_or_has_another_file_keeps_the_old_pepper_current(
    bank: SlowBank, capsys: pytest.CaptureFixture[str]
) -> None:
    old = bank.cluster.pepper_file.read_bytes()
    assert bank.admin("pepper", "add") == 0
    bank.kill("n2")
    bank.wait_for_leader(SOME_S)

    def refused() -> bool:
        capsys.readouterr()
        code = bank.admin("--timeout", "0.5", "pepper", "rotate")
        return code == 1 and "n2 is not connected" in capsys.readouterr().err

    wait_until(refused, SOME_S)
    new = bank.cluster.pepper_file.read_bytes()
    bank.start("n2")
    wait_until(lambda: bank.admin("pepper", "rotate") == 0, SOME_S)
    bank.kill("n2")
    bank.cluster.pepper_file.write_bytes(old)
    assert bank.start("n2").wait(30) == 1
    assert "lacks the current one" in bank.output("n2")
    bank.cluster.pepper_file.write_bytes(new)
