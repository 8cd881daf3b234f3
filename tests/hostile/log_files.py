"""The log on disk: flipped, cut, longer, out of order. It is refused, or what it holds was once the log.

What checksums cannot show is a log that lost its end, whole batches of it and nothing behind: it reads as
the log of an earlier day. It is counted apart ("an earlier log"), and accepted only if no byte behind the
place where it ends bears the mark of a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from types import TracebackType

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from msgspec.structs import replace

from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage.log_file import DamagedLog, LogBase, LogFailed, LogFile, LogOfAnotherRelease
from atm.storage.log_format import SEGMENT_HEADER_BYTES, SegmentHeader, segment_path
from atm.storage.log_index import NO_SNAPSHOT
from tests.hostile.mutations import BYTES_MAX, Edit, edited, edits
from tests.hostile.target import in_one_line
from tests.support.sim_disk import SimDisk

FOLDER = Path("/data/n1")
SEGMENT_BYTES_MAX = 700

Segments = dict[Path, bytes]
Change = tuple[str, int, int, list[Edit]]  # what, to which segment, with which other one, edits
Held = tuple[HardState, tuple[Entry, ...]]


def _swap(segments: Segments, one: Path, other: Path) -> None:
    segments[one], segments[other] = segments[other], segments[one]


def _copy(segments: Segments, one: Path, other: Path) -> None:
    segments[other] = segments[one]


def _append(segments: Segments, one: Path, other: Path) -> None:
    segments[one] += segments[other]


def _remove(segments: Segments, one: Path, other: Path) -> None:
    del segments[one]


WHOLE_SEGMENTS: dict[str, Callable[[Segments, Path, Path], None]] = {
    "swap": _swap,
    "copy over": _copy,
    "append": _append,
    "remove": _remove,
}


class LogFiles:
    """The log of a server, in segments of a few batches each."""

    name = "log file"
    cut_after = 0  # of its batches: the entries up to there are in a snapshot, and the log is cut behind it
    inputs: SearchStrategy[Change] = st.tuples(
        st.sampled_from(["edit"] * 8 + sorted(WHOLE_SEGMENTS)), st.integers(0, 9), st.integers(0, 9), edits
    )

    def __init__(self) -> None:
        self._held: list[Held] = [(HardState(), ())]
        self._segments, self._held, self._base = _written(self.cut_after)

    def __enter__(self) -> LogFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept outside memory."""

    def saved(self) -> list[Change]:
        """Return a flip in each byte's neighbourhood, and each change of whole segments."""
        flips: list[Change] = [
            ("edit", k, 0, [("flip a bit", at, at, b"")]) for k in range(4) for at in range(0, 700, 9)
        ]
        whole: list[Change] = [(kind, one, 0, []) for kind in WHOLE_SEGMENTS for one in range(4)]
        return [*flips, *whole]

    def attempt(self, given: Change) -> str:
        segments = self._changed(given)
        disk = SimDisk(Random(0))
        disk.make_folder(FOLDER)
        for path, data in segments.items():
            _write(disk, path, data)
        try:
            with closing(self._opened(disk)) as log:
                held = self._held_by(log)
                end = disk.contents(disk.paths()[-1])
                outcome = self._judge(held, segments, len(end))
                self._goes_on(log, held, disk)
        except (DamagedLog, LogFailed, LogOfAnotherRelease) as refusal:
            outcome = in_one_line(refusal)
            unchanged = {path: disk.contents(path) for path in disk.paths()} == segments
            assert unchanged, "a refused log was changed"
        return outcome

    def finish(self) -> None:
        """Nothing can be left behind."""

    def _opened(self, disk: SimDisk) -> LogFile:
        return LogFile(FOLDER, base=self._base, disk=disk, segment_bytes_max=SEGMENT_BYTES_MAX)

    def _held_by(self, log: LogFile) -> Held:
        """Return what the log holds, behind those entries that only the snapshot does."""
        assert log.first_index <= self._base.index + 1
        cut = self._held[-1][1][: log.first_index - 1]
        return log.hard_state, (*cut, *log.tail(log.first_index))

    def _changed(self, change: Change) -> Segments:
        kind, one, other, changes = change
        segments, paths = dict(self._segments), list(self._segments)
        path, second = paths[one % len(paths)], paths[other % len(paths)]
        if kind == "edit":
            segments[path] = edited(segments[path], changes)
        else:
            WHOLE_SEGMENTS[kind](segments, path, second)
        return segments

    def _judge(self, held: Held, segments: Segments, end: int) -> str:
        if held == self._held[-1]:
            return "nothing lost"
        assert held in self._held, f"this was never the log: {held}"
        if held == self._held[-2]:
            return "last batch cut off"
        # More is lost: only if what stood behind is gone, with nothing left that shows it.
        last = max(segments)
        header = SegmentHeader.decode(segments[last][:SEGMENT_HEADER_BYTES])
        assert header is None or header.mark not in segments[last][max(end, SEGMENT_HEADER_BYTES) + 8 :]
        return "an earlier log"

    def _goes_on(self, log: LogFile, held: Held, disk: SimDisk) -> None:
        """What was read is also what is there after a further save and a restart."""
        hard_state = HardState(term=held[0].term + 1)
        entry = Entry(
            index=len(held[1]) + 1, term=hard_state.term, time_us=1, kind=EntryKind.COMMAND, data=b"more"
        )
        log.save(hard_state, [entry])
        with closing(self._opened(disk)) as again:
            expected = replace(hard_state, commit_index=self._base.index)
            assert self._held_by(again) == (expected, (*held[1], entry))


class CutLogFiles(LogFiles):
    """A log whose first segments were cut behind a snapshot."""

    name = "cut log file"
    cut_after = 6


def _write(disk: SimDisk, path: Path, data: bytes) -> None:
    assert len(data) <= 2 * BYTES_MAX
    file = disk.open(path, create=True)
    assert disk.write(file, data, 0) == len(data)
    disk.sync(file)
    disk.close(file)
    disk.sync_folder(path.parent)


def _written(cut_after: int) -> tuple[Segments, list[Held], LogBase]:
    """Return the segments of a log of a dozen batches, what it held after each, and behind what it is cut."""
    base = NO_SNAPSHOT
    disk, held = SimDisk(Random(0)), [(HardState(), ())]
    history: list[Held] = list(held)
    chance = Random(7)
    with closing(LogFile(FOLDER, disk=disk, segment_bytes_max=SEGMENT_BYTES_MAX)) as log:
        for number in range(12):
            hard_state = HardState(term=1 + number // 3, voted_for=["n1", None, "n3"][number // 3 % 3])
            first = len(history[-1][1]) + 1 - (number in (4, 7))  # a suffix replaced now and then
            new = tuple(
                Entry(
                    index=index,
                    term=hard_state.term,
                    time_us=index,
                    kind=EntryKind.COMMAND,
                    data=chance.randbytes(30),
                )
                for index in range(first, first + chance.randint(1, 4))
            )
            log.save(hard_state, new)
            history.append((hard_state, (*history[-1][1][: first - 1], *new)))
            if number + 1 == cut_after:
                base = LogBase(new[-1].index, new[-1].term, new[-1].time_us)
                log.set_base(base)
                log.cut(base.index + 1)
    segments = {path: disk.contents(path) for path in disk.paths()}
    assert segment_path(FOLDER, 3) in segments
    assert (segment_path(FOLDER, 1) in segments) == (cut_after == 0)
    known = [(replace(state, commit_index=base.index), entries) for state, entries in history]
    return segments, known, base
