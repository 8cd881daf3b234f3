"""The data of log entries: a client's request with sealed PINs and its actor, or an entry of the cluster."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from msgspec.msgpack import Decoder

from atm.ledger.commands import (
    Founding,
    LedgerEntry,
    LevelRaise,
    LoggedCommand,
    Member,
    MembershipChange,
    NoteDeed,
    NotedOp,
)
from atm.raft.messages import ENTRY_VERSION, Entry, EntryKind
from atm.wire.codec import decode, encode

COMMAND_BYTES_MAX = 1 + 2 + 64 + 1  # what `command_data` adds to a request: array, length, actor, roles

_COMMAND = int(EntryKind.COMMAND)  # an int, because looking up an enum's member for every entry is slow
_ARRAY_OF_TWO, _ARRAY_OF_THREE = b"\x92", b"\x93"
_ROLES_MAX = 0x7F  # an integer of one byte
_command: Decoder[LoggedCommand] = Decoder(LoggedCommand)
_founding: Decoder[Founding] = Decoder(Founding)
_level_raise: Decoder[LevelRaise] = Decoder(LevelRaise)
_membership: Decoder[MembershipChange] = Decoder(MembershipChange)


class NewerEntry(Exception):
    """The log holds an entry of a kind or version that this release does not know.

    `str()` is one line for the operator.
    """

    def __init__(self, entry: Entry) -> None:
        super().__init__(
            f"log entry {entry.index} is of kind {entry.kind} and version {entry.version}, written by a "
            "newer release: install that one"
        )


def command_data(actor: str, request: bytes, roles: int = 0) -> bytes:
    """Return the data of a command's entry: `request`, valid and as received, and its actor with his roles.

    Without roles it is an entry as release 1.1 writes it.
    """
    if roles:
        assert roles <= _ROLES_MAX
        return _ARRAY_OF_THREE + _encoded(actor) + request + bytes((roles,))
    return _ARRAY_OF_TWO + _encoded(actor) + request


def deed_data(actor: str, roles: int, request_id: str, op: NotedOp, target: str) -> bytes:
    """Return what says who asked for what: a command's entry, or the reason of a change of the members."""
    return command_data(actor, encode(NoteDeed(id=request_id, deed=op, target=target)), roles)


_encoded: Callable[[str], bytes] = lru_cache(maxsize=1024)(encode)


def decode_command(data: bytes) -> LoggedCommand:
    """Return the command of a log entry and its actor; raise `Malformed`."""
    return decode(_command, data)


def decode_founding(data: bytes) -> Founding:
    """Return the contents of a BOOTSTRAP entry; raise `Malformed`."""
    return decode(_founding, data)


def membership_data(members: tuple[Member, ...]) -> bytes:
    """Return the data of a MEMBERSHIP entry with these members; nothing if the ledger knows none yet."""
    return encode(MembershipChange(members)) if members else b""


def check_known(entry: Entry) -> None:
    """Raise `NewerEntry` if this release does not know the entry's kind or version."""
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
    EntryKind.MEMBERSHIP: lambda data: decode(_membership, data),
    EntryKind.FEATURE_LEVEL: lambda data: decode(_level_raise, data),
}
