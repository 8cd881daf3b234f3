"""What each kind of growth is to the command."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from bench.growth.curve import PANELS, Curve, Figures, Panel


class Reading(NamedTuple):
    """What was measured at a point, once."""

    series: str
    point: int
    figures: Figures


class Growth(ABC):
    """One thing that there is more of from point to point; `points` are those to measure, rising."""

    name: ClassVar[str]
    title: ClassVar[str]
    what: ClassVar[str]  # the points count
    usual: ClassVar[tuple[int, ...]]  # points, unless told otherwise
    limits: ClassVar[tuple[int, int]]  # of a point
    panels: ClassVar[tuple[Panel, ...]] = PANELS

    def __init__(self, points: Sequence[int], seconds: float) -> None:
        assert points
        self._points = points
        self._seconds = seconds  # of each measurement
        self.curve = Curve(self.name, self.title, self.what, self.panels)

    def prepare(self, folder: Path) -> None:
        """Make in `folder` what takes long and serves all rounds."""
        return

    @abstractmethod
    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        """Measure a round, in this order; raise `NotAcknowledged`, `NoLeader` or `OSError`."""

    def round(self, number: int) -> Iterator[Reading]:
        """Measure and note a round; each begins with another point, so that drift hits all alike."""
        first = (number - 1) % len(self._points)
        for reading in self.measure([*self._points[first:], *self._points[:first]]):
            self.curve.add(*reading)
            yield reading
