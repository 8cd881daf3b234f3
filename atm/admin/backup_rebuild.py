"""Rebuilds the ledger as it was at a log index from a backup, and checks a backup by doing so."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from atm.ledger.audit.auditing import audit, problem_lines
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.ledger import Ledger
from atm.ledger.posting import NO_HASH, POSTINGS_PER_ENTRY
from atm.raft.messages import Entry
from atm.server.group.entry_validator import Unusable, checked_record
from atm.storage.backup_folder import BackupFolder, BackupRefused, DamagedBackup, Manifest, Piece
from atm.storage.entry_file import BEGINNING, Position

APPLIED_AT_ONCE = 500
OFF = 0  # SQLite's `synchronous` for a file that is thrown away, or synced as a whole when it is done

HASH_AT = "select hash from journal where posting < ? order by posting desc limit 1"

Report = Callable[[str], None]


def rebuild(folder: BackupFolder, line: Sequence[Piece], index: int, path: Path) -> Position:
    """Make the ledger at `path` as it was at `index` from the pieces of `line`; return that entry's position.

    Each piece is checked first. Raises `DamagedBackup`, and `NewerEntry` if a newer release is needed.
    """
    end = BEGINNING
    for piece in line:
        folder.check(piece)
        if piece.kind == "snapshot":
            shutil.copyfile(folder.path / piece.file, path)
            end = piece.end
        else:
            end = _apply_piece(folder, piece, index, path, end)
    assert end.index == index, f"the pieces lead to {end.index}, not to {index}"
    return end


def _apply_piece(folder: BackupFolder, piece: Piece, index: int, path: Path, end: Position) -> Position:
    with closing(Ledger(path, synchronous=OFF)) as ledger:
        after = ledger.applied_index
        wanted = (entry for entry in folder.entries_of(piece) if after < entry.index <= index)
        try:
            last = apply_entries(ledger, wanted)  # all entries of the piece are read, and so checked
        except Unusable as error:
            raise DamagedBackup(folder.path / piece.file, f"one of its entries {error}") from error
    return end if last is None else Position(last.index, last.term, last.time_us)


def apply_entries(ledger: Ledger, entries: Iterator[Entry]) -> Entry | None:
    """Apply saved entries, some at a time; return the last one, if any. Raise `Unusable`, `NewerEntry`."""
    last: Entry | None = None
    while batch := list(islice(entries, APPLIED_AT_ONCE)):
        ledger.apply([checked_record(entry) for entry in batch])
        last = batch[-1]
    return last


def verify(folder: BackupFolder, now_us: int, report: Report) -> Manifest:
    """Check every byte and every entry, rebuild every ledger, and compare its chain with that of the nodes.

    Raises `DamagedBackup`; returns the manifest, which says that it was verified.
    """
    manifest = folder.manifest
    assert manifest is not None
    folder.check_all()
    for first, last in manifest.ranges():
        line = manifest.line_to(last, whole=True)
        assert line is not None
        with folder.work_folder() as work:
            path = work / "ledger.db"
            rebuild(folder, line, last, path)
            within = [piece for piece in manifest.pieces if first <= piece.last_index <= last]
            check_books(folder, path, sorted(within, key=lambda piece: piece.last_index))
            report(f"Verified entries {first} to {last}: the books are right at {last}")
    return replace(manifest, verified_us=now_us, verified_index=manifest.last_index)


def check_books(folder: BackupFolder, ledger: Path, pieces: Sequence[Piece]) -> None:
    """Raise `DamagedBackup` unless a rebuilt ledger has the chain of these pieces, and is right."""
    with open_read_only(ledger) as cursor:
        for piece in pieces:
            found = cursor.execute(HASH_AT, ((piece.last_index + 1) * POSTINGS_PER_ENTRY,)).get
            if (found if isinstance(found, bytes) else NO_HASH).hex() != piece.chain_hash:
                raise DamagedBackup(
                    folder.path / piece.file,
                    f"its journal has another hash at entry {piece.last_index} than the node's that gave it",
                )
    problems = problem_lines(audit(ledger))
    if problems:
        path = folder.path / pieces[-1].file
        raise DamagedBackup(path, f"the books that it rebuilds are not right: {problems[0]}")


# -- which index -----------------------------------------------------------------------------------------


def index_at(folder: BackupFolder, time_us: int) -> int:
    """Return the last index whose entry is not stamped later than `time_us`; raise `BackupRefused`."""
    manifest = folder.manifest
    assert manifest is not None
    found = 0
    for piece in manifest.pieces:
        if piece.last_time_us <= time_us:
            found = max(found, piece.last_index)
        elif piece.kind == "entries" and piece.first_time_us <= time_us:
            last = max(entry.index for entry in folder.entries_of(piece) if entry.time_us <= time_us)
            found = max(found, last)
    if not found:
        raise BackupRefused(f"the backup has nothing from before {utc(time_us)}. {covers(manifest)}")
    behind_a_gap = [first for first, _ in manifest.ranges() if first > found]
    ends = {piece.last_index: piece.last_time_us for piece in manifest.pieces}
    if behind_a_gap and found in {last for _, last in manifest.ranges()} and ends[found] < time_us:
        raise BackupRefused(
            f"the backup has a gap at {utc(time_us)}: name --to-index {found} or {behind_a_gap[0]}. "
            f"{covers(manifest)}"
        )
    return found


def line_to(folder: BackupFolder, index: int | None) -> tuple[int, list[Piece]]:
    """Return the index, by default the last one, and the pieces that lead to it; raise `BackupRefused`."""
    manifest = folder.manifest
    assert manifest is not None
    wanted = manifest.last_index if index is None else index
    line = manifest.line_to(wanted) if wanted > 0 else None
    if line is None:
        raise BackupRefused(f"the backup cannot restore entry {wanted}. {covers(manifest)}")
    return wanted, line


def covers(manifest: Manifest) -> str:
    """Return a sentence that says which indexes the backup covers."""
    ranges = ", ".join(
        str(first) if first == last else f"{first} to {last}" for first, last in manifest.ranges()
    )
    return f"It covers log entries {ranges or 'none'}; the last one is of {utc(manifest.end.time_us)}"


def utc(time_us: int) -> str:
    """Return a time for people."""
    return f"{datetime.fromtimestamp(time_us / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
