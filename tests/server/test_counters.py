"""Plain counters, and the text that they become."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from atm.ledger.commands import Credit, Debit, Outcome
from atm.server.metrics.counters import Counters, Histogram
from atm.server.metrics.exposition import Kind, Labels, Metric, Value, exposition


def text_of(kind: Kind, samples: Iterable[tuple[Labels, Value]], help_text: str = "What it is.") -> list[str]:
    return exposition([Metric("atm_x", kind, help_text, samples)]).splitlines()


def test_an_observation_counts_in_every_bucket_that_is_not_smaller() -> None:
    histogram = Histogram([0.1, 1.0])
    for value in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(value)
    assert histogram.cumulated() == [2, 3, 4]
    assert histogram.sum == pytest.approx(7.65)
    histogram.observe_all([0.1, 0.5])
    assert histogram.cumulated() == [3, 5, 6]
    assert histogram.sum == pytest.approx(8.25)


def test_requests_are_told_by_op_and_outcome_wherever_they_were_answered() -> None:
    counters = Counters()
    counters.decided.done([Credit, Credit])
    counters.decided.count(Credit, "ok")
    counters.decided.count(Debit, Outcome.INSUFFICIENT_FUNDS)
    counters.refused.count(Debit, "busy")
    counters.refused.count(None, "bad_request")
    assert counters.requests() == {
        ("credit", "ok"): 3,
        ("debit", "insufficient_funds"): 1,
        ("debit", "busy"): 1,
        ("unknown", "bad_request"): 1,
    }


def test_a_block_has_its_help_its_type_and_its_samples() -> None:
    assert text_of("counter", [({}, 3), ({"op": "credit"}, 2.5)]) == [
        "# HELP atm_x What it is.",
        "# TYPE atm_x counter",
        "atm_x 3",
        'atm_x{op="credit"} 2.5',
    ]


def test_a_metric_without_a_sample_is_left_out() -> None:
    assert text_of("gauge", []) == []
    assert exposition([]) == ""


def test_text_is_escaped_in_labels_and_help() -> None:
    assert text_of("gauge", [({"peer": 'a"b\\c\nd'}, True)], "one\\\ntwo") == [
        "# HELP atm_x one\\\\\\ntwo",
        "# TYPE atm_x gauge",
        'atm_x{peer="a\\"b\\\\c\\nd"} 1',
    ]


def test_a_histogram_has_cumulated_buckets_its_sum_and_its_count() -> None:
    histogram = Histogram([0.001, 1.0])
    histogram.observe(0.5)
    histogram.observe(20)
    assert text_of("histogram", [({"op": "x"}, histogram)])[2:] == [
        'atm_x_bucket{op="x",le="0.001"} 0',
        'atm_x_bucket{op="x",le="1"} 1',
        'atm_x_bucket{op="x",le="+Inf"} 2',
        'atm_x_sum{op="x"} 20.5',
        'atm_x_count{op="x"} 2',
    ]
