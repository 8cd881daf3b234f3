"""The teller over real servers: money, PINs and statements, through whichever server, and after a death."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.running import ROOT

PIN = "493817"


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[LocalCluster]:
    """Three real nodes with a leader."""
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


class Customer:
    """Runs bin/atm's program, and reads what it says."""

    def __init__(self, nodes: LocalCluster, state: Path) -> None:
        self._command = [sys.executable, "-m", "atm.teller", "--config", str(nodes.cluster.path)]
        self._environment = {"XDG_STATE_HOME": str(state)}

    def __call__(self, *arguments: str, typed: str = "", code: int = 0) -> list[str]:
        ran = subprocess.run(
            [*self._command, *arguments],
            cwd=ROOT,
            env=self._environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == code, (ran.stdout, ran.stderr)
        assert "Traceback" not in ran.stderr
        return ran.stdout.splitlines()

    def reports(self, *arguments: str, typed: str = "", code: int = 0) -> Sequence[Mapping[str, Any]]:
        return [json.loads(line) for line in self("--json", *arguments, typed=typed, code=code)]


@pytest.fixture
def customer(nodes: LocalCluster, tmp_path: Path) -> Customer:
    return Customer(nodes, tmp_path / "state")


def test_a_day_at_the_bank(nodes: LocalCluster, customer: Customer, tmp_path: Path) -> None:
    n1, n2, n3 = nodes.cluster.nodes
    assert customer(n1, "-c", "credit 100", "-c", "open bob") == [
        "Successfully credited 100 to your account",
        "Successfully opened account bob (to use it, type: account bob)",
    ]
    customer(n2, "-c", "pin", typed=f"{PIN}\n{PIN}\n")
    customer(n3, "-c", "debit 5", code=4)
    lines = customer(n3, "-f", "-", typed=f"login\n{PIN}\ntransfer bob 30\nhold 20\n")
    transfer, hold = (line.removeprefix("Reference ") for line in lines if line.startswith("Reference "))
    nodes.kill(nodes.wait_for_leader())
    nodes.wait_for_leader()
    customer("-c", f"confirm {hold} 15")
    customer("-c", f"reverse {transfer} 10")
    customer("-c", f"reverse {transfer} 20.01", code=1)
    (_, query, statement, receipt) = customer.reports(
        *("-c", "login", "-c", "query", "-c", "statement 2", "-c", f"receipt {transfer}"), typed=f"{PIN}\n"
    )
    assert (query["balance"], query["available"], query["pin"]) == (65_00, 65_00, "set")
    assert [(line["op"], line["amount"], line["balance"]) for line in statement["lines"]] == [
        ("reverse", 10_00, 65_00),
        ("post", -15_00, 55_00),
    ]
    assert (receipt["decision"], receipt["balance"]) == ("ok", 70_00)
    reversal = receipt["reversed_by"]
    assert customer("--operator", "-c", f"receipt {reversal}")[2] == f"original    {transfer}"
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert len(written) > 1000
    assert not re.search(PIN.encode(), written), "neither a log, nor a ledger, nor the teller's files"


def test_wrong_pins_through_different_servers_lock_for_all(nodes: LocalCluster, customer: Customer) -> None:
    customer("-c", "pin", typed=f"{PIN}\n{PIN}\n")
    for node in nodes.cluster.nodes:
        customer(node, "-c", "login", typed="0000\n", code=4)
    (report,) = customer.reports("-c", "login", typed=f"{PIN}\n", code=4)
    assert report["outcome"] == "locked"
    customer("--operator", "-c", "unlock main")
    customer("-c", "login", typed=f"{PIN}\n")
