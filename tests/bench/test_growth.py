"""`python -m bench.growth` as a command, and its curves: what they note, show and draw."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.growth import __main__ as growth
from bench.growth import loaded
from bench.growth.curve import COLUMNS, PANELS, Curve
from bench.growth.growth import Growth, Reading
from bench.growth.kinds import KINDS
from bench.load import NotAcknowledged
from tests.bench.fakes import assert_refused

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/smaps_rollup").exists(), reason="NOT TESTED: what a process uses is read from /proc"
)


class MadeUp(Growth):
    """Answers at once; the figures grow with the point, and from round to round."""

    name = "made-up"
    title = "Made up"
    what = "things"
    usual = (1, 10, 100)
    limits = (0, 100)
    asked: list[int]

    def __init__(self, points: Sequence[int], seconds: float) -> None:
        super().__init__(points, seconds)
        self.asked = []

    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        for point in points:
            self.asked.append(point)
            rate = float(point * 1000 + len(self.asked))
            yield Reading("all", point, {"requests_per_s": rate, "elections": 1, "follower_us": math.nan})


class Broken(MadeUp):
    """Breaks down at its last point."""

    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        yield from super().measure(points[:-1])
        raise NotAcknowledged("busy: not now")


class Interrupted(MadeUp):
    """Is interrupted at its last point."""

    def measure(self, points: Sequence[int]) -> Iterator[Reading]:
        yield from super().measure(points[:-1])
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--only", "nodes,weather"], "there is no curve 'weather', only nodes, ledger, log, payload, conn"),
        (["--only", ","], "--only names no curve"),
        (["--points", "1,2"], "--points are those of one curve: name it with --only"),
        (["--only", "nodes", "--points", "1,two"], "'1,two' are no whole numbers with commas between"),
        (["--only", "payload", "--points", "65"], "--points of payload are from 1 to 64"),
        (["--only", "log", "--points=-1,5"], "--points of log are from 0 to 10,000,000"),
        (["--rounds", "0"], "'0' is not a number above 0"),
        (["--seconds", "x"], "'x' is not a number above 0"),
        (["--json", "/nowhere/figures.json"], "/nowhere/figures.json cannot be written"),
        (["--plots", "/nowhere"], "--plots /nowhere: there is no such folder"),
    ],
)
def test_a_wrong_argument_is_told_in_one_line_before_anything_is_measured(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_refused(growth.main, arguments, line, capsys)


def test_each_round_begins_with_another_point() -> None:
    made_up = MadeUp(MadeUp.usual, 1.0)
    for number in (1, 2, 3, 4):
        list(made_up.round(number))
    assert made_up.asked == [1, 10, 100, 10, 100, 1, 100, 1, 10, 1, 10, 100]


def test_the_table_has_medians_and_all_elections_and_leaves_out_what_does_not_exist() -> None:
    made_up = MadeUp((100, 1), 1.0)
    for number in (1, 2, 3):
        list(made_up.round(number))
    made_up.curve.add("idle", 1, {"leader_mib": 27.5})
    lines = [line.split() for line in made_up.curve.table().splitlines()[-3:]]
    assert lines == [
        ["all", "1", "1,003", "1,002", "-", "1,006", "3"],
        ["all", "100", "100,004", "100,001", "-", "100,005", "3"],
        ["idle", "1", "27.50"],
    ]


def test_the_json_has_the_medians_and_the_figures_of_each_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(KINDS, "nodes", MadeUp)
    figures = tmp_path / "figures.json"
    arguments = ["--only", "nodes", "--points", "7,5,7", "--rounds", "2", "--json", str(figures)]
    assert growth.main(arguments) == 0
    told = json.loads(figures.read_text())
    assert told["seconds"] == 3.0
    (curve,) = told["curves"]
    assert [(point["series"], point["at"]) for point in curve["points"]] == [("all", 5), ("all", 7)]
    assert curve["points"][1]["rounds"]["requests_per_s"] == [7002.0, 7003.0]
    assert curve["points"][1]["medians"] == {"requests_per_s": 7002.5, "elections": 1.0, "follower_us": None}
    assert capsys.readouterr().out.startswith("Made up\n")


@pytest.mark.parametrize(("kind", "exit_code"), [(Broken, 1), (Interrupted, 130)])
def test_what_was_measured_before_a_breakdown_or_an_interruption_is_shown(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    kind: type[Growth],
    exit_code: int,
) -> None:
    monkeypatch.setitem(KINDS, "nodes", kind)
    monkeypatch.setitem(KINDS, "log", MadeUp)
    figures = tmp_path / "figures.json"
    assert growth.main(["--only", "nodes,log", "--rounds", "1", "--json", str(figures)]) == exit_code
    told = capsys.readouterr()
    assert "10,002" in told.out
    assert ("GIVEN UP: made-up: busy: not now" in told.err) == (kind is Broken)
    curves = json.loads(figures.read_text())["curves"]
    assert [len(curve["points"]) for curve in curves] == ([2, 3] if kind is Broken else [2])


@pytest.mark.parametrize("name", KINDS)
def test_a_curve_is_drawn_with_all_its_panels_also_when_little_was_measured(
    name: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra 'bench'")
    from bench.growth.picture import draw  # noqa: PLC0415  (what was skipped above)

    curve = KINDS[name](KINDS[name].usual, 1.0).curve
    draw(curve, tmp_path / "empty.png")
    for number in (1, 2, 3):
        for point in KINDS[name].usual:
            curve.add("one", point, dict.fromkeys(COLUMNS, float(number)))
            curve.add("two", point, {"requests_per_s": math.nan})
    draw(curve, tmp_path / "full.png")
    for picture in ("empty.png", "full.png"):
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "full.png").stat().st_size > (tmp_path / "empty.png").stat().st_size


def test_every_panel_shows_figures_that_there_are() -> None:
    for kind in KINDS.values():
        assert {key for panel in kind.panels for key in panel.keys} <= COLUMNS.keys()
        assert list(kind.usual) == sorted(set(kind.usual))
        assert kind.limits[0] <= kind.usual[0]
        assert kind.usual[-1] <= kind.limits[1]
    assert Curve("c", "t", "w").panels == PANELS


@pytest.mark.parametrize(
    ("name", "points", "more"),
    [
        ("nodes", "1", {"leader_us"}),
        ("ledger", "200", {"leader_us", "follower_us"}),
        ("log", "100", {"follower_us", "restart_s", "restart_processor_s", "rebuild_s"}),
        ("payload", "3", {"legs_per_s", "request_bytes"}),
        ("connections", "1,3", {"follower_us"}),
    ],
)
def test_a_tiny_run_of_the_real_thing_writes_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, points: str, more: set[str]
) -> None:
    monkeypatch.setattr(loaded, "WARM_UP_S", 0.1)
    figures = tmp_path / "figures.json"
    arguments = ["--only", name, "--points", points, "--rounds", "1", "--seconds", "0.2"]
    assert growth.main([*arguments, "--json", str(figures)]) == 0
    (curve,) = json.loads(figures.read_text())["curves"]
    assert {point["at"] for point in curve["points"]} == {int(point) for point in points.split(",")}
    for point in curve["points"]:
        wanted = {"requests_per_s", "p50_ms", "p99_ms", *more}
        if point["series"] == "idle":
            wanted = {"leader_mib"}
        assert all(point["medians"][key] > 0 for key in wanted), point
