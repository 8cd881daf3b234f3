"""What was measured, round by round; as JSON, and as a table of medians with their spread."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tabulate import tabulate

from bench.load import Result
from bench.systems.system import MEMBERS
from bench.work import FAILOVER, LABELS, Work

OURS = "atm"
BUSY_CORES = 0.9  # a load program that needs this much of its one core may have been what was measured
HEADERS = [
    "work",
    "system",
    "ops/s",
    "lowest - highest",
    "p50 ms",
    "lowest - highest",
    "p99 ms",
    "servers, µs",
    "load's cores",
    "atm / it, ops/s",
    "atm / it, p50",
    "it / atm, servers",
]


@dataclass
class Row:
    """One kind of work on one system; a figure for each round.

    Of a failover, `p50_ms` and `p99_ms` are both the time until the next acknowledged write, and nothing is
    done in that time: `ops_per_s` is 0.
    """

    system: str
    version: str
    work: str
    connections: int
    depth: int
    ops_per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    load_cores: list[float] = field(default_factory=list)
    servers_us: list[float] = field(default_factory=list)  # of all servers an operation; nan: not known
    retries: list[float] = field(default_factory=list)  # an operation

    @property
    def label(self) -> str:
        """The label of the work."""
        if self.work == FAILOVER:
            return FAILOVER
        return Work(self.work, self.connections, self.depth).label

    def as_dict(self) -> dict[str, object]:
        """Return what stands in the JSON."""
        return {
            "system": self.system,
            "version": self.version,
            "work": self.work,
            "connections": self.connections,
            "depth": self.depth,
            "ops_per_s": [round(figure, 2) for figure in self.ops_per_s],
            "p50_ms": [round(figure, 4) for figure in self.p50_ms],
            "p99_ms": [round(figure, 4) for figure in self.p99_ms],
            "servers_us": [None if math.isnan(figure) else round(figure, 2) for figure in self.servers_us],
            "retries": [round(figure, 4) for figure in self.retries],
        }


class Results:
    """All rows of a run."""

    def __init__(self, nodes: int = MEMBERS) -> None:
        self.nodes = nodes
        self.rows: dict[tuple[str, str], Row] = {}  # by label and system
        self.not_measured: dict[str, str] = {}  # system: why

    def add(self, system: str, version: str, work: Work, result: Result) -> Row:
        """Note a round's figures."""
        row = self._row(Row(system, version, work.name, work.connections, work.depth))
        row.ops_per_s.append(result.per_second)
        row.p50_ms.append(result.percentile_ms(0.5))
        row.p99_ms.append(result.percentile_ms(0.99))
        row.load_cores.append(result.cpu_s / result.seconds)
        row.servers_us.append(result.servers_us)
        row.retries.append(result.retries)
        return row

    def add_failover(self, system: str, version: str, outage_ms: float) -> Row:
        """Note how long no client was served."""
        row = self._row(Row(system, version, FAILOVER, 1, 1))
        row.ops_per_s.append(0.0)
        row.p50_ms.append(outage_ms)
        row.p99_ms.append(outage_ms)
        row.load_cores.append(math.nan)
        row.servers_us.append(math.nan)
        row.retries.append(0.0)
        return row

    def _row(self, row: Row) -> Row:
        return self.rows.setdefault((row.label, row.system), row)

    def write_json(self, path: Path) -> None:
        """Write a list with an object for each row."""
        rows = [{**row.as_dict(), "nodes": self.nodes} for row in self._ordered()]
        path.write_text(json.dumps(rows, indent=1) + "\n")

    def table(self) -> str:
        """Return the medians, a line for each kind of work and system, ours first."""
        lines = [_line(row, self.rows.get((row.label, OURS))) for row in self._ordered()]
        right = ["left", "left"] + ["right"] * (len(HEADERS) - 2)
        table = tabulate(lines, headers=HEADERS, colalign=right, disable_numparse=True)
        not_measured = [f"{system}: NOT MEASURED: {why}" for system, why in self.not_measured.items()]
        return "\n".join([table, *not_measured])

    def warnings(self) -> list[str]:
        """Return a line for each figure that says more about the load program than about the system.

        And one for each that had requests sent again.
        """
        lines = []
        for row in self._ordered():
            place = f"{row.label} on {row.system}"
            if (cores := median(row.load_cores)) > BUSY_CORES:
                lines.append(f"{place}: the load program used {cores:.2f} of its one core")
            if retries := median(row.retries):
                lines.append(f"{place}: {retries:.2f} retries an operation, as the system asked for")
        return lines

    def _ordered(self) -> list[Row]:
        """The rows by kind of work, and in each by system: ours, then as they were first measured."""
        systems = list(dict.fromkeys(system for _, system in self.rows))
        systems.sort(key=lambda system: system != OURS)
        return sorted(
            self.rows.values(), key=lambda row: (LABELS.index(row.label), systems.index(row.system))
        )


def median(figures: Sequence[float]) -> float:
    """Return the median, nan of none."""
    return statistics.median(figures) if figures else math.nan


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' ratios: the two sides of each were measured soon after each other."""
    return median([one / other for one, other in zip(ours, theirs, strict=False) if other])


def spread(figures: Sequence[float], form: str) -> str:
    """Return the lowest and the highest, as text."""
    return f"{min(figures):{form}} - {max(figures):{form}}"


def _line(row: Row, ours: Row | None) -> list[str]:
    compared = ["", "", ""]
    if ours is not None and ours is not row:
        compared = [
            _times(ratio(ours.ops_per_s, row.ops_per_s)),
            _times(ratio(ours.p50_ms, row.p50_ms)),
            _times(ratio(row.servers_us, ours.servers_us)),
        ]
    rate = [f"{median(row.ops_per_s):,.0f}", spread(row.ops_per_s, ",.0f")]
    p99 = f"{median(row.p99_ms):,.2f}"
    if row.work == FAILOVER:
        rate, p99 = ["", ""], ""
    servers, cores = median(row.servers_us), median(row.load_cores)
    return [
        row.label,
        row.system,
        *rate,
        f"{median(row.p50_ms):,.2f}",
        spread(row.p50_ms, ",.2f"),
        p99,
        "" if math.isnan(servers) else f"{servers:,.0f}",
        "" if math.isnan(cores) else f"{cores:.2f}",
        *compared,
    ]


def _times(figure: float) -> str:
    return "" if math.isnan(figure) else f"{figure:.2f}"
