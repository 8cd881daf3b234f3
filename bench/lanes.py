"""What an operation costs on PostgreSQL with one lane and with several.

    python -m bench.lanes [--lanes 1,2,4,8,8x2] [--rounds 3] [--seconds 4] [--connections 64]

For each number of lanes, in turn: a PostgreSQL with two standbys, or several of them that have the lanes in
turn (8x2: eight lanes, four in each of two), three bank servers, and so many connections
for each lane, shared out among the servers, so that two of three requests are forwarded, as they are to users
who connect to any server. Credits to 10,000 accounts, then transfers between them, of which with N lanes all
but one in N go to another lane. Printed are medians of the rounds: operations a second, and the processor
time of all servers, those of PostgreSQL among them, an operation. The rate is that of this machine, on which
the load runs, too; whether the bank grows with more machines is told by the processor time: it must not rise
with the number of lanes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tabulate import tabulate

from atm.lanes.moving import mover
from atm.local_postgres import LocalPostgres
from bench.arguments import positive
from bench.load import Connection
from bench.systems.atm_on_postgresql import AtmOnPostgreSQL
from bench.systems.postgresql import main_processes, started
from bench.systems.system import NotStarted
from bench.work import ACCOUNTS, Kind, Work

MEMBERS = 3
WARM_UP_S = 1.5
START_S = 30.0
SETTLE_S = 1.0  # until all servers have seen who has which lane


class _ToAny:
    """Connects to one of the servers, as it comes."""

    def __init__(self, connects: Sequence[Callable[[], Connection]]) -> None:
        self._connects = connects

    def __call__(self) -> Connection:
        return random.choice(self._connects)()


class Lanes(AtmOnPostgreSQL):
    """The bank with so many lanes, asked at any server."""

    def __init__(self, lanes: int, databases: int) -> None:
        super().__init__(MEMBERS)
        self.lanes, self._databases = lanes, databases
        self._others: list[LocalPostgres] = []

    def start(self, folder: Path) -> None:
        super().start(folder)
        assert self._cluster is not None
        for lane in range(self.lanes):
            if lane % self._databases:
                with mover(self._cluster.cluster.engine.urls, lambda line: None) as moving:
                    moving.move(lane, f"db{lane % self._databases}")
        most, deadline_s = -(-self.lanes // MEMBERS), time.monotonic() + START_S
        while not self._is_shared(most):
            if time.monotonic() > deadline_s:
                raise NotStarted("the servers do not share the lanes")
            time.sleep(0.1)
        time.sleep(SETTLE_S)

    def _other_databases(self, folder: Path) -> str:
        lines = ""
        for number in range(1, self._databases):
            other = folder / f"db{number}"
            other.mkdir(mode=0o711)
            self._others.append(started(self.members, other))
            lines += f"url.db{number} = {self._others[-1].uri()}\n"
        return lines

    def stop(self) -> None:
        super().stop()
        for other in self._others:
            other.close()

    def processes(self) -> list[int]:
        return [*super().processes(), *(pid for each in self._others for pid in main_processes(each))]

    def _is_shared(self, most: int) -> bool:
        assert self._cluster is not None
        found = [self._cluster.status(name) for name in self._cluster.running()]
        counts = [len(status.lanes_here or ()) for status in found if status is not None]
        return self.lanes == 1 or (sum(counts) == self.lanes and max(counts) <= most)

    def connect(self) -> Callable[[], Connection]:
        return _ToAny(self.connect_to_each())


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.lanes",
        description="Measure what operations cost with one lane and with several.",
    )
    parser.add_argument(
        "--lanes", default="1,2,4,8,8x2", help="8x2: eight in two databases; default: %(default)s"
    )
    parser.add_argument("--rounds", type=positive(int), default=3, help="default: %(default)s")
    parser.add_argument("--seconds", type=positive(float), default=4.0, help="default: %(default)s")
    parser.add_argument("--connections", type=positive(int), default=64, help="a lane; default: %(default)s")
    options = parser.parse_args()
    why = Lanes.missing()
    if why is not None:
        raise SystemExit(why)
    counts = options.lanes.split(",")
    rates: dict[tuple[str, str], list[float]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    for number in range(1, options.rounds + 1):
        for lanes in counts:
            for name, rate, cost in _measured(lanes, options.connections, options.seconds):
                rates.setdefault((lanes, name), []).append(rate)
                costs.setdefault((lanes, name), []).append(cost)
                print(f"{number}: {lanes} lanes: {name}: {rate:,.0f}/s, {cost:.0f} µs", flush=True)
    rows = []
    for lanes in counts:
        row: list[object] = [lanes]
        for name in ("credits", "transfers"):
            cost = statistics.median(costs[lanes, name])
            row += [
                statistics.median(rates[lanes, name]),
                cost,
                f"{cost / statistics.median(costs[counts[0], name]):.2f}",
            ]
        rows.append(row)
    beside = f"beside {counts[0]}"
    headers = ["lanes", "credits/s", "µs", beside, "transfers/s", "µs", beside]
    print(tabulate(rows, headers=headers, floatfmt=("", ",.0f", ",.0f", ".2f", ",.0f", ",.0f", ".2f")))


def _measured(how_many: str, a_lane: int, seconds: float) -> list[tuple[str, float, float]]:
    lanes, _, databases = how_many.partition("x")
    connections = a_lane * int(lanes)
    works = {
        "credits": Work("accounts", connections, accounts=ACCOUNTS),
        "transfers": Work("transfers", connections, accounts=ACCOUNTS, kind=Kind.TRANSFER),
    }
    with tempfile.TemporaryDirectory(prefix="bench-lanes-") as folder:
        bank = Lanes(int(lanes), int(databases or 1))
        try:
            bank.start(Path(folder))
            bank.open_accounts()
            found = []
            for name, work in works.items():
                result = bank.measure(work, seconds=seconds, warm_up_s=WARM_UP_S)
                found.append((name, result.per_second, result.servers_us))
            return found
        finally:
            bank.stop()


if __name__ == "__main__":
    main()
