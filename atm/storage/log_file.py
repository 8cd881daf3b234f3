"""The durable Raft log: term, vote and entries, append only, in segments.

The files are `raft.log.000001`, `raft.log.000002`, … in the log's folder; `log_format.py` says what is
in them. When `save` returns, what it saved is durable. If it does not return, what it was to save is there
after a restart as a whole, or not at all.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path

from msgspec.structs import replace

from atm.raft.log import LogStart
from atm.raft.messages import Entry, HardState
from atm.storage.disk import Disk, FileStatus, OsDisk
from atm.storage.log_format import (
    ENTRY_OVERHEAD_BYTES,
    MARK_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    decode_entries,
    encode_batch,
    segment_path,
)
from atm.storage.log_index import NO_SNAPSHOT, LogBase, LogIndex, term_runs
from atm.storage.log_recovery import START_EMPTY_ADVICE, DamagedLog, LogOfAnotherRelease, Recovery
from atm.storage.log_segment import SegmentReader

__all__ = ["DamagedLog", "LogBase", "LogFailed", "LogFile", "LogOfAnotherRelease"]

SEGMENT_BYTES_MAX = 16 * 1024 * 1024
_READ_CHUNK_BYTES_MIN = 16 * 1024
_READ_CHUNK_BYTES_MAX = 1024 * 1024


class LogFailed(Exception):
    """The disk failed or is full; the log accepts nothing more, and the node must stop."""


class LogFile:
    """The log of one server in `folder`; for one thread.

    It may begin anywhere up to the entry after its `base`: all before is in a verified snapshot (`cut`).
    The constructor opens or creates the log and recovers it: a bad last batch, which was never acknowledged,
    is cut off; any other bad batch is damage. Segments grow up to `segment_bytes_max`, or to one batch if
    that is larger. Raises `DamagedLog`, `LogOfAnotherRelease` and `LogFailed`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        base: LogBase = NO_SNAPSHOT,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        disk: Disk | None = None,
    ) -> None:
        self.hard_state = HardState()  # as last saved
        self._folder = folder
        self._base = base
        self._segment_bytes_max = segment_bytes_max
        self._disk: Disk = disk or OsDisk()
        self._index = LogIndex()
        self._batches = 0  # how many batches there are: the number of the next one
        self._crc = 0  # of the last batch
        self._segment = 0  # the segment that is written to
        self._file = -1
        self._files: dict[int, FileStatus] = {}  # of each segment but the last
        self._next_to_check = 0
        self._mark = b""
        self._end = 0  # of the last batch in that segment
        self._healthy = False  # False during a write or sync, and for good after a failed one
        try:
            self._open()
            self._healthy = True
        except OSError as error:
            raise self._failed(error) from error
        finally:
            if not self._healthy:
                self.close()

    @property
    def last_index(self) -> int:
        """Index of the last entry, or of the one that the log begins after; 0 if it never had one."""
        return self._index.last_index

    @property
    def first_index(self) -> int:
        """Index of the first entry that can be read, or of the next one if there is none."""
        return self._index.first_index

    @property
    def start(self) -> LogStart:
        """The entry before the first one whose predecessor is known, as the core's log begins after it.

        That is the base, or the first entry that can be read: what was before it is not known any more.
        """
        if self.first_index == self._base.index + 1:
            return LogStart(self._base.index, self._base.term, self._base.time_us)
        if self.first_index == 1:
            return LogStart(0, 0, 0)
        [first] = self.read_entries(self.first_index, self.first_index, 1)
        return LogStart(first.index, first.term, first.time_us)

    @property
    def size_bytes(self) -> int:
        """How much the log takes on the disk."""
        return self._end + sum(status.size_bytes for status in self._files.values())

    @property
    def terms(self) -> list[tuple[int, int]]:
        """(first index, term) of each run of entries of one term."""
        return list(self._index.terms)

    def tail(self, first_index: int) -> list[Entry]:
        """Return the entries from `first_index` on, if any. Raises as `read_entries`."""
        if first_index > self.last_index:
            return []
        return self.read_entries(first_index, self.last_index, sys.maxsize)

    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Return entries from `first` to at most `last`.

        They are at least one, and together at most `bytes_max` bytes of msgpack unless it is only one. Raises
        `DamagedLog` if a batch does not read as it was written, and `LogFailed` if it cannot be read.
        """
        assert self.first_index <= first <= last <= self.last_index
        found: list[Entry] = []
        chunk_bytes = min(max(bytes_max, _READ_CHUNK_BYTES_MIN), _READ_CHUNK_BYTES_MAX)
        with closing(self._entries_from(first, chunk_bytes)) as entries:
            for entry in entries:
                bytes_max -= len(entry.data) + ENTRY_OVERHEAD_BYTES
                if found and bytes_max < 0:
                    break
                found.append(entry)
                if entry.index == last:
                    break
        return found

    def save(self, hard_state: HardState, entries: Sequence[Entry]) -> None:
        """Make term, vote and entries durable, all or none of them.

        The first entry may have an index that the log has already: the entries replace the log from there on.
        Writes nothing if there are no entries and neither term nor vote changed: a new commit index
        alone is not worth a sync. Raises `LogFailed`, and after that on every call: what a failed write or
        sync left on the disk is unknown.
        """
        saved = self.hard_state
        if not entries and hard_state.term == saved.term and hard_state.voted_for == saved.voted_for:
            return
        assert hard_state.term > saved.term or (
            hard_state.term == saved.term and saved.voted_for in (None, hard_state.voted_for)
        ), "term never goes back, and a vote is never changed or forgotten within a term"
        if entries:
            first_index, last_index = entries[0].index, entries[-1].index
            assert min(saved.commit_index, self.last_index) < first_index <= self.last_index + 1
            assert last_index - first_index + 1 == len(entries)
        with self._writing():
            offset = self._append(hard_state, entries)
        self.hard_state = hard_state
        if entries:
            self._index.append(first_index, last_index, term_runs(entries), self._segment, offset)

    def set_base(self, base: LogBase) -> None:
        """Allow cuts up to `base`, an entry of this log that a durable, verified snapshot now holds."""
        assert self._base.index <= base.index <= self.last_index
        self._base = base

    def cut(self, first_kept: int) -> None:
        """Delete the segments whose entries are all before `first_kept`, which is at most `base.index + 1`.

        The space of a segment is freed as a whole: `first_index` says where the log begins then. Raises
        `LogFailed`.
        """
        assert first_kept <= self._base.index + 1
        if first_kept <= self.first_index:
            return
        with self._writing():
            if first_kept <= self.last_index:
                segment, _ = self._index.position(self._index.find(first_kept))
            else:
                segment = self._begin_unused_segment()
            self._delete_before(segment)

    def reset(self, base: LogBase) -> None:
        """Empty the log: the next entry is the one after `base`, which an installed snapshot holds.

        That is one durable step; term and vote stay. Raises `LogFailed`.
        """
        assert base.index > 0
        hard_state = replace(self.hard_state, commit_index=max(self.hard_state.commit_index, base.index))
        with self._writing():
            segment = self._begin_unused_segment()
            self._append(hard_state, (), start=(base.index, base.term))
            self._index.begin_after(base.index, base.term)
            self._delete_before(segment)
        self.hard_state = hard_state
        self._base = base

    def check_present(self) -> None:
        """Raise `LogFailed` if the file that is written to, or another one, is gone from its place.

        Cheap enough for each second: besides the file that is written to, one other is looked at, in turn.
        """
        segments = [self._segment]
        if self._files:
            earlier = sorted(self._files)
            segments.append(earlier[self._next_to_check % len(earlier)])
            self._next_to_check += 1
        for segment in segments:
            path = segment_path(self._folder, segment)
            try:
                expected = self._files.get(segment)
                if expected is None:
                    expected = FileStatus(self._disk.file_status(self._file).number, self._end)
                found = self._disk.status(path)
            except OSError as error:
                raise self._failed(error) from error
            if found != expected:
                self.close()
                raise LogFailed(
                    f"{path} was deleted, moved or replaced while this node ran. What it held is no longer "
                    "on this disk, so the node stops before it promises more. Put that very file back. "
                    f"{START_EMPTY_ADVICE}"
                )

    def close(self) -> None:
        """Close the log; nothing can be saved afterwards."""
        self._healthy = False
        if self._file >= 0:
            file, self._file = self._file, -1
            self._disk.close(file)

    # -- writing -----------------------------------------------------------------------------------

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Let nothing be written any more if the block fails; raise `LogFailed`."""
        if not self._healthy:
            raise LogFailed(
                f"the log in {self._folder} failed before and accepts nothing more: start this node again"
            )
        self._healthy = False
        try:
            yield
        except OSError as error:
            raise self._failed(error) from error
        self._healthy = True

    def _append(
        self, hard_state: HardState, entries: Sequence[Entry], start: tuple[int, int] | None = None
    ) -> int:
        """Write and sync one batch; return its offset in the current segment."""
        batch, crc = encode_batch(self._mark, self._crc, self._batches, hard_state, entries, start)
        if self._end + len(batch) > self._segment_bytes_max and self._end > SEGMENT_HEADER_BYTES:
            self._begin_segment(self._segment + 1)
            batch, crc = encode_batch(self._mark, self._crc, self._batches, hard_state, entries, start)
        offset = self._end
        self._write(batch, offset)
        self._disk.sync(self._file)
        self._end += len(batch)
        self._crc = crc
        self._batches += 1
        return offset

    def _begin_segment(self, segment: int) -> None:
        """Start a new segment, or one whose header never became durable."""
        if self._file >= 0:
            self._files[self._segment] = self._disk.file_status(self._file)
        self.close()
        self._file = self._disk.open(segment_path(self._folder, segment), create=True)
        self._disk.truncate(self._file, 0)
        self._segment = segment
        self._mark = self._disk.random_bytes(MARK_BYTES)
        header = SegmentHeader(segment, self._batches, self._crc, self._mark)
        self._write(header.encode(), 0)
        # Synced before anything is written after it: a bad header with bytes after it is damage.
        self._disk.sync(self._file)
        self._disk.sync_folder(self._folder)
        self._end = SEGMENT_HEADER_BYTES

    def _begin_unused_segment(self) -> int:
        """Return the number of the current segment, a new one if that holds a batch already."""
        if self._end > SEGMENT_HEADER_BYTES:
            self._begin_segment(self._segment + 1)
        return self._segment

    def _delete_before(self, segment: int) -> None:
        """Delete all earlier segments, the oldest first, and drop their entries from the index.

        Term, vote and the log's end are durable in a later one first. Each name is gone for good before the
        next one goes: a power cut leaves no gap between segments.
        """
        if self._end == SEGMENT_HEADER_BYTES:
            last_index = self.last_index
            self._append(self.hard_state, (), start=(last_index, self._index.term_at(last_index) or 0))
        for number in sorted(self._files):
            if number < segment:
                self._disk.unlink(segment_path(self._folder, number))
                self._disk.sync_folder(self._folder)
                del self._files[number]
        self._index.drop_before(segment)

    def _write(self, data: bytes, offset: int) -> None:
        rest = memoryview(data)
        while rest:
            written = self._disk.write(self._file, rest, offset)
            offset += written
            rest = rest[written:]

    # -- reading -----------------------------------------------------------------------------------

    def _entries_from(self, first: int, chunk_bytes: int) -> Generator[Entry, None, None]:
        batch, batch_count = self._index.find(first), len(self._index)
        while batch < batch_count:
            segment, _ = self._index.position(batch)
            path = segment_path(self._folder, segment)
            try:
                with closing(SegmentReader(self._disk, path, chunk_bytes)) as reader:
                    while batch < batch_count and self._index.position(batch)[0] == segment:
                        yield from self._entries_of(batch, reader, first)
                        batch += 1
            except OSError as error:
                raise LogFailed(f"cannot read {path} ({error.strerror or error}): check the disk") from error

    def _entries_of(self, batch: int, reader: SegmentReader, first: int) -> list[Entry]:
        """Return the entries of a batch that were not replaced, from index `first` on."""
        _, offset = self._index.position(batch)
        indexes = self._index.indexes(batch)
        found = reader.batch_at(offset)
        if found is None or found[0].first_index != indexes.start:
            raise DamagedLog(reader.path, offset, "the batch there does not read as it was written")
        start = max(first, indexes.start) - indexes.start
        return decode_entries(*found)[start : len(indexes)]

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        self._disk.make_folder(self._folder)
        self._disk.sync_folder(self._folder.parent)
        recovery = Recovery(self._disk, self._folder, self._base)
        self.hard_state = recovery.hard_state
        self._index = recovery.index
        self._files = {number: file for number, file in recovery.files.items() if number < recovery.segment}
        self._batches, self._crc = recovery.batches, recovery.crc
        if recovery.mark:
            self._resume(recovery)
        else:
            self._begin_segment(max(recovery.segment, 1))
        if recovery.must_reset:
            self._healthy = True
            self.reset(self._base)
        elif self.hard_state.commit_index < self._base.index:
            self.hard_state = replace(self.hard_state, commit_index=self._base.index)

    def _resume(self, recovery: Recovery) -> None:
        """Cut off the torn tail, and make durable what was read: it counts as saved from now on."""
        self._segment, self._mark, self._end = recovery.segment, recovery.mark, recovery.end
        self._file = self._disk.open(segment_path(self._folder, self._segment))
        if recovery.torn:
            self._disk.truncate(self._file, self._end)
        # What was read may be in the system's page cache only. After a failed sync the pages count as clean,
        # so that a later sync skips them and reports success. So the last batch (or the header) is written
        # again; all before it is durable, since each save waits for its sync.
        length = self._end - recovery.last_batch
        last = self._disk.read(self._file, length, recovery.last_batch)
        assert len(last) == length
        self._write(last, recovery.last_batch)
        self._disk.sync(self._file)
        self._disk.sync_folder(self._folder)

    def _failed(self, error: OSError) -> LogFailed:
        if error.errno in (ENOSPC, EDQUOT):
            return LogFailed(f"no room for the log in {self._folder}: make room, then start this node again")
        reason = error.strerror or str(error)
        return LogFailed(
            f"the log in {self._folder} failed ({reason}): check the disk, then start this node again"
        )
