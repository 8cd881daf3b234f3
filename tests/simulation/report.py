"""What happened in one run, and in many; and whether it was enough to have shown anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from tests.simulation.plan import FAULTS, MESSAGE_FAULTS

COMMITS_MIN = 10  # of customers' commands, under faults; a run with fewer has shown nothing
POSTINGS_MIN = 3  # likewise
STRIKES_MIN = 5


class Report(Struct):
    """What happened in one run; `drawn` are the faults that its plan has."""

    seed: int
    commits: int
    commits_in_turmoil: int
    postings_in_turmoil: int
    terms: int
    crashes: int
    reopened: int  # ledgers found by a restart, not empty
    drawn: list[str]
    fired: dict[str, int]
    outcomes: dict[str, int]
    simulated_us: int
    events: int
    digest: int
    machine_s: float = 0.0

    @property
    def hollow(self) -> str:
        """Why this run has shown nothing, or "" if it has."""
        return hollow(self.commits_in_turmoil, self.postings_in_turmoil, self.drawn, self.fired)


def hollow(commits: int, postings: int, drawn: Sequence[str], fired: dict[str, int]) -> str:
    """Return why so many commits among such faults show nothing, or "" if they do."""
    if commits < COMMITS_MIN:
        return f"only {commits} commands were committed while there were faults"
    if postings < POSTINGS_MIN:
        return f"money moved only {postings} times while there were faults"
    strikes = {fault: fired.get(fault, 0) for fault in FAULTS if fault in drawn}
    if sum(strikes.values()) < STRIKES_MIN:
        return f"only {sum(strikes.values())} faults struck"
    if not any(fired.get(fault) for fault in MESSAGE_FAULTS):
        return "no message suffered"
    if 2 * sum(count > 0 for count in strikes.values()) < len(strikes):
        return f"most kinds of faults never struck: {strikes}"
    return ""


def summary(reports: Sequence[Report]) -> str:
    """Return how much happened in all runs together, and what did not."""
    if not reports:
        return "nothing was run to its end"
    outcomes: Counter[str] = Counter()
    for report in reports:
        outcomes.update(report.outcomes)
    commits = sorted(report.commits for report in reports)
    lines = [
        f"{len(reports)} seeds, {sum(commits)} commands committed (median {commits[len(commits) // 2]} "
        f"a seed, least {commits[0]}), {sum(r.terms for r in reports)} leaders, "
        f"{sum(r.crashes for r in reports)} crashes, {sum(r.reopened for r in reports)} ledgers found again",
        f"{sum(r.simulated_us for r in reports) / 1e6:.0f} s simulated, "
        f"{sum(r.events for r in reports)} events, {sum(r.machine_s for r in reports):.0f} s of a processor",
        _faults(reports),
        *_answers(outcomes),
    ]
    never = never_fired(reports)
    if never:
        lines.append("NEVER FIRED: " + ", ".join(never))
    empty = [report for report in reports if report.hollow]
    lines += [f"HOLLOW: seed {report.seed}: {report.hollow}" for report in empty]
    return "\n".join(lines)


def never_fired(reports: Sequence[Report]) -> list[str]:
    """Return the faults that happened in no run."""
    return [
        fault
        for fault in (*FAULTS, *MESSAGE_FAULTS)
        if not any(report.fired.get(fault) for report in reports)
    ]


def _answers(outcomes: Counter[str]) -> list[str]:
    """Return a line for each kind of request: how it was answered, and how often."""
    by_kind: dict[str, list[str]] = {}
    for name, count in sorted(outcomes.items()):
        kind, _, outcome = name.partition(" ")
        by_kind.setdefault(kind, []).append(f"{outcome} {count}".strip())
    return [f"{kind:<12} {', '.join(answers)}" for kind, answers in by_kind.items()]


def _faults(reports: Sequence[Report]) -> str:
    rows = ["fault                times  in seeds  of those that drew it"]
    names = [*FAULTS, *MESSAGE_FAULTS]
    rest = {name for report in reports for name in report.fired} - set(names)
    for name in [*names, *sorted(rest)]:
        times = sum(report.fired.get(name, 0) for report in reports)
        seeds = sum(bool(report.fired.get(name)) for report in reports)
        drawn = sum(name in report.drawn for report in reports)
        rows.append(f"{name:<18} {times:>7}  {seeds:>8}  {drawn if name in names else '':>21}".rstrip())
    return "\n".join(rows)
