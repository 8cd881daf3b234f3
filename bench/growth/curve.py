"""A curve: what was measured at each point in each round, as a table and for JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tabulate import tabulate

from bench.results import median, spread

Figures = Mapping[str, float]  # by a key of COLUMNS; nan: there is no such thing at this point


class Column(NamedTuple):
    """How a figure is shown."""

    heading: str
    form: str = ",.2f"
    with_spread: bool = False
    of_rounds: Callable[[Sequence[float]], float] = median


COLUMNS = {
    "requests_per_s": Column("requests/s", ",.0f", with_spread=True),
    "legs_per_s": Column("legs/s", ",.0f"),
    "p50_ms": Column("p50 ms"),
    "p99_ms": Column("p99 ms"),
    "leader_us": Column("leader\nµs a request", ",.0f"),
    "follower_us": Column("follower\nµs a request", ",.0f"),
    "leader_bytes": Column("leader wrote\nbytes a request", ",.0f"),
    "load_cores": Column("load's\ncores"),
    "servers_cores": Column("servers'\ncores"),
    "elections": Column("elections,\nall rounds", ",.0f", of_rounds=sum),
    "request_bytes": Column("bytes\na request", ",.0f"),
    "restart_s": Column("restart s"),
    "restart_processor_s": Column("restart: processor\ns a server"),
    "rebuild_s": Column("rebuild s"),
    "rebuild_processor_s": Column("rebuild:\nprocessor s"),
    "leader_mib": Column("leader's\nmemory MiB"),
    "connection_kib": Column("KiB a\nconnection", ",.1f"),
}


class Panel(NamedTuple):
    """One of the diagrams of a curve's picture: these figures over the points."""

    label: str
    keys: tuple[str, ...]


PANELS = (
    Panel("acknowledged requests / s", ("requests_per_s",)),
    Panel("latency, ms", ("p50_ms", "p99_ms")),
    Panel("processor time a request, µs", ("leader_us", "follower_us")),
)


@dataclass
class Curve:
    """The figures over `what` grows, for each series; `rounds` holds a figure for each round."""

    name: str
    title: str
    what: str
    panels: tuple[Panel, ...] = PANELS
    rounds: dict[tuple[str, int], dict[str, list[float]]] = field(default_factory=dict)  # by series and point

    def add(self, series: str, point: int, figures: Figures) -> None:
        """Note what was measured there in a round."""
        at = self.rounds.setdefault((series, point), {})
        for key, figure in figures.items():
            at.setdefault(key, []).append(figure)

    def points(self, series: str | None = None) -> list[int]:
        """Return the points of the series, or of all, rising."""
        return sorted({point for name, point in self.rounds if series in (None, name)})

    def series(self) -> list[str]:
        """Return the series, as they were first measured."""
        return list(dict.fromkeys(series for series, _ in self.rounds))

    def table(self) -> str:
        """Return the medians of the rounds, and of elections the sum, a line for each series and point."""
        keys = [key for key in COLUMNS if any(key in at for at in self.rounds.values())]
        headings = ["with", self.what]
        for key in keys:
            headings += [COLUMNS[key].heading, *(["lowest -\nhighest"] if COLUMNS[key].with_spread else [])]
        lines = [
            [series, f"{point:,}", *_shown(self.rounds[series, point], keys)]
            for series in self.series()
            for point in self.points(series)
        ]
        right = ["left", *["right"] * (len(headings) - 1)]
        return tabulate(lines, headers=headings, colalign=right if lines else None, disable_numparse=True)

    def as_dict(self) -> dict[str, object]:
        """Return what stands in the JSON: medians, and the figure of each round."""
        return {
            "curve": self.name,
            "title": self.title,
            "over": self.what,
            "points": [
                {
                    "series": series,
                    "at": point,
                    "medians": {key: _rounded(median(rounds)) for key, rounds in at.items()},
                    "rounds": {key: [_rounded(figure) for figure in rounds] for key, rounds in at.items()},
                }
                for (series, point), at in self.rounds.items()
            ],
        }


def _shown(at: Mapping[str, list[float]], keys: list[str]) -> list[str]:
    cells = []
    for key in keys:
        rounds, column = at.get(key, []), COLUMNS[key]
        figure = column.of_rounds(rounds) if rounds else math.nan
        cells.append("" if math.isnan(figure) else f"{figure:{column.form}}")
        if column.with_spread:
            cells.append(spread(rounds, column.form) if rounds else "")
    return cells


def _rounded(figure: float) -> float | None:
    """Return the figure as JSON knows it: None for nan."""
    return None if math.isnan(figure) else round(figure, 4)
