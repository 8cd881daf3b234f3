"""bin/admin doctor: each sentence comes when it should, and says what to do."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from atm.admin import doctor
from atm.admin.doctor import Clock, _pepper_beside_data, clock_findings
from atm.config import load
from atm.lanes.faults import NoDriver
from atm.local_cluster import free_ports
from tests.admin.fake_membership import FakeMembership
from tests.support.postgresql import need_postgres, new_database
from tests.support.running import Run

GIB = 2**30


def told(bank: FakeMembership, **nodes: dict[str, Any]) -> None:
    for name, fields in nodes.items():
        bank.cluster[name.removeprefix("n")].told |= fields


def test_nothing_to_say_is_exit_code_0(run: Run) -> None:
    ran = run("doctor")
    assert (ran.code, ran.out) == (0, ["Nothing to be done: all nodes answer and agree"])


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ({"n5000": {"alarms": ["less than 256 MiB are free"]}}, "alarm: 5000: less than 256 MiB are free"),
        ({"n5000": {"voter": False}}, "learners: 5000 came back without its data folder and has no vote"),
        ({"n5002": {"disk_free_bytes": 10**8}}, "disk: 5002 has 95.4 MiB free: make room now, or it stops"),
        (
            {"n5002": {"disk_free_bytes": 2 * GIB, "ledger_bytes": 2 * GIB}},
            "disk: 5002 has 2.0 GiB free, and its ledger has 2.0 GiB",
        ),
        (
            {"n5002": {"log_bytes": 3 * GIB, "feature_level": 2}},
            "disk: the log of 5002 has 3.0 GiB: bin/admin snapshot 5002 cuts it",
        ),
        ({"n5001": {"sync_ms": 250.0}}, "sync: the disk of 5001 took 250 ms for a sync"),
        (
            {"n5001": {"version": "1.2.0"}},
            "versions: the nodes run different releases, 1.1.0 on 5000, 5002 | 1.2.0 on 5001",
        ),
        (
            {"n5000": {"pepper": "aa"}, "n5001": {"pepper": "bb"}, "n5002": {"pepper": "bb"}},
            "pepper: the nodes seal PINs with different peppers, 5001, 5002 | 5000",
        ),
        (
            {"n5000": {"config": "aa"}, "n5001": {"config": "bb"}, "n5002": {"config": "bb"}},
            "cluster.ini: the nodes' cluster.ini differ, 5001, 5002 | 5000",
        ),
    ],
)  # fmt: skip
def test_what_a_node_tells_becomes_a_sentence(
    run: Run, bank: FakeMembership, nodes: dict[str, Any], says: str
) -> None:
    told(bank, **nodes)
    ran = run("doctor")
    assert ran.code == 1
    assert len(ran.out) == 1
    assert ran.out[0].startswith(says)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (None, "backup: no backup of this bank was ever begun: bin/admin backup FOLDER --verify, from cron"),
        (7.5, "backup: the last backup of this bank was begun 7 days ago: bin/admin backup FOLDER --verify"),
        (6.5, None),
    ],
)
def test_a_bank_without_a_backup_within_a_week_is_told(
    run: Run, bank: FakeMembership, days: float | None, says: str | None
) -> None:
    told(bank, **{f"n{name}": {"feature_level": 2} for name in bank.cluster.nodes})
    if days is not None:
        told(bank, n5002={"last_backup_us": int((time.time() - days * 86_400) * 1e6)})
    ran = run("doctor")
    if says is None:
        assert (ran.code, ran.out) == (0, ["Nothing to be done: all nodes answer and agree"])
    else:
        assert (ran.code, len(ran.out)) == (1, 1)
        assert ran.out[0].startswith(says)


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (-0.5, "the certificate of 5001 has ended: afterwards nobody connects with it. Renew it"),
        (0.5, "the certificate of 5001 ends today"),
        (1.5, "the certificate of 5001 ends in 1 day: "),
        (29.5, "the certificate of 5001 ends in 29 days"),
        (30.5, None),
    ],
)
def test_a_certificate_that_ends_within_a_month_is_told(
    run: Run, bank: FakeMembership, days: float, says: str | None
) -> None:
    told(bank, n5001={"certificate_ends_us": int((time.time() + days * 86_400) * 1e6)})
    ran = run("doctor")
    if says is None:
        assert (ran.code, ran.out) == (0, ["Nothing to be done: all nodes answer and agree"])
    else:
        assert (ran.code, len(ran.out)) == (1, 1)
        assert ran.out[0].startswith(f"certificates: {says}")


@pytest.mark.parametrize(
    ("days", "says"),
    [
        (-0.5, "degraded: the certificate of 5001 has ended"),
        (6.5, "degraded: the certificate of 5001 ends in 6 days"),
        (7.5, "healthy: 3 of 3 voters, led by 5001 in term 3"),
    ],
)
def test_health_is_degraded_by_a_certificate_that_ends_within_a_week(
    run: Run, bank: FakeMembership, days: float, says: str
) -> None:
    told(bank, n5001={"certificate_ends_us": int((time.time() + days * 86_400) * 1e6)})
    ran = run("health")
    assert (ran.code, ran.out) == (int(days < 7), [says])


def test_a_node_that_is_down_and_a_bank_that_is_not_available(run: Run, bank: FakeMembership) -> None:
    bank.cluster["5002"].stop()
    address = f"127.0.0.1:{bank.cluster['5002'].port}"
    ran = run("doctor")
    assert (ran.code, ran.out) == (1, [f"nodes: 5002 does not answer at {address}: start it"])
    bank.lead(None)
    ran = run("doctor")
    assert ran.code == 3
    assert ran.out[0].startswith("service: The bank is not available: 2 of 3 servers answer")


def test_a_learner_and_an_even_number_of_voters(run: Run, bank: FakeMembership) -> None:
    bank.members["5002"]["voter"] = False
    told(bank, n5002={"voter": False})
    ran = run("doctor")
    assert [line.partition(":")[0] for line in ran.out] == ["learners", "voters"]
    assert "there are 2 voters: that survives no more failures than 1 do" in ran.out[1]


def test_members_that_cluster_ini_does_not_agree_with(run: Run, bank: FakeMembership) -> None:
    text = bank.cluster.config.read_text()
    text = text.replace("peer = 127.0.0.1:1001", "peer = 127.0.0.1:1999")
    bank.cluster.config.write_text(text.replace("[node 5002]", "[node 5009]"))
    ran = run("doctor", "--json")
    assert ran.code == 1
    (report,) = map(json.loads, ran.out)
    found = {finding["node"]: finding["text"] for finding in report["findings"]}
    assert "has node 5009, which is no member: take its section out" in found["5009"]
    assert f"lacks member 5002 (client = 127.0.0.1:{bank.cluster['5002'].port}" in found["5002"]
    assert "has peer = 127.0.0.1:1999 for 5001, and the cluster has 127.0.0.1:1001" in found["5001"]


def test_clocks_that_are_apart_are_told(run: Run, bank: FakeMembership) -> None:
    told(bank, n5000={"clock_us": int((time.time() - 3600) * 1e6)})
    told(bank, n5001={"clock_us": int(time.time() * 1e6)})
    ran = run("doctor")
    assert ran.code == 1
    assert ran.out[0].startswith("clocks: the clock of 5001 is 3600")
    assert "ahead of that of 5000" in ran.out[0]


@pytest.mark.parametrize(
    ("apart_s", "error_s", "count"), [(0.4, 0.0, 0), (0.6, 0.0, 1), (0.6, 0.1, 0), (0.8, 0.1, 1)]
)
def test_clocks_are_told_only_if_they_are_certainly_apart(apart_s: float, error_s: float, count: int) -> None:
    clocks = {"a": Clock(10.0, error_s), "b": Clock(10.0 + apart_s, error_s)}
    assert len(list(clock_findings(clocks))) == count


def test_a_pepper_in_the_data_folder_is_told_with_where_to_move_it(tmp_path: Path) -> None:
    path = tmp_path / "cluster.ini"
    path.write_text("[node a]\nclient = localhost:5000\npeer = localhost:6000\n")
    assert list(_pepper_beside_data(load(path))) == []
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pepper.key").touch()
    [finding] = _pepper_beside_data(load(path))
    assert f"mv {tmp_path}/data/pepper.key {tmp_path}/secrets (while" in finding.text


def on_postgresql(bank: FakeMembership, url: str) -> None:
    with bank.cluster.config.open("a") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {url}\n")


def test_postgresql_is_looked_at_with_the_servers_and_without_a_traceback(
    run: Run, bank: FakeMembership
) -> None:
    on_postgresql(bank, new_database())
    told(bank, n5001={"sync_ms": 250.0})
    ran = run("doctor")
    assert ran.code == 1
    assert [line.partition(":")[0] for line in ran.out] == ["sync", "standbys", "database"]
    assert "synchronous_standby_names is empty" in ran.out[1]
    ran = run("doctor", "--json")
    [report] = map(json.loads, ran.out)
    assert [each["about"] for each in report["findings"]] == ["sync", "standbys", "database"]
    assert report["findings"][2]["text"].startswith("there is no bank in this database yet")


def test_a_postgresql_that_is_away_is_a_line(run: Run, bank: FakeMembership) -> None:
    need_postgres()
    [port] = free_ports(1)
    on_postgresql(bank, f"postgresql://bank:secret@127.0.0.1:{port}/bank")
    ran = run("doctor")
    assert (ran.code, len(ran.out)) == (1, 1)
    assert ran.out[0].startswith("database: PostgreSQL cannot be asked: ")


def test_without_the_driver_only_the_servers_are_looked_at(
    run: Run, bank: FakeMembership, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_driver() -> None:
        raise NoDriver

    monkeypatch.setattr(doctor, "diagnosis", without_driver)
    on_postgresql(bank, "postgresql:///bank")
    ran = run("doctor")
    assert ran.code == 1
    assert ran.out[0].startswith(
        "database: PostgreSQL is not looked at from here: a bank on PostgreSQL needs"
    )
