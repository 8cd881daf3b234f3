"""What a leader's entries must be: commands of this release, stamps that a clock can have."""

from __future__ import annotations

import pytest

from atm.ledger.commands import Expire
from atm.raft.messages import NUMBER_MAX, Entry, EntryKind
from atm.server.group import entry_validator
from atm.server.group.entry_validator import (
    AHEAD_US_MAX,
    CLOCK_SET_US,
    EntryValidator,
    Unusable,
    checked_record,
)
from atm.server.group.log_clock import STAMP_US_MAX
from atm.wire.codec import Malformed, encode
from tests.support.server_parts import credit, query

NOW_US = CLOCK_SET_US + 10**15
HOUR_US = 3600 * 10**6


class Clocks:
    """A guard whose clocks the test sets."""

    def __init__(self, wall_us: int = NOW_US) -> None:
        self.wall_us = wall_us
        self.passed_s = 0.0
        self.guard = EntryValidator(lambda: self.passed_s, lambda: self.wall_us)

    def entry_check(self, *stamps_us: int, last_us: int = 0, command: bytes = b"") -> str | None:
        entries = [
            Entry(
                index=index,
                term=1,
                time_us=stamp,
                kind=EntryKind.COMMAND if command else EntryKind.NOOP,
                data=command,
            )
            for index, stamp in enumerate(stamps_us, 5)
        ]
        return self.guard.entry_check(entries, last_us)


def test_a_stamp_may_be_a_day_ahead_of_this_clock_and_no_more() -> None:
    clocks = Clocks()
    assert clocks.entry_check(NOW_US + AHEAD_US_MAX + 1) == (
        "its entry 5 is stamped 2056-09-10 01:46 UTC, more than a day ahead of this machine's clock "
        "(2056-09-09 01:46 UTC): set whichever is wrong"
    )
    assert clocks.entry_check(NOW_US + AHEAD_US_MAX) is None


def test_a_stamp_may_be_a_day_ahead_of_the_logs_time_which_goes_on_with_time() -> None:
    """The log's time may be ahead of all clocks, after one that was: the bank goes on, even after a week."""
    clocks, last_us = Clocks(), NOW_US + 1000 * AHEAD_US_MAX
    week_s = 7 * 24 * 3600
    assert clocks.entry_check(last_us + 1, last_us=last_us) is None
    clocks.passed_s += week_s
    assert clocks.entry_check(last_us + week_s * 10**6 + HOUR_US, last_us=last_us + 1) is None
    assert clocks.entry_check(last_us + week_s * 10**6 + 2 * AHEAD_US_MAX, last_us=last_us + 1) is not None


def test_a_clock_that_was_never_set_measures_nothing_but_the_calendar() -> None:
    clocks = Clocks(wall_us=HOUR_US)
    assert clocks.entry_check(NOW_US) is None
    assert clocks.entry_check(STAMP_US_MAX) is None
    assert clocks.entry_check(STAMP_US_MAX + 1) is not None


@pytest.mark.parametrize("stamp_us", [STAMP_US_MAX + 1, NUMBER_MAX])
def test_no_stamp_is_behind_the_end_of_the_calendar(stamp_us: int) -> None:
    clocks = Clocks(wall_us=STAMP_US_MAX)
    entry_check = clocks.entry_check(stamp_us, last_us=STAMP_US_MAX)
    assert entry_check is not None
    assert f"{stamp_us} us after 1970" in entry_check


@pytest.mark.parametrize("stamps_us", [(NOW_US,), (NOW_US - 1,), (NOW_US + 2, NOW_US + 2), (NOW_US + 2, 7)])
def test_a_stamp_that_does_not_rise_is_refused(stamps_us: tuple[int, ...]) -> None:
    entry_check = Clocks().entry_check(*stamps_us, last_us=NOW_US)
    assert entry_check is not None
    assert "the one before it is not earlier" in entry_check


@pytest.mark.parametrize("command", [b"garbage", b"\xc1", encode(query("q")), encode(credit("c" * 65))])
def test_a_command_that_this_release_does_not_know_is_refused(command: bytes) -> None:
    entry_check = Clocks().entry_check(NOW_US, command=command)
    assert entry_check is not None
    assert "entry 5 is no command of this release" in entry_check


def test_a_command_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = Clocks()
    assert clocks.entry_check(NOW_US, NOW_US + 1, command=encode(credit("a"))) is None

    def no_more(payload: bytes) -> object:
        raise AssertionError("decoded again")

    monkeypatch.setattr(entry_validator, "decode_command", no_more)
    for index, stamp_us in ((5, NOW_US), (6, NOW_US + 1)):
        entry = Entry(index=index, term=1, time_us=stamp_us, kind=EntryKind.COMMAND, data=encode(credit("a")))
        assert clocks.guard.record(entry) == (index, stamp_us, credit("a"))
    assert not clocks.guard._decoded


def test_another_entry_that_took_the_place_is_decoded_itself() -> None:
    clocks = Clocks()
    assert clocks.entry_check(NOW_US, command=encode(credit("a"))) is None
    entry = Entry(index=5, term=2, time_us=NOW_US, kind=EntryKind.COMMAND, data=encode(credit("b")))
    assert clocks.guard.record(entry) == (5, NOW_US, credit("b"))


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_validator, "DECODED_MAX", 3)
    clocks, command = Clocks(), encode(Expire())
    assert clocks.entry_check(NOW_US, NOW_US + 1, NOW_US + 2, NOW_US + 3, command=command) is None
    assert not clocks.guard._decoded
    entry = Entry(index=6, term=1, time_us=NOW_US, kind=EntryKind.COMMAND, data=command)
    assert clocks.guard.record(entry) == (6, NOW_US, Expire())


def test_a_saved_entry_is_usable_or_it_is_said_why_not() -> None:
    entry = Entry(index=1, term=1, time_us=STAMP_US_MAX, kind=EntryKind.NOOP, data=b"")
    assert checked_record(entry) == (1, STAMP_US_MAX, None)
    with pytest.raises(Unusable, match="is stamped"):
        checked_record(Entry(index=1, term=1, time_us=STAMP_US_MAX + 1, kind=EntryKind.NOOP, data=b""))
    with pytest.raises(Unusable, match="is no command") as raised:
        checked_record(Entry(index=1, term=1, time_us=1, kind=EntryKind.COMMAND, data=b"garbage"))
    assert isinstance(raised.value.__cause__, Malformed)
