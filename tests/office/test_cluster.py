"""The back office against real nodes: it verifies them while they run; an import restores an export."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.client import Client
from atm.ledger.audit.extract import JournalLine, journal_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.commands import BANK_ACCOUNTS
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.office.bulk_import import NotBooked
from atm.office.main import main
from atm.office.replay import Replay
from tests.support.customers import Customers
from tests.support.ledgers import wait_until_equal
from tests.support.server_parts import wait_until
from tests.support.story import write_ledger


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    with LocalCluster(write_cluster_ini(tmp_path, 3)) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


@pytest.fixture
def exported(tmp_path: Path) -> list[JournalLine]:
    with open_read_only(write_ledger(tmp_path / "old.db")) as cursor:
        return list(journal_lines(cursor))


def verify(cluster: LocalCluster) -> int:
    return main(["verify", "--config", str(cluster.cluster.path)])


def test_nodes_under_load_are_right_and_go_on_serving(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with Customers(cluster.cluster.path) as customers:
        customers.wait_for_more()
        assert verify(cluster) == 0, capsys.readouterr()
        customers.wait_for_more()
        assert not customers.errors
    printed = capsys.readouterr().out
    assert "Compared journals up to log entry" in printed
    assert ": n1, n2, n3\n" in printed
    assert printed.endswith("The books are right\n")


def test_a_node_that_is_down_is_named_and_the_others_are_compared(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.kill("n2")
    cluster.wait_for_leader()
    assert verify(cluster) == 3
    printed = capsys.readouterr()
    address = cluster.cluster.nodes["n2"].client
    assert f"n2 does not answer at {address}: does it run? (bin/start_node n2)" in printed.err
    assert ": n1, n3\n" in printed.out
    assert printed.out.endswith("but not all was: missing n2\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (
            "update balance set amount = amount + 1 where account = 'main';"
            "update balance set amount = amount - 1 where account = 'cash'",
            "n3: balance of main: it is 101, and its postings add up to 100",
        ),
        (
            "update account set wrong_pins = 2 where account = 'main'",
            "the tables account differ: n1, n2 | n3",
        ),
        ("update journal set amount = 99", "n3: posting "),
    ],
)
def test_a_node_whose_ledger_was_changed_while_it_was_stopped_is_found(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str], damage: str, said: str
) -> None:
    with Client(cluster.cluster) as client:
        assert client.credit("main", 100).outcome == "ok"
    wait_until_equal(cluster)
    assert cluster.stop("n3") == 0
    with closing(sqlite3.connect(cluster.cluster.data_dir / "n3" / "ledger.db")) as ledger:
        ledger.executescript(damage)
    cluster.start("n3")
    cluster.wait_for_leader()
    wait_until_applied_alike(cluster)
    code, printed = verify(cluster), capsys.readouterr().out
    if code == 3:  # it has found that by itself meanwhile, and was not serving
        assert printed.endswith("missing n3\n")
        assert "ledger.db.wrong-1, and a new one is made from the log" in cluster.output("n3")
    else:
        assert code == 1
        assert said in printed
        assert printed.endswith("see docs/ledger.md for what to do\n")


def test_an_exported_journal_is_booked_anew_and_only_once(
    cluster: LocalCluster, tmp_path: Path, exported: list[JournalLine], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "old.db"), "--format", "csv"]) == 0
    (tmp_path / "old.csv").write_text(capsys.readouterr().out)
    with Client(cluster.cluster) as client:
        Replay(client).book_all(exported[:9])
    for said in (
        [
            "10 postings booked, 9 had been booked before; 0 accounts opened, 4 were open before",
            "1 of them overdrew an account, and needed two more postings each",
        ],
        ["0 postings booked, 19 had been booked before; 0 accounts opened, 4 were open before"],
    ):
        assert main(["import", str(tmp_path / "old.csv"), "--config", str(cluster.cluster.path)]) == 0
        printed = capsys.readouterr().out.splitlines()
        assert printed[: len(said)] == said
        assert printed[-1] == "Compared: all 6 accounts have the balance of the file"
        assert verify(cluster) == 0
        capsys.readouterr()
        ledger = wait_until_equal(cluster)
        assert balances(ledger["balance"]) == balances_in(tmp_path / "old.db")
        with open_read_only(cluster.cluster.data_dir / "n1" / "ledger.db") as cursor:
            booked = [line for line in journal_lines(cursor) if not line.request_id.startswith("import-")]
        for account in {name for line in exported for name in (line.debit_account, line.credit_account)}:
            if account not in BANK_ACCOUNTS:  # which are paid from and into in any order
                assert [moved(line) for line in booked if account in moved(line)] == [
                    moved(line) for line in exported if account in moved(line)
                ]
        assert len(ledger["journal"]) == len(exported) + 2
        assert {line.request_id: line.reverses for line in booked if line.op == "reverse"} == {
            line.request_id: line.reverses for line in exported if line.op == "reverse"
        }


def test_an_export_of_what_was_imported_is_what_was_imported(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(cluster.cluster.path)
    with Client(cluster.cluster) as client:
        client.open("alice")
        client.credit("alice", 500)
        client.transfer("alice", "main", 120)
        client.debit("main", 20)
    wait_until_equal(cluster)
    with Client(cluster.cluster) as client:
        client.query("main")
    assert main(["export", "--node", "n2", "--config", config, "--format", "jsonl"]) == 0
    (tmp_path / "books.jsonl").write_text(capsys.readouterr().out)
    assert (
        main(["import", str(tmp_path / "books.jsonl"), "--config", config]) == 0
    )  # into itself: a repetition
    assert main(["export", "--node", "n2", "--config", config, "--format", "jsonl"]) == 0
    assert (tmp_path / "books.jsonl").read_text() in capsys.readouterr().out


def test_what_the_bank_refuses_stops_the_import_with_a_line(
    cluster: LocalCluster, tmp_path: Path, exported: list[JournalLine], capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(cluster.cluster) as client:
        assert client.credit("main", 1, request_id="c2").outcome == "ok"
        with pytest.raises(NotBooked, match=r"^posting 448 \(request c2\) was not booked: id_reused"):
            Replay(client).book_all(exported)
    cluster.stop_all()
    assert main(["export", str(tmp_path / "old.db"), "--format", "jsonl"]) == 0


# -- parts -------------------------------------------------------------------------------------------------


def moved(line: JournalLine) -> tuple[str, str, str, int]:
    return line.request_id, line.debit_account, line.credit_account, line.amount


def balances(rows: list[tuple[object, ...]]) -> dict[object, object]:
    return {account: amount for account, amount in rows if amount}


def balances_in(path: Path) -> dict[object, object]:
    with closing(sqlite3.connect(path)) as ledger:
        return balances(ledger.execute("select account, amount from balance").fetchall())


def wait_until_applied_alike(cluster: LocalCluster) -> None:
    def alike() -> bool:
        statuses = [cluster.status(name) for name in cluster.cluster.nodes]
        return len({status and status.applied_index for status in statuses}) == 1 and None not in statuses

    wait_until(alike)
