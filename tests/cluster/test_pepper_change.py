"""Real nodes change their pepper while customers pay, leaders die and files differ."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.admin.main import main
from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.server.security.peppers import add_pepper, new_peppers
from tests.cluster import slow_keeper
from tests.cluster.pin_customers import PinCustomers, pepper
from tests.support.ledgers import right_ledger, wait_until_equal
from tests.support.server_parts import wait_until

PIN, WRONG = "4821", "1111"
ACCOUNTS = [f"c{number:02}" for number in range(16)]


class SlowBank(LocalCluster):
    """Three nodes that carry PINs over one at a time; each with a file of its own if they are `apart`."""

    def __init__(self, folder: Path, *, apart: bool = False) -> None:
        super().__init__(write_cluster_ini(folder, 3))
        self._apart = apart
        if apart:
            shared = self.cluster.path.read_text()
            for name in self.cluster.nodes:
                key = f"pepper_file = {name}.key"
                (folder / f"{name}.ini").write_text(shared.replace("[cluster]", f"[cluster]\n{key}"))
            contents = new_peppers().contents()
            for name in self.cluster.nodes:
                self.put(name, contents)

    def command(self, name: str) -> list[str]:
        config = self.cluster.path.with_name(f"{name}.ini") if self._apart else self.cluster.path
        return [sys.executable, "-P", slow_keeper.__file__, name, "--config", str(config)]

    def file(self, name: str) -> Path:
        return self.cluster.path.with_name(f"{name}.key")

    def put(self, name: str, contents: bytes) -> None:
        self.file(name).touch(mode=0o600)
        self.file(name).write_bytes(contents)

    def copy(self, source: str, target: str) -> None:
        shutil.copy(self.file(source), self.file(target))

    def begin(self) -> None:
        self.start_all()
        self.wait_for_leader()
        wait_until(lambda: all(self._level(name) == 2 for name in self.cluster.nodes))

    def _level(self, name: str) -> int | None:
        status = self.status(name)
        return None if status is None else status.feature_level

    def admin(self, *arguments: str) -> int:
        return main(["--config", str(self.cluster.path), *arguments])


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[SlowBank]:
    with SlowBank(tmp_path) as bank:
        bank.begin()
        yield bank


def open_accounts(bank: SlowBank) -> None:
    with Client(bank.cluster, timeout=15.0) as client:
        for name in ACCOUNTS:
            client.open(name)
            client.credit(name, 10_000)
            assert client.set_pin(name, PIN).outcome == "ok"
        for _ in range(2):
            assert client.login(ACCOUNTS[-1], WRONG).outcome == "wrong_pin"


def test_the_leader_dies_midway_and_the_next_one_goes_on_while_customers_pay(bank: SlowBank) -> None:
    open_accounts(bank)
    assert bank.admin("pepper", "add") == 0
    with PinCustomers(bank.cluster, ACCOUNTS[:-1], PIN, timeout_s=20.0) as customers:
        assert bank.admin("pepper", "rotate") == 0
        with Client(bank.cluster, timeout=20.0) as client:
            wait_until(lambda: 0 < pepper(client).older < len(ACCOUNTS) - 3)
            leader = bank.wait_for_leader()
            bank.kill(leader)
            bank.wait_for_leader()
            left = pepper(client).older
            assert 0 < left < len(ACCOUNTS)
            wait_until(lambda: pepper(client).carried_index is not None, 30)
            bank.start(leader)
            bank.wait_for_leader()
            before = customers.outcomes["ok"]
            wait_until(lambda: customers.outcomes["ok"] > before + len(ACCOUNTS))
    assert customers.outcomes.keys() == {"ok"}, "no customer noticed"
    with Client(bank.cluster, timeout=20.0) as client:
        assert {client.query(name).sealed_for for name in ACCOUNTS} == {2}
        found = client.query(ACCOUNTS[-1])
        assert (found.tries_left, found.wrong_pins) == (1, 2), "the lock's counts are as they were"
        assert client.login(ACCOUNTS[-1], WRONG).outcome == "wrong_pin"
        assert client.login(ACCOUNTS[-1], PIN).outcome == "locked"
    wait_until_equal(bank)
    right_ledger(bank)


def test_all_nodes_restart_midway_and_go_on(bank: SlowBank) -> None:
    open_accounts(bank)
    assert bank.admin("pepper", "add") == 0
    assert bank.admin("pepper", "rotate") == 0
    with Client(bank.cluster, timeout=20.0) as client:
        wait_until(lambda: 0 < pepper(client).older < len(ACCOUNTS) - 3)
        for name in bank.cluster.nodes:
            bank.kill(name)
        bank.start_all()
        bank.wait_for_leader()
        assert pepper(client).older > 0
        wait_until(lambda: pepper(client).carried_index is not None, 30)
        assert client.login(ACCOUNTS[0], PIN).outcome == "ok"


def test_nodes_with_different_files_change_nothing_until_all_have_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with SlowBank(tmp_path, apart=True) as bank:
        bank.begin()
        with Client(bank.cluster, timeout=20.0) as client:
            assert client.set_pin("main", PIN).outcome == "ok"
            assert bank.admin("--timeout", "0.5", "pepper", "rotate") == 1
            assert "no node knows a newer pepper" in capsys.readouterr().err
            names = add_pepper(bank.file("n1")).names
            add_pepper(bank.file("n2"))
            wait_until(lambda: len(_newest(bank)) == 3)
            wait_until(lambda: "n3 lacks it" in _refusal(bank, capsys))
            bank.copy("n1", "n2")
            wait_until(
                lambda: (
                    f"pepper {names[-1]} is not known to all members: n3 lacks it." in _refusal(bank, capsys)
                )
            )
            assert bank.admin("doctor") == 1
            assert "pepper files end with different lines" in capsys.readouterr().out
            old = bank.file("n3").read_bytes()
            bank.copy("n1", "n3")
            assert bank.admin("pepper", "rotate") == 0
            wait_until(lambda: pepper(client).carried_index is not None, 30)
            assert client.login("main", PIN).outcome == "ok"
            capsys.readouterr()
            assert bank.admin("pepper", "show") == 0
            assert f"Pepper {names[-1]} (line 2) is current" in capsys.readouterr().out
            # A file that was put back from before is noticed, now and at a start.
            bank.put("n3", old)
            wait_until(lambda: "does not begin with those in use" in bank.output("n3"))
            with Client(bank.cluster, node="n3", timeout=20.0) as there:
                assert there.login("main", PIN).outcome == "ok", "what was read before stays in use"
            bank.kill("n3")
            assert bank.start("n3").wait(20) == 1
            bank.kill("n3")  # which has ended: its pipe is closed
            told = (
                f" ERROR n3 node n3 stops: the pepper {bank.file('n3')} lacks the current one, {names[-1]}, "
                "so no PIN can be checked here: copy the file of another machine there"
            )
            assert bank.output("n3").splitlines()[-1].endswith(told)
            bank.copy("n1", "n3")
            bank.start("n3")
            wait_until(lambda: bank.admin("health") == 0)


def _newest(bank: SlowBank) -> set[object]:
    statuses = [bank.status(name) for name in bank.cluster.nodes]
    return {status.further_peppers for status in statuses if status is not None}


def _refusal(bank: SlowBank, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert bank.admin("--timeout", "0.5", "pepper", "rotate") == 1
    return capsys.readouterr().err


def test_a_member_that_is_down_keeps_the_old_pepper_current(
    bank: SlowBank, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bank.admin("pepper", "add") == 0
    leader = bank.wait_for_leader()
    down = next(name for name in bank.cluster.nodes if name != leader)
    bank.kill(down)
    wait_until(lambda: f"{down} is not connected" in _refusal(bank, capsys))
    bank.start(down)
    assert bank.admin("pepper", "rotate") == 0
    assert bank.admin("--timeout", "0.5", "pepper", "rotate") == 0
    assert "is current already, and no node knows a newer one" in capsys.readouterr().out
