"""Typed msgpack: one encoder, and decoders that check types and limits and raise one error."""

from __future__ import annotations

from typing import TypeVar

from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder

T = TypeVar("T")

encode = Encoder().encode


class Malformed(Exception):
    """The bytes are not a message of this protocol."""


def decode(decoder: Decoder[T], payload: bytes) -> T:
    """Return the message that `payload` holds; raise `Malformed`."""
    try:
        return decoder.decode(payload)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
