"""Make a failing run small: fewer faults, clients, operations, nodes, as long as it breaks the same promise.

A smaller plan meets other chances, so each is tried with a few of them (`Plan.luck`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from traceback import extract_tb

from msgspec.structs import replace

from tests.simulation.plan import TICK_US, Plan
from tests.simulation.world import Simulation
from tests.support.checks import Violation

RUNS_MAX = 300
LUCKS = 3  # other chances that a smaller plan gets

SIMPLEST: dict[str, object] = {
    "read_share": 0.0,
    "repeat_share": 0.0,
    "tries_max": 1,
    "follower_apply_ticks": 0,
    "clock_rates": (1.0, 1.0),
    "wall_skew_us": 0,
    "memory_bytes_max": 8 << 20,
    "segment_bytes_max": 64 << 20,
    "torn_bytes": 512,
    "snapshot_log_bytes": 64 << 20,
    "piece_bytes": 256 << 10,
    "old_release_share": 0.0,
    "changes": {},
}


@dataclass(frozen=True)
class Failure:
    """Which promise broke, or what was raised and where; and when."""

    kind: str
    at_us: int


def failure(plan: Plan) -> Failure | None:
    """Run `plan`; return how it fails, or None if it does not."""
    simulation = Simulation(plan)
    try:
        simulation.run()
    except Exception as error:
        if isinstance(error, Violation) and error.promise:
            return Failure(error.promise, simulation.loop.now_us)
        place = extract_tb(error.__traceback__)[-1]
        return Failure(f"{type(error).__name__} in {place.name}", simulation.loop.now_us)
    return None


def shrink(plan: Plan, *, runs_max: int = RUNS_MAX, say: Callable[[str], None] = lambda line: None) -> Plan:
    """Return the smallest plan found that fails as `plan` does; raise `ValueError` if it does not fail.

    A step that did not fail is tried again only after all others: its run goes on to the end, and takes many
    times as long as one that fails.
    """
    found = failure(plan)
    if found is None:
        raise ValueError(f"seed {plan.seed} does not fail")
    kind, runs, before = found.kind, 0, None
    say(f"{kind}, after {found.at_us / 1e6:.2f} s")
    while plan != before:
        before = plan
        for step in STEPS:
            smaller = step(plan, found.at_us)
            while (candidate := next(smaller, None)) is not None:
                for luck in dict.fromkeys((plan.luck, *range(LUCKS))):
                    if runs == runs_max:
                        return plan
                    runs += 1
                    attempt = replace(candidate, luck=luck)
                    again = failure(attempt)
                    if again is not None and again.kind == kind:
                        plan, found = attempt, again
                        say(f"run {runs}: {size(plan)}, after {found.at_us / 1e6:.2f} s")
                        smaller = step(plan, found.at_us)
                        break
    return plan


def size(plan: Plan) -> str:
    """Return in a few words what is left of a plan."""
    faults = ", ".join([*plan.faults, *plan.message_faults]) or "no fault"
    return f"{plan.nodes} nodes, {plan.clients} clients, {faults}; {', '.join(plan.workload)}"


def smaller_plans(plan: Plan, failed_us: int) -> Iterator[Plan]:
    """Yield plans that are smaller by one step, the largest steps first."""
    for step in STEPS:
        yield from step(plan, failed_us)


def _less_stretch(plan: Plan, failed_us: int) -> Iterator[Plan]:
    """First of all: a plan that does not fail goes on for up to so many times its turmoil."""
    for stretch_max in sorted({1, failed_us // plan.turmoil_us + 1}):
        if stretch_max < plan.stretch_max:
            yield replace(plan, stretch_max=stretch_max)


def _fewer_faults(plan: Plan, _failed_us: int) -> Iterator[Plan]:
    if plan.faults or plan.message_faults:
        yield replace(plan, faults={}, message_faults={})
    if plan.changes:
        yield replace(plan, changes={})
    for name in ("faults", "message_faults", "changes"):
        drawn: dict[str, float] = getattr(plan, name)
        half = list(drawn)[: len(drawn) // 2]
        if len(drawn) > 3:
            for names in (half, [fault for fault in drawn if fault not in half]):
                yield replace(plan, **{name: {fault: drawn[fault] for fault in names}})
        for gone in drawn:
            yield replace(plan, **{name: {fault: drawn[fault] for fault in drawn if fault != gone}})


def _fewer_clients(plan: Plan, _failed_us: int) -> Iterator[Plan]:
    for clients in sorted({1, plan.clients // 2, plan.clients - 1}):
        if 0 < clients < plan.clients:
            yield replace(plan, clients=clients)


def _fewer_nodes(plan: Plan, _failed_us: int) -> Iterator[Plan]:
    if plan.nodes > 3:
        yield replace(plan, nodes=3)


def _less_time(plan: Plan, failed_us: int) -> Iterator[Plan]:
    for eighths in (0, 2, 4, 6, 7):
        until_us = failed_us * eighths // 8
        if (plan.faults or plan.message_faults) and until_us < plan.faults_end_us * 7 // 8:
            yield replace(plan, faults_end_us=until_us)
    if plan.turmoil_us > 8 * TICK_US:
        yield replace(plan, turmoil_us=plan.turmoil_us // 2)


def _fewer_operations(plan: Plan, _failed_us: int) -> Iterator[Plan]:
    for gone in plan.workload:
        if len(plan.workload) > 1:
            yield replace(
                plan, workload={name: plan.workload[name] for name in plan.workload if name != gone}
            )


def _simplest(plan: Plan, _failed_us: int) -> Iterator[Plan]:
    for name, value in SIMPLEST.items():
        if getattr(plan, name) != value:
            yield replace(plan, **{name: value})


STEPS: tuple[Callable[[Plan, int], Iterator[Plan]], ...] = (
    _less_stretch,
    _fewer_faults,
    _fewer_clients,
    _fewer_nodes,
    _less_time,
    _fewer_operations,
    _simplest,
)
