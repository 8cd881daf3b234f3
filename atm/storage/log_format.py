"""The durable log as bytes.

A segment is a file `raft.log.000001`, `raft.log.000002`, … that starts with a header, synced before
anything is written after it:

    magic 8 | CRC 4 | segment 4 | batches before 8 | CRC of the batch before 4 | mark 8

Batches follow; each was made durable by one sync:

    mark 8 | CRC 4 | CRC of the batch before 4 | number 8 | payload length 4
    | term 8 | commit index 8 | length of the vote 2 | entries 4
    | first index 8 | first entry's term 8 | last entry's term 8
    | payload: the vote, then the entries as one msgpack array (nothing if there are none)

A batch without entries whose first index is not 0 is a *mark of the start*: the log's last entry is the one
before that index, and of the first entry's term. If another entry is the last so far, the log is emptied and
goes on there. It is written where a log is cut or reset behind a snapshot (`log_file.py`); release 1.1, which
cuts nothing, takes no notice of it.

All integers are big-endian. A CRC is the CRC-32 of all that follows it, up to the end of the header or
batch; that of a header includes the magic before it, in this and all later versions. So the CRC proves a
batch, and `number` with the CRC of the batch before proves its place: it is valid nowhere else, not in
another segment either.

The mark is random bytes, drawn for each segment; it begins each of its batches, and no message carries it.
A batch is written only after the one before was synced. So a mark found *after* a bad batch shows that the
bad one had been acknowledged: that is damage and not a torn tail, even if the later batch is torn or damaged
too. A client that chooses the contents of an entry can imitate whole batches, but can put the right mark
before them only by guessing 64 random bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from msgspec import ValidationError
from msgspec.msgpack import Decoder, Encoder

from atm.raft.messages import Entry, HardState

MARK_BYTES = 8
ENTRY_OVERHEAD_BYTES = 1 + 3 * 9 + 2 * 2 + 5  # what msgpack adds to the data at most

_VERSION = 2  # of the format; 1 was that of release 1.0
_MAGIC_WORD = b"ATMRAFT"
_MAGIC = _MAGIC_WORD + bytes([_VERSION])
_MAGIC_AND_CRC = Struct(">8sI")
_SEGMENT = Struct(">IQI8s")
_MARK_AND_CRC = Struct(">8sI")
_BATCH_BODY = Struct(">IQIQQHIQQQ")  # a batch's header without mark and CRC
_BATCH = Struct(">8sIIQIQQHIQQQ")
_NO_VOTE = 0xFFFF  # as the length of the vote

_SEGMENT_NAME = re.compile(r"raft\.log\.([0-9]{6,})")

SEGMENT_HEADER_BYTES = _MAGIC_AND_CRC.size + _SEGMENT.size
BATCH_HEADER_BYTES = _BATCH.size
assert _MARK_AND_CRC.size + _BATCH_BODY.size == BATCH_HEADER_BYTES

_encode_entries = Encoder().encode
_decode_entries = Decoder(list[Entry]).decode
_decode_unbounded = Decoder(list[tuple[int, int, int, int, int, bytes]]).decode


def segment_path(folder: Path, segment: int) -> Path:
    """Return the path of a segment."""
    return folder / f"raft.log.{segment:06}"


def segment_numbers(names: Iterable[str]) -> list[int]:
    """Return the numbers of the segments among the names of a folder, rising."""
    matches = map(_SEGMENT_NAME.fullmatch, names)
    return sorted(int(match[1]) for match in matches if match)


class SegmentHeader(NamedTuple):
    """The header of a segment: its number, what precedes it, and the mark of its batches."""

    segment: int
    batches_before: int
    prev_crc: int
    mark: bytes

    def encode(self) -> bytes:
        body = _SEGMENT.pack(*self)
        return _MAGIC_AND_CRC.pack(_MAGIC, _header_crc(_MAGIC, body)) + body

    @staticmethod
    def decode(data: bytes) -> SegmentHeader | None:
        """Return the header in `data`, or None if it is not valid."""
        if len(data) != SEGMENT_HEADER_BYTES:
            return None
        body = data[_MAGIC_AND_CRC.size :]
        if _MAGIC_AND_CRC.unpack_from(data) != (_MAGIC, _header_crc(_MAGIC, body)):
            return None
        return SegmentHeader(*_SEGMENT.unpack(body))


def other_version(data: bytes) -> int | None:
    """Return the version of the format if `data` is a valid header of another version, else None."""
    if len(data) < SEGMENT_HEADER_BYTES or not data.startswith(_MAGIC_WORD):
        return None
    magic, crc = _MAGIC_AND_CRC.unpack_from(data)
    version, body = magic[-1], data[_MAGIC_AND_CRC.size : SEGMENT_HEADER_BYTES]
    right_crc = crc32(body) if version == 1 else _header_crc(magic, body)
    return version if version != _VERSION and crc == right_crc else None


def _header_crc(magic: bytes, body: bytes) -> int:
    return crc32(body, crc32(magic))


class BatchHeader(NamedTuple):
    """The header of a batch; without entries the last four fields are 0."""

    mark: bytes
    crc: int
    prev_crc: int
    number: int
    payload_bytes: int
    term: int
    commit_index: int
    vote_bytes: int
    entry_count: int
    first_index: int
    first_term: int
    last_term: int

    @property
    def entries_start(self) -> int:
        """Where in the payload the entries start."""
        return 0 if self.vote_bytes == _NO_VOTE else self.vote_bytes

    @property
    def start(self) -> tuple[int, int] | None:
        """Index and term of the entry before the start that this batch marks, None if it marks none."""
        return (self.first_index - 1, self.first_term) if self.first_index and not self.entry_count else None


def encode_batch(
    mark: bytes,
    prev_crc: int,
    number: int,
    hard_state: HardState,
    entries: Sequence[Entry],
    start: tuple[int, int] | None = None,
) -> tuple[bytes, int]:
    """Return the bytes of a batch, and its CRC; `start` (index, term) makes it a mark of the start."""
    payload = _encode_entries(entries) if entries else b""
    vote_bytes = _NO_VOTE
    if hard_state.voted_for is not None:
        vote = hard_state.voted_for.encode()
        vote_bytes = len(vote)
        assert vote_bytes < _NO_VOTE
        payload = vote + payload
    first_index, first_term, last_term = 0, 0, 0
    if start:
        assert not entries
        first_index, first_term, last_term = start[0] + 1, start[1], start[1]
    if entries:
        first_index, first_term, last_term = entries[0].index, entries[0].term, entries[-1].term
    header = _BATCH_BODY.pack(
        prev_crc,
        number,
        len(payload),
        hard_state.term,
        hard_state.commit_index,
        vote_bytes,
        len(entries),
        first_index,
        first_term,
        last_term,
    )
    crc = crc32(payload, crc32(header))
    return b"".join((_MARK_AND_CRC.pack(mark, crc), header, payload)), crc


def decode_batch_header(data: memoryview, start: int) -> BatchHeader:
    """Return the batch header at `start`; it is valid only if `is_whole` says so."""
    return BatchHeader._make(_BATCH.unpack_from(data, start))


def is_whole(header: BatchHeader, data: memoryview, start: int, stop: int) -> bool:
    """Return whether the CRC of the batch from `start` to `stop` is right."""
    return crc32(data[start + _MARK_AND_CRC.size : stop]) == header.crc


def decode_entries(header: BatchHeader, payload: memoryview) -> list[Entry]:
    """Return the entries of a batch that has some."""
    encoded = payload[header.entries_start :]
    try:
        return _decode_entries(encoded)
    except ValidationError:  # a number over its limit, saved by a release that did not check: see recovery.py
        return [
            Entry(index=index, term=term, time_us=time_us, kind=kind, version=version, data=data)
            for index, term, time_us, kind, version, data in _decode_unbounded(encoded)
        ]


def decode_hard_state(header: BatchHeader, payload: memoryview) -> HardState:
    """Return term, vote and commit index of a batch."""
    vote = None if header.vote_bytes == _NO_VOTE else str(payload[: header.vote_bytes], "utf-8")
    return HardState(term=header.term, voted_for=vote, commit_index=header.commit_index)
