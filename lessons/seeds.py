"""A seed of the simulation as a lesson: all that happened, and the verdict."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from lessons.frames import Frame
from lessons.recorder import Recorder
from tests.simulation.plan import Plan
from tests.simulation.world import Simulation, told
from tests.support.checks import Violation


class Verdict(Struct, omit_defaults=True):
    """How a run ended. `digest` is that of its trace: it is the same wherever the seed runs.

    `promise` is the one that was broken, as the checks name it, and `story` what they found; both are ""
    after a run that kept them all.
    """

    seed: int
    digest: int
    simulated_us: int
    events: int
    commits: int = 0
    terms: int = 0
    crashes: int = 0
    promise: str = ""
    story: str = ""


def watched(case: int | Plan, take: Callable[[Frame], None] | None) -> tuple[Simulation, Recorder | None]:
    """Return a simulation that has not begun, and what passes its frames to `take`."""
    recorder = Recorder(take) if take is not None else None
    simulation = Simulation(case, tracing=True, onlooker=recorder)
    if recorder is not None:
        recorder.watch(simulation)
    return simulation, recorder


def run_seed(case: int | Plan, take: Callable[[Frame], None] | None = None) -> Verdict:
    """Run a seed to its end, or to the first broken promise; pass each frame to `take`."""
    simulation, recorder = watched(case, take)
    try:
        report = simulation.run()
    except Exception as error:  # of a planted defect: an assertion of the core or the server, or a check
        if recorder is not None:
            recorder.happened()
        promise = error.promise if isinstance(error, Violation) else type(error).__name__
        return Verdict(
            seed=simulation.plan.seed,
            digest=simulation.loop.digest,
            simulated_us=simulation.loop.now_us,
            events=simulation.loop.events,
            promise=promise or "a promise",
            story=told(error),
        )
    return Verdict(
        seed=report.seed,
        digest=report.digest,
        simulated_us=report.simulated_us,
        events=report.events,
        commits=report.commits,
        terms=report.terms,
        crashes=report.crashes,
    )
