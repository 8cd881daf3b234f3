"""The result of an audit, as it is also sent over the wire."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

INDEXES_MAX = 64

# Log indexes at which the hash of the journal is wanted.
Indexes = Annotated[tuple[Annotated[int, Meta(ge=0, le=2**62)], ...], Meta(max_length=INDEXES_MAX)]


class Findings(Struct, frozen=True, kw_only=True):
    """What was found in one ledger as it was at `applied_index` (None if not even that can be read).

    `chain` holds the journal's hash, in hexadecimal, at each index asked for that has been applied.
    `digests` holds a hash over all rows of each table that could be read: on ledgers with the same applied
    index they are the same. `problems` are lines for people; `more_problems` counts those left out.
    """

    applied_index: int | None
    postings: int
    chain: tuple[tuple[int, str], ...]
    digests: dict[str, str]
    problems: tuple[str, ...]
    more_problems: int
    seconds: float
