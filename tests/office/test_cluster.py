"""The back office against real nodes: it verifies them while they run; an import restores an export."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
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
from tests.support.fake_cluster import FakeCluster
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


def test_what_a_busy_node_says_is_told_in_place_of_its_audit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = FakeCluster(tmp_path, size=2)
    try:
        for node in cluster.nodes.values():
            node.always = node.fault("busy", message="too many connections")
        assert main(["verify", "--config", str(cluster.config)]) == 3
    finally:
        cluster.stop()
    assert capsys.readouterr().err.splitlines() == [
        f"{name} was not audited: too many connections" for name in cluster.nodes
    ]


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
        wait_until(lambda: "ledger.db.wrong-1, and a new one is made from the log" in cluster.output("n3"))
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
        client.credit("alice", 500, code=7, text="salary November")
        client.transfer("alice", "main", 120, text='says "no", and Größe 7')
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


def test_postings_are_found_by_their_code_and_text(
    cluster: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(cluster.cluster) as client:
        client.credit("main", 1_00, code=7, text="Rent November", request_id="r1")
        client.credit("main", 2_00, text="rent December", request_id="r2")
        client.debit("main", everything=True, code=7, request_id="r3")
    wait_until_equal(cluster)

    def found(*arguments: str) -> list[str]:
        assert main(["find", *arguments, "--config", str(cluster.cluster.path)]) == 0
        return capsys.readouterr().out.splitlines()

    _, _, *rows = found("--text", "RENT")
    assert [row.split()[-1] for row in rows] == ["r2", "r1"]
    assert rows[1].split()[-8:] == ["credit", "cash", "main", "1", "7", "Rent", "November", "r1"]
    (answer,) = found("--code", "7", "--json")
    assert [line["request_id"] for line in msgspec.json.decode(answer)["lines"]] == ["r3", "r1"]
    *_, last, more = found("--code", "7", "--limit", "1")
    assert last.endswith(" r3")
    *_, last = found("--code", "7", "--before", more.split()[-1])
    assert last.endswith(" r1")
    assert found("--text", "rent", "--whole") == ["No posting was found here"]


def test_what_the_bank_refuses_stops_the_import_with_a_line(
    cluster: LocalCluster, tmp_path: Path, exported: list[JournalLine], capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(cluster.cluster) as client:
        assert client.credit("main", 1, request_id="c2").outcome == "ok"
        with pytest.raises(NotBooked, match=r"^posting 448 \(request c2\) was not booked: id_reused"):
            Replay(client).book_all(exported)
    cluster.stop_all()
    assert main(["export", str(tmp_path / "old.db"), "--format", "jsonl"]) == 0


def test_books_of_another_program_are_told_first_and_booked_once(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bank.toml").write_text(
        '[accounts]\n"Bob *" = "bob"\n"*" = "cash"\n[csv]\naccount = "alice"\ndate = "Date"\n'
        'other_column = "Payee"\namount = "Amount"\n'
    )
    rows = "Date,Payee,Amount\n2026-01-02,Employer,1000\n2026-01-03,Bob B,-400.50\n2026-01-03,Shop,-1\n"
    (tmp_path / "bank.csv").write_text(rows)
    arguments = ["import", str(tmp_path / "bank.csv"), "--mapping", str(tmp_path / "bank.toml")]
    arguments += ["--config", str(cluster.cluster.path)]
    assert main([*arguments, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(
        "3 transactions, from 2026-01-02 to 2026-01-03\n3 requests: 1 credit, 1 debit, 1 transfer\n"
    )
    assert told.endswith("Nothing was booked: this was to look at it (--dry-run)\n")
    (tmp_path / "bank.csv").write_text(rows + "2026-01-04,Shop,-1.999\n")
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{tmp_path}/bank.csv:5: '-1.999' has more than two decimals, with '.' as its decimal point",
        f"ledger: {tmp_path}/bank.csv: not all of it can be carried over, so nothing was booked",
    ]
    (tmp_path / "bank.csv").write_text(rows)
    for said in (
        "3 postings booked, 0 had been",
        "0 postings booked, 3 had been",
        "1 posting booked, 3 had been",
    ):
        if said.startswith("1"):
            (tmp_path / "bank.csv").write_text(f"{rows}2026-01-03,Shop,-1\n")
        assert main(arguments) == 0
        assert said in capsys.readouterr().out
    ledger = wait_until_equal(cluster)
    assert balances(ledger["balance"]) == {"alice": 597_50, "bob": 400_50, "cash": -998_00}
    assert verify(cluster) == 0


def test_an_import_asks_before_it_books_whether_the_accounts_have_what_they_pay(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping, rows = tmp_path / "bank.toml", tmp_path / "bank.csv"
    mapping.write_text('[csv]\naccount = "alice"\namount = "Amount"\ndate = "Day"\n')
    rows.write_text("Day,Amount\n1,-60\n1,1\n1,-41\n")
    arguments = ["import", str(rows), "--mapping", str(mapping), "--config", str(cluster.cluster.path)]
    with Client(cluster.cluster) as client:
        assert main(arguments) == 2
        assert f"{rows}:2: alice would be below 0: 100 is not there" in capsys.readouterr().err
        assert client.query("alice").outcome == "no_such_account"
        client.open("alice")
        client.credit("alice", 99_99)
        assert main(arguments) == 2
        assert f"{rows}:4: alice would be below 0: 0.01 is not there" in capsys.readouterr().err
        assert client.query("alice").balance == 99_99
        client.credit("alice", 1)
        for _ in range(2):  # what is booked is not counted again
            assert main(arguments) == 0
            assert client.query("alice").balance == 0
        mapping.write_text(mapping.read_text() + '[opening]\nalice = "7"\n')
        rows.write_text("Day,Amount\n2,-7\n")
        assert main(arguments) == 0
        assert client.query("alice").balance == 0


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
