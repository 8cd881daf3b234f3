"""New inputs out of old ones: small edits of bytes, as rot, crashes and curious people make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

CORPUS = Path(__file__).parent / "corpus"
BYTES_MAX = 200_000  # of an input, however often something was repeated

Edit = tuple[str, int, int, bytes]  # what, where, how much, and with which bytes


def corpus(kind: str) -> list[bytes]:
    """Return the saved inputs of a kind, by name."""
    return [path.read_bytes() for path in sorted((CORPUS / kind).iterdir())]


def _moved(data: bytes, start: int, length: int, _: bytes) -> bytes:
    piece, rest = data[start : start + length], data[:start] + data[start + length :]
    to = length * 7 % (len(rest) + 1)
    return rest[:to] + piece + rest[to:]


EDITS: dict[str, Callable[[bytes, int, int, bytes], bytes]] = {
    "flip a bit": lambda d, at, n, _: d[:at] + bytes([d[at] ^ 1 << n % 8]) + d[at + 1 :] if d[at:] else d,
    "overwrite": lambda d, at, n, new: d[:at] + new + d[at + len(new) :],
    "insert": lambda d, at, n, new: d[:at] + new + d[at:],
    "delete": lambda d, at, n, _: d[:at] + d[at + n :],
    "zeros": lambda d, at, n, _: d[:at] + bytes(len(d[at : at + n])) + d[at + n :],
    "truncate": lambda d, at, n, _: d[:at],
    "duplicate": lambda d, at, n, _: d[: at + n] + d[at:],
    "repeat": lambda d, at, n, _: d[:at] + d[at : at + n] * min(1000, BYTES_MAX // (n + 1)) + d[at + n :],
    "move": _moved,
    "claim": lambda d, at, n, _: d[: at & ~3] + b"\xff\xff\xff\xff"[n % 4 :] + d[(at & ~3) + 4 :],
}

edits: SearchStrategy[list[Edit]] = st.lists(
    st.tuples(
        st.sampled_from(sorted(EDITS)),
        st.integers(0, 2**20),
        st.integers(1, 300),
        st.binary(min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, changes: Sequence[Edit]) -> bytes:
    """Return `data` after the edits; places behind its end count from its beginning again."""
    for kind, at, length, new in changes:
        data = EDITS[kind](data, at % (len(data) + 1), length, new)[:BYTES_MAX]
    return data


def mutated(originals: Sequence[bytes]) -> SearchStrategy[bytes]:
    """Return edits of any of `originals`."""
    # Drawn by number: the library prints what it draws from, and a whole corpus is unreadable.
    return st.builds(
        lambda k, changes: edited(originals[k], changes), st.integers(0, len(originals) - 1), edits
    )
