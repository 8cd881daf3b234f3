"""Log time goes on at the pace of time, whatever the wall clocks say."""

from __future__ import annotations

from atm.server.group.log_clock import LogClock

NOON_US = 10**15
HOUR_US = 3600 * 10**6


class Story:
    def __init__(self) -> None:
        self.since_start_s, self.wall_us = 100.0, NOON_US
        self.clock = LogClock(lambda: self.since_start_s, lambda: self.wall_us)

    def wait(self, seconds: float) -> None:
        self.since_start_s += seconds
        self.wall_us += int(seconds * 1e6)


def test_it_is_the_wall_clock_as_long_as_no_stamp_is_ahead() -> None:
    story = Story()
    story.clock.observe(0)
    story.clock.observe(NOON_US - HOUR_US)
    assert story.clock.now_us() == NOON_US
    story.wait(5)
    assert story.clock.now_us() == NOON_US + 5 * 10**6


def test_behind_the_log_it_goes_on_from_the_last_stamp_at_the_same_pace() -> None:
    story = Story()
    story.clock.observe(NOON_US + 2 * HOUR_US)
    story.wait(60)
    assert story.clock.now_us() == NOON_US + 2 * HOUR_US + 60 * 10**6


def test_stamps_that_it_gave_itself_do_not_slow_it_down() -> None:
    """Each is seen a while after it was given; to begin anew from it would lose that while each time."""
    story = Story()
    story.clock.observe(NOON_US + HOUR_US)
    for _ in range(10):
        stamp_us = story.clock.now_us()
        story.wait(1)
        story.clock.observe(stamp_us)
    assert story.clock.now_us() == NOON_US + HOUR_US + 10 * 10**6


def test_a_wall_clock_that_is_set_back_loses_the_time_since_the_last_stamp_at_most() -> None:
    story = Story()
    stamp_us = story.clock.now_us()
    story.wall_us -= 2 * HOUR_US
    story.clock.observe(stamp_us)
    story.wait(60)
    assert story.clock.now_us() == stamp_us + 60 * 10**6
