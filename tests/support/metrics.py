"""What a server tells at its metrics port, read by rules of our own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from atm.config import load
from atm.local_cluster import LOOPBACK, free_ports

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"\\]*",?)+)\})? (\+Inf|-?[0-9.e+-]+)')
ROOT = Path(__file__).parent.parent.parent
LABEL = re.compile(r'[a-z_]+="([^"\\]*)"')

Key = str | tuple[str, ...]  # a name, with the values of its labels behind it if it has any


class Scrape(dict[Key, float]):
    """The samples by name and labels, and the type of each metric."""

    def __init__(self) -> None:
        super().__init__()
        self.types: dict[str, str] = {}

    def total(self, name: str) -> float:
        """Return the sum of a metric over all its labels."""
        return sum(value for key, value in self.items() if (key if isinstance(key, str) else key[0]) == name)

    def names(self) -> set[str]:
        """Return the names of all samples."""
        return {key if isinstance(key, str) else key[0] for key in self}


def scrape(text: str) -> Scrape:
    """Read what /metrics answered; fail if a line is not of the format."""
    found = Scrape()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in found.types, f"{name} has two blocks"
            found.types[name] = kind
        elif not line.startswith("# HELP "):
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.groups()
            key = (name, *LABEL.findall(labels)) if labels else name
            assert key not in found, f"{line} is there twice"
            found[key] = float(value)
    return found


def add_metrics(path: Path) -> None:
    """Give each node of a `cluster.ini` on this machine a port for its metrics."""
    ports = iter(free_ports(len(load(path).nodes)))
    text = path.read_text(encoding="utf-8")
    with_ports = re.sub(
        r"(?m)^peer = .*$", lambda peer: f"{peer[0]}\nmetrics = {LOOPBACK}:{next(ports)}", text
    )
    path.write_text(with_ports, encoding="utf-8")


def panel_expressions(dashboard: dict[str, Any]) -> Iterator[str]:
    """Return what a dashboard asks Prometheus for."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def monitored() -> set[str]:
    """Return the metrics that alert rules and dashboard name, a histogram without its suffix."""
    rules = (ROOT / "deploy" / "prometheus" / "atm.rules.yml").read_text(encoding="utf-8")
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "atm.json").read_text(encoding="utf-8"))
    expressions = re.findall(r"expr: >-\n +(.*)", rules) + list(panel_expressions(dashboard))
    assert len(expressions) > 60
    named = {name for text in expressions for name in re.findall(r"\b([a-z_]+)\{", text)}
    assert not any(re.search(r"\b(atm|process)_[a-z_]+\b(?!\{)", text) for text in expressions)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in named}
