"""Repairs a stopped node's folder whose log holds what no cluster can continue from (docs/repair.md).

What is wrong is replaced, and nothing acknowledged is lost: a command that no server can apply becomes a
no-op at its index, a stamp that no leader can continue from is set to just after the one before it, and
entries of a term above `TERM_MAX`, which no leader can have written, are cut off. Equal entries become equal
entries on every node, so logs that agreed still agree.

Entries that a snapshot holds were applied, so nothing is wrong with them: the repaired log begins behind it.

The term is more delicate: by changing it a node forgets votes that it gave. So all nodes are stopped, and
all get *one* term, no lower than the term of any entry on any of them. Then no node votes twice in a
term that had a leader, since each campaigns for a later one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shutil import copytree, rmtree

from msgspec import Struct
from msgspec.structs import replace

from atm.config import Cluster
from atm.files import sync_folder, write_durably
from atm.raft.messages import Entry, EntryKind, HardState
from atm.raft.term_limit import TERM_MAX
from atm.server.group.entry_validator import Unusable, checked_record
from atm.server.group.log_clock import STAMP_US_MAX
from atm.storage.data_folder import INCARNATIONS_FILE, NODE_FILE, PEERS_FILE, DataFolder
from atm.storage.log_file import LogFile
from atm.storage.log_index import NO_SNAPSHOT, LogBase
from atm.storage.snapshots import SNAPSHOT_FOLDER, SnapshotStore

READ_BYTES = 4 * 1024 * 1024
CHANGES_LISTED_MAX = 20


class NotRepaired(Exception):
    """Nothing was changed; `str()` of it is one line for people."""


class FolderState(Struct):
    """The state of a node's folder, and what a repair changes in it."""

    hard_state: HardState
    last_index: int  # of the repaired log
    last_term: int
    cut: int = 0  # entries behind it
    changes: list[str] = []  # the first of them
    changed: int = 0

    @property
    def wrong(self) -> bool:
        """Whether the node refuses to start from this folder."""
        return self.hard_state.term > TERM_MAX or self.cut + self.changed > 0

    @property
    def term_min(self) -> int:
        """The lowest term that this node may get: a possible one is never lowered."""
        term = self.hard_state.term
        return self.last_term if term > TERM_MAX else max(self.last_term, term)


def inspect(cluster: Cluster, node: str) -> FolderState:
    """Return the state of a stopped node's folder; raise `NotRepaired` and what opening it raises."""
    _require_folder(cluster, node)
    with closing(DataFolder(cluster, node)) as folder:
        base = _base(folder)
        with closing(LogFile(folder.path, base=base)) as log:
            return _found(log, base)


def repair(cluster: Cluster, node: str, term: int) -> tuple[FolderState, Path]:
    """Rewrite a stopped node's log in `term`; return its state before, and where the old folder is kept.

    The new folder has no ledger: it is rebuilt from snapshot and log at the next start. Raises as `inspect`.
    """
    _require_folder(cluster, node)
    with closing(DataFolder(cluster, node)) as folder:
        fresh = folder.path.with_name(f"{node}.repaired")
        rmtree(fresh, ignore_errors=True)  # left by a repair that was interrupted
        base = _base(folder)
        with closing(LogFile(folder.path, base=base)) as log:
            found = _found(log, base)
            if not found.term_min <= term <= TERM_MAX:
                raise NotRepaired(
                    f"node {node} cannot be given term {term}: it takes one from {found.term_min} to "
                    f"{TERM_MAX}, the same on all nodes. Nothing was changed"
                )
            _write(log, base, fresh, found, term)
        if base.index:
            copytree(folder.path / SNAPSHOT_FOLDER, fresh / SNAPSHOT_FOLDER, copy_function=os.link)
            sync_folder(fresh / SNAPSHOT_FOLDER)
        for name in (NODE_FILE, PEERS_FILE, INCARNATIONS_FILE):
            if (folder.path / name).exists():
                write_durably(fresh / name, (folder.path / name).read_bytes())
        old = _unused(folder.path)
        folder.path.rename(old)  # a node started between the two renames starts empty, and has no vote
        fresh.rename(folder.path)
        sync_folder(folder.path.parent)
    return found, old


def _require_folder(cluster: Cluster, node: str) -> None:
    path = cluster.data_dir / node
    if not (path / NODE_FILE).exists():
        raise NotRepaired(
            f"{path} is not a folder of node {node}: there is nothing to repair. Check --config and the name"
        )


def _base(folder: DataFolder) -> LogBase:
    path = folder.path / SNAPSHOT_FOLDER
    return SnapshotStore(path).base if path.is_dir() else NO_SNAPSHOT


def _write(log: LogFile, base: LogBase, fresh: Path, found: FolderState, term: int) -> None:
    old = found.hard_state
    state = HardState(
        term=term,
        voted_for=old.voted_for if old.term == term else None,
        commit_index=min(old.commit_index, found.last_index),
    )
    with closing(LogFile(fresh)) as new:
        if base.index:
            new.reset(base)
        if found.last_index == base.index:
            new.save(state, ())
        for entries in _pieces(log, base, found.last_index):
            new.save(state, entries)


def _found(log: LogFile, base: LogBase) -> FolderState:
    sane = [(first, term) for first, term in log.terms if term <= TERM_MAX]
    last_term = sane[-1][1] if sane else base.term
    impossible = [first for first, term in log.terms if term > TERM_MAX]
    last_index = impossible[0] - 1 if impossible else log.last_index
    found = FolderState(log.hard_state, last_index, last_term, cut=log.last_index - last_index)
    for entry, repaired, why in _repaired_entries(log, base, last_index):
        if entry is not repaired:
            found.changed += 1
            if len(found.changes) < CHANGES_LISTED_MAX:
                found.changes.append(f"entry {entry.index} {why}")
    return found


def _pieces(log: LogFile, base: LogBase, last_index: int) -> Iterator[list[Entry]]:
    piece: list[Entry] = []
    piece_bytes = 0
    for _, repaired, _ in _repaired_entries(log, base, last_index):
        piece.append(repaired)
        piece_bytes += len(repaired.data)
        if piece_bytes > READ_BYTES or repaired.index == last_index:
            yield piece
            piece, piece_bytes = [], 0


def _repaired_entries(log: LogFile, base: LogBase, last_index: int) -> Iterator[tuple[Entry, Entry, str]]:
    """Yield each entry after `base` as it is, as repaired, and what is wrong ("" if nothing)."""
    index, last_time_us = base.index + 1, base.time_us
    while index <= last_index:
        for entry in log.read_entries(index, last_index, READ_BYTES):
            repaired, why = _repaired_entry(entry, last_time_us)
            yield entry, repaired, why
            index, last_time_us = entry.index + 1, repaired.time_us


def _repaired_entry(entry: Entry, last_time_us: int) -> tuple[Entry, str]:
    try:
        checked_record(entry)
    except Unusable as error:
        why = str(error)
    else:
        return entry, ""
    if entry.time_us > STAMP_US_MAX:
        entry = replace(entry, time_us=last_time_us + 1)
        why += ": it is stamped right behind the one before it"
    try:
        checked_record(entry)
    except Unusable as error:
        entry = replace(entry, kind=EntryKind.NOOP, data=b"")
        why = f"{error}: it becomes a no-op"
    return entry, why


def _unused(path: Path) -> Path:
    number = 1
    while (old := path.with_name(f"{path.name}.before-repair-{number}")).exists():
        number += 1
    return old
