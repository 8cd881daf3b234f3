"""A run: rounds, in each of which every system is started, measured and stopped, one after the other."""

from __future__ import annotations

import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bench.load import NotAcknowledged
from bench.results import Results, Row
from bench.systems import System
from bench.systems.system import MEMBERS, NotStarted, Served
from bench.work import FAILOVER

Say = Callable[[str], None]


class Run:
    """Rounds are short, and each begins with another system: a machine's bad minutes come to all alike."""

    def __init__(
        self,
        systems: Sequence[type[System]],
        labels: Collection[str],
        *,
        seconds: float,
        warm_up_s: float,
        folder: Path | None,
        members: int = MEMBERS,
        say: Say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.results = Results(members)
        self.broke_down = False
        self._labels = labels
        self._seconds = seconds
        self._warm_up_s = warm_up_s
        self._folder = folder  # for the systems' data; None is where the machine keeps temporary files
        self._members = members
        self._say = say
        self._clock = clock
        self._systems: list[type[System]] = []
        self._versions: dict[str, str] = {}
        for system in systems:
            self._add(system)

    def _add(self, system: type[System]) -> None:
        why = system.missing()
        if why is None:
            try:
                self._versions[system.name] = system.version()
            except (OSError, subprocess.SubprocessError) as error:
                why = f"it cannot be asked for its version: {error}"
        if why is not None:
            self.results.not_measured[system.name] = why
            self._say(f"SKIPPED: {system.name}: {why}")
            return
        self._systems.append(system)
        self._say(f"{system.name} {self._versions[system.name]}: {system(self._members).settings()}")

    def rounds(self, count: int, within_s: float = math.inf) -> None:
        """Measure so many rounds, but begin none after the first that is not likely to end in time."""
        began_s = self._clock()
        for number in range(1, count + 1):
            gone_s = self._clock() - began_s
            if number > 1 and gone_s * number / (number - 1) > within_s:
                self._say(f"The time for more than {number - 1} of {count} rounds is up")
                return
            self._round(number, count)

    def _round(self, number: int, count: int) -> None:
        first = (number - 1) % max(1, len(self._systems))
        for system in self._systems[first:] + self._systems[:first]:
            if system.name not in self.results.not_measured:
                try:
                    self._measure(system, f"round {number} of {count}  {system.name:<9}")
                except (NotStarted, NotAcknowledged, OSError) as error:
                    self.broke_down = True
                    self.results.not_measured[system.name] = f"gave up in round {number}: {error}"
                    self._say(f"GIVEN UP: {system.name}: {error}")

    def _measure(self, kind: type[System], place: str) -> None:
        """One system's part of a round: a fresh start, all works that it can do, and at last the failover."""
        works = [work for work in kind.works if work.label in self._labels]
        fails_over = kind.fails_over and FAILOVER in self._labels
        if not works and not fails_over:
            return
        version = self._versions[kind.name]
        with tempfile.TemporaryDirectory(prefix=f"bench-{kind.name}-", dir=self._folder) as folder:
            system = kind(self._members)
            try:
                system.start(Path(folder))
                if isinstance(system, Served) and any(work.accounts > 1 for work in works):
                    system.open_accounts()
                for work in works:
                    result = system.measure(work, seconds=self._seconds, warm_up_s=self._warm_up_s)
                    row = self.results.add(kind.name, version, work, result)
                    self._say(f"{place} {_latest(row)}")
                if fails_over:
                    row = self.results.add_failover(kind.name, version, system.fail_over())
                    self._say(
                        f"{place} {FAILOVER:<14} {row.p50_ms[-1]:9.0f} ms until the next acknowledged write"
                    )
            finally:
                system.stop()


def _latest(row: Row) -> str:
    rate, p50, p99 = row.ops_per_s[-1], row.p50_ms[-1], row.p99_ms[-1]
    told = f"{row.label:<14} {rate:9,.0f}/s  p50 {p50:8.2f} ms  p99 {p99:8.2f} ms"
    if not math.isnan(servers_us := row.servers_us[-1]):
        told += f"  servers {servers_us:6.0f} µs"
    return told + (f"  {row.retries[-1]:.2f} retries" if row.retries[-1] else "")
