"""Lanes are moved from one PostgreSQL to another and back, while money goes between them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest

from atm.client import Client, OutcomeUnknown, Unavailable
from atm.lanes.books import copied_lanes
from atm.lanes.share import lane_of
from atm.ledger.audit.auditing import audit
from atm.local_cluster import LocalCluster
from atm.local_postgres import LocalPostgres
from tests.chaos.crossings import ACCOUNTS, LANES, OPENING, Customer, judged
from tests.support.lanes import bank_at
from tests.support.postgresql import need_postgres, new_database

SERVED_S = 20.0


class Bank:
    """Three servers, whose second PostgreSQL is a server of its own, and customers who ask all the time."""

    def __init__(self, folder: Path, east: LocalPostgres) -> None:
        self.east = east
        self.urls = {"home": new_database(), "east": east.uri()}
        self.servers = bank_at(folder, self.urls["home"], lanes=LANES)
        with self.servers.cluster.path.open("a") as file:
            file.write(f"url.east = {self.urls['east']}\n")
        self.servers = LocalCluster(self.servers.cluster.path)
        self.servers.start_all()
        self.servers.wait_for_leader(SERVED_S)
        with Client(self.servers.cluster.path) as client:
            for account in ACCOUNTS:
                client.open(account).check()
                client.credit(account, OPENING).check()
        self.over = Event()
        self.customers = [Customer(self.servers, number, 7, self.over, pause_s=0.05) for number in range(3)]
        for customer in self.customers:
            customer.start()

    def admin(self, *arguments: str) -> list[str]:
        """Return the command of an administrator."""
        config = ["--config", str(self.servers.cluster.path)]
        return [sys.executable, "-m", "atm.admin", *config, "lanes", *arguments]

    def move(self, lane: int, to: str) -> str:
        """Move a lane; return what the command says."""
        done = subprocess.run(self.admin("move", str(lane), to), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def places(self) -> list[str]:
        """Return where lanes lie, by their numbers."""
        done = subprocess.run(self.admin("list", "--json"), capture_output=True, text=True, check=True)
        return [each["database"] for each in json.loads(done.stdout)["lanes"]]

    def judge(self) -> list[str]:
        """End the customers' work; return what is wrong."""
        self.over.set()
        for customer in self.customers:
            customer.join()
        findings = judged(self.servers, self.customers, print)
        with copied_lanes(self.urls["home"], {"east": self.urls["east"]}) as copies:
            for each in copies:
                findings += [*each.problems, *audit(each.path).problems]
        return findings


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    need_postgres()
    with LocalPostgres() as east:
        found = Bank(tmp_path, east)
        with found.servers:
            yield found
            found.over.set()


def test_lanes_are_moved_and_back_while_money_goes_between_them(bank: Bank) -> None:
    for lane in (0, 3):
        assert "stood still for" in bank.move(lane, "east")
    assert bank.places() == ["east" if lane in (0, 3) else "home" for lane in range(LANES)]
    asked = sum(len(each.asked) for each in bank.customers)
    time.sleep(1.0)
    assert sum(len(each.asked) for each in bank.customers) > asked, "the bank serves"
    bank.move(0, "home")
    assert bank.places()[0] == "home"
    assert bank.judge() == []


def test_a_mover_that_is_killed_leaves_the_lane_where_servers_have_it_again(bank: Bank) -> None:
    draw, to = random.Random(4), "east"
    for _ in range(6):
        mover = subprocess.Popen(
            bank.admin("move", "1", to), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.3 + draw.random())
        mover.kill()
        mover.wait()
        with Client(bank.servers.cluster.path, timeout=SERVED_S) as client:
            for account in ACCOUNTS:
                client.query(account).check()
        to = draw.choice(["east", "home"])
    subprocess.run(bank.admin("complete"), check=True, capture_output=True)
    to = "east" if bank.places()[1] == "home" else "home"
    bank.move(1, to)
    assert bank.places()[1] == to
    assert bank.judge() == []


def test_a_database_that_is_away_stops_its_lanes_alone(bank: Bank) -> None:
    bank.move(2, "east")
    bank.over.set()
    there = next(each for each in ACCOUNTS if lane_of(each, LANES) == 2)
    here = next(each for each in ACCOUNTS if lane_of(each, LANES) != 2)
    bank.east.freeze("p1")
    try:
        with Client(bank.servers.cluster.path, timeout=2.0) as client:
            with pytest.raises((OutcomeUnknown, Unavailable)):
                client.credit(there, 1)
            for _ in range(20):
                assert client.credit(here, 1).ok
    finally:
        bank.east.resume("p1")
    with Client(bank.servers.cluster.path, timeout=SERVED_S) as client:
        assert client.credit(there, 1).ok
