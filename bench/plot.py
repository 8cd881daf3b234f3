"""The picture: throughput and latency against connections, a line for each system."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl

from bench.results import Row, median
from bench.work import CLOSED_LOOP

mpl.use("Agg")  # a file, not a window

from matplotlib import pyplot as plt

LEGEND_COLUMNS_MAX = 4


def draw(rows: Iterable[Row], path: Path) -> None:
    """Write the picture to `path`; its ending says in which format, such as .png or .svg."""
    curves: dict[str, list[Row]] = {}
    for row in rows:
        if row.label in {work.label for work in CLOSED_LOOP}:
            curves.setdefault(row.system, []).append(row)
    figure, (rate, latency) = plt.subplots(1, 2, figsize=(13, 5.5), layout="constrained")
    for number, (system, points) in enumerate(curves.items()):
        points.sort(key=lambda row: row.connections)
        color, label = f"C{number}", f"{system} {points[0].version}"
        connections = [row.connections for row in points]
        rate.errorbar(
            connections,
            [median(row.ops_per_s) for row in points],
            yerr=bars([row.ops_per_s for row in points]),
            color=color,
            marker="o",
            capsize=3,
            label=label,
        )
        for figures, style in (
            ([row.p50_ms for row in points], "-"),
            ([row.p99_ms for row in points], ":"),
        ):
            latency.errorbar(
                connections,
                [median(rounds) for rounds in figures],
                yerr=bars(figures),
                color=color,
                linestyle=style,
                marker="o",
                capsize=3,
            )
    for axes in (rate, latency):
        axes.set_xscale("log")
        axes.set_xticks([work.connections for work in CLOSED_LOOP], minor=False)
        axes.set_xticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel("connections, one request under way on each")
        axes.grid(alpha=0.3)
    if curves:
        columns = min(LEGEND_COLUMNS_MAX, len(curves))
        figure.legend(*rate.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
    rate.set_ylabel("acknowledged / s")
    rate.set_ylim(bottom=0)
    latency.set_ylabel("latency, ms; solid p50, dotted p99")
    if curves:
        latency.set_yscale("log")
    figure.suptitle("Credits to one account: medians of the rounds, bars from the lowest to the highest")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def bars(figures: list[list[float]]) -> list[list[float]]:
    """Return how far below and above the median the rounds reach, as matplotlib wants it."""
    return [
        [median(rounds) - min(rounds) for rounds in figures],
        [max(rounds) - median(rounds) for rounds in figures],
    ]
