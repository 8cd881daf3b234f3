"""Finds postings by what their requests said of them: a code, a text or a part of it.

A whole text and a code have an index. For a part of a text postings are looked at one by one, the latest
first, some thousands for an answer, so that no question keeps a server busy.
"""

from __future__ import annotations

from msgspec import Struct

from atm.ledger.commands import Find
from atm.ledger.rows import Cursor, Row

LOOKED_AT_MAX = 10_000  # a few milliseconds


class Found(Struct, frozen=True):
    """Numbers of postings, the latest first; those before `next` were not looked at, None: all were."""

    postings: list[int]
    next: int | None


def find_postings(cursor: Cursor, request: Find, before: int) -> Found:
    """Return the latest before the posting `before`, one more than the request's limit at most."""
    conditions = [
        "posting < :before",
        *(["code = :code"] if request.code is not None else []),
        *(["text = :text"] if request.whole and request.text is not None else []),
    ]
    source = f"select posting, text from remark where {' and '.join(conditions)} order by posting desc"
    values = {
        "before": before,
        "code": request.code,
        "text": request.text,
        "limit": request.limit + 1,
        "most": LOOKED_AT_MAX,
    }
    if request.whole or request.text is None:
        rows = cursor.execute(f"{source} limit :limit", values).fetchall()
        return Found([_number(row) for row in rows], None)
    looked_at = f"({source} limit :most) as looked_at"
    found = f"select posting from {looked_at} where instr(lower(text), lower(:text)) > 0 limit :limit"
    postings = [_number(row) for row in cursor.execute(found, values).fetchall()]
    ends = f"select min(posting) from {looked_at} having count(*) = :most"
    return Found(postings, cursor.execute(ends, values).get)


def _number(row: Row) -> int:
    return int(str(row[0]))
