"""Committed log entries in a file of a backup: a header, then one record an entry.

    magic 8 | header record | entry record | entry record | …

A record is: length of the payload 4 | CRC-32 of the length and the payload 4 | payload. Integers are
big-endian. The header's payload is a msgpack map (`Header`), an entry's the msgpack array that stands in the
log and on the wire. The file only grows, so one that a crash cut short is valid up to its last whole record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from struct import Struct as Packing
from typing import BinaryIO, TypeVar
from zlib import crc32

import msgspec
from msgspec import Struct

from atm.raft.messages import Entry

MAGIC = b"ATMBACK\x01"
_PREFIX = Packing(">II")
_LENGTH = Packing(">I")
RECORD_BYTES_MAX = 8 * 1024 * 1024  # of a payload: no entry comes near it

T = TypeVar("T")

_entry: msgspec.msgpack.Decoder[Entry] = msgspec.msgpack.Decoder(Entry)


class BadRecord(Exception):
    """What should be a record is none; `str()` continues a line that names the place."""


class Header(Struct, frozen=True, kw_only=True):
    """Whose entries they are, and the index of the first one."""

    cluster: str
    first_index: int


class Position(Struct, frozen=True, order=True):
    """An entry's index, term and time stamp: what the next one must come after."""

    index: int
    term: int
    time_us: int


BEGINNING = Position(0, 0, 0)


_header: msgspec.msgpack.Decoder[Header] = msgspec.msgpack.Decoder(Header)


def encode_record(payload: bytes) -> bytes:
    """Return the record that holds `payload`."""
    length = _LENGTH.pack(len(payload))
    return _PREFIX.pack(len(payload), crc32(payload, crc32(length))) + payload


def encode_start(header: Header) -> bytes:
    """Return the beginning of a file, up to its first entry."""
    return MAGIC + encode_record(msgspec.msgpack.encode(header))


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Return the records of `entries`."""
    return b"".join(encode_record(msgspec.msgpack.encode(entry)) for entry in entries)


def decode_entries(data: bytes) -> list[Entry]:
    """Return the entries of whole records; raise `BadRecord`."""
    entries = []
    rest = memoryview(data)
    while rest:
        payload = _payload(rest[: _PREFIX.size], rest[_PREFIX.size :])
        entries.append(_decoded(_entry, payload))
        rest = rest[_PREFIX.size + len(payload) :]
    return entries


def followed(last: Position, entry: Entry) -> Position:
    """Return the position of `entry`; raise `BadRecord` unless it can be the one after `last`."""
    if entry.index != last.index + 1 or entry.term < last.term or entry.time_us <= last.time_us:
        raise BadRecord(
            f"entry {entry.index} of term {entry.term} at {entry.time_us} us cannot follow entry "
            f"{last.index} of "
            f"term {last.term} at {last.time_us} us"
        )
    return Position(entry.index, entry.term, entry.time_us)


class EntryReader:
    """Reads a file from its beginning. Raises `BadRecord` and `OSError`."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("rb")
        self.end = 0  # of the last whole record that was read
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise BadRecord("it does not begin like a file of entries")
            self.end = len(MAGIC)
            payload = self._read()
            if payload is None:
                raise BadRecord("it has no header")
            self.header = _decoded(_header, payload)
        except BaseException:
            self.close()
            raise

    def entries(self) -> Iterator[Entry]:
        """Yield all entries; raise `BadRecord` at the first record that is not whole."""
        while (payload := self._read()) is not None:
            yield _decoded(_entry, payload)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> bytes | memoryview | None:
        prefix = self._file.read(_PREFIX.size)
        if not prefix:
            return None
        length = _LENGTH.unpack_from(prefix)[0] if len(prefix) == _PREFIX.size else 0
        payload = _payload(prefix, self._file.read(min(length, RECORD_BYTES_MAX)))
        self.end += len(prefix) + len(payload)
        return payload


def _payload(prefix: bytes | memoryview, rest: bytes | memoryview) -> bytes | memoryview:
    """Return the payload of the record that begins with `prefix`; `rest` begins behind that."""
    if len(prefix) < _PREFIX.size:
        raise BadRecord("a record there is cut short")
    length, crc = _PREFIX.unpack(prefix)
    payload = rest[:length]
    if len(payload) < length or crc32(payload, crc32(_LENGTH.pack(length))) != crc:
        raise BadRecord("a record there is damaged or cut short")
    return payload


def _decoded(decoder: msgspec.msgpack.Decoder[T], payload: bytes | memoryview) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRecord(f"a record there is none of this release: {error}") from error
