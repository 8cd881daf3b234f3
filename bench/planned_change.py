"""How long writes wait for a planned change of leader, beside etcd: `python -m bench.planned_change`.

Five servers of this machine, and 16 connections spread over them, each with one write under way at a time. In
each round the leader is told to hand over to another server (`bin/admin transfer`; etcd's `move-leader`). Of
each connection the longest wait is taken that was under way or began within `WINDOW_S` of that; median and
worst are those of all connections and rounds. Both systems are measured in one run, one after the other. etcd
needs the extra `bench`, and is left out, with a line, where it is not found. A write that is refused, or not
answered within the connection's 5 s, is sent again, and its wait goes on.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from bench.load import Connection
from bench.systems.atm import Atm
from bench.systems.etcd import Etcd
from bench.work import HOT_ACCOUNT, Kind

CONNECTIONS = 16
SETTLE_S = 1.5  # before each change
WINDOW_S = 2.0


@dataclass
class Writer:
    """Writes again and again on one connection, and keeps when each write began and when it was done."""

    connect: Callable[[], Connection]
    stop: threading.Event
    waits: list[tuple[float, float]] = field(default_factory=list)
    repeated: int = 0  # writes that were refused or not answered in time

    def run(self) -> None:
        """Write until told to stop."""
        connection = self.connect()
        while not self.stop.is_set():
            began_s = time.monotonic()
            while not self._written(connection):
                self.repeated += 1
                connection.close()
                connection = self.connect()
            self.waits.append((began_s, time.monotonic()))
        connection.close()

    def _written(self, connection: Connection) -> bool:
        try:
            connection.send([(Kind.CREDIT, HOT_ACCOUNT)])
            while not connection.receive():
                if connection.refused:
                    return False
        except OSError:
            return False
        return True

    def longest_ms(self, at_s: float) -> float:
        """Return the longest wait around `at_s`."""
        return 1000 * max(
            done - began for began, done in self.waits if done >= at_s and began <= at_s + WINDOW_S
        )


def measure(system: Atm | Etcd, rounds: int) -> tuple[list[float], int]:
    """Return the longest waits in ms, of each connection and round, and how many writes were sent again."""
    with tempfile.TemporaryDirectory() as folder:
        system.start(Path(folder))
        try:
            stop = threading.Event()
            writers = [
                Writer(connect, stop) for connect in islice(cycle(system.connect_to_each()), CONNECTIONS)
            ]
            threads = [threading.Thread(target=writer.run) for writer in writers]
            for thread in threads:
                thread.start()
            changed_s = []
            for _ in range(rounds):
                time.sleep(SETTLE_S)
                changed_s.append(time.monotonic())
                system.change_leader()
                time.sleep(WINDOW_S)
            stop.set()
            for thread in threads:
                thread.join()
        finally:
            system.stop()
    waits = [writer.longest_ms(at_s) for at_s in changed_s for writer in writers]
    return waits, sum(writer.repeated for writer in writers)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(prog="bench.planned_change", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args(argv)
    for system in (Atm(), Etcd()):
        missing = system.missing()
        if missing is not None:
            print(f"{system.name:5} left out: {missing}", file=sys.stderr)
            continue
        waits, repeated = measure(system, options.rounds)
        print(
            f"{system.name:5} {system.version():8} median {statistics.median(waits):6.0f} ms, worst "
            f"{max(waits):6.0f} ms ({len(waits)} longest waits; {repeated} writes were sent again)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
