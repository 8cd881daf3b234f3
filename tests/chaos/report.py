"""What a run measured and found, as text and as JSON."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from tabulate import tabulate

from tests.chaos.customers import WatchedCustomers

CALM_S = 2.0  # before each fault and behind the last; also what "before" and "after" mean in the table


def not_exercised_lines(why: Mapping[str, str]) -> list[str]:
    """Return a line for each reason why faults could not be tried, by their names."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in why.items():
        by_reason.setdefault(reason, []).append(name)
    return [f"NOT EXERCISED: {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


@dataclass
class Struck:
    """A fault that was tried; monotonic seconds."""

    name: str
    begin_s: float
    detail: str = ""
    heal_s: float = 0.0
    served_s: float = 0.0  # when each customer had something done that it asked for after the healing
    fired: bool = False
    beside: str = ""  # the kind that struck while this one lasted

    @property
    def label(self) -> str:
        """What happened, for people."""
        return " + ".join(filter(None, (self.name, self.beside)))


@dataclass
class Report:
    """A run is a pass only if `findings` is empty; a run that shows nothing has one, too."""

    seed: int
    duration_s: float
    clients: int
    begin_s: float = 0.0
    end_s: float = 0.0
    struck: list[Struck] = field(default_factory=list)
    exercised: dict[str, int] = field(default_factory=dict)  # of each kind, how often it fired
    backup_verified: bool = False
    not_exercised: dict[str, str] = field(default_factory=dict)  # fault: why
    findings: list[str] = field(default_factory=list)
    acknowledged: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    unknown: int = 0
    unknown_done: int = 0
    refused: int = 0
    converged_s: float = 0.0
    judged_s: float = 0.0
    done_s: list[float] = field(default_factory=list)  # when each acknowledgement came, rising
    took_ms: list[float] = field(default_factory=list)  # how long each of them took

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s

    def count(self, customers: WatchedCustomers) -> None:
        """Take over what the customers saw."""
        answered = [o for o in customers.history if o.returned < math.inf]
        answered.sort(key=lambda operation: operation.returned)
        self.done_s = [operation.returned for operation in answered]
        self.took_ms = [(operation.returned - operation.call) * 1000 for operation in answered]
        self.acknowledged = len(answered)
        for operation in answered:
            kind = "declined" if operation.outcome != "ok" else operation.kind
            self.by_kind[kind] = self.by_kind.get(kind, 0) + 1
        self.unknown, self.refused = len(customers.unknown), len(customers.refused)

    def rate(self, begin_s: float, end_s: float) -> float:
        """Return the acknowledgements a second in that time."""
        return len(self._between(begin_s, end_s)) / max(end_s - begin_s, 1e-9)

    def p99_ms(self, begin_s: float, end_s: float) -> float:
        """Return what 99% of the acknowledged operations that ended in that time took at most."""
        took = sorted(self.took_ms[i] for i in self._between(begin_s, end_s))
        return took[math.ceil(len(took) * 0.99) - 1] if took else math.nan

    def longest_gap_ms(self, begin_s: float, end_s: float) -> float:
        """Return the longest time without any acknowledgement."""
        times_s = [begin_s, *(self.done_s[i] for i in self._between(begin_s, end_s)), end_s]
        return max(after - before for before, after in pairwise(times_s)) * 1000

    def _between(self, begin_s: float, end_s: float) -> range:
        return range(bisect_left(self.done_s, begin_s), bisect_left(self.done_s, end_s))

    def rows(self) -> list[dict[str, Any]]:
        """Return a line for each fault: acknowledgements a second before, during and after it."""
        return [
            {
                "at s": round(s.begin_s - self.begin_s, 1),
                "fault": s.label,
                "what": s.detail,
                "fired": "yes" if s.fired else "NO",
                "lasted s": round(s.heal_s - s.begin_s, 1),
                "before/s": round(self.rate(s.begin_s - CALM_S, s.begin_s)),
                "during/s": round(self.rate(s.begin_s, s.heal_s)),
                "after/s": round(self.rate(s.served_s, s.served_s + CALM_S)),
                "gap ms": round(self.longest_gap_ms(s.begin_s, s.served_s)),
                "all served after ms": round((s.served_s - s.heal_s) * 1000),
            }
            for s in self.struck
        ]

    def text(self) -> str:
        """Return all of it for people."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.by_kind.items()))
        lines = [
            tabulate(self.rows(), headers="keys"),
            "",
            f"seed {self.seed}: {self.clients} customers in {self.seconds:.1f} s: {self.acknowledged} "
            f"acknowledged ({kinds}), p99 {self.p99_ms(self.begin_s, self.end_s):.0f} ms",
            f"{self.unknown} unknown outcomes, of which {self.unknown_done} were done; "
            f"{self.refused} certainly not done",
            f"{len(self.struck)} faults of {len({s.name for s in self.struck})} kinds; ledgers equal after "
            f"{self.converged_s:.1f} s; order found in {self.judged_s:.1f} s",
        ]
        lines.append(f"exercised: {', '.join(f'{kind} {n}' for kind, n in self.exercised.items() if n)}")
        if never := [kind for kind, n in self.exercised.items() if not n]:
            lines.append(f"not drawn in this run: {', '.join(never)}")
        lines += not_exercised_lines(self.not_exercised)
        if self.findings:
            return "\n".join([*lines, "NO PASS:", *(f"- {finding}" for finding in self.findings)])
        more = "every member has its vote" + ("; the backup is right" if self.backup_verified else "")
        return "\n".join(
            [
                *lines,
                f"PASS: linearizable; nothing lost, nothing twice, the five ledgers equal, sum 0; {more}",
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all but the single operations, for a JSON file."""
        figures = {key: value for key, value in asdict(self).items() if key not in ("done_s", "took_ms")}
        return {**figures, "struck": self.rows(), "passed": not self.findings}
