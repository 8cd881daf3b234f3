"""Runs seeds on a student's file up to the first that fails, makes that one small, and tells it."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from types import FrameType

from msgspec import Struct
from msgspec.structs import replace

from course.exam import Exam
from course.interface import MakeCore
from course.rules import rule_of
from course.server import CoreFailed
from course.stages import Stage, plan_of
from tests.simulation.plan import Plan
from tests.simulation.shrink import smaller_plans
from tests.support.checks import Violation

CLASS = "StudentRaft"
LINES_MAX = 40  # of the story
FRAMES_MAX = 4  # of the student's file, in a traceback
SHRINK_EVENTS_MAX = 12_000  # of the simulation: not seconds, so that a seed shows the same on each machine
PROGRESS_S = 5.0


class CannotLoad(Exception):
    """There is no class to judge in the file; the text says why."""


class TimeIsUp(BaseException):
    """A seed takes too long; not an `Exception`, so that `except Exception` does not hold it."""


class Failure(Struct, frozen=True, kw_only=True):
    """How a run broke a promise: what was seen, where the student's code raised it, and what led there."""

    promise: str
    detail: str
    place: tuple[str, ...] = ()
    story: tuple[str, ...] = ()
    at_us: int = 0
    digest: int = 0  # of all that happened, as the simulation's


def load(path: Path) -> MakeCore:
    """Return the class `StudentRaft` of a file; raise `CannotLoad`, or `OSError` if it cannot be read."""
    with path.open("rb"):
        pass
    spec = importlib.util.spec_from_file_location("student", path)
    if spec is None or spec.loader is None:
        raise CannotLoad(f"{path} is no Python file: its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["student"] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        place = "".join(f" {line.strip()}" for line in _places(error, path)[-1:])
        where = f" (line {error.lineno})" if isinstance(error, SyntaxError) else place
        raise CannotLoad(f"{path} cannot be imported: {_said(error)}{where}") from error
    made: MakeCore | None = getattr(module, CLASS, None)
    if made is None:
        raise CannotLoad(f"{path} has no class {CLASS}: begin with a copy of course/exercise.py")
    return made


class Attempts:
    """Runs plans on one student's class; `events` counts what has happened in all of them."""

    def __init__(self, path: Path, stage: Stage, *, limit_s: float) -> None:
        """Load the class; raise `CannotLoad` or `OSError`."""
        self.path, self.stage = path, stage
        self.events = 0
        self._make, self._limit_s = load(path), limit_s

    def run(self, plan: Plan) -> Failure | None:
        """Return how a run of `plan` fails, or None."""
        exam: Exam | None = None
        promise, detail, place = "", "", []
        with _time_limit(self._limit_s):
            try:
                exam = Exam(self._make, plan, self.stage)
                exam.run()
            except Violation as error:
                promise, detail = error.promise, str(error).removeprefix(f"{error.promise}: ")
            except CoreFailed as failed:
                unwritten = isinstance(failed.error, NotImplementedError)
                promise = "the stage is written" if unwritten else "no exception"
                said = str(failed.error) if unwritten else _said(failed.error)
                detail = f"`{failed.method}` of {failed.node}: {said}"
                place = _places(failed.error, self.path)
            except TimeIsUp as error:
                promise, place = "a call returns", _places(error, self.path)
                calling = (exam and exam.calling) or "the run"
                detail = f"{calling} did not end within the {self._limit_s:g} s that a seed may take"
            except Exception as error:  # of a check, on a value that no core may return
                promise, detail = (
                    "the interface is kept",
                    f"what a call returned is of no use: {_said(error)}",
                )
        if exam is not None:
            self.events += exam.loop.events
        if not promise or exam is None:
            return None
        return Failure(
            promise=promise,
            detail=detail,
            place=tuple(place),
            story=tuple(line.rstrip() for line in exam.loop.lines),
            at_us=exam.now_us,
            digest=exam.loop.digest,
        )

    def shrink(self, failure: Failure, plan: Plan) -> tuple[Failure, Plan]:
        """Return the smallest plan found that breaks the same promise, and how; the effort is bounded."""
        enough = self.events + SHRINK_EVENTS_MAX
        smaller = smaller_plans(plan, failure.at_us)
        while self.events < enough:
            candidate = next(smaller, None)
            if candidate is None:
                break
            if _what_matters(candidate) == _what_matters(plan):
                continue
            found = self.run(candidate)
            if found is not None and found.promise == failure.promise:
                failure, plan = found, candidate
                smaller = smaller_plans(plan, failure.at_us)
        return failure, plan


def judge(
    path: Path,
    stage: Stage,
    seeds: Sequence[int],
    *,
    limit_s: float,
    say: Callable[[str], None],
    progress: Callable[[str], None] = lambda line: None,
) -> int:
    """Run `seeds` on the class in `path` up to the first that fails, and tell it; return 0, or 1 then."""
    attempts = Attempts(path, stage, limit_s=limit_s)
    began_s = told_s = monotonic()
    for count, seed in enumerate(seeds):
        if monotonic() - told_s > PROGRESS_S:
            told_s = monotonic()
            progress(f"stage {stage.number}: {count} of {len(seeds)} seeds passed, {told_s - began_s:.0f} s")
        plan = plan_of(seed, stage)
        failure = attempts.run(plan)
        if failure is not None:
            for line in _tell(failure, plan, attempts):
                say(line)
            return 1
    say(f"Stage {stage.number} ({stage.title}): {len(seeds)} seeds passed.")
    return 0


def _tell(failure: Failure, plan: Plan, attempts: Attempts) -> Iterator[str]:
    """Yield what a student reads of a seed that fails."""
    stage, seed = attempts.stage, plan.seed
    yield f"Stage {stage.number} ({stage.title}): seed {seed} fails."
    if failure.promise != "a call returns":  # that would take as long again
        second = attempts.run(plan)
        if second is None or second.digest != failure.digest:
            what = "the same seed ran twice, and not in the same way"
            failure = replace(failure, promise="the same each time", detail=what)
        else:
            failure, plan = attempts.shrink(failure, plan)
    rule = rule_of(failure.promise)
    yield ""
    yield f"What happened, with {plan.nodes} servers{_faults_text(plan)}, in seconds of simulated time:"
    yield from (f"  {line}" for line in failure.story[-LINES_MAX:])
    yield ""
    yield f"Broken: {failure.promise}."
    yield f"  {failure.detail}"
    yield from (f"  {line}" for line in failure.place)
    yield f"Rule ({rule.section}): {rule.text}"
    yield f"Again: python -m course {attempts.path} --stage {stage.number} --seed {seed}"


def _faults_text(plan: Plan) -> str:
    faults = ", ".join([*plan.faults, *(f"messages {fault}" for fault in plan.message_faults)])
    return f" and these faults: {faults}" if faults else " and no faults"


def _what_matters(plan: Plan) -> tuple[object, ...]:
    """Return what of a plan an exam looks at: the rest is about the bank."""
    return plan.nodes, plan.faults, plan.message_faults, plan.faults_end_us, plan.turmoil_us


def _said(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _places(error: BaseException, path: Path) -> list[str]:
    """Return the lines of the student's file at which it was, the innermost last."""
    own = Path(os.path.abspath(path))
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame for frame in frames if Path(os.path.abspath(frame.filename)) == own]
    return [
        f"{path.name}, line {frame.lineno}, in {frame.name}: {frame.line}" for frame in lines[-FRAMES_MAX:]
    ]


@contextmanager
def _time_limit(limit_s: float) -> Iterator[None]:
    """Raise `TimeIsUp` after so many seconds; end the process if the student's code catches even that."""
    fired = 0

    def stop(_number: int, frame: FrameType | None) -> None:
        nonlocal fired
        fired += 1
        if fired > 2:
            where = (
                f"line {frame.f_lineno} of {Path(frame.f_code.co_filename).name}" if frame else "somewhere"
            )
            print(
                f"Broken: a call returns. It does not end, and catches every exception ({where}).", flush=True
            )
            os._exit(1)
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, stop)
    timer_before = signal.setitimer(signal.ITIMER_REAL, limit_s, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer_before)
