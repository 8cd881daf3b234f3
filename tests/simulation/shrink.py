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
    "stretch_max": 1,
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
    """Return the smallest plan found that fails as `plan` does; raise `ValueError` if it does not fail."""
    found = failure(plan)
    if found is None:
        raise ValueError(f"seed {plan.seed} does not fail")
    kind, runs = found.kind, 0
    say(f"{kind}, after {found.at_us / 1e6:.2f} s")
    smaller = smaller_plans(plan, found.at_us)
    while runs < runs_max:
        candidate = next(smaller, None)
        if candidate is None:
            return plan
        for luck in dict.fromkeys((plan.luck, *range(LUCKS))):
            runs += 1
            attempt = replace(candidate, luck=luck)
            found = failure(attempt)
            if found is not None and found.kind == kind:
                plan = attempt
                say(f"run {runs}: {size(plan)}, after {found.at_us / 1e6:.2f} s")
                smaller = smaller_plans(plan, found.at_us)
                break
    return plan


def size(plan: Plan) -> str:
    """Return in a few words what is left of a plan."""
    faults = ", ".join([*plan.faults, *plan.message_faults]) or "no fault"
    return f"{plan.nodes} nodes, {plan.clients} clients, {faults}; {', '.join(plan.workload)}"


def smaller_plans(plan: Plan, failed_us: int) -> Iterator[Plan]:
    """Yield plans that are smaller by one step, the largest steps first."""
    yield from _fewer_faults(plan)
    for clients in sorted({1, plan.clients // 2, plan.clients - 1}):
        if 0 < clients < plan.clients:
            yield replace(plan, clients=clients)
    if plan.nodes > 3:
        yield replace(plan, nodes=3)
    yield from _less_time(plan, failed_us)
    for gone in plan.workload:
        if len(plan.workload) > 1:
            yield replace(
                plan, workload={name: plan.workload[name] for name in plan.workload if name != gone}
            )
    for name, value in SIMPLEST.items():
        if getattr(plan, name) != value:
            yield replace(plan, **{name: value})


def _fewer_faults(plan: Plan) -> Iterator[Plan]:
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


def _less_time(plan: Plan, failed_us: int) -> Iterator[Plan]:
    for eighths in (0, 2, 4, 6, 7):
        until_us = failed_us * eighths // 8
        if (plan.faults or plan.message_faults) and until_us < plan.faults_end_us * 7 // 8:
            yield replace(plan, faults_end_us=until_us)
    if plan.turmoil_us > 8 * TICK_US:
        yield replace(plan, turmoil_us=plan.turmoil_us // 2)
