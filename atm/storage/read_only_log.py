"""The durable log as a person looks into it: nothing is written, and its node may run or not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from atm.raft.messages import Entry, HardState
from atm.storage.disk import OsDisk
from atm.storage.log_format import (
    BATCH_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    decode_entries,
    decode_hard_state,
    segment_numbers,
    segment_path,
)
from atm.storage.log_index import LogIndex
from atm.storage.log_recovery import LogOfAnotherRelease
from atm.storage.log_segment import SegmentReader

_CHUNK_BYTES = 1024 * 1024


class ReadOnlyLog:
    """What the log in `folder` held when this was made: entries `first_index` to `last_index`.

    Segments with nothing behind entry `after` are left out. It reads as far as it can: `damage` says where
    it had to stop, None if at the log's end. There the last batch may be a torn one, or one that is being
    written. Raises `LogOfAnotherRelease` and `OSError`.
    """

    def __init__(self, folder: Path, *, after: int = 0) -> None:
        self.hard_state = HardState()
        self.damage: str | None = None
        self._folder = folder
        self._disk = _ReadOnlyDisk()
        self._index = LogIndex()
        numbers = self._behind(after, segment_numbers(self._disk.names(folder)))
        expected = numbers[0] if numbers else 1
        for number in numbers:
            if number != expected:
                self.damage = f"{segment_path(folder, expected)} is missing"
            if self.damage is not None:
                break
            self._scan(number, is_last=number == numbers[-1])
            expected = number + 1

    def __len__(self) -> int:
        """How many batches with entries there are."""
        return len(self._index)

    @property
    def first_index(self) -> int:
        """Index of the first entry that is here; what was before it was cut off behind a snapshot."""
        return self._index.indexes(0).start if len(self._index) else self.last_index + 1

    @property
    def last_index(self) -> int:
        """Index of the last entry."""
        return self._index.last_index

    def entries(self, first: int, last: int) -> Iterator[Entry]:
        """Yield the entries from `first` to `last`, which are here; raise `OSError`."""
        assert self.first_index <= first <= last <= self.last_index
        batch = self._index.find(first)
        while batch < len(self._index):
            number, _ = self._index.position(batch)
            with closing(self._reader(number)) as reader:
                while batch < len(self._index) and self._index.position(batch)[0] == number:
                    for entry in self._entries_of(reader, batch):
                        if entry.index > last:
                            return
                        if entry.index >= first:
                            yield entry
                    batch += 1

    def _entries_of(self, reader: SegmentReader, batch: int) -> list[Entry]:
        """Return the entries of a batch that were not replaced by a later one."""
        found = reader.batch_at(self._index.position(batch)[1])
        if found is None:
            raise OSError(f"{reader.path} has changed meanwhile: ask again")
        return decode_entries(*found)[: len(self._index.indexes(batch))]

    def _behind(self, after: int, numbers: list[int]) -> list[int]:
        """Return the segments that may hold entries behind `after`.

        An entry is in the last batch that begins with it or an earlier one, so that is in the last segment of
        which that is true of the first batch, or in a later one.
        """
        if after:
            for place in reversed(range(1, len(numbers))):
                first_index = self._first_index_in(numbers[place])
                if first_index is not None and first_index <= after + 1:
                    return numbers[place:]
        return numbers

    def _first_index_in(self, number: int) -> int | None:
        """Return the index of the first entry that was written to a segment, None if there is none."""
        position = SEGMENT_HEADER_BYTES
        with closing(self._reader(number)) as reader:
            while (found := reader.batch_at(position)) is not None:
                if found[0].entry_count:
                    return found[0].first_index
                position += BATCH_HEADER_BYTES + found[0].payload_bytes
        return None

    def _scan(self, number: int, *, is_last: bool) -> None:
        with closing(self._reader(number)) as reader:
            if reader.other_version is not None:
                raise LogOfAnotherRelease(reader.path, reader.other_version)
            position = SEGMENT_HEADER_BYTES
            while (found := reader.batch_at(position)) is not None:
                self._add(found[0], number, position)
                self.hard_state = decode_hard_state(*found)
                position += BATCH_HEADER_BYTES + found[0].payload_bytes
            ended = is_last if reader.header is None else position == reader.end
            torn = is_last and reader.header is not None and reader.find_mark_after(position) is None
            if not ended and not torn:
                self.damage = f"{reader.path} is damaged at byte {position}"

    def _add(self, header: BatchHeader, number: int, position: int) -> None:
        if not header.entry_count:
            return
        if not len(self._index) or header.first_index > self.last_index + 1:  # after a cut, or a snapshot
            self._index = LogIndex()
            self._index.last_index = header.first_index - 1
        last_index = header.first_index + header.entry_count - 1
        self._index.append(header.first_index, last_index, [], number, position)

    def _reader(self, number: int) -> SegmentReader:
        return SegmentReader(self._disk, segment_path(self._folder, number), _CHUNK_BYTES)


class _ReadOnlyDisk(OsDisk):
    def open(self, path: Path, *, create: bool = False) -> int:
        assert not create
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
