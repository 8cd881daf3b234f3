"""Where a number that must not be written down is written down, in whatever form."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path


def disguises(digits: str) -> dict[str, bytes]:
    """Return the bytes that give the number away, by the name of the form.

    As text it is the same in a line, in JSON and inside msgpack; as a number it is big-endian in msgpack
    and SQLite. A plain hash of so few digits hides nothing.
    """
    text, number = digits.encode(), int(digits)
    forms = {
        "text": text,
        "UTF-16": digits.encode("utf-16-le"),
        "hexadecimal": text.hex().encode(),
        "big-endian number": number.to_bytes(6, "big"),
        "little-endian number": number.to_bytes(6, "little"),
    }
    for shift in range(3):  # where in its groups of three bytes it begins; the ends mix with what is around
        coded = base64.b64encode(bytes(shift) + text)
        forms[f"base64, shifted by {shift}"] = coded[4 if shift else 0 : -4]
    for name in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(name, text).digest()
        forms |= {name: digest, f"{name} in hexadecimal": digest.hex().encode()}
    return forms


def traces(digits: str, folder: Path) -> list[str]:
    """Return a line for each file in `folder`, and below it, and each form that is found there."""
    forms = disguises(digits)
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            written = path.read_bytes()
            found += [f"{path.relative_to(folder)}: {form}" for form in forms if forms[form] in written]
    return found
