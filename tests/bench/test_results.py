"""Statistics, table and JSON, on made-up figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from bench.load import Result
from bench.results import Results, ratio
from bench.work import CLOSED_LOOP, PIPELINED, Work


def result(
    per_second: int, p50_ms: float, cpu_s: float = 0.5, servers_s: float = math.nan, retried: int = 0
) -> Result:
    return Result(
        acknowledged=per_second,
        seconds=1.0,
        cpu_s=cpu_s,
        latencies_s=[p50_ms / 1000] * 10,
        servers_s=servers_s,
        retried=retried,
    )


@pytest.fixture
def results() -> Results:
    results = Results()
    work = CLOSED_LOOP[2]
    for ours, theirs in ((4000, 1000), (2000, 1000), (9000, 3000)):
        results.add("etcd", "3.5.1", work, result(theirs, p50_ms=20.0, servers_s=theirs * 400e-6))
        results.add("atm", "1.0.0", work, result(ours, p50_ms=5.0, cpu_s=0.95, servers_s=ours * 100e-6))
    results.add("pysyncobj", "0.3", work, result(500, p50_ms=100.0, cpu_s=math.nan))
    results.add_failover("atm", "1.0.0", 300.0)
    results.add_failover("etcd", "3.5.1", 1200.0)
    results.not_measured["sqlite"] = "not today"
    return results


def cells(results: Results, label: str, system: str) -> list[str]:
    for line in results.table().splitlines():
        words = line.split()
        if words[:2] == [label, system]:
            return words[2:]
    raise AssertionError(f"no line for {label} on {system} in\n{results.table()}")


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds_not_the_ratio_of_the_medians() -> None:
    assert ratio([4000, 2000, 9000], [1000, 1000, 3000]) == 3.0
    assert ratio([4000, 2000], [1000]) == 4.0
    assert math.isnan(ratio([0.0], [0.0]))


def test_the_table_has_medians_spread_and_ratios(results: Results) -> None:
    assert cells(results, "credits-64", "atm") == [
        *("4,000", "2,000", "-", "9,000", "5.00", "5.00", "-", "5.00", "5.00", "100", "0.95")
    ]
    etcd = cells(results, "credits-64", "etcd")
    assert etcd[:4] == ["1,000", "1,000", "-", "3,000"]
    assert etcd[-5:] == ["400", "0.50", "3.00", "0.25", "4.00"]


def test_the_load_programs_share_is_left_out_where_it_cannot_be_told(results: Results) -> None:
    assert cells(results, "credits-64", "pysyncobj")[-3:] == ["100.00", "8.00", "0.05"]


def test_operations_are_the_transfers_of_bulk_work() -> None:
    result = Result(acknowledged=10, seconds=2.0, servers_s=0.064, retried=320, legs=64)
    assert (result.operations, result.per_second, result.servers_us, result.retries) == (
        640,
        320.0,
        100.0,
        0.5,
    )
    assert math.isnan(Result(seconds=2.0, servers_s=1.0).servers_us)


def test_requests_that_were_sent_again_are_told(results: Results) -> None:
    results.add("postgresql", "18", CLOSED_LOOP[0], result(1_000, p50_ms=1.0, retried=250))
    assert results.warnings()[0] == (
        "credits-1 on postgresql: 0.25 retries an operation, as the system asked for"
    )


def test_a_failover_has_a_time_and_no_rate(results: Results) -> None:
    assert cells(results, "failover", "etcd") == ["1,200.00", "1,200.00", "-", "1,200.00", "0.25"]


def test_ours_comes_first_and_what_was_not_measured_last_with_the_reason(results: Results) -> None:
    lines = results.table().splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["credits-64", "atm"], ["credits-64", "etcd"]]
    assert "sqlite" in lines[-1]
    assert "NOT MEASURED: not today" in lines[-1]


def test_a_busy_load_program_is_told(results: Results) -> None:
    assert results.warnings() == ["credits-64 on atm: the load program used 0.95 of its one core"]


def test_the_json_is_a_list_of_rows_with_a_figure_for_each_round(results: Results, tmp_path: Path) -> None:
    results.add("atm", "1.0.0", PIPELINED, result(30_000, p50_ms=30.0))
    results.write_json(tmp_path / "figures.json")
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert rows[0] == {
        "system": "atm",
        "version": "1.0.0",
        "work": "credits",
        "connections": 64,
        "depth": 1,
        "ops_per_s": [4000, 2000, 9000],
        "p50_ms": [5.0, 5.0, 5.0],
        "p99_ms": [5.0, 5.0, 5.0],
        "servers_us": [100.0, 100.0, 100.0],
        "retries": [0.0, 0.0, 0.0],
        "nodes": 5,
    }
    assert rows[2]["servers_us"] == [None], "it cannot be told"
    assert {"work": "credits", "connections": 64, "depth": 16}.items() <= rows[3].items()
    assert {"work": "failover", "ops_per_s": [0.0], "p50_ms": [300.0], "p99_ms": [300.0]}.items() <= rows[
        4
    ].items()
    assert all(set(row) == set(rows[0]) for row in rows)


def test_every_kind_of_work_has_rows_of_its_own() -> None:
    results = Results()
    for work in (Work("credits", 64), Work("mixed", 64), Work("credits", 64, depth=16)):
        results.add("atm", "1", work, result(1, 1.0))
    assert len(results.rows) == 3
