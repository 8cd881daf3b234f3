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
from atm.version import FEATURE_LEVEL_MAX
from atm.wire.codec import Malformed, encode
from atm.wire.log_entries import NewerEntry, command_data
from tests.support.entries import logged
from tests.support.server_parts import credit, query

NOW_US = CLOCK_SET_US + 10**15
HOUR_US = 3600 * 10**6


def entry_of(index: int, time_us: int, data: bytes, term: int = 1, kind: int | None = None) -> Entry:
    """Return a no-op if there are no data, else a command."""
    kind = kind if kind is not None else EntryKind.COMMAND if data else EntryKind.NOOP
    return Entry(index=index, term=term, time_us=time_us, kind=kind, data=data)


class Story:
    """A validator whose story the test sets."""

    def __init__(self, wall_us: int = NOW_US) -> None:
        self.wall_us = wall_us
        self.passed_s = 0.0
        self.validator = EntryValidator(lambda: self.passed_s, lambda: self.wall_us)

    def entry_check(self, *stamps_us: int, last_us: int = 0, command: bytes = b"") -> str | None:
        entries = [entry_of(index, stamp, command) for index, stamp in enumerate(stamps_us, 5)]
        return self.validator.entry_check(entries, last_us)


def test_a_stamp_may_be_a_day_ahead_of_this_clock_and_no_more() -> None:
    story = Story()
    assert story.entry_check(NOW_US + AHEAD_US_MAX + 1) == (
        "its entry 5 is stamped 2056-09-10 01:46 UTC, more than a day ahead of this machine's clock "
        "(2056-09-09 01:46 UTC): set whichever is wrong"
    )
    assert story.entry_check(NOW_US + AHEAD_US_MAX) is None


def test_a_stamp_may_be_a_day_ahead_of_the_logs_time_which_goes_on_with_time() -> None:
    """The log's time may be ahead of all clocks, after one that was: the bank goes on, even after a week."""
    story, last_us = Story(), NOW_US + 1000 * AHEAD_US_MAX
    week_s = 7 * 24 * 3600
    assert story.entry_check(last_us + 1, last_us=last_us) is None
    story.passed_s += week_s
    assert story.entry_check(last_us + week_s * 10**6 + HOUR_US, last_us=last_us + 1) is None
    assert story.entry_check(last_us + week_s * 10**6 + 2 * AHEAD_US_MAX, last_us=last_us + 1) is not None


def test_a_clock_that_was_never_set_measures_nothing_but_the_calendar() -> None:
    story = Story(wall_us=HOUR_US)
    assert story.entry_check(NOW_US) is None
    assert story.entry_check(STAMP_US_MAX) is None
    assert story.entry_check(STAMP_US_MAX + 1) is not None


@pytest.mark.parametrize("stamp_us", [STAMP_US_MAX + 1, NUMBER_MAX])
def test_no_stamp_is_behind_the_end_of_the_calendar(stamp_us: int) -> None:
    story = Story(wall_us=STAMP_US_MAX)
    entry_check = story.entry_check(stamp_us, last_us=STAMP_US_MAX)
    assert entry_check is not None
    assert f"{stamp_us} us after 1970" in entry_check


@pytest.mark.parametrize("stamps_us", [(NOW_US,), (NOW_US - 1,), (NOW_US + 2, NOW_US + 2), (NOW_US + 2, 7)])
def test_a_stamp_that_does_not_rise_is_refused(stamps_us: tuple[int, ...]) -> None:
    entry_check = Story().entry_check(*stamps_us, last_us=NOW_US)
    assert entry_check is not None
    assert "the one before it is not earlier" in entry_check


@pytest.mark.parametrize("command", [b"garbage", b"\xc1", encode(query("q")), encode(credit("c" * 65))])
def test_a_command_that_this_release_does_not_know_is_refused(command: bytes) -> None:
    entry_check = Story().entry_check(NOW_US, command=command)
    assert entry_check is not None
    assert "entry 5 is no command of this release" in entry_check


def test_a_command_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    assert story.entry_check(NOW_US, NOW_US + 1, command=command_data("eve", encode(credit("a")))) is None

    def no_more(payload: bytes) -> object:
        raise AssertionError("decoded again")

    monkeypatch.setattr(entry_validator, "decode_entry", no_more)
    for index, stamp_us in ((5, NOW_US), (6, NOW_US + 1)):
        entry = entry_of(index, stamp_us, command_data("eve", encode(credit("a"))))
        assert story.validator.record(entry) == (index, stamp_us, logged(credit("a"), "eve"))
    assert not story.validator._decoded


def test_another_entry_that_took_the_place_is_decoded_itself() -> None:
    story = Story()
    assert story.entry_check(NOW_US, command=command_data("eve", encode(credit("a")))) is None
    entry = entry_of(5, NOW_US, command_data("eve", encode(credit("b"))), term=2)
    assert story.validator.record(entry) == (5, NOW_US, logged(credit("b"), "eve"))


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_validator, "DECODED_MAX", 3)
    story, command = Story(), command_data("bank", encode(Expire()))
    assert story.entry_check(NOW_US, NOW_US + 1, NOW_US + 2, NOW_US + 3, command=command) is None
    assert not story.validator._decoded
    entry = entry_of(6, NOW_US, command)
    assert story.validator.record(entry) == (6, NOW_US, logged(Expire(), "bank"))


def test_a_saved_entry_is_usable_or_the_reason_is_given() -> None:
    entry = entry_of(1, STAMP_US_MAX, b"")
    assert checked_record(entry) == (1, STAMP_US_MAX, None)
    with pytest.raises(Unusable, match="is stamped"):
        checked_record(entry_of(1, STAMP_US_MAX + 1, b""))
    with pytest.raises(Unusable, match="is no command") as raised:
        checked_record(entry_of(1, 1, b"garbage"))
    assert isinstance(raised.value.__cause__, Malformed)


def test_an_entry_of_a_newer_release_does_not_come_into_the_log() -> None:
    story = Story()
    newer = entry_of(5, NOW_US, b"", kind=9)
    said = "log entry 5 is of kind 9 and version 1, written by a newer release: install that one"
    assert story.validator.entry_check([newer], 0) == f"its {said}"
    with pytest.raises(NewerEntry, match=said):
        checked_record(newer)


def test_a_feature_level_that_this_release_does_not_know_does_not_come_into_the_log() -> None:
    """Committed, it would end this server for good; a true leader waits until all have shown to know it."""
    story = Story()
    known, beyond = (
        entry_of(5, NOW_US, encode([level]), kind=EntryKind.FEATURE_LEVEL)
        for level in (FEATURE_LEVEL_MAX, FEATURE_LEVEL_MAX + 1)
    )
    assert story.validator.entry_check([known], 0) is None
    assert f"raises the feature level to {FEATURE_LEVEL_MAX + 1}" in str(
        story.validator.entry_check([beyond], 0)
    )


def test_an_entry_with_the_same_data_and_another_kind_is_another_one() -> None:
    story = Story()
    data = command_data("eve", encode(credit("a")))
    assert story.entry_check(NOW_US, command=data) is None
    assert story.validator.record(entry_of(5, NOW_US, data, kind=EntryKind.NOOP)) == (5, NOW_US, None)


@pytest.mark.parametrize(("index", "let_in"), [(1, True), (2, False)])
def test_a_cluster_is_founded_by_the_first_entry_alone(index: int, let_in: bool) -> None:
    story = Story()
    founding = entry_of(index, NOW_US, encode(["ab" * 16, ["n1", "n2"]]), kind=EntryKind.BOOTSTRAP)
    refusal = story.validator.entry_check([founding], 0)
    assert (refusal is None) == let_in
    assert let_in or "founds a cluster, and only the first entry of a log does" in str(refusal)
