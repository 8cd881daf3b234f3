"""Three real nodes with TLS: they serve, and follow a change of the CA without a restart."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atm.admin.main import main as admin
from atm.client import Client
from atm.ledger.commands import Command, Credit, WriteOff
from atm.local_cluster import LocalCluster
from atm.teller.main import main as teller
from tests.support.both_clients import Awaited, Connect
from tests.support.certificates import Authority, write_tls_ini
from tests.support.server_parts import wait_until

WITHIN_S = 60.0
DAY_US = 24 * 3600 * 1_000_000


@pytest.fixture
def authority() -> Authority:
    return Authority("the first CA")


@pytest.fixture
def cluster(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with LocalCluster(write_tls_ini(tmp_path, authority, snapshot_log_mb=0.1)) as local:
        local.start_all()
        local.wait_for_leader(WITHIN_S)
        yield local


def printed(cluster: LocalCluster, text: str) -> int:
    """Return how many nodes have printed it."""
    return sum(text in cluster.output(name) for name in cluster.cluster.nodes)


def test_the_bank_serves_elects_and_catches_up_over_tls(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(cluster.cluster.path)
    with Client(config, timeout=WITHIN_S) as client:
        assert client.credit("main", 500).outcome == "ok"
        leader = cluster.wait_for_leader(WITHIN_S)
        cluster.kill(leader)
        assert client.credit("main", 500).balance == 1000
        cluster.start(leader)
        cluster.wait_for_leader(WITHIN_S)
        assert client.query("main").balance == 1000
        answering = [node for node in client.cluster_status().nodes if node.role != "down"]
    now_us = datetime.now(UTC).timestamp() * 1e6
    assert len(answering) >= 2
    for node in answering:
        assert node.certificate_ends_us is not None
        assert now_us < node.certificate_ends_us < now_us + 31 * DAY_US
    assert teller(["--config", config, "-c", "query"]) == 0
    assert "Your current account balance is: 10" in capsys.readouterr().out
    assert admin(["--config", config, "--timeout", str(WITHIN_S), "members"]) == 0
    assert "n3" in capsys.readouterr().out
    for name in cluster.cluster.nodes:
        assert "TLS" not in cluster.output(name), cluster.output(name)


def test_the_ca_is_changed_while_all_nodes_serve(
    cluster: LocalCluster, tmp_path: Path, authority: Authority
) -> None:
    """Both CAs are trusted, then all certificates are new ones, then the old CA is trusted no more."""
    new = Authority("the second CA")
    processes = {name: process.pid for name, process in cluster.processes.items()}

    def credit(expected: int) -> None:
        with Client(cluster.cluster.path, timeout=WITHIN_S) as fresh:
            assert fresh.credit("main", 100).balance == expected
        assert open_since_before.credit("main", 100).balance == expected + 100

    def replace_ca(*authorities: Authority) -> None:
        first, *others = authorities
        first.write(tmp_path / "ca.new", *others).replace(tmp_path / "ca.pem")

    with Client(cluster.cluster.path, timeout=WITHIN_S) as open_since_before:
        credit(100)
        replace_ca(authority, new)
        wait_until(lambda: printed(cluster, "the certificates were read again") == 3, WITHIN_S)
        credit(300)
        (tmp_path / "new").mkdir()
        for name in cluster.cluster.nodes:
            for file in new.issue(tmp_path / "new", name, f"atm:node/{name}", ends=timedelta(days=700)):
                file.replace(tmp_path / file.name)
        for file in new.person(tmp_path / "new", "ann", "teller"):
            file.replace(tmp_path / file.name)
        for process in cluster.processes.values():
            process.send_signal(signal.SIGHUP)
        year = str(_year_in(timedelta(days=700)))
        wait_until(lambda: printed(cluster, f"valid until {year}") == 3, WITHIN_S)
        credit(500)
        replace_ca(new)
        wait_until(
            lambda: all(
                cluster.output(name).count("the certificates were read again") >= 3
                for name in cluster.cluster.nodes
            ),
            WITHIN_S,
        )
        credit(700)
        # Each link is dialled anew after its node's restart, now with the new CA alone.
        leader = cluster.wait_for_leader(WITHIN_S)
        cluster.kill(leader)
        credit(900)
        processes.pop(leader)
    assert {name: cluster.processes[name].pid for name in processes} == processes


def test_a_broken_certificate_is_reported_and_the_old_one_kept(cluster: LocalCluster, tmp_path: Path) -> None:
    (tmp_path / "n1.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    wait_until(lambda: "What was read before stays in use" in cluster.output("n1"), WITHIN_S)
    os.kill(cluster.processes["n1"].pid, signal.SIGHUP)
    wait_until(lambda: cluster.status("n1") is not None, WITHIN_S)
    with Client(cluster.cluster.path, "n1", timeout=WITHIN_S) as client:
        assert client.credit("main", 100).outcome == "ok"


@pytest.mark.parametrize("connect", [Client, Awaited], ids=["threads", "asyncio"])
def test_addresses_with_names_and_a_ca_are_enough_for_many_requests_over_tls(
    cluster: LocalCluster, tmp_path: Path, authority: Authority, connect: Connect
) -> None:
    cert, key = authority.person(tmp_path, "bob", "teller")
    named = {name: str(node.client) for name, node in cluster.cluster.nodes.items()}
    assert cluster.cluster.tls is not None
    with connect(named, timeout=WITHIN_S, ca=cluster.cluster.tls.ca, cert=cert, key=key) as client:
        client.open("bob")
        for number in range(50):
            assert client.credit("bob", 1).check().balance == 1 + number
        assert client.write_off("bob", 1).outcome == "not_allowed"
        assert len(list(client.statement_lines("bob"))) == 50
        assert client.cluster_status().available


def _year_in(distance: timedelta) -> int:
    return (datetime.now(UTC) + distance).year


def test_commands_are_submitted_over_tls_and_what_the_roles_do_not_allow_is_refused_in_the_midst(
    cluster: LocalCluster, tmp_path: Path, authority: Authority
) -> None:
    cert, key = authority.person(tmp_path, "bob", "teller")
    commands: list[Command] = [Credit(id=f"c{number}", account="main", amount=1) for number in range(300)]
    commands[7] = WriteOff(id="w7", account="main", amount=1)
    with Client(cluster.cluster, timeout=WITHIN_S, cert=cert, key=key) as client:
        for _ in range(2):  # the second time on the connection of the first
            outcomes = [receipt.outcome for receipt in client.submit(commands)]
            assert outcomes.pop(7) == "not_allowed"
            assert set(outcomes) == {"ok"}
        assert client.query("main").balance == 299
