"""Reads the durable log after a restart, and tells a torn tail from damage."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from msgspec.structs import replace

from atm.checkout import command_here
from atm.raft.messages import HardState
from atm.storage.disk import Disk, FileStatus
from atm.storage.log_format import (
    BATCH_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    BatchHeader,
    decode_entries,
    decode_hard_state,
    segment_numbers,
    segment_path,
)
from atm.storage.log_index import LogBase, LogIndex, term_runs
from atm.storage.log_segment import SegmentReader

_CHUNK_BYTES = 1024 * 1024


START_EMPTY_ADVICE = (
    "Never put an older copy of the folder back: it lacks votes and entries that this node has promised. "
    "Move the folder away only if a majority of all nodes is up without this one: it then starts empty and "
    "gets the log from them, but its vote is lost: it counts for no majority any more"
)


class DamagedLog(Exception):
    """Bytes that were acknowledged are not what was written; nothing was changed on the disk."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(
            f"{path} is damaged at byte {offset}: {what}. Nothing was changed. {START_EMPTY_ADVICE}"
        )


class LogOfAnotherRelease(Exception):
    """The log is in the format of another release, and valid as far as it was read."""

    def __init__(self, path: Path, version: int) -> None:
        if version == 1:
            what_to_do = (
                "was written by release 1.0, which decided some commands differently: export the books with "
                f"that release ({command_here('ledger')} export) and import them into a new cluster "
                f"with this one ({command_here('ledger')} import), as docs/upgrade.md says"
            )
        else:
            what_to_do = f"is in format {version} of the log, written by a newer release: install that one"
        super().__init__(f"{path} {what_to_do}; nothing was changed")


class Recovery:
    """Reads the whole log in `folder` and changes nothing.

    The log may begin anywhere up to the entry after `base`, which is in a snapshot. If that snapshot came
    from another server, and the log ends before it or disagrees with it, the node was killed while it
    installed the snapshot: then `must_reset` is True.

    Raises `DamagedLog`, `LogOfAnotherRelease` and `OSError`.
    """

    def __init__(self, disk: Disk, folder: Path, base: LogBase) -> None:
        self.hard_state = HardState()
        self.index = LogIndex()
        self.batches = 0
        self.crc = 0  # of the last batch
        self.segment = 0  # the last segment; 0 if there is none
        self.mark = b""  # of its batches; empty if its header never became durable
        self.end = 0  # of its last batch, or else of its header
        self.last_batch = 0  # where that batch starts, or else the header
        self.torn = False  # whether bytes follow after `end`
        self.files: dict[int, FileStatus] = {}  # of each segment
        self.must_reset = False
        self._folder = folder
        segments = segment_numbers(disk.names(folder))
        self._require_all(segments, base)
        self._first_segment = segments[0] if segments else 1
        self._starts = self._first_segment == 1  # whether it is known where the log starts
        for segment in segments:
            path = segment_path(folder, segment)
            with closing(SegmentReader(disk, path, _CHUNK_BYTES)) as reader:
                self._scan(segment, reader, is_last=segment == segments[-1])
            status = disk.status(path)
            if status is not None:
                self.files[segment] = status
        self._join(base)

    def _require_all(self, segments: list[int], base: LogBase) -> None:
        """Raise `DamagedLog` if a segment is missing; the first ones may have been cut behind a snapshot."""
        if base.index and not segments:
            path = segment_path(self._folder, 1)
            raise DamagedLog(path, 0, f"it is missing, but a snapshot up to entry {base.index} is there")
        first = segments[0] if base.index else 1
        for expected, segment in enumerate(segments, first):
            if segment != expected:
                found = segment_path(self._folder, segment).name
                path = segment_path(self._folder, expected)
                raise DamagedLog(path, 0, f"it is missing, but {found} is there, and no snapshot replaces it")

    def _join(self, base: LogBase) -> None:
        """Raise `DamagedLog` if entries are in neither the log nor the snapshot, or if the two disagree."""
        index, path = self.index, segment_path(self._folder, self._first_segment)
        if index.first_index > base.index + 1:
            held = (
                f"the newest snapshot ends with entry {base.index}" if base.index else "there is no snapshot"
            )
            raise DamagedLog(path, 0, f"the log begins with entry {index.first_index}, and {held}")
        is_short = index.last_index < base.index
        disagrees = not is_short and index.term_at(base.index) not in (None, base.term)
        self.must_reset = is_short or disagrees
        if not self.must_reset:
            return
        if not base.installed or self.hard_state.commit_index >= base.index:
            found = f"ends with entry {index.last_index}" if is_short else "has another entry there"
            raise DamagedLog(
                segment_path(self._folder, max(self.segment, 1)),
                self.end,
                f"there is a snapshot up to entry {base.index} of term {base.term}, and the log {found}",
            )

    def _scan(self, segment: int, reader: SegmentReader, *, is_last: bool) -> None:
        """Read the batches of a segment."""
        self.segment = segment
        if reader.other_version is not None:
            raise LogOfAnotherRelease(reader.path, reader.other_version)
        if reader.header is None:
            may_be_new = segment == 1 or segment != self._first_segment  # after a cut, one is whole
            # The header is synced before anything is written after it: shorter files were never used.
            if is_last and reader.end <= SEGMENT_HEADER_BYTES and may_be_new:
                self.mark = b""
                return
            raise DamagedLog(reader.path, 0, "it has no valid header")
        if segment == self._first_segment > 1:
            self.batches, self.crc = reader.header.batches_before, reader.header.prev_crc
        if reader.header[:3] != (segment, self.batches, self.crc):
            raise DamagedLog(reader.path, 0, "it does not continue the file before it")
        last_batch, position, found = 0, SEGMENT_HEADER_BYTES, None
        while position < reader.end:
            batch = reader.batch_at(position)
            if batch is None:
                self._require_torn_tail(reader, position, is_last=is_last)
                break
            found = batch
            self._add_batch(*found, reader.path, position)
            last_batch, position = position, position + BATCH_HEADER_BYTES + found[0].payload_bytes
        if found:
            # The hint is only a lower bound: it must not point after the last entry.
            state = decode_hard_state(*found)
            self.hard_state = replace(state, commit_index=min(state.commit_index, self.index.last_index))
        self.mark, self.end, self.last_batch = reader.header.mark, position, last_batch
        self.torn = position < reader.end

    def _add_batch(self, header: BatchHeader, payload: memoryview, path: Path, position: int) -> None:
        if header.number != self.batches or header.prev_crc != self.crc:
            raise DamagedLog(path, position, "the batch there does not continue the one before it")
        self.batches += 1
        self.crc = header.crc
        if header.start and header.start != (self.index.last_index, self._last_term()):
            self.index.begin_after(*header.start)
        self._starts = self._starts or header.start is not None
        if not header.entry_count:
            return
        if not self._starts:
            self.index.begin_after(header.first_index - 1, 0)
            self._starts = True
        if not 0 < header.first_index <= self.index.last_index + 1:
            raise DamagedLog(path, position, f"the batch there leaves out entry {self.index.last_index + 1}")
        if header.first_term == header.last_term:
            runs = [(header.first_index, header.first_term)]
        else:
            runs = term_runs(decode_entries(header, payload))
        last_index = header.first_index + header.entry_count - 1
        self.index.append(header.first_index, last_index, runs, self.segment, position)

    def _last_term(self) -> int:
        return self.index.term_at(self.index.last_index) or 0

    def _require_torn_tail(self, reader: SegmentReader, position: int, *, is_last: bool) -> None:
        """Raise `DamagedLog` unless the bad batch at `position` is the last one written."""
        later = reader.find_mark_after(position)
        if later is not None:
            raise DamagedLog(
                reader.path, position, f"the batch there is bad, and another begins at byte {later}"
            )
        if not is_last:
            raise DamagedLog(reader.path, position, "the batch there is bad, and another file follows")
