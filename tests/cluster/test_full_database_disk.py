"""The disk of PostgreSQL runs full under a bank: what clients are told, and that it goes on by itself."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from atm.client import new_request_id
from atm.lanes.engine import CRASHED, MAKE_ROOM
from atm.local_cluster import LocalCluster
from atm.local_postgres import LocalPostgres
from atm.office.main import main as office
from tests.support.customers import Customers
from tests.support.lanes import bank_at, lane_tables
from tests.support.ledgers import assert_kept
from tests.support.postgresql import need_postgres, new_database, shared_server
from tests.support.server_parts import Wire, credit, query, wait_until
from tests.support.small_disk import NotMounted, SmallDisk, small_disk

# The log is in files of 16 MiB. This leaves less than 1 MiB of the present one.
FILL_A_FILE = """do $$ begin
    while mod(pg_current_wal_insert_lsn() - '0/0', 16777216) < 16000000
    loop perform pg_logical_emit_message(false, 'test', repeat('x', 100000)); end loop; end $$"""


@pytest.fixture
def disk() -> Iterator[SmallDisk]:
    need_postgres()
    try:
        with small_disk(64) as disk:
            yield disk
    except NotMounted as error:
        pytest.skip(str(error))


def lines_about_the_disk(bank: LocalCluster) -> list[str]:
    printed = "".join(bank.output(name) for name in bank.cluster.nodes)
    return [line for line in printed.splitlines() if MAKE_ROOM in line]


def is_refused(wire: Wire, customers: Customers) -> bool:
    """Ask for a change; return whether it was told that there is no room for it."""
    request_id = new_request_id()
    outcome = wire.ask(credit(request_id, 1))["outcome"]
    (customers.refused if outcome == "no_space" else customers.unknown).add(request_id)
    return bool(outcome == "no_space")


def is_answered(wire: Wire) -> bool:
    """Ask for a balance; return whether it was told."""
    return bool(wire.ask(query("q"))["outcome"] == "ok")


def assert_right(bank: LocalCluster, customers: Customers, url: str) -> None:
    assert_kept(lane_tables(url), customers)
    assert office(["verify", "--config", str(bank.cluster.path)]) == 0


def test_without_room_for_data_changes_are_unavailable_and_go_on_once_there_is_room(
    tmp_path: Path, disk: SmallDisk
) -> None:
    """PostgreSQL lives, and takes each transaction back that needs room: nothing is in doubt."""
    url = new_database()
    name, server = url.rpartition("/")[2], shared_server()
    server.query("p1", f"create tablespace small_{name} location '{disk.folder}'")
    server.query("p1", f"alter database {name} set tablespace small_{name}")
    try:
        with bank_at(tmp_path, url) as bank:
            bank.start_all()
            bank.wait_for_leader()
            with Customers(bank.cluster.path) as customers:
                customers.wait_for_more()
                disk.fill()
                wait_until(lambda: bool(lines_about_the_disk(bank)), 60.0)
                for node in bank.cluster.nodes.values():
                    with Wire(node.client) as wire:
                        wait_until(partial(is_refused, wire, customers))
                        wait_until(partial(is_answered, wire))
                [line] = lines_about_the_disk(bank)
                disk.empty()
                customers.wait_for_more()
            assert_right(bank, customers, url)
            assert "lane 0: PostgreSQL's disk is full" in line
    finally:
        server.query("p1", f"drop database {name} with (force)")
        server.query("p1", f"drop tablespace small_{name}")


@pytest.fixture
def with_small_log(disk: SmallDisk) -> Iterator[LocalPostgres]:
    """Return a PostgreSQL whose log, pg_wal, is on the small disk."""
    folder = Path(tempfile.mkdtemp(prefix="atm-small-"))
    folder.chmod(0o711)
    server = LocalPostgres(folder=folder / "servers", settings={"min_wal_size": "32MB"})
    try:
        server.start_all()
        server.stop("p1")
        log = folder / "servers" / "p1" / "data" / "pg_wal"
        shutil.copytree(log, disk.folder / "pg_wal")
        subprocess.run(["chown", "--reference", log, "--recursive", disk.folder / "pg_wal"], check=True)
        shutil.rmtree(log)
        log.symlink_to(disk.folder / "pg_wal")
        server.start("p1")
        yield server
    finally:
        server.close()
        shutil.rmtree(folder)


def test_without_room_for_its_log_postgresql_crashes_and_nothing_acknowledged_is_lost(
    tmp_path: Path, disk: SmallDisk, with_small_log: LocalPostgres
) -> None:
    server = with_small_log
    url = server.uri()
    with bank_at(tmp_path, url) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Customers(bank.cluster.path) as customers:
            customers.wait_for_more()
            server.query("p1", FILL_A_FILE)  # customers write the rest of it, and begin the next
            disk.fill()
            wait_until(lambda: "PANIC" in server.output("p1"), 60.0)
            wait_until(lambda: bool(customers.unknown | customers.refused), 30.0)
            disk.empty()
            if not server.running():
                server.start("p1")
            customers.wait_for_more(deadline_s=40.0)
        printed = "".join(bank.output(name) for name in bank.cluster.nodes)
        # PostgreSQL's last words come with the answer, or nothing does.
        assert f"lane 0: {MAKE_ROOM}" in printed or f"lane 0: {CRASHED}" in printed
        assert_right(bank, customers, url)
