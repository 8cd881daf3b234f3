"""The picture of a curve: a diagram for each kind of figure, a line for each series."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.growth.curve import COLUMNS, Curve, Panel
from bench.plot import bars
from bench.results import median

ACROSS = 3
STYLES = ("-", ":")  # of a panel's first and second kind of figure
HEADROOM = 1.05  # a flat line is not drawn along the edge


def draw(curve: Curve, path: Path) -> None:
    """Write the picture to `path`; its ending says in which format, such as .png or .svg."""
    rows = -(-len(curve.panels) // ACROSS)
    figure = plt.figure(figsize=(4.6 * ACROSS, 4.2 * rows), layout="constrained")
    for number, panel in enumerate(curve.panels, 1):
        _draw_panel(figure.add_subplot(rows, ACROSS, number), curve, panel)
    figure.suptitle(f"{curve.title}: medians of the rounds, bars from the lowest to the highest")
    figure.savefig(path, dpi=90)
    plt.close(figure)


def _draw_panel(axes: Axes, curve: Curve, panel: Panel) -> None:
    """Draw over equally spaced places, one for each point: 0 and a million have room beside each other."""
    place = {point: number for number, point in enumerate(curve.points())}
    for color, series in enumerate(curve.series()):
        for key, style in zip(panel.keys, STYLES, strict=False):
            at = {
                point: rounds
                for point in curve.points(series)
                if (rounds := curve.rounds[series, point].get(key)) and not math.isnan(median(rounds))
            }
            if at:
                axes.errorbar(
                    [place[point] for point in at],
                    [median(rounds) for rounds in at.values()],
                    yerr=bars(list(at.values())),
                    color=f"C{color}",
                    linestyle=style,
                    marker="o",
                    capsize=3,
                    label=f"{series}: {' '.join(COLUMNS[key].heading.split())}",
                )
    axes.set_xticks(list(place.values()), [f"{point:,}" for point in place])
    axes.set_xlabel(curve.what)
    axes.set_ylabel(panel.label)
    axes.set_ylim(0, HEADROOM * axes.get_ylim()[1])
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
