"""A picture of a run: throughput and latency over time, with the faults marked."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl

from tests.chaos.report import Report

mpl.use("Agg")  # a file, not a window

from matplotlib import pyplot as plt

BIN_S = 0.5


def draw(report: Report, path: Path) -> None:
    """Write the picture to `path`; its ending says in which format, such as .png or .svg."""
    bins = max(1, math.ceil(report.seconds / BIN_S))
    starts = [report.begin_s + number * BIN_S for number in range(bins)]
    middles = [start - report.begin_s + BIN_S / 2 for start in starts]
    width = min(40.0, max(12.0, report.seconds / 8))
    figure, (upper, lower) = plt.subplots(
        2, 1, sharex=True, figsize=(width, 9), layout="constrained", height_ratios=(1, 1)
    )
    upper.plot(middles, [report.rate(start, start + BIN_S) for start in starts], color="tab:blue")
    upper.set_ylabel("acknowledged / s")
    upper.set_ylim(bottom=0)
    upper.set_xlim(0, bins * BIN_S)
    lower.plot(
        middles,
        [report.p99_ms(start, start + BIN_S) for start in starts],
        color="tab:orange",
        marker=".",
        ms=3,
    )
    lower.set_ylabel(f"p99 latency of those that ended in {BIN_S:g} s, ms")
    lower.set_yscale("log")
    lower.set_xlabel("s since the start; shaded: the fault lasts; dotted: every customer is served again")
    for struck in report.struck:
        begin, heal, served = (t - report.begin_s for t in (struck.begin_s, struck.heal_s, struck.served_s))
        for axes in (upper, lower):
            axes.axvspan(begin, heal, color="tab:red", alpha=0.15, linewidth=0)
            axes.axvline(served, color="tab:green", linestyle=":", linewidth=1)
        upper.annotate(
            struck.label if struck.fired else f"{struck.label} (did not fire)",
            (begin, 1.01),
            xycoords=("data", "axes fraction"),
            rotation=60,
            fontsize=8,
        )
    verdict = f"{len(report.findings)} findings" if report.findings else "pass"
    figure.suptitle(
        f"seed {report.seed}, {report.clients} customers, {report.acknowledged} acknowledged: {verdict}"
    )
    figure.savefig(path, dpi=90)
    plt.close(figure)
