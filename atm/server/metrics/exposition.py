"""The text format of Prometheus, version 0.0.4: one block for each metric."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

from atm.server.metrics.counters import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["counter", "gauge", "histogram"]
Labels = Mapping[str, str]
Value = float | Histogram

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


class Metric(NamedTuple):
    """One metric; `samples` are its values, by their labels."""

    name: str
    kind: Kind
    help: str
    samples: Iterable[tuple[Labels, Value]]


def exposition(metrics: Iterable[Metric]) -> str:
    """Return the text; a metric without a sample is left out."""
    lines: list[str] = []
    for name, kind, help_text, samples in metrics:
        found = list(samples)
        if not found:
            continue
        lines += [f"# HELP {name} {help_text.translate(_HELP_ESCAPES)}", f"# TYPE {name} {kind}"]
        for labels, value in found:
            if isinstance(value, Histogram):
                lines += _histogram(name, labels, value)
            else:
                lines.append(f"{name}{_labels(labels)} {_number(value)}")
    return "\n".join([*lines, ""])


def _histogram(name: str, labels: Labels, histogram: Histogram) -> Iterable[str]:
    counts = histogram.cumulated()
    for bound, count in zip((*histogram.bounds, float("inf")), counts, strict=True):
        yield f"{name}_bucket{_labels({**labels, 'le': _number(bound)})} {count}"
    yield f"{name}_sum{_labels(labels)} {_number(histogram.sum)}"
    yield f"{name}_count{_labels(labels)} {counts[-1]}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{text.translate(_ESCAPES)}"' for key, text in labels.items()) + "}"


def _number(value: float) -> str:
    if value == float("inf"):
        return "+Inf"
    return f"{value:.15g}"
