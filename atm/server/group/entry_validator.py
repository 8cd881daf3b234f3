"""Validates a leader's entries before they enter this server's log: decodable commands, plausible stamps.

An entry in the log cannot be removed any more, and every server must apply it. So entries are decoded when
they arrive, and the decoded commands are kept until they are applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from atm.ledger.commands import Founding, LedgerEntry, LevelRaise, LoggedCommand
from atm.ledger.ledger import Record
from atm.raft.messages import NUMBER_MAX, Entry
from atm.server.group.log_clock import STAMP_US_MAX, LogClock
from atm.version import FEATURE_LEVEL_MAX
from atm.wire.codec import Malformed
from atm.wire.log_entries import NewerEntry, decode_entry

AHEAD_US_MAX = 24 * 3600 * 10**6  # of the log's time or this machine's clock, whichever is later
CLOCK_SET_US = 1_735_689_600 * 10**6  # 2025-01-01: an earlier clock was never set
DECODED_MAX = 20_000  # decoded entries kept until they are applied; further ones are decoded a second time

assert STAMP_US_MAX + AHEAD_US_MAX < NUMBER_MAX


class Unusable(Exception):
    """No server can apply this entry; `str()` of it continues the line "entry 7"."""


class EntryValidator:
    """The `entry_check` of this server's core, and the decoded accepted entries. Only within an iteration.

    A stamp may be a day ahead of this machine's clock, or of the log's time if that is later (log_clock.py):
    clocks differ, and the log's time may be ahead of all of them. A machine whose clock was never set (it
    is before 2025) accepts any stamp up to `STAMP_US_MAX`, as it has nothing to compare with.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall_clock_us: Callable[[], int] = lambda: time.time_ns() // 1000,
        feature_level_max: int = FEATURE_LEVEL_MAX,
    ) -> None:
        self._feature_level_max = feature_level_max
        self._wall_clock_us = wall_clock_us
        self._log_clock = LogClock(clock, wall_clock_us)
        self._decoded: dict[int, tuple[Entry, LedgerEntry]] = {}

    def entry_check(self, entries: Sequence[Entry], last_time_us: int) -> str | None:
        """Return why these entries, after one stamped `last_time_us`, must not enter the log, or None."""
        self._log_clock.observe(last_time_us)
        latest_us = self._latest_us()
        decoded: dict[int, tuple[Entry, LedgerEntry]] = {}
        for entry in entries:
            if not last_time_us < entry.time_us <= latest_us:
                return self._wrong_stamp(entry, last_time_us)
            last_time_us = entry.time_us
            try:
                said = decode_entry(entry)
            except NewerEntry as error:
                return f"its {error}"
            except Malformed as error:
                return f"its entry {entry.index} is no command of this release: {error}"
            if said is not None:
                refusal = None if type(said) is LoggedCommand else self._refusal_of_clusters_own(entry, said)
                if refusal is not None:
                    return refusal
                decoded[entry.index] = entry, said
        self._log_clock.observe(last_time_us)
        if len(self._decoded) + len(decoded) <= DECODED_MAX:
            self._decoded.update(decoded)
        return None

    def _refusal_of_clusters_own(self, entry: Entry, said: LedgerEntry) -> str | None:
        """Return why an entry about the cluster itself would stop this server for good, or None."""
        if isinstance(said, LevelRaise) and said.level > self._feature_level_max:
            return (
                f"its entry {entry.index} raises the feature level to {said.level}, and this release "
                f"knows only up to {self._feature_level_max}: install a newer one"
            )
        if isinstance(said, Founding) and entry.index != 1:
            return f"its entry {entry.index} founds a cluster, and only the first entry of a log does"
        return None

    def record(self, entry: Entry) -> Record:
        """Return an entry of the log as the ledger applies it; its decoded command is dropped here."""
        kept = self._decoded.pop(entry.index, None)
        if kept is not None and kept[0] == entry:  # else another entry took its place
            return entry.index, entry.time_us, kept[1]
        return record(entry)

    def forget(self) -> None:
        """Drop the decoded entries: a snapshot took the place of some. Others are decoded once more."""
        self._decoded.clear()

    def _latest_us(self) -> int:
        if self._wall_clock_us() < CLOCK_SET_US:
            return STAMP_US_MAX
        return min(self._log_clock.now_us() + AHEAD_US_MAX, STAMP_US_MAX)

    def _wrong_stamp(self, entry: Entry, last_time_us: int) -> str:
        stamp = f"its entry {entry.index} is stamped {_day(entry.time_us)}"
        if entry.time_us <= last_time_us:
            return f"{stamp}, and the one before it is not earlier"
        now = _day(self._wall_clock_us())
        return f"{stamp}, more than a day ahead of this machine's clock ({now}): set whichever is wrong"


def record(entry: Entry) -> Record:
    """Return an entry as the ledger applies it; raise `Malformed` and `NewerEntry`."""
    return entry.index, entry.time_us, decode_entry(entry)


def checked_record(entry: Entry) -> Record:
    """Return an entry of a saved log as the ledger applies it; raise `Unusable` and `NewerEntry`."""
    if entry.time_us > STAMP_US_MAX:
        raise Unusable(f"is stamped {_day(entry.time_us)}")
    try:
        return record(entry)
    except Malformed as error:
        raise Unusable(f"is no command of this release ({error})") from error


def _day(time_us: int) -> str:
    if time_us > STAMP_US_MAX:
        return f"{time_us} us after 1970, behind the year 9999"
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
