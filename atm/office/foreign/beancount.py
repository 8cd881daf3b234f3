"""Reads beancount's files: transactions with amounts in one currency.

What changes the meaning of other lines (`include`, `plugin`, `pad`, …) is a problem, not passed over.
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

# What moves no money.
IDLE_DATED = frozenset(
    {"open", "close", "commodity", "note", "document", "event", "query", "price", "custom"}
)
IDLE = frozenset({"option", "pushtag", "poptag", "pushmeta", "popmeta"})
ADVICE = "it may change other transactions"
_STRING = r'"(?:[^"\\]|\\.)*"'
_DATED = re.compile(
    r"(?P<year>[0-9]{4})[-/](?P<month>[0-9]{1,2})[-/](?P<day>[0-9]{1,2})\s+(?P<what>[a-z]+|[*!&#?%]|'?[A-Z])(?P<rest>(?=[\s\"]|$).*)"
)
_REST = re.compile(rf"\s*(?P<one>{_STRING})?\s*(?P<two>{_STRING})?(?:\s*[#^][A-Za-z0-9_/.-]+)*\s*(?:;.*)?")
_META = re.compile(r"(?P<key>[a-z][A-Za-z0-9_-]*):(?:\s+(?P<value>.*))?")
_POSTING = re.compile(
    r"(?:(?:[*!&#?%]|'?[A-Z])\s+)?(?P<account>[^\W\d_a-z][\w-]*(?::[^\W_][\w-]*)+)(?:\s+(?P<amount>[^;]*))?(?:;.*)?"
)


def read_beancount(text: str, mapping: Mapping) -> Iterator[Entry | Problem]:
    """Yield each transaction, or why it cannot be carried over."""
    return read_blocks(text, lambda block: _parse(block, mapping))


def _parse(block: Block, mapping: Mapping) -> Entry | None:
    if block.head[0] in ";*#:":
        if block.below:
            raise NotCarried("a comment with indented lines below it, which would not be carried over")
        return None
    first = block.head.split()[0]
    if first in IDLE:
        return None
    found = _DATED.fullmatch(block.head)
    if found is None:
        raise NotCarried(f"{first!r} is not read here: {ADVICE}")
    if found["what"] == "balance":
        return Entry(block.line, "", "", "", (), unchecked=1)
    return None if found["what"] in IDLE_DATED else _transaction(block, found, mapping)


def _transaction(block: Block, found: re.Match[str], mapping: Mapping) -> Entry:
    what = found["what"]
    rest = _REST.fullmatch(found["rest"])
    if rest is None or (what.isalpha() and what.islower() and what != "txn"):
        raise NotCarried(f"{what!r} begins no transaction that is read here")
    day = iso_day(found["year"], found["month"], found["day"])
    changes: list[Change] = []
    stated_id = ""
    for line in block:
        meta = _META.fullmatch(line)
        if meta is not None:
            if meta["key"] == mapping.id and not changes:
                stated_id = _unquoted(meta["value"] or "")
        elif line[0] not in ";#^":
            changes.append(_posting(line, mapping))
    text = " ".join(_unquoted(each) for each in (rest["one"], rest["two"]) if each)
    return Entry(block.line, day, text, stated_id, completed(changes, mapping.currency))


def _posting(line: str, mapping: Mapping) -> Change:
    found = _POSTING.fullmatch(line)
    if found is None:
        raise NotCarried(f"{line!r} is no posting that is read here")
    amount = (found["amount"] or "").strip()
    if re.search("[@{]", amount):
        raise NotCarried(f"{amount!r} has a price, or a cost: one currency is carried over")
    amount_minor = mapping.minor_units(amount) if amount else None
    return Change(mapping.account_for(found["account"]), amount_minor)


def _unquoted(value: str) -> str:
    value = value.strip()
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value[:1] == '"' == value[-1:] else value
