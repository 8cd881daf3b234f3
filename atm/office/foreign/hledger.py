"""Reads hledger's journals: dated transactions in one currency, as `hledger print -x` writes them.

What changes the meaning of other lines (`include`, `alias`, automatic postings, …) is a problem, and not
passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from atm.office.foreign.entries import (
    Block,
    Change,
    Entry,
    NotCarried,
    Problem,
    completed,
    iso_day,
    read_blocks,
)
from atm.office.foreign.mapping import Mapping

CODE = "code"  # as the mapping's `id`: the text in parentheses before the description
IDLE = frozenset({"account", "commodity", "payee", "tag", "P"})  # directives that move no money
ADVICE = "`hledger print -x --real` writes a journal without such lines"
_HEAD = re.compile(
    r"(?P<year>[0-9]{4})(?P<mark>[-/.])(?P<month>[0-9]{1,2})(?P=mark)(?P<day>[0-9]{1,2})(?:=[-/.0-9]+)?"
    r"(?=\s|$)\s*(?:[*!](?=\s|$)\s*)?(?:\((?P<code>[^)]*)\)\s*)?(?P<text>[^;]*)(?:;(?P<comment>.*))?"
)
_STATUS = re.compile(r"[*!]\s+")
_GAP = re.compile(r"\s{2,}")


def read_hledger(text: str, mapping: Mapping) -> Iterator[Entry | Problem]:
    """Yield each transaction, or why it cannot be carried over."""
    return read_blocks(text, lambda block: _parse(block, mapping))


def _parse(block: Block, mapping: Mapping) -> Entry | None:
    if block.head[0] in ";#*":
        if block.below:
            raise NotCarried("a comment with indented lines below it, which would not be carried over")
        return None
    if block.head.split()[0] in IDLE:
        return None
    found = _HEAD.fullmatch(block.head)
    if found is None:
        raise NotCarried(f"{block.head.split()[0]!r} begins no transaction that is read here: {ADVICE}")
    day = iso_day(found["year"], found["month"], found["day"])
    comments, unchecked = [found["comment"] or ""], 0
    changes: list[Change] = []
    for line in block:
        if line.startswith(";"):
            comments += [] if changes else [line[1:]]
            continue
        change, asserted = _posting(line, mapping)
        changes.append(change)
        unchecked += asserted
    if mapping.id == CODE:
        stated_id = (found["code"] or "").strip()
    else:
        stated_id = _tag(mapping.id, comments) if mapping.id else ""
    return Entry(
        block.line, day, found["text"].strip(), stated_id, completed(changes, mapping.currency), unchecked
    )


def _posting(line: str, mapping: Mapping) -> tuple[Change, bool]:
    """Return what a posting changes, and whether it asserts a balance."""
    name, _, rest = _split(_STATUS.sub("", line, count=1) if _STATUS.match(line) else line)
    if name[0] in "([":
        raise NotCarried(f"{name!r} is a virtual posting, which is no money: {ADVICE}")
    if re.search(r"[;\t]", name):
        raise NotCarried(f"{name!r} is no account's name: two spaces stand before an amount, and before a ;")
    amount, equals, _ = rest.partition(";")[0].partition("=")
    if re.search(r"[@{]", amount):
        raise NotCarried(f"{amount.strip()!r} has a price, or a cost: one currency is carried over")
    if equals and not amount.strip():
        raise NotCarried(f"the amount of {name!r} is left to a balance: {ADVICE}")
    amount_minor = mapping.minor_units(amount) if amount.strip() else None
    return Change(mapping.account_for(name), amount_minor), bool(equals)


def _split(line: str) -> tuple[str, str, str]:
    gap = _GAP.search(line)
    return (line, "", "") if gap is None else (line[: gap.start()], gap.group(), line[gap.end() :])


def _tag(name: str, comments: list[str]) -> str:
    """Return the value of the tag, which ends at a comma; empty if there is none."""
    for comment in comments:
        found = re.search(rf"(?:^|[\s,]){re.escape(name)}:([^,]*)", comment)
        if found is not None:
            return found[1].strip()
    return ""
