"""What each stage asks for: which faults strike, and whether clients propose commands."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from tests.simulation import plan as plans
from tests.simulation.plan import Plan

NETWORK = ("isolated leader", "split", "one-way cut", "ring")


class Stage(Struct, frozen=True):
    number: int
    title: str
    faults: tuple[str, ...]  # of `tests.simulation.plan.FAULTS`
    proposes: bool


STAGES = (
    Stage(1, "election", ("pause", *NETWORK), proposes=False),
    Stage(2, "replication", ("pause", *NETWORK), proposes=True),
    Stage(3, "persistence", ("kill", "pause", *NETWORK), proposes=True),
)


def plan_of(seed: int, stage: Stage) -> Plan:
    """Return the project's plan of `seed`, with the faults of this stage alone.

    In stage 3 each plan has kills: they are what it is about.
    """
    plan = plans.draw(seed)
    faults = {name: weight for name, weight in plan.faults.items() if name in stage.faults}
    if stage.number == 3:
        faults.setdefault("kill", 3.0)
    return replace(plan, faults=faults)
