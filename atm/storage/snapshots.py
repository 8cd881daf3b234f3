"""The snapshots of a node: `<index>.db`, a ledger at that index, and `<index>.json`, what is told of it.

A snapshot is there once its `.json` is, which is written last: a crash at any step leaves the one before, or
the new one. `making.db` is being made here, and `<index>-….part` is being fetched from another server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from atm.files import (
    UNFINISHED_SUFFIX,
    make_folder,
    rename_durably,
    sha256_of,
    sync_file,
    sync_folder,
    write_durably,
)
from atm.raft.messages import Number, Snapshot
from atm.storage.log_index import NO_SNAPSHOT, LogBase
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.version import RELEASE

SNAPSHOT_FOLDER = "snapshot"
FORMAT = 1  # of the `.json`

_MAKING = "making.db"


class SnapshotsUnusable(Exception):
    """What a snapshot's folder holds cannot be used; `str()` is one line for the operator."""


class _Record(Struct, frozen=True, kw_only=True):
    """The contents of `<index>.json`; as `Snapshot`, by name."""

    format: int
    release: str
    made_at: str
    installed: bool  # from another server
    index: Number
    term: Number
    time_us: Number
    size_bytes: Number
    sha256: str
    chain_hash: str
    membership: bytes
    cluster_id: str


class SnapshotStore:
    """The snapshots in `folder`, which is made if it is missing; for one thread at a time.

    The constructor removes what a crash left. It checks a snapshot's size and not its hash, so that a start
    does not take longer with a larger ledger; who uses a file checks it first (`wrong_with`). Raises
    `SnapshotsUnusable`, and `OSError` if the disk fails, as all methods do.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)
        sync_folder(folder.parent)
        self._records = {record.index: record for record in map(_read, folder.glob("*.json"))}
        self._remove_leftovers()

    @property
    def newest(self) -> Snapshot | None:
        """The newest snapshot; None if there is none, or if its file is not there in its full size."""
        if not self._records:
            return None
        record = self._records[max(self._records)]
        path = self._path(record.index)
        if not path.is_file() or path.stat().st_size != record.size_bytes:
            return None
        return _snapshot_of(record)

    @property
    def base(self) -> LogBase:
        """Where the log may begin: also behind a snapshot whose file was lost since."""
        if not self._records:
            return NO_SNAPSHOT
        record = self._records[max(self._records)]
        return LogBase(record.index, record.term, record.time_us, record.installed)

    @property
    def making(self) -> Path:
        """Where a snapshot is made before it is adopted."""
        return self._folder / _MAKING

    def path(self, snapshot: Snapshot) -> Path:
        """Return the path of an adopted snapshot's file."""
        return self._path(snapshot.index)

    def part(self, snapshot: Snapshot) -> Path:
        """Return where the file is fetched to; the parts of all other snapshots are removed.

        What is there already, from before a restart too, is its beginning. Only the hash of the whole file
        proves it.
        """
        # What another server says goes into a name only as a hash.
        identity = hashlib.sha256(msgspec.msgpack.encode(snapshot)).hexdigest()[:16]
        part = self._folder / f"{snapshot.index}-{identity}.part"
        for other in self._folder.glob("*.part"):
            if other != part:
                other.unlink()
        return part

    def adopt(self, snapshot: Snapshot, file: Path, *, installed: bool) -> None:
        """Make `file`, which is in this folder and was verified, the newest snapshot, durably.

        `installed` says that it came from another server.
        """
        newest = self.newest
        assert snapshot.index >= self.base.index
        assert newest is None or snapshot.index > newest.index, "one snapshot must not replace another"
        assert file.parent == self._folder
        sync_file(file)
        rename_durably(file, self._path(snapshot.index))
        self._describe(snapshot, installed=installed)

    def replace_newest(self, snapshot: Snapshot, file: Path) -> None:
        """Put another server's file at the same index in the place of the newest snapshot, durably.

        Only while nobody is served that. A crash leaves the new one, or a description without a file.
        """
        assert snapshot.index == self.base.index
        assert file.parent == self._folder
        sync_file(file)
        self._path(snapshot.index).unlink(missing_ok=True)
        sync_folder(self._folder)
        self._describe(snapshot, installed=True)
        rename_durably(file, self._path(snapshot.index))

    def _describe(self, snapshot: Snapshot, *, installed: bool) -> None:
        record = _Record(
            format=FORMAT,
            release=RELEASE,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            installed=installed,
            **msgspec.structs.asdict(snapshot),
        )
        write_durably(self._json(record.index), msgspec.json.format(msgspec.json.encode(record)))
        self._records[record.index] = record

    def prune(self, in_use: Collection[int] = ()) -> None:
        """Remove all snapshots but the newest and those at the indexes `in_use`, and parts of older ones."""
        for index in sorted(self._records)[:-1]:
            if index not in in_use:
                self._json(index).unlink()
                sync_folder(self._folder)  # first: a file without its `.json` is removed by the next start
                self._path(index).unlink(missing_ok=True)
                del self._records[index]
        for part in self._folder.glob("*.part"):
            index_text = part.name.partition("-")[0]
            if index_text.isdecimal() and int(index_text) <= self.base.index:
                part.unlink()

    def _path(self, index: int) -> Path:
        return self._folder / f"{index}.db"

    def _json(self, index: int) -> Path:
        return self._folder / f"{index}.json"

    def _remove_leftovers(self) -> None:
        kept = {path for index in self._records for path in (self._path(index), self._json(index))}
        for path in self._folder.iterdir():
            is_part = path.suffix == ".part"
            if (
                path not in kept
                and not is_part
                and (path.suffix in (".db", UNFINISHED_SUFFIX) or "making.db-" in path.name)
            ):
                path.unlink()


def newest_in(folder: Path) -> tuple[Snapshot, Path] | None:
    """Return the newest snapshot in the folder of a node that may run, and its file; None without one.

    Nothing is changed. A snapshot that is removed meanwhile raises `FileNotFoundError`.
    """
    records = [_read(path) for path in folder.glob("*.json")] if folder.is_dir() else []
    if not records:
        return None
    record = max(records, key=lambda record: record.index)
    return _snapshot_of(record), folder / f"{record.index}.db"


def wrong_with(snapshot: Snapshot, file: Path) -> str | None:
    """Return what shows that `file` is not this snapshot's, None if it is; reads all of it."""
    size_bytes = file.stat().st_size
    if size_bytes != snapshot.size_bytes:
        return f"{file} has {size_bytes} bytes, and the snapshot has {snapshot.size_bytes}"
    if sha256_of(file) != snapshot.sha256:
        return f"{file} has not the snapshot's SHA-256"
    return None


def _snapshot_of(record: _Record) -> Snapshot:
    return Snapshot(**{name: getattr(record, name) for name in Snapshot.__struct_fields__})


def _read(path: Path) -> _Record:
    try:
        record = msgspec.json.decode(path.read_bytes(), type=_Record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotsUnusable(
            f"{path} is damaged: {error}. Put a good copy back. {START_EMPTY_ADVICE}"
        ) from error
    if record.format != FORMAT:
        raise SnapshotsUnusable(f"{path} was written by a newer release: install that one")
    if path.name != f"{record.index}.json":
        raise SnapshotsUnusable(
            f"{path} is of entry {record.index}: put it back in its place. {START_EMPTY_ADVICE}"
        )
    return record
