"""The trial of a mutant: a copy of the project with it, the tests that run there, and what they found."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from msgspec import Struct

from tests.mutants.mutant import Mutant, copy_project
from tests.mutants.pattern import NotPlanted

TEST_S = 60  # for one test; a mutant may make it hang
RUN_S = 600  # for one run of pytest or the simulation
SEEDS_AT_ONCE = 5

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+::\w+)", re.MULTILINE)  # without parameters
_FAILED_SEED = re.compile(r"\bseed (\d+)")
_PASSED, _FOUND_FAILURES = 0, 1  # exit codes, of the simulation too; all others mean that it never ran


class Broken(Exception):
    """The trial itself failed, which says nothing about the mutant."""


class Verdict(Struct, kw_only=True):
    """Which test caught the mutant, and how fast; `problem` says what differs from the catalogue."""

    name: str
    caught_by: str = ""
    test_s: float = 0.0
    seed: str = ""  # that caught it; "none" if seeds were run and all passed
    seeds_s: float = 0.0
    problem: str = ""


class Copy:
    """A copy of the project in a temporary folder, and what is run in it."""

    def __init__(self, mutant: Mutant | None = None) -> None:
        """Make the copy, with `mutant` in it; raise `NotPlanted`."""
        self._folder = tempfile.TemporaryDirectory(prefix="atm-mutant-")
        self._tree = Path(self._folder.name)
        try:
            copy_project(self._tree)
            if mutant is not None:
                mutant.plant(self._tree)
        except BaseException:
            self._folder.cleanup()
            raise

    def close(self) -> None:
        self._folder.cleanup()

    def failing_test(self, *targets: str) -> str | None:
        """Run tests up to the first that fails, and return its name; raise `Broken`."""
        options = ("-q", "-x", "--tb=no", "-p", "no:cacheprovider", "--timeout", str(TEST_S))
        found = self._run("pytest", *options, *targets)
        if found is None:
            return None
        failed = _FAILED.search(found)
        if failed is None:
            raise Broken(f"pytest tells no test that failed:\n{found[-500:]}")
        return failed[1]

    def failing_seed(self, seeds: range) -> str | None:
        """Run the simulation, some seeds at a time, and return the first seed that fails; raise `Broken`."""
        for first in seeds[::SEEDS_AT_ONCE]:
            last = min(first + SEEDS_AT_ONCE - 1, seeds[-1])
            found = self._run("tests.simulation", "--seeds", f"{first}-{last}")
            if found is not None:
                failed = _FAILED_SEED.search(found)
                if failed is None:
                    raise Broken(f"the simulation tells no seed that failed:\n{found[-500:]}")
                return failed[1]
        return None

    def _run(self, module: str, *arguments: str) -> str | None:
        """Run a module; return what it printed if it found failures, None if all passed."""
        # Only the copy: an installed project must not stand in for what was not found in it.
        environment = {**os.environ, "PYTHONPATH": str(self._tree)}
        command = [sys.executable, "-P", "-m", module, *arguments]
        try:
            run = subprocess.run(
                command,
                cwd=self._tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=RUN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"{module} {' '.join(arguments)} did not end within {RUN_S} s") from None
        if run.returncode not in (_PASSED, _FOUND_FAILURES):
            raise Broken(f"{module} ended with {run.returncode}:\n{(run.stdout + run.stderr)[-500:]}")
        return run.stdout if run.returncode == _FOUND_FAILURES else None


def try_mutant(mutant: Mutant, seeds: range, *, always_seeds: bool) -> Verdict:
    """Run the expected test, then all of its room, and `seeds` if nothing caught it or they are wanted."""
    verdict = Verdict(name=mutant.name)
    try:
        copy = Copy(mutant)
    except NotPlanted as error:
        verdict.problem = f"not planted: {error}"
        return verdict
    try:
        _run_tests(mutant, copy, verdict)
        if seeds and (always_seeds or not verdict.caught_by):
            started_s = monotonic()
            verdict.seed = copy.failing_seed(seeds) or "none"
            verdict.seeds_s = monotonic() - started_s
        if not verdict.caught_by:
            survived = verdict.seed in ("", "none")
            verdict.problem = "SURVIVED" if survived else "no scripted test caught it"
    except Broken as error:
        verdict.problem = f"broken: {error}"
    finally:
        copy.close()
    return verdict


def _run_tests(mutant: Mutant, copy: Copy, verdict: Verdict) -> None:
    started_s = monotonic()
    verdict.caught_by = copy.failing_test(mutant.caught_by) or ""
    if not verdict.caught_by:
        verdict.caught_by = copy.failing_test(mutant.room) or ""
        if verdict.caught_by:
            verdict.problem = f"not caught by {mutant.caught_by}"
    verdict.test_s = monotonic() - started_s


def try_nothing(mutants: Sequence[Mutant], seeds: range) -> Verdict:
    """Run what the mutants are tried with on a copy without any: unless it passes, a catch means nothing."""
    verdict = Verdict(name="(none planted)")
    copy = Copy()
    try:
        started_s = monotonic()
        failed = copy.failing_test(*sorted({mutant.caught_by for mutant in mutants}))
        verdict.test_s = monotonic() - started_s
        if seeds:
            started_s = monotonic()
            verdict.seed = copy.failing_seed(seeds) or "none"
            verdict.seeds_s = monotonic() - started_s
        if failed or verdict.seed not in ("", "none"):
            verdict.problem = f"fails without a defect: {failed or 'seed ' + verdict.seed}"
    except Broken as error:
        verdict.problem = f"broken: {error}"
    finally:
        copy.close()
    return verdict
