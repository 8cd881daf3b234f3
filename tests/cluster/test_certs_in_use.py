"""What bin/admin made is used by a real node, which follows a change of the CA and tells when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atm.admin.main import main
from atm.client import Client
from atm.local_cluster import LocalCluster, free_ports
from tests.support.server_parts import wait_until

WITHIN_S = 60.0
DAY_US = 24 * 3600 * 1_000_000


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalCluster]:
    """A bank of one node, made by `init --tls`, on free ports."""
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--nodes", "1", "--tls"]) == 0
    config = tmp_path / "cluster.ini"
    client, peer = free_ports(2)
    text = config.read_text()
    config.write_text(text.replace("localhost:5000  ", f"localhost:{client}").replace(":6000  ", f":{peer}"))
    with LocalCluster(config) as cluster:
        cluster.start_all()
        cluster.wait_for_leader(WITHIN_S)
        yield cluster


def days_left(bank: LocalCluster) -> int:
    with Client(bank.cluster.path, timeout=WITHIN_S) as client:
        (node,) = client.cluster_status().nodes
    ends_us = node.certificate_ends_us or 0
    return int(ends_us - datetime.now(UTC).timestamp() * 1e6) // DAY_US


def test_a_node_follows_the_commands_that_change_the_ca(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    def credit(balance: int) -> None:
        with Client(bank.cluster.path, timeout=WITHIN_S) as fresh:
            assert fresh.credit("main", 100).balance == balance

    process = bank.processes["5000"]
    credit(100)
    assert days_left(bank) == 364
    assert main(["certs", "init", "--next"]) == 0
    wait_until(lambda: bank.output("5000").count("read again") >= 1, WITHIN_S)
    credit(200)
    assert main(["certs", "renew", "--all", "--days", "20"]) == 0
    wait_until(lambda: days_left(bank) == 19, WITHIN_S)
    credit(300)
    assert main(["certs", "retire"]) == 0
    credit(400)
    capsys.readouterr()
    assert main(["doctor"]) == 1
    found = [line for line in capsys.readouterr().out.splitlines() if line.startswith("certificates:")]
    assert len(found) == 2
    assert found[0].startswith("certificates: the certificate of 5000 ends in 19 days: ")
    assert found[1].startswith("certificates: the certificate of this client, teller, ends in 19 days: ")
    assert "bin/admin certs renew teller" in found[1]
    assert main(["certs", "renew", "teller", "--days", "5"]) == 0
    capsys.readouterr()
    assert main(["health"]) == 1
    assert "the certificate of this client, teller, ends in 4 days" in capsys.readouterr().out
    assert process.poll() is None, "all without a restart"
