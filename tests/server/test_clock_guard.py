"""Clocks are compared by what servers report: whose is wrong, and how far log time may go."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.server.group.clock_guard import FORGOTTEN_AFTER_S, REPORTS_COUNTED, ClockGuard
from atm.wire.peer_messages import NodeReport
from tests.support.collecting import collecting

NOON_US = 10**15
SKEW_US = 2_000_000
S = 1_000_000


class Story:
    """n1 among others; `off` is how far each clock is from the true time, in microseconds."""

    def __init__(self, *offs_us: int) -> None:
        self.since_start_s = 100.0
        self.off_us = {f"n{number}": off_us for number, off_us in enumerate(offs_us, 1)}
        self.said: list[str] = []
        self.guard = ClockGuard(
            "n1",
            skew_us=SKEW_US,
            voters=lambda: tuple(self.off_us),
            clock=lambda: self.since_start_s,
            wall_clock_us=lambda: self.wall_us("n1"),
            logger=collecting(self.said, level=logging.INFO),
        )

    @property
    def true_us(self) -> int:
        return NOON_US + int(self.since_start_s * 1e6)

    def wall_us(self, node: str) -> int:
        return self.true_us + self.off_us[node]

    def hear(self, *nodes: str, late_s: float = 0.0, times: int = 1) -> None:
        """Let reports of these nodes come in, a second apart, and judge."""
        for _ in range(times):
            self.since_start_s += 1
            for node in nodes:
                time_us = self.wall_us(node) - int(late_s * 1e6)
                report = NodeReport(sender=node, time_us=time_us, is_low=False, free_bytes=0, applied_index=0)
                self.guard.note(report)
        self.guard.look()

    def hear_all(self, times: int = 1) -> None:
        self.hear(*[node for node in self.off_us if node != "n1"], times=times)


@pytest.mark.parametrize(
    ("offs_s", "error_s"),
    [
        ((0, 0, 0), None),
        ((2, 0, 0), None),
        ((2.1, 0, 0), 2.1),
        ((-2.1, 0, 0), -2.1),
        ((3600, 0, 1), 3600),
        ((0, 0, 3600), None),
        ((0, 3600, -3600), None),  # nobody agrees with anybody: nobody is wrong
        ((0, 3600, 3600), -3600),
        ((3600, 0), None),  # of two nobody knows
        ((3600, 0, 0, 0, 3600), 3600),
        ((3600, 0, 0, 3600, 3600), None),
        ((3600, 0, 1, 3, 5), None),  # no three of them agree
        ((3600,), None),
    ],
)
def test_a_clock_is_wrong_if_a_majority_agrees_without_it(
    offs_s: tuple[float, ...], error_s: float | None
) -> None:
    story = Story(*(int(off * S) for off in offs_s))
    story.hear_all()
    assert story.guard.error_us == (None if error_s is None else int(error_s * S))
    assert story.guard.is_wrong == (error_s is not None)


@given(offs_us=st.lists(st.integers(-10 * S, 10 * S), min_size=1, max_size=7))
def test_not_all_clocks_are_ever_wrong(offs_us: list[int]) -> None:
    wrong = []
    for own in range(len(offs_us)):
        story = Story(offs_us[own], *offs_us[:own], *offs_us[own + 1 :])
        story.hear_all()
        wrong.append(story.guard.is_wrong)
    assert not all(wrong)


@given(offs_us=st.lists(st.integers(-10 * S, 10 * S), min_size=3, max_size=7), silent=st.integers(0, 6))
def test_log_time_is_never_further_ahead_than_the_skew_of_the_clocks_of_a_majority(
    offs_us: list[int], silent: int
) -> None:
    story = Story(*offs_us)
    heard = [node for node in story.off_us if node != "n1"][silent:]
    story.hear(*heard)
    known = [story.off_us[node] for node in ("n1", *heard)]
    majority = len(offs_us) // 2 + 1
    bound_us = story.guard.bound_us()
    assert (bound_us is None) == (len(known) < majority)
    if bound_us is not None:
        off_us = bound_us - story.true_us
        assert sum(each >= off_us - SKEW_US for each in known) >= majority
        assert off_us - SKEW_US in known


def test_the_bound_goes_on_with_time_and_does_not_follow_a_clock_that_was_set_since() -> None:
    story = Story(0, 0, 0)
    story.hear_all()
    story.off_us["n1"] = 3600 * S
    story.since_start_s += 0.05
    assert story.guard.bound_us() == story.true_us + SKEW_US
    story.guard.look()
    assert story.guard.is_wrong, "at once"
    assert story.guard.bound_us() == story.true_us + SKEW_US


def test_reports_that_come_late_make_no_clock_wrong() -> None:
    story = Story(0, 0, 0)
    story.hear_all(times=3)
    story.hear("n2", "n3", late_s=60.0, times=REPORTS_COUNTED - 1)
    assert story.said == []
    story.hear("n2", "n3", late_s=0.5)
    assert (story.said, story.guard.is_wrong) == ([], False)


def test_a_clock_that_was_set_back_is_believed_after_a_few_reports() -> None:
    story = Story(0, 0, 0)
    story.hear_all(times=3)
    story.off_us |= {"n2": -60 * S, "n3": -60 * S}
    story.hear_all(times=REPORTS_COUNTED)
    assert story.guard.error_us == 60 * S


def test_a_server_that_is_silent_for_long_is_forgotten() -> None:
    story = Story(3600 * S, 0, 0)
    story.hear_all()
    story.since_start_s += FORGOTTEN_AFTER_S + 1
    story.hear("n2")
    assert (story.guard.error_us, story.guard.alarms[0][:20]) == (None, "the clock of node n2")
    story.hear("n3")
    assert story.guard.is_wrong


def test_what_is_wrong_is_said_once_and_its_end_too() -> None:
    story = Story(90 * S, 0, 0)
    story.hear_all(times=2)
    [line] = story.said
    assert line.startswith("this machine's clock is 90.0 s ahead of those of a majority of the servers")
    assert story.guard.alarms == [line]
    story.off_us["n1"] = 0
    story.hear_all()
    assert story.said[1:] == ["this machine's clock is right again: this node may lead"]
    assert story.guard.alarms == []


def test_a_server_that_is_right_tells_whose_clock_is_not_and_does_not_have_it_lead() -> None:
    story = Story(0, -90 * S, 0)
    story.hear_all()
    assert story.guard.alarms == [
        "the clock of node n2 is 90.0 s behind that of this machine: set whichever is wrong"
    ]
    assert [story.guard.is_right(node) for node in ("n2", "n3")] == [False, True]


def test_a_server_that_is_wrong_takes_those_for_right_that_agree() -> None:
    story = Story(90 * S, 0, 1 * S, 90 * S, 0)
    story.hear_all()
    assert story.guard.is_wrong
    assert [story.guard.is_right(node) for node in ("n2", "n3", "n4", "n5")] == [True, True, False, True]
