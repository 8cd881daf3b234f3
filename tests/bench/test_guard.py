"""The guard judges quotients by the limit of the same run, never the clock."""

from __future__ import annotations

import pytest

from bench import guard
from bench.load import Result
from bench.results import Results
from bench.rounds import Run
from bench.work import WORKS
from tests.bench.fakes import Broken, MadeUp

WORK = {work.label: work for work in WORKS}


def measured(speed: float, share: float = 1.0) -> Results:
    """Return what a machine of this speed would show, with so much of the expected quotients left."""
    results = Results()
    for factor in (1.0, 0.5, 2.0):  # the machine's good and bad minutes
        limit = speed * factor * 1000
        results.add("limit", "1", WORK["credits-1"], Result(int(limit), 1.0))
        for label, expected in guard.EXPECTED.items():
            results.add("atm", "1", WORK[label], Result(round(limit * expected * share), 1.0))
    return results


@pytest.mark.parametrize("speed", [0.1, 10.0])
@pytest.mark.parametrize(("share", "exit_code"), [(1.0, 0), (0.6, 0), (0.4, 1)])
def test_only_what_is_lost_against_the_limit_counts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    speed: float,
    share: float,
    exit_code: int,
) -> None:
    class Measured(Run):
        def rounds(self, count: int, within_s: float = 0.0) -> None:
            self.results = measured(speed, share)

    monkeypatch.setattr(guard, "Run", Measured)
    assert guard.main(["--rounds", "3"]) == exit_code
    told = capsys.readouterr()
    assert all(label in told.out for label in guard.EXPECTED)
    assert ("credits-64: less than 50% of what is expected is left" in told.err) == bool(exit_code)


class BareLimit(MadeUp):
    name = "limit"


class BrokenAtm(Broken):
    name = "atm"
    works = WORKS


def test_a_system_that_breaks_down_is_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "Atm", BrokenAtm)
    monkeypatch.setattr(guard, "Limit", BareLimit)
    assert guard.main(["--rounds", "1"]) == 1


@pytest.mark.parametrize("arguments", [["--rounds", "0"], ["--seconds", "x"], ["--share", "-1"]])
def test_wrong_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        guard.main(arguments)
    assert left.value.code == 2
    assert f"{arguments[1]!r} is not a number above 0" in capsys.readouterr().err


def test_what_is_expected_is_work_that_there_is() -> None:
    assert guard.EXPECTED.keys() <= WORK.keys()
