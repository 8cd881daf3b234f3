"""The configurations in one server's log, and which change from one to the next is allowed (section 6).

A server uses the newest configuration in its log, whether or not it is committed. docs/raft.md has the proof
that this is safe as long as each change adds or removes one voter at most.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from msgspec.structs import replace

from atm.raft.log import Log
from atm.raft.membership import (
    Configuration,
    Member,
    decode_configuration,
    decode_founders,
    defect_of,
)
from atm.raft.messages import Entry, EntryKind, NodeId

# Kinds of entries that name members; ints, because they are compared for every entry.
_SAYING = (int(EntryKind.MEMBERSHIP), int(EntryKind.BOOTSTRAP))


class Configurations:
    """The configuration that the log starts from, and those of its entries; each with its entry's index.

    Of those that are committed only the newest is kept: it can never be truncated.
    """

    def __init__(self, index: int, first: Configuration, log: Log) -> None:
        self._all = [(index, first)]
        if log.base_index < log.last_index:
            self.append(log.slice(log.base_index + 1, log.last_index), commit_index=0)

    @property
    def newest(self) -> tuple[int, Configuration]:
        """The configuration in use, and the index of its entry."""
        return self._all[-1]

    def append(self, entries: Sequence[Entry], commit_index: int) -> bool:
        """Note the configurations among `entries`, now in the log; return whether there is one."""
        first_index = self._all[0][0]
        new = [
            (entry.index, members)
            for entry in entries
            if entry.kind in _SAYING and entry.index > first_index and (members := members_of(entry))
        ]
        self._all += new
        while len(self._all) > 1 and self._all[1][0] <= commit_index:
            del self._all[0]
        return bool(new)

    def truncate(self, first: int) -> bool:
        """Forget the configurations of entries from `first` on; return whether there was one (section 6)."""
        before = len(self._all)
        while len(self._all) > 1 and self._all[-1][0] >= first:
            del self._all[-1]
        return len(self._all) < before

    def reset(self, index: int, data: bytes) -> None:
        """The log was emptied and begins after `index`, with the configuration of a snapshot, if any."""
        self._all = [(index, decode_configuration(data))] if data else self._all[:1]

    def from_index(self, index: int) -> tuple[tuple[int, Configuration], ...]:
        """Return the configuration in use at `index`, as far as it is known, and all after it."""
        older = [number for number, (first, _) in enumerate(self._all) if first <= index]
        return tuple(self._all[older[-1] if older else 0 :])

    def possible(self, commit_index: int) -> list[Configuration]:
        """Return the configurations that may be in use elsewhere: the committed one, and those after it.

        The one that this server was started with is none of them once an entry founds the cluster.
        """
        known = self.from_index(commit_index)
        founded = len(known) > 1 and known[1][0] == 1
        return [members for _, members in known[1 if founded else 0 :]]


def members_of(entry: Entry) -> Configuration:
    """Return the members that an entry names, those of a cluster's founding, too; none if it names no one."""
    if entry.kind == EntryKind.MEMBERSHIP:
        return decode_configuration(entry.data)
    return decode_founders(entry.data) if entry.kind == EntryKind.BOOTSTRAP else ()


def founding_configuration(nodes: Sequence[NodeId]) -> Configuration:
    """Return the configuration before any MEMBERSHIP entry: all `nodes` vote."""
    return tuple(Member(node=node, voter=True) for node in nodes)


def refusal_of_change(
    old: Configuration, new: Configuration, shown_stores: Mapping[NodeId, str] = MappingProxyType({})
) -> str | None:
    """Return why `new` cannot follow `old` in one step, or None.

    A voter is a node with its store: with another store, it may have forgotten what it promised. A voter
    without one may get the store that it was first seen with, which is none of `shown_stores`.
    """
    defect = defect_of(new)
    if defect is not None:
        return f"the new configuration {defect}"
    unnamed = {m.node for m in old if m.voter and not m.store}
    before = {(m.node, m.store) for m in old if m.voter}
    changed = before ^ {
        (m.node, "" if m.node in unnamed and shown_stores.get(m.node) != m.store else m.store)
        for m in new
        if m.voter
    }
    if len(changed) > 1:
        names = ", ".join(sorted({node for node, _ in changed}))
        return (
            f"it changes the votes of more than one server ({names}): add or remove one voter at a time. A "
            "voter whose disk was replaced first becomes a learner, then a voter again"
        )
    return "these are the members already" if numbered(new, old, 0) == old else None


def numbered(new: Configuration, old: Configuration, index: int) -> Configuration:
    """Return `new` with `since` of each member: as in `old` if its vote and store stay, else `index`.

    A voter whose first store is named stays what it was.
    """
    since = {(m.node, m.voter, m.store): m.since for m in old}
    unnamed = {m.node: m.since for m in old if m.voter and not m.store}
    return tuple(
        replace(
            m,
            since=since.get((m.node, m.voter, m.store), unnamed.get(m.node, index) if m.voter else index),
        )
        for m in new
    )
