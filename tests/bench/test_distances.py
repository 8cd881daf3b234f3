"""The bank at a distance: the parts that need neither root nor Linux; the rest says that it needs both."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest

from bench import distances, far
from bench.distances import CALM, CELLS, LATER, STOPPED, WARM_UP_S, Cell, Figures, spread, table
from bench.far import Share
from bench.far_switch import Ways
from bench.load import Result

N1, N2, N3 = 4, 5, 6  # devices


# -- the switch ------------------------------------------------------------------------------------


def test_each_packet_is_as_late_as_the_way_is_long() -> None:
    ways = Ways(0.5)
    ways.take(N1, N2, b"x", 10.0)
    assert ways.due(10.4) == []
    assert ways.wait_s(10.4) == pytest.approx(0.1)
    assert ways.due(10.5) == [(N2, b"x")]
    assert ways.wait_s(10.5) is None


def test_packets_of_one_way_arrive_in_order() -> None:
    ways = Ways(0.5)
    for number in range(5):
        ways.take(N1, N2, b"%d" % number, 10.0)
    assert ways.due(11.0) == [(N2, b"%d" % number) for number in range(5)]


def test_a_place_further_away_is_later_each_way_and_keeps_nobody_else_waiting() -> None:
    ways = Ways(0.5)
    ways.later_s[N2] = 1.0
    ways.take(N1, N2, b"there", 10.0)
    ways.take(N2, N1, b"back", 10.0)
    ways.take(N1, N3, b"near", 10.0)
    assert ways.wait_s(10.0) == pytest.approx(0.5)
    assert ways.due(10.5) == [(N3, b"near")]
    assert ways.due(11.4) == []
    assert sorted(ways.due(11.5)) == [(N1, b"back"), (N2, b"there")]


# -- shares of a processor -------------------------------------------------------------------------


def test_a_share_is_a_quota_of_the_first_version_of_control_groups(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    share = Share("n1", 0.3, tmp_path)
    share.create()
    assert (tmp_path / "cpu/n1/cpu.cfs_period_us").read_text() == "10000"
    assert (tmp_path / "cpu/n1/cpu.cfs_quota_us").read_text() == "3000"
    assert f"{tmp_path}/cpu/n1/cgroup.procs" in " ".join(share.inside())


def test_a_share_is_a_quota_of_the_second_version_of_control_groups(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    share = Share("n1", 0.3, tmp_path)
    share.create()
    assert (tmp_path / "n1/cpu.max").read_text() == "3000 10000"
    assert f"{tmp_path}/n1/cgroup.procs" in " ".join(share.inside())


def test_a_share_that_was_never_made_is_removed_without_a_word(tmp_path: Path) -> None:
    Share("n1", 0.3, tmp_path).remove()


# -- the figures -----------------------------------------------------------------------------------


def test_labels_tell_the_load_and_what_is_wrong() -> None:
    assert Cell(64).label == "64"
    assert Cell(8, 400.0).label == "8@400"
    assert Cell(8, 400.0, STOPPED).label == "8@400-stopped"
    assert len({cell.label for cell in CELLS}) == len(CELLS)
    assert {cell.fault for cell in CELLS} == {CALM, STOPPED, LATER}


def test_processor_time_is_told_for_each_credit_of_leader_and_follower() -> None:
    figures = Figures()
    result = Result(acknowledged=100, seconds=1.0, latencies_s=[0.002] * 100)
    credits = 100 * (1.0 + WARM_UP_S)
    figures.add(result, {"n1": credits * 500e-6, "n2": credits * 100e-6, "n3": credits * 300e-6}, "n1")
    assert figures.ops_per_s == [100.0]
    assert figures.p50_ms == [2.0]
    assert figures.leader_us == [pytest.approx(500)]
    assert figures.follower_us == [pytest.approx(200)]


def test_a_round_without_a_credit_has_no_processor_time_a_credit() -> None:
    figures = Figures()
    figures.add(Result(seconds=1.0), {"n1": 1.0, "n2": 1.0}, "n1")
    assert math.isnan(figures.leader_us[0])


def test_ratios_are_of_rounds_and_not_of_medians() -> None:
    assert spread([10.0, 30.0, 50.0], [10.0, 20.0, 100.0]) == "1.00 (0.50-1.50)"
    assert spread([1.0], [0.0]) == "–"


def test_the_first_tree_has_no_ratio_and_each_other_one_has_it_to_the_first() -> None:
    here = Figures([100.0], [2.0], [9.0], [9.5], [500.0], [200.0])
    there = Figures([150.0], [1.0], [9.0], [9.5], [500.0], [200.0])
    _, _, first, second = table({("8", "."): here, ("8", "../b"): there}, ["8"], [".", "../b"]).splitlines()
    assert first.split() == ["8", ".", "100", "2.0", "9.0", "9.5", "500.0", "200.0"]
    assert second.split()[8:12] == ["1.50", "(1.50-1.50)", "0.50", "(0.50-0.50)"]


# -- where it cannot be had ------------------------------------------------------------------------


def refuses(capsys: pytest.CaptureFixture[str]) -> str:
    assert distances.main([]) == 1
    told = capsys.readouterr()
    assert not told.out
    (line,) = told.err.splitlines()
    return line


def test_elsewhere_than_on_linux_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux" in refuses(capsys)


def test_who_is_not_root_is_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(far, "PROGRAMS", ())
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in refuses(capsys)


def test_a_program_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(far, "PROGRAMS", ("ip-of-nowhere",))
    assert "there is no ip-of-nowhere" in refuses(capsys)


def test_a_tree_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        distances.main(["--trees", str(tmp_path)])
    assert left.value.code == 2
    assert "is no checkout of this project" in capsys.readouterr().err


def test_a_cell_that_there_is_not_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        distances.main(["--only", "7"])
    assert left.value.code == 2
    assert "there is no cell '7'" in capsys.readouterr().err
