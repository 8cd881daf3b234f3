"""The commands that log entries hold: a client's request as it came, its PINs sealed."""

from __future__ import annotations

from msgspec.msgpack import Decoder

from atm.ledger.commands import LogCommand
from atm.wire.codec import decode

_command: Decoder[LogCommand] = Decoder(LogCommand)


def decode_command(payload: bytes) -> LogCommand:
    """Return the command of a log entry; raise `Malformed`."""
    return decode(_command, payload)
