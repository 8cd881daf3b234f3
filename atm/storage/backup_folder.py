"""A backup of a bank: one folder of pieces, and `backup.json`, which lists them and is written last.

snapshot-<index>.db            a ledger as it was at a log index
pepper-<hash>.sealed           the secret that PINs are sealed with, encrypted, if that was asked for
entries-<first>-<last>.bin     committed log entries (entry_file.py)
backup.json                    whose backup it is, its pieces with their SHA-256, and one over itself

A ledger can be rebuilt as it was at any index that is covered: from a snapshot, or from an empty ledger if
the entries begin at 1, and the entries behind it without a gap. What is not in `backup.json` is no part of
the backup: the rest of a run that was interrupted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from atm.files import UNFINISHED_SUFFIX, make_folder, sha256_of, sync_folder, write_durably
from atm.raft.messages import Entry
from atm.storage.entry_file import BEGINNING, BadRecord, EntryReader, Position, followed

MANIFEST_FILE = "backup.json"
FORMAT = 1
UNFINISHED_ENTRIES = "entries.part"
UNFINISHED_SNAPSHOT = "snapshot.part"
WORK = "work-"

_PIECE = re.compile(
    r"snapshot-\d+\.db|entries-\d+-\d+\.bin|pepper-[0-9a-f]+\.sealed"
    r"|snapshot\.part-[0-9a-f]+|entries\.part|work-.*"
)


class BackupRefused(Exception):
    """The folder cannot be used so; `str()` is one line for people."""


class DamagedBackup(Exception):
    """Something in the backup is not what was written; `str()` is one line that names the piece."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} is damaged: {what}. Nothing was changed. Restore from another copy of the backup, and "
            "take a "
            "new backup into an empty folder now"
        )
        self.path = path


class Piece(Struct, frozen=True, kw_only=True):
    """One file: a snapshot at `last_index`, or the entries from `first_index` to `last_index`.

    `chain_hash` is the hash of the journal's last posting at `last_index`, as the ledger of a node had it, in
    hexadecimal.
    """

    kind: Literal["snapshot", "entries"]
    file: str
    size_bytes: int
    sha256: str
    first_index: int
    last_index: int
    last_term: int
    first_time_us: int
    last_time_us: int
    chain_hash: str

    @property
    def end(self) -> Position:
        return Position(self.last_index, self.last_term, self.last_time_us)


class Manifest(Struct, frozen=True, kw_only=True):
    """The contents of backup.json. Times are microseconds since 1970; `verified_index` is 0 if never."""

    format: int = FORMAT
    release: str
    cluster: str
    feature_level: int
    nodes: tuple[str, ...]
    pepper: str = ""  # the name of the first secret that the PINs are sealed with
    current_pepper: str = ""  # the name of the current one, if that is another
    sealed_pepper_sha256: str = ""  # of its encrypted file, if there is one
    pieces: tuple[Piece, ...] = ()
    made_us: int = 0
    verified_us: int = 0
    verified_index: int = 0

    @property
    def sealed_pepper(self) -> str:
        """The name of the file with the encrypted secret; another content has another name."""
        return f"pepper-{self.sealed_pepper_sha256[:16]}.sealed"

    @property
    def last_index(self) -> int:
        return max((piece.last_index for piece in self.pieces), default=0)

    @property
    def end(self) -> Position:
        """The position of the last entry that is covered."""
        return max((piece.end for piece in self.pieces), default=BEGINNING)

    def line_to(self, index: int, *, whole: bool = False) -> list[Piece] | None:
        """Return the pieces that rebuild the ledger at `index`, in order, from the newest base there is.

        The first is a snapshot, unless the entries begin at 1. With `whole` it is the oldest one from which
        there is no gap. None if `index` is not covered.
        """
        bases = [piece for piece in self.pieces if piece.kind == "snapshot" and piece.last_index <= index]
        bases.sort(key=lambda piece: piece.last_index)
        for base in (None, *bases) if whole else (*reversed(bases), None):
            line = [base] if base else []
            reached = base.last_index if base else 0
            for piece in self.entries():
                if piece.first_index <= reached + 1 and reached < min(piece.last_index, index):
                    line.append(piece)
                    reached = piece.last_index
            if reached >= index:
                return line
        return None

    def entries(self) -> list[Piece]:
        """Return the pieces with entries, in order."""
        return sorted(
            (piece for piece in self.pieces if piece.kind == "entries"), key=lambda piece: piece.first_index
        )

    def ranges(self) -> list[tuple[int, int]]:
        """Return the (first, last) indexes that can be restored, rising."""
        found: list[tuple[int, int]] = []
        starts = [(piece.last_index, piece.last_index) for piece in self.pieces if piece.kind == "snapshot"]
        starts += [(piece.first_index, piece.last_index) for piece in self.entries()]
        for first, last in sorted(starts):
            if found and first <= found[-1][1] + 1:
                found[-1] = (found[-1][0], max(found[-1][1], last))
            elif self.line_to(first) is not None:
                found.append((first, last))
        return found


class _Written(Struct, frozen=True):
    """backup.json as it stands in the file: the manifest, and the SHA-256 of its compact form."""

    sha256: str
    backup: Manifest


class BackupFolder:
    """An opened and locked folder; raises `BackupRefused` and `DamagedBackup`.

    Any number may read it at a time, or one process write it.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self._lock_fd = -1
        try:
            if write:
                make_folder(path)
                sync_folder(path.parent)
            elif not (path / MANIFEST_FILE).exists():
                raise BackupRefused(
                    f"{path} holds no backup: there is no {MANIFEST_FILE} in it. Check the path"
                )
            self._lock_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._lock(write=write)
            self.manifest = self._read()
            if write:
                self._refuse_foreign()
        except OSError as error:
            self.close()
            raise BackupRefused(f"cannot use {path}: {error.strerror or error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def write(self, manifest: Manifest) -> None:
        """Make `manifest` that of the backup, durably: the pieces that it names are durable already."""
        text = msgspec.json.encode(manifest)
        written = _Written(hashlib.sha256(text).hexdigest(), manifest)
        write_durably(self.path / MANIFEST_FILE, _formatted(written))
        self.manifest = manifest

    def remove_unlisted(self) -> None:
        """Remove the pieces that are no part of the backup (any more), and what an interruption left."""
        manifest = self.manifest
        listed = {*(piece.file for piece in manifest.pieces), manifest.sealed_pepper} if manifest else set()
        for path in self.path.iterdir():
            if path.name in listed or not _is_ours(path.name):
                continue
            if path.is_dir():
                rmtree(path)
            else:
                path.unlink()

    @contextmanager
    def work_folder(self) -> Iterator[Path]:
        """Yield a new folder in this one for large intermediate files; it is removed afterwards."""
        with TemporaryDirectory(prefix=WORK, dir=self.path) as work:
            yield Path(work)

    # -- checks ------------------------------------------------------------------------------------

    def check_sizes(self) -> None:
        """Raise `DamagedBackup` unless every piece is there and has its size: this reads no contents."""
        for piece in self.manifest.pieces if self.manifest else ():
            self._check_size(piece)

    def check(self, piece: Piece) -> None:
        """Raise `DamagedBackup` unless the piece's file is what was written."""
        self._check_size(piece)
        self._check_digest(self.path / piece.file, piece.sha256)

    def check_all(self) -> None:
        """Raise `DamagedBackup` unless every file of the backup is what was written."""
        if self.manifest is None:
            return
        for piece in self.manifest.pieces:
            self.check(piece)
        self.check_pepper()

    def check_pepper(self) -> None:
        """Raise `DamagedBackup` unless the encrypted secret, if there is one, is what was written."""
        if self.manifest is not None and self.manifest.sealed_pepper_sha256:
            path = self.path / self.manifest.sealed_pepper
            self._check_digest(path, self.manifest.sealed_pepper_sha256)

    def entries_of(self, piece: Piece) -> Iterator[Entry]:
        """Yield the entries of a piece; raise `DamagedBackup` unless they are those that it promises."""
        path = self.path / piece.file
        count = 0
        try:
            reader = EntryReader(path)
        except (BadRecord, OSError) as error:
            raise DamagedBackup(path, str(error)) from error
        try:
            if reader.header.first_index != piece.first_index:
                raise DamagedBackup(path, f"it begins with entry {reader.header.first_index}")
            last: Position | None = None
            for entry in reader.entries():
                last = followed(last or Position(piece.first_index - 1, 0, 0), entry)
                count += 1
                yield entry
            if last != piece.end:
                raise DamagedBackup(path, f"it ends after {count:,} entries")
        except (BadRecord, OSError) as error:
            raise DamagedBackup(path, f"at byte {reader.end:,}: {error}") from error
        finally:
            reader.close()

    def _check_size(self, piece: Piece) -> None:
        path = self.path / piece.file
        try:
            size_bytes = path.stat().st_size
        except OSError as error:
            raise DamagedBackup(path, f"it cannot be read ({error.strerror or error})") from error
        if size_bytes != piece.size_bytes:
            raise DamagedBackup(path, f"it has {size_bytes:,} bytes, not {piece.size_bytes:,}")

    def _check_digest(self, path: Path, sha256: str) -> None:
        try:
            found = sha256_of(path)
        except OSError as error:
            raise DamagedBackup(path, f"it cannot be read ({error.strerror or error})") from error
        if found != sha256:
            raise DamagedBackup(path, "its SHA-256 is not the one in backup.json")

    # -- opening -----------------------------------------------------------------------------------

    def _lock(self, *, write: bool) -> None:
        try:
            fcntl.flock(self._lock_fd, (fcntl.LOCK_EX if write else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupRefused(
                f"{self.path} is in use by another backup or restore: wait until that has ended"
            ) from None

    def _read(self) -> Manifest | None:
        path = self.path / MANIFEST_FILE
        if not path.exists():
            return None
        text = path.read_bytes()
        try:
            written = msgspec.json.decode(text, type=_Written)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DamagedBackup(path, f"it cannot be read ({error})") from error
        if written.backup.format > FORMAT:
            raise BackupRefused(f"{path} was written by release {written.backup.release}: use that one")
        compact = msgspec.json.encode(written.backup)
        if hashlib.sha256(compact).hexdigest() != written.sha256 or text != _formatted(written):
            raise DamagedBackup(path, "its own SHA-256 is wrong")
        return written.backup

    def _refuse_foreign(self) -> None:
        """Refuse a folder with something else in it: a mistyped path must not mix a backup into it."""
        if self.manifest is not None:
            return
        for path in self.path.iterdir():
            if path.name != MANIFEST_FILE + UNFINISHED_SUFFIX and not _is_ours(path.name):
                raise BackupRefused(
                    f"{self.path} holds {path.name}, and no backup: name an empty folder, or one that is "
                    "not there yet"
                )


def _is_ours(name: str) -> bool:
    return _PIECE.fullmatch(name) is not None


def snapshot_piece(file: str, *, size_bytes: int, sha256: str, at: Position, chain_hash: str) -> Piece:
    """Return the piece of a ledger as it was at the entry `at`."""
    return Piece(
        kind="snapshot",
        file=file,
        size_bytes=size_bytes,
        sha256=sha256,
        first_index=at.index,
        last_index=at.index,
        last_term=at.term,
        first_time_us=at.time_us,
        last_time_us=at.time_us,
        chain_hash=chain_hash,
    )


def with_piece(manifest: Manifest, piece: Piece) -> Manifest:
    """Return the manifest with one more piece."""
    return replace(manifest, pieces=(*manifest.pieces, piece))


def _formatted(written: _Written) -> bytes:
    return msgspec.json.format(msgspec.json.encode(written)) + b"\n"
