"""What log entries hold: a client's request as it came, PINs sealed, and its actor; or the cluster's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from msgspec.msgpack import Decoder

from atm.ledger.commands import Founding, LedgerEntry, LevelRaise, LoggedCommand
from atm.raft.messages import ENTRY_VERSION, Entry, EntryKind
from atm.wire.codec import decode, encode

COMMAND_BYTES_MAX = 1 + 2 + 64  # what `command_data` adds to a request: array, length, actor

_COMMAND = int(EntryKind.COMMAND)  # asked for with every entry, and an enum's member is found slowly
_ARRAY_OF_TWO = b"\x92"
_command: Decoder[LoggedCommand] = Decoder(LoggedCommand)
_founding: Decoder[Founding] = Decoder(Founding)
_level_raise: Decoder[LevelRaise] = Decoder(LevelRaise)


class NewerEntry(Exception):
    """The log holds what this release does not know, and what follows from it nobody here can tell.

    `str()` of it is one line for people.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__(
            f"log entry {entry.index} is of kind {entry.kind} and version {entry.version}, written by a "
            "newer release: install that one"
        )


def command_data(actor: str, request: bytes) -> bytes:
    """Return the data of a command's entry: `request`, valid and as it came, and who asked."""
    return _ARRAY_OF_TWO + _encoded(actor) + request


_encoded: Callable[[str], bytes] = lru_cache(maxsize=1024)(encode)


def decode_command(data: bytes) -> LoggedCommand:
    """Return the command of a log entry and who asked for it; raise `Malformed`."""
    return decode(_command, data)


def decode_founding(data: bytes) -> Founding:
    """Return what the first entry of a log says; raise `Malformed`."""
    return decode(_founding, data)


def check_known(entry: Entry) -> None:
    """Raise `NewerEntry` if only a newer release knows what such an entry is."""
    if entry.version != ENTRY_VERSION or entry.kind not in _DECODERS:
        raise NewerEntry(entry)


def decode_entry(entry: Entry) -> LedgerEntry | None:
    """Return an entry as the ledger applies it, None for a no-op; raise `NewerEntry` and `Malformed`."""
    if entry.kind == _COMMAND and entry.version == ENTRY_VERSION:
        return decode(_command, entry.data)
    check_known(entry)
    return _DECODERS[entry.kind](entry.data)


_DECODERS: dict[int, Callable[[bytes], LedgerEntry | None]] = {
    EntryKind.NOOP: lambda data: None,
    EntryKind.COMMAND: decode_command,
    EntryKind.BOOTSTRAP: decode_founding,
    EntryKind.FEATURE_LEVEL: lambda data: decode(_level_raise, data),
}
