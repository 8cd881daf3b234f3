"""A backup of a bank on PostgreSQL: the bank records who began it, whatever becomes of its servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from atm.admin.main import main as admin
from atm.client import Client
from atm.local_cluster import LocalCluster
from tests.support.certificates import Authority, write_tls_ini
from tests.support.lanes import bank_at, lane_tables
from tests.support.metrics import Scrape, add_metrics, scrape
from tests.support.postgresql import new_database
from tests.support.server_parts import wait_until


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[LocalCluster]:
    """Return three servers of a new bank, one of which has the lane."""
    made = bank_at(tmp_path, new_database())
    add_metrics(made.cluster.path)
    names = made.cluster.nodes
    with LocalCluster(made.cluster.path) as local:
        local.start_all()
        local.wait_for_leader()
        # Whoever does not hear whether it is recorded leads to a second record, at another server.
        wait_until(lambda: all(is_linked(local, name) for name in names))
        yield local


def scraped(bank: LocalCluster, name: str) -> Scrape:
    """Return what a server tells at its metrics port."""
    with urlopen(f"http://{bank.cluster.nodes[name].metrics}/metrics", timeout=5.0) as answer:
        return scrape(answer.read().decode())


def is_linked(bank: LocalCluster, name: str) -> bool:
    """Return whether a server is connected to both others, False while its metrics port is not open."""
    try:
        return scraped(bank, name).total("atm_peer_connected") == 2
    except OSError:
        return False


def deeds(config: Path) -> list[tuple[str, str, str]]:
    """Return what is recorded, the latest first."""
    with Client(config, timeout=60.0) as client:
        return [(deed.actor, deed.op, str(deed.outcome)) for deed in client.deeds().deeds or ()]


def begun_us(bank: LocalCluster) -> int | None:
    """Return when the server that has the lane says that the last backup was begun."""
    status = bank.status(bank.wait_for_leader())
    return None if status is None else status.last_backup_us


def test_a_backup_records_that_it_was_begun_and_holds_the_record(
    bank: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(bank.cluster.path)]

    def findings() -> list[dict[str, Any]]:
        capsys.readouterr()
        admin([*config, "--json", "doctor"])
        told: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["findings"]
        return [each for each in told if each["about"] == "backup"]

    with Client(bank.cluster.path) as client:
        client.credit("main", 500).check()
    assert begun_us(bank) is None
    assert len(findings()) == 1
    assert admin([*config, "--json", "backup", str(tmp_path / "backup"), "--verify"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["recorded"] is True
    assert deeds(bank.cluster.path) == [("local", "backup_begin", "ok")]
    [deed] = lane_tables(bank.cluster.engine.url)["deed"]
    assert deed[0] == report["verified_index"], "the record is in the backup"
    assert findings() == []
    leader = bank.wait_for_leader()
    wait_until(lambda: begun_us(bank) is not None)
    bank.kill(leader)
    wait_until(lambda: bank.wait_for_leader() != leader)
    assert begun_us(bank) == deed[1]
    told = "atm_backup_begun_timestamp_seconds"
    wait_until(lambda: told in scraped(bank, bank.wait_for_leader()))  # as of the last tick
    assert scraped(bank, bank.wait_for_leader())[told] == pytest.approx(deed[1] / 1e6)
    assert admin([*config, "snapshot"]) in (1, 3)
    assert len(deeds(bank.cluster.path)) == 1, "what a server never does is not recorded"


def test_without_servers_a_backup_is_taken_and_says_that_it_is_not_recorded(
    bank: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in bank.cluster.nodes:
        bank.stop(name)
    assert admin(["--config", str(bank.cluster.path), "backup", str(tmp_path / "backup")]) == 0
    assert ". The bank has no record of who took it: n3: " in capsys.readouterr().out
    assert lane_tables(bank.cluster.engine.url)["deed"] == []


def test_a_backup_is_recorded_in_its_administrators_name_and_refused_to_a_teller(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority()
    config = write_tls_ini(tmp_path, authority)
    with config.open("a") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {new_database()}\n")
    folder = tmp_path / "backup"

    def backup(name: str, role: str) -> int:
        cert, key = authority.person(tmp_path, name, role)
        shown = ["--cert", str(cert), "--key", str(key)]
        return admin(["--config", str(config), *shown, "backup", str(folder)])

    with LocalCluster(config) as bank:
        bank.start_all()
        bank.wait_for_leader(60.0)
        assert backup("ted", "teller") == 4
        assert not (folder / "backup.json").exists()
        assert backup("ada", "admin") == 0
        # Recorded again at another server if the first one did not hear whether it was: each try is a deed.
        assert set(deeds(config)) == {("ada", "backup_begin", "ok")}
