"""Reading the durable log of a node from another process, while the node writes it or is stopped.

Nothing is locked and nothing is changed. The caller asks only for entries that are known to be committed:
these are never replaced, so what is on the disk is what every node has. A segment that is cut off meanwhile
is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from atm.raft.messages import Entry
from atm.storage.disk import Disk, OsDisk
from atm.storage.log_format import (
    BATCH_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    decode_entries,
    segment_numbers,
    segment_path,
)
from atm.storage.log_index import LogIndex, term_runs
from atm.storage.log_segment import SegmentReader

CHUNK_BYTES = 1024 * 1024


class EntryMissing(Exception):
    """An entry is not in the log any more, or not yet; `str()` is one line for people."""


class LogSource:
    """The entries of the log in `folder`, as they were when this was made, from about `first` on.

    Raises `OSError`. For one thread.
    """

    def __init__(self, folder: Path, first: int, *, disk: Disk | None = None) -> None:
        self._disk: Disk = disk or OsDisk()
        self._folder = folder
        self._index: LogIndex | None = None  # of what was read, None before the first entry
        segments = segment_numbers(self._disk.names(folder))
        begins = [(segment, self._first_in(segment)) for segment in segments]
        known = [(segment, begin) for segment, begin in begins if begin is not None]
        self.first_index = known[0][1] if known else 1  # the log's first entry
        from_segment = next((segment for segment, begin in reversed(known) if begin <= first), 0)
        for segment in segments:
            if segment >= from_segment:
                self._scan(segment)

    @property
    def last_index(self) -> int:
        """The last entry that was read, 0 if there is none."""
        return self._index.last_index if self._index else 0

    def entries(self, first: int, last: int) -> Iterator[Entry]:
        """Yield the entries from `first` to `last`; raise `EntryMissing`."""
        index = self._index
        if index is None or not self.first_index <= first <= last <= index.last_index:
            raise EntryMissing(
                f"entries {first} to {last} are not in the log: it has {self.first_index} to "
                f"{self.last_index}"
            )
        batch = index.find(first)
        while batch < len(index) and first <= last:
            segment, _ = index.position(batch)
            with closing(self._reader(segment)) as reader:
                while batch < len(index) and index.position(batch)[0] == segment and first <= last:
                    for entry in self._entries_of(batch, reader):
                        if first <= entry.index <= last:
                            yield entry
                    first = index.indexes(batch).stop
                    batch += 1

    # -- reading -----------------------------------------------------------------------------------

    def _entries_of(self, batch: int, reader: SegmentReader) -> list[Entry]:
        assert self._index is not None
        indexes = self._index.indexes(batch)
        found = reader.batch_at(self._index.position(batch)[1])
        if found is None or found[0].first_index != indexes.start:
            raise EntryMissing(f"{reader.path} does not read as before: is the disk failing?")
        return decode_entries(*found)[: len(indexes)]

    def _reader(self, segment: int) -> SegmentReader:
        try:
            return SegmentReader(self._disk, segment_path(self._folder, segment), CHUNK_BYTES)
        except FileNotFoundError:
            raise EntryMissing(f"{segment_path(self._folder, segment)} was cut off the log") from None

    def _first_in(self, segment: int) -> int | None:
        """Return the index of the first entry that was written to a segment, None if there is none."""
        try:
            with closing(
                SegmentReader(self._disk, segment_path(self._folder, segment), BATCH_HEADER_BYTES)
            ) as reader:
                return next(
                    (header.first_index for header, _, _ in _batches(reader) if header.entry_count), None
                )
        except FileNotFoundError:
            return None

    def _scan(self, segment: int) -> None:
        try:
            reader = SegmentReader(self._disk, segment_path(self._folder, segment), CHUNK_BYTES)
        except FileNotFoundError:
            return
        with closing(reader):
            for header, payload, position in _batches(reader):
                if not header.entry_count:
                    continue
                if self._index is None:
                    self._index = LogIndex()
                    self._index.last_index = header.first_index - 1
                if header.first_term == header.last_term:
                    runs = [(header.first_index, header.first_term)]
                else:
                    runs = term_runs(decode_entries(header, payload))
                last_index = header.first_index + header.entry_count - 1
                self._index.append(header.first_index, last_index, runs, segment, position)


def _batches(reader: SegmentReader) -> Iterator[tuple[BatchHeader, memoryview, int]]:
    """Yield header, payload and position of each whole batch, up to the one that is being written."""
    position = SEGMENT_HEADER_BYTES
    while reader.header is not None and (batch := reader.batch_at(position)) is not None:
        header, payload = batch
        yield header, payload, position
        position += BATCH_HEADER_BYTES + header.payload_bytes
