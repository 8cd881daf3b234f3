"""Reading one segment of the durable log."""

from __future__ import annotations

from pathlib import Path

from atm.storage.disk import Disk
from atm.storage.log_format import (
    BATCH_HEADER_BYTES,
    MARK_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    SegmentHeader,
    decode_batch_header,
    is_whole,
    other_version,
)


class SegmentReader:
    """Reads the batches of a segment, a chunk at a time. Raises `OSError`.

    `header` is None if it is not valid; `other_version` is the version of the format if it is another one.
    The file is read up to `end`, its size when the reader was made.
    """

    def __init__(self, disk: Disk, path: Path, chunk_bytes: int) -> None:
        self.path = path
        self._disk = disk
        self._chunk_bytes = chunk_bytes
        self._start = 0  # of the buffer, in the file
        self._buffer = memoryview(b"")
        self._file = disk.open(path)
        try:
            self.end = disk.size(self._file)
            header = disk.read(self._file, SEGMENT_HEADER_BYTES, 0)
            self.header = SegmentHeader.decode(header)
            self.other_version = other_version(header)
        except BaseException:
            self.close()
            raise
        self._mark = self.header.mark if self.header else b""

    def close(self) -> None:
        self._disk.close(self._file)

    def batch_at(self, position: int) -> tuple[BatchHeader, memoryview] | None:
        """Return header and payload of the batch at `position`, or None if there is no valid one."""
        start = position - self._start
        if not 0 <= start <= len(self._buffer) - BATCH_HEADER_BYTES:
            if not self._fill(position, BATCH_HEADER_BYTES):
                return None
            start = 0
        header = decode_batch_header(self._buffer, start)
        if header.mark != self._mark:
            return None
        length = BATCH_HEADER_BYTES + header.payload_bytes
        if start + length > len(self._buffer):
            if not self._fill(position, length):
                return None
            start = 0
        if not is_whole(header, self._buffer, start, start + length):
            return None
        return header, self._buffer[start + BATCH_HEADER_BYTES : start + length]

    def find_mark_after(self, position: int) -> int | None:
        """Return the position of the first mark after `position`, or None."""
        assert self._mark
        position += 1
        while self._fill(position, MARK_BYTES):
            found = bytes(self._buffer).find(self._mark)
            if found >= 0:
                return position + found
            position += len(self._buffer) - MARK_BYTES + 1
        return None

    def _fill(self, position: int, length: int) -> bool:
        """Read at least `length` bytes from `position` into the buffer; return False if there are fewer."""
        if position + length > self.end:
            return False
        wanted = min(max(length, self._chunk_bytes), self.end - position)
        chunk = self._disk.read(self._file, wanted, position)
        while len(chunk) < length:
            more = self._disk.read(self._file, length - len(chunk), position + len(chunk))
            if not more:
                return False
            chunk += more
        self._start, self._buffer = position, memoryview(chunk)
        return True
