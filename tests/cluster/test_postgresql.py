"""A bank on PostgreSQL, with real servers: who dies, freezes or is cut off, and what customers were told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psycopg
import pytest

from atm.admin.main import main as admin
from atm.client import Client, OutcomeUnknown, Unavailable
from atm.events.sentences import sentence
from atm.lanes.faults import EngineFault
from atm.lanes.lane_ledger import LaneLedger
from atm.ledger.commands import Query
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.local_postgres import LocalPostgres
from atm.office.main import main as office
from atm.version import RELEASE
from tests.support.certificates import Authority, write_tls_ini
from tests.support.customers import Customers
from tests.support.lanes import bank_at, lane_tables, url_of_all
from tests.support.ledgers import assert_kept
from tests.support.postgresql import need_postgres, new_database, shared_server
from tests.support.server_parts import wait_until

TAKEN_OVER_S = 8.0


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[LocalCluster]:
    """Return three servers of a new bank, one of which has the lane."""
    with bank_at(tmp_path, new_database()) as local:
        local.start_all()
        local.wait_for_leader()
        yield local


@pytest.fixture
def own_server() -> Iterator[LocalPostgres]:
    """Return a PostgreSQL that the test may kill, or set up otherwise."""
    need_postgres()
    with LocalPostgres() as servers:
        yield servers


def url_of(bank: LocalCluster) -> str:
    """Return the address of its database, by the one host that can be written to if there are several."""
    return f"{bank.cluster.engine.url}?target_session_attrs=read-write"


def assert_right(bank: LocalCluster, customers: Customers) -> None:
    """Assert that what customers were told is in the books, once, and that these are right."""
    assert_kept(lane_tables(bank.cluster.engine.url), customers)
    assert office(["verify", "--config", str(bank.cluster.path)]) == 0


def wait_for_another(bank: LocalCluster, before: str) -> str:
    """Return the server that has taken the lane from `before`."""
    deadline = time.monotonic() + TAKEN_OVER_S
    while True:
        for name in bank.running():
            status = bank.status(name) if name != before else None
            if status is not None and status.role == "leader":
                return name
        assert time.monotonic() < deadline, "nobody has taken the lane"
        time.sleep(0.05)


def test_a_killed_server_s_lane_is_taken_over_and_nothing_acknowledged_is_lost(bank: LocalCluster) -> None:
    with Customers(bank.cluster.path) as customers:
        for _ in range(2):
            customers.wait_for_more()
            leader = bank.wait_for_leader()
            bank.kill(leader)
            wait_for_another(bank, leader)
            customers.wait_for_more()
            bank.start(leader)
    assert_right(bank, customers)


def test_a_frozen_server_that_wakes_after_its_lane_was_taken_changes_nothing(bank: LocalCluster) -> None:
    with Customers(bank.cluster.path) as customers:
        customers.wait_for_more()
        leader = bank.wait_for_leader()
        bank.pause(leader)
        wait_for_another(bank, leader)
        customers.wait_for_more()
        bank.resume(leader)
        customers.wait_for_more(200)
    assert_right(bank, customers)


def test_a_server_that_is_stopped_gives_its_lane_to_another_within_a_second(bank: LocalCluster) -> None:
    leader = bank.wait_for_leader()
    assert bank.stop(leader) == 0
    stopped_s = time.monotonic()
    wait_for_another(bank, leader)
    assert time.monotonic() - stopped_s < 3.0


def test_while_the_database_is_down_nothing_is_done_and_afterwards_all_is_there(
    tmp_path: Path, own_server: LocalPostgres
) -> None:
    with bank_at(tmp_path, own_server.uri()) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Customers(bank.cluster.path) as customers:
            customers.wait_for_more()
            own_server.kill("p1")
            with Client(bank.cluster.path, timeout=1.0) as client:
                with pytest.raises((Unavailable, OutcomeUnknown)) as fault:
                    client.credit("main", 1, request_id="asked-while-down")
                told = customers.refused if fault.errisinstance(Unavailable) else customers.unknown
                told.add("asked-while-down")
                with pytest.raises(Unavailable):
                    client.query("main")
            own_server.start("p1")
            customers.wait_for_more(deadline_s=40.0)
        assert_right(bank, customers)


@pytest.fixture
def three_servers() -> Iterator[LocalPostgres]:
    """Return a primary with two standbys, one of which must have each commit."""
    need_postgres()
    with LocalPostgres(standbys=2) as servers:
        yield servers


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_a_primary_that_is_replaced_by_a_standby_takes_nothing_acknowledged_with_it(
    tmp_path: Path, three_servers: LocalPostgres, fault: str
) -> None:
    servers = three_servers
    with bank_at(tmp_path, url_of_all(servers)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Customers(bank.cluster.path) as customers:
            customers.wait_for_more()
            if fault == "killed":
                servers.kill("p1")
            else:
                servers.freeze("p1")
            servers.promote()
            customers.wait_for_more(deadline_s=60.0)
            if fault == "frozen":
                servers.kill("p1")  # as what manages failovers does before it lets it wake
        assert_right(bank, customers)


def test_a_primary_that_was_cut_off_and_woke_neither_answers_nor_takes_anything(
    tmp_path: Path, three_servers: LocalPostgres
) -> None:
    """Two primaries: the old one, which has no standby any more, and the one that replaced it."""
    servers = three_servers
    with bank_at(tmp_path, url_of_all(servers)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Client(bank.cluster.path) as client:
            client.credit("main", 500)
        old = LaneLedger(servers.uri("p1"), 0, "old", answer_timeout_s=3.0)
        servers.freeze("p1")
        servers.promote()
        with Client(bank.cluster.path, timeout=60.0) as client:
            assert client.debit("main", 500).balance == 0
        servers.resume("p1")
        with pytest.raises(EngineFault):
            old.commit([Query(id="q", account="main")])
        old.close()
        with Client(bank.cluster.path, timeout=60.0) as client:
            assert client.query("main").balance == 0
        servers.kill("p1")


def test_every_server_answers_for_the_lane_and_a_pin_is_checked_at_each(bank: LocalCluster) -> None:
    leader = bank.wait_for_leader()
    for name in bank.cluster.nodes:
        with Client(bank.cluster.path, node=name) as client:
            assert client.open(f"of-{name}").outcome == "ok"
            assert client.credit(f"of-{name}", 500).balance == 500
            assert client.set_pin(f"of-{name}", "1234").outcome == "ok"
            assert client.debit(f"of-{name}", 100).outcome == "wrong_pin"
            assert client.debit(f"of-{name}", 100, pin="4321").outcome == "wrong_pin"
            assert client.debit(f"of-{name}", 100, pin="1234").balance == 400
            hold = client.hold(f"of-{name}", 50, pin="1234")
            assert client.post(hold.request_id).balance == 350
            assert len(client.statement(f"of-{name}").lines or ()) == 3
    assert bank.wait_for_leader() == leader


def test_administrators_are_told_in_a_line_what_does_not_apply(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(bank.cluster.path)]
    wait_until(lambda: admin([*config, "health"]) == 0)
    assert admin([*config, "status"]) == 0
    assert admin([*config, "health"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("healthy: 3 of 3")
    for command in (["transfer"], ["snapshot"]):
        assert admin([*config, *command]) in (1, 3)
        said = capsys.readouterr()
        assert "this bank is kept by PostgreSQL" in said.err + said.out


def test_the_recorder_tells_who_took_the_lane_from_whom_and_the_requests_meanwhile(
    bank: LocalCluster,
) -> None:
    leader = bank.wait_for_leader()
    with Client(bank.cluster.path) as client:
        client.credit("main", 1, request_id="told-before").check()
    bank.kill(leader)
    another = wait_for_another(bank, leader)
    with Client(bank.cluster.path, timeout=60.0) as client:
        client.credit("main", 1, request_id="told-after").check()
        time.sleep(0.2)  # what is written is told within a tick
        told = [sentence(event) for event in client.node_events(another).events]
    assert told[0] == f"{another} starts with release {RELEASE}, and finds the books in PostgreSQL"
    held, silent = (
        next(place for place, line in enumerate(told) if line.startswith(begin))
        for begin in (
            f"{another} sees that {leader} has lane 0 in epoch ",
            f"{another} sees that {leader}, which has lane 0, gives no sign of life",
        )
    )
    taken = next(
        place for place, line in enumerate(told) if line.startswith(f"{another} takes lane 0 in epoch ")
    )
    asked, answered = (
        next(place for place, line in enumerate(told) if line.startswith(begin))
        for begin in (
            f"{another} gets the request told-after (credit)",  # from the client, or forwarded
            f"{another} answers the request told-after with ok",
        )
    )
    assert held < silent < taken  # noted within a tick, so maybe behind the first request
    assert asked < answered
    assert any(line.startswith(f"{another} has written command") for line in told[asked:])


def test_a_second_server_of_the_same_name_does_not_start(bank: LocalCluster, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (tmp_path / "secrets").rename(folder / "secrets")
    with bank_at(folder, url_of(bank)) as other:
        name = bank.wait_for_leader()
        process = other.start(name)
        assert process.wait(30) == 1
        assert f"a server {name} of this bank runs already" in other.output(name)


def test_a_database_that_lowers_synchronous_commit_is_refused_in_one_line(tmp_path: Path) -> None:
    url = new_database()
    database = url.rpartition("/")[2]
    shared_server().query("p1", f"alter database {database} set synchronous_commit = off")
    with bank_at(tmp_path, url, 1) as bank:
        [name] = bank.cluster.nodes
        assert bank.start(name).wait(30) == 1
        assert "synchronous_commit = off" in bank.output(name)
        assert "Traceback" not in bank.output(name)


def test_a_row_that_was_changed_by_hand_is_named_with_its_lane(
    bank: LocalCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(bank.cluster.path) as client:
        client.credit("main", 500)
    with psycopg.connect(url_of(bank), autocommit=True) as engine:
        engine.execute("update atm.balance set amount = amount + 5 where account = 'main'")
        engine.execute("update atm.lane set journal_hash = sha256('')")
    assert office(["verify", "--config", str(bank.cluster.path)]) == 1
    told = capsys.readouterr().out
    assert "lane 0: balance of main: it is 505, and its postings add up to 500" in told
    assert "lane 0: atm.lane has another journal_hash than the last posting" in told


def test_over_tls_roles_are_checked_at_every_server_and_requests_are_forwarded_in_their_senders_name(
    tmp_path: Path,
) -> None:
    authority = Authority()
    config = write_tls_ini(tmp_path, authority)
    with config.open("a") as file:
        file.write(f"\n[engine]\nkind = postgresql\nurl = {new_database()}\n")
    ted = authority.person(tmp_path, "ted", "teller")
    with LocalCluster(config) as bank:
        bank.start_all()
        bank.wait_for_leader(60.0)
        for name in bank.cluster.nodes:
            with Client(config, node=name, cert=ted[0], key=ted[1], timeout=60.0) as teller:
                receipt = teller.credit("main", 5)
                assert receipt.outcome == "ok"
                assert teller.lookup(receipt.request_id).actor == "ted"
                assert teller.freeze("main").outcome == "not_allowed"
        with Client(config, timeout=60.0) as operator:
            assert operator.freeze("main").outcome == "ok"
            assert operator.unfreeze("main").outcome == "ok"
            deeds = operator.deeds().deeds or ()
            assert [(deed.actor, deed.op) for deed in deeds] == [("ann", "unfreeze"), ("ann", "freeze")]


def test_a_feed_of_postings_goes_on_over_the_death_of_its_server_without_a_gap(bank: LocalCluster) -> None:
    with Client(bank.cluster.path, timeout=60.0) as client:
        for number in range(30):
            client.credit("main", 1, request_id=f"c{number}").check()
        feed = client.watch()
        seen = [next(feed) for _ in range(10)]
        leader = bank.wait_for_leader()
        bank.kill(leader)
        seen += [next(feed) for _ in range(20)]
    assert [posted.request_id for posted in seen] == [f"c{number}" for number in range(30)]


def test_an_export_is_imported_into_a_bank_on_raft_with_the_same_balances(
    bank: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client(bank.cluster.path) as client:
        client.open("ann")
        client.credit("ann", 500)
        client.transfer("ann", "main", 120)
    assert office(["export", "--node", "n1", "--format", "csv", "--config", str(bank.cluster.path)]) == 0
    books = tmp_path / "books.csv"
    books.write_text(capsys.readouterr().out)
    folder = tmp_path / "raft"
    folder.mkdir()
    with LocalCluster(write_cluster_ini(folder, 1)) as other:
        other.start_all()
        other.wait_for_leader()
        assert office(["import", str(books), "--config", str(other.cluster.path)]) == 0
        with Client(other.cluster.path) as client:
            assert client.query("ann").balance == 380


def test_a_bank_moves_from_raft_to_postgresql_and_back_with_ids_holds_pins_and_chain(tmp_path: Path) -> None:
    raft, there, back = (tmp_path / name for name in ("raft", "there", "back"))
    for folder in (raft, there, back):
        folder.mkdir()
    pepper = {"pepper_file": str(tmp_path / "pepper.key")}
    with LocalCluster(write_cluster_ini(raft, 1, **pepper)) as first:
        first.start_all()
        first.wait_for_leader()
        with Client(first.cluster.path) as client:
            client.open("ann")
            client.credit("ann", 500, request_id="c1", text="Rent").check()
            client.set_pin("ann", "1234").check()
            hold = client.hold("ann", 100, pin="1234", request_id="h1")
            client.transfer("ann", "main", 50, pin="1234", request_id="t1").check()
            client.reverse("t1", 20, request_id="r1").check()
            line = client.statement("ann").lines
        assert admin(["--config", str(first.cluster.path), "backup", str(tmp_path / "one")]) == 0
    with bank_at(there, new_database(), 2, **pepper) as second:
        config = ["--config", str(second.cluster.path)]
        assert admin([*config, "restore", str(tmp_path / "one"), "--preview"]) == 0
        assert admin([*config, "restore", str(tmp_path / "one")]) == 0
        assert admin([*config, "restore", str(tmp_path / "one")]) == 1  # there is a bank now
        assert office(["verify", *config]) == 0
        second.start_all()
        second.wait_for_leader()
        with Client(second.cluster.path) as client:
            assert client.statement("ann").lines == line
            assert client.credit("ann", 500, request_id="c1", text="Rent").balance == 500
            assert client.debit("ann", 1).outcome == "wrong_pin"
            assert client.post(hold.request_id, request_id="p1").balance == 370
            assert client.reverse("t1", request_id="r2").balance == 400
        assert admin([*config, "backup", str(tmp_path / "two"), "--verify"]) == 0
        assert admin([*config, "backup", str(tmp_path / "two")]) == 0  # nothing is new
    with LocalCluster(write_cluster_ini(back, 1, **pepper)) as third:
        config = ["--config", str(third.cluster.path)]
        assert admin([*config, "restore", str(tmp_path / "two")]) == 0
        third.start_all()
        third.wait_for_leader()
        with Client(third.cluster.path) as client:
            assert client.query("ann").balance == 400
            assert client.post(hold.request_id, request_id="p1").balance == 370
            assert client.debit("ann", 1, pin="1234").balance == 399
            assert {posted.request_id for posted in islice(client.watch(), 6)} >= {
                "c1",
                "t1",
                "r1",
                "p1",
                "r2",
            }
        assert office(["verify", *config]) == 0
