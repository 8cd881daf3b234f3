"""Three servers of a bank on PostgreSQL under faults, judged as `bin/chaos` judges a bank on Raft.

`python -m tests.chaos.postgresql --minutes 5 --seed 1 --lanes 4`: servers and the primary are killed, frozen
and replaced, connections are cut, standbys are away, and, as root, the disk of all runs full. Every operation
of every customer must be explained by one order. Exit code 0: all promises were kept.

With several lanes, each is judged by itself: what it does of a transfer between lanes is in `lane_parts`.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path

from msgspec import structs

from atm.lanes.share import lane_of
from atm.ledger.lane_numbers import first_index, lane_of_index
from atm.local_cluster import LocalCluster
from atm.local_postgres import LocalPostgres, why_no_postgres
from tests.chaos.customers import WatchedCustomers, resolved
from tests.chaos.lane_parts import ends, parts
from tests.chaos.linearizability import contradictions
from tests.chaos.one_bank import Operation
from tests.support.customers import Customers
from tests.support.lanes import all_lane_tables, bank_at, url_of_all
from tests.support.ledgers import Rows, assert_kept
from tests.support.small_disk import NotMounted, SmallDisk, small_disk

SERVERS, STANDBYS = 3, 2
CALM_S = 1.0
HOLD_S = (1.0, 4.0)
SERVICE_WITHIN_S = 60.0  # a frozen host is tried for 3 s at each connection
DISK_MIB = 1024
SETTINGS = {"max_wal_size": "128MB", "wal_keep_size": "64MB"}  # of three servers on that disk
LEADER_WITHIN_S = 60.0
ACKNOWLEDGED_MIN_PER_S = 5.0
SETTLED_WITHIN_S = 30.0
UNDER_WAY = "select count(*) from atm.open_transfer"
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'atm'"

Hold = Callable[[], None]


class Scene:
    """The bank's servers, its database, and what can happen to them."""

    def __init__(
        self, bank: LocalCluster, database: LocalPostgres, disk: SmallDisk | None, chance: random.Random
    ) -> None:
        self.bank, self.database, self.disk, self.chance = bank, database, disk, chance

    def writer(self) -> str:
        """Return the server that has the lane."""
        return self.bank.wait_for_leader(LEADER_WITHIN_S)

    def another(self) -> str:
        """Return a server that has no lane."""
        return self.chance.choice([name for name in self.bank.cluster.nodes if name != self.writer()])

    def standbys(self) -> list[str]:
        """Return the standbys, in any order."""
        found = [name for name in self.database.names if name != self.database.primary]
        return self.chance.sample(found, len(found))

    def the_writer_is_killed(self, hold: Hold) -> None:
        self._kill_and_start(self.writer(), hold)

    def another_server_is_killed(self, hold: Hold) -> None:
        self._kill_and_start(self.another(), hold)

    def the_writer_is_frozen_and_wakes(self, hold: Hold) -> None:
        self._freeze_and_wake(self.writer(), hold)

    def another_server_is_frozen_and_wakes(self, hold: Hold) -> None:
        self._freeze_and_wake(self.another(), hold)

    def the_writer_is_stopped(self, hold: Hold) -> None:
        name = self.writer()
        self.bank.stop(name)
        hold()
        self.bank.start(name)

    def all_servers_are_killed(self, hold: Hold) -> None:
        for name in self.bank.cluster.nodes:
            self.bank.kill(name)
        hold()
        self.bank.start_all()

    def all_connections_are_cut(self, hold: Hold) -> None:
        for _ in range(3):
            with contextlib.suppress(subprocess.CalledProcessError):
                self.database.query(self.database.primary, CUT)
            time.sleep(self.chance.uniform(0.0, 0.5))
        hold()

    def the_primary_is_killed_and_replaced(self, hold: Hold) -> None:
        old = self.database.primary
        self.database.kill(old)
        hold()
        self.database.promote()
        self.database.rejoin(old)

    def the_primary_freezes_and_is_replaced(self, hold: Hold) -> None:
        old = self.database.primary
        self.database.freeze(old)
        hold()
        self.database.promote()
        hold()
        self.database.kill(old)
        self.database.rejoin(old)

    def the_primary_freezes_and_wakes(self, hold: Hold) -> None:
        self.database.freeze(self.database.primary)
        hold()
        self.database.resume(self.database.primary)

    def the_primary_is_killed_and_started_again(self, hold: Hold) -> None:
        self.database.kill(self.database.primary)
        hold()
        self.database.start(self.database.primary)

    def both_standbys_are_frozen(self, hold: Hold) -> None:
        for name in self.standbys():
            self.database.freeze(name)
        hold()
        for name in self.standbys():
            self.database.resume(name)

    def the_disk_of_all_runs_full(self, hold: Hold) -> None:
        if self.disk is None:
            return
        self.disk.fill()
        hold()
        hold()
        self.disk.empty()
        hold()
        for name in self.database.names:
            if name not in self.database.running():  # there was no room for its log
                self.database.start(name)

    def _kill_and_start(self, name: str, hold: Hold) -> None:
        self.bank.kill(name)
        hold()
        self.bank.start(name)

    def _freeze_and_wake(self, name: str, hold: Hold) -> None:
        self.bank.pause(name)
        hold()
        hold()
        self.bank.resume(name)


FAULTS = [name for name in vars(Scene) if name.startswith(("the_", "another_", "all_", "both_"))]


def run(folder: Path, seconds: float, seed: int, say: Callable[[str], None], lanes: int = 1) -> list[str]:
    """Strike until the time is over, each fault before any comes again; return what was found."""
    chance, findings, struck = random.Random(seed), list[str](), 0
    with contextlib.ExitStack() as stack:
        disk = _disk(stack, say)
        where = None if disk is None else disk.folder / "servers"
        database = stack.enter_context(LocalPostgres(standbys=STANDBYS, settings=SETTINGS, folder=where))
        with bank_at(folder, url_of_all(database), SERVERS, lanes=lanes) as bank:
            bank.start_all()
            bank.wait_for_leader(LEADER_WITHIN_S)
            scene = Scene(bank, database, disk, chance)
            customers = WatchedCustomers(bank.cluster.path, count=9, onlookers=SERVERS, seed=seed)
            began_s = time.monotonic()
            with customers:
                pack: list[str] = []
                while time.monotonic() - began_s < seconds and not findings:
                    pack = pack or chance.sample(FAULTS, len(FAULTS))
                    customers.live_for(CALM_S)
                    fault = pack.pop()
                    say(f"{time.monotonic() - began_s:6.1f} s  {fault.replace('_', ' ')}")
                    getattr(scene, fault)(lambda: customers.live_for(chance.uniform(*HOLD_S)))
                    struck += 1
                    if not customers.wait_for_each(time.monotonic(), SERVICE_WITHIN_S):
                        findings.append(f"not every customer was served again after: {fault}")
                seconds = time.monotonic() - began_s
            findings += _settled(database)
            bank.stop_all()
            findings += [
                f"{name} met an error" for name in bank.processes if "Traceback" in bank.output(name)
            ]
        of_lanes = all_lane_tables(database.uri())
    known, between = _known(customers, of_lanes)
    for lane, tables in enumerate(of_lanes):
        try:
            assert_kept(tables, _seen_of(customers, lane))
        except AssertionError as error:
            findings.append(f"lane {lane}: {str(error)[:2000]}")
        start = {account: 0 for account in customers.accounts if lane_of(account, lanes) == lane}
        findings += contradictions(known[lane], start)
    told = len(customers.receipts)
    if told < ACKNOWLEDGED_MIN_PER_S * seconds:
        findings.append(f"only {told} changes were acknowledged: that shows nothing")
    say(
        f"{struck} faults, {len(customers.history):,} operations, {told:,} changes acknowledged, "
        f"{len(customers.unknown)} unknown, {between:,} between lanes, in {seconds:.0f} s"
    )
    if findings:
        (folder / "history.txt").write_text("\n".join(map(str, customers.history)) + "\n")
    return findings


def _settled(database: LocalPostgres) -> list[str]:
    """Wait until nothing is under way between lanes any more; return what is wrong."""
    deadline_s = time.monotonic() + SETTLED_WITHIN_S
    while (count := database.query(database.primary, UNDER_WAY).strip()) != "0":
        if time.monotonic() > deadline_s:
            return [f"{count} transfers between lanes came to no end"]
        time.sleep(0.1)
    return []


def _known(
    customers: WatchedCustomers, of_lanes: Sequence[dict[str, Rows]]
) -> tuple[Mapping[int, Sequence[Operation]], int]:
    """Return what each lane did of the operations, and how many were between two."""
    where = partial(lane_of, lanes=len(of_lanes))
    originals = {each.name: each for each in customers.history}
    of_payers: dict[int, list[Operation]] = {lane: [] for lane in range(len(of_lanes))}
    between = 0
    for each in customers.history:
        payer, receiver = ends(each, originals)
        lane = where(payer)  # which has the receipt
        of_payers[lane].append(replace(each, log_index=max(0, each.log_index - first_index(lane))))
        between += lane != where(receiver)
    told = [each for lane, some in of_payers.items() for each in resolved(some, of_lanes[lane])]
    return parts(told, where, len(of_lanes)), between


def _seen_of(customers: WatchedCustomers, lane: int) -> Customers:
    """Return what customers were told by one lane; what others told them may have left a refusal in it."""
    first = first_index(lane)
    told = {
        name: receipt
        for name, receipt in customers.receipts.items()
        if lane_of_index(receipt.log_index) == lane
    }
    seen = copy(customers)
    seen.receipts = {
        name: structs.replace(receipt, log_index=receipt.log_index - first) for name, receipt in told.items()
    }
    seen.unknown = customers.unknown | customers.receipts.keys()
    return seen


def _disk(stack: contextlib.ExitStack, say: Callable[[str], None]) -> SmallDisk | None:
    try:
        return stack.enter_context(small_disk(DISK_MIB))
    except NotMounted as error:
        say(f"the disk will not run full: {error}")
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 for a pass, 1 for findings, 2 without a PostgreSQL."""
    parser = argparse.ArgumentParser(prog="tests.chaos.postgresql")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=4)
    options = parser.parse_args(argv)
    why = why_no_postgres()
    if why is not None:
        print(why, file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="atm-chaos-"))
    findings = run(
        folder, 60 * options.minutes, options.seed, lambda line: print(line, flush=True), options.lanes
    )
    for finding in findings:
        print(f"FOUND: {finding}")
    if findings:
        print(f"What is left of it is in {folder}")
    else:
        shutil.rmtree(folder)
        print("All promises were kept")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
