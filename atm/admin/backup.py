"""The commands of bin/admin about backups: backup, restore, recover, drill. See docs/backup.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from atm.admin.backup_rebuild import covers, verify
from atm.admin.backup_taking import NoBackup, Taken, take
from atm.command_line import complain
from atm.config import load
from atm.ledger.database import LedgerFault
from atm.storage.backup_folder import BackupFolder, BackupRefused, DamagedBackup
from atm.storage.data_folder import FolderRefused
from atm.storage.log_file import DamagedLog, LogFailed, LogOfAnotherRelease
from atm.wire.log_entries import NewerEntry

PROGRAM = "admin"
DONE, FAILED, NOT_AVAILABLE = 0, 1, 3
FAULTS = (
    BackupRefused,
    DamagedBackup,
    DamagedLog,
    FolderRefused,
    LedgerFault,
    LogFailed,
    LogOfAnotherRelease,
    NewerEntry,
)

Run = Callable[[argparse.Namespace], int]


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> list[argparse.ArgumentParser]:
    """Add a parser for each command, whose `run` takes the options and returns the exit code; return them."""
    backup = commands.add_parser("backup", help="add to a backup all that is new, while the bank serves")
    backup.add_argument(
        "folder", type=Path, metavar="FOLDER", help="of the backup; it is made if it is missing"
    )
    backup.add_argument(
        "--verify", action="store_true", help="check the whole backup by rebuilding the books"
    )
    backup.set_defaults(run=_reporting(_backup))
    return [backup]


def _backup(options: argparse.Namespace) -> int:
    cluster = load(options.config)
    with closing(BackupFolder(options.folder, write=True)) as folder:
        folder.check_sizes()
        try:
            taken = take(cluster, folder, _now_us(), print)
            _print_taken(folder.path, taken)
        except NoBackup as error:
            complain(PROGRAM, f"nothing was taken: {error}. {_as_before(folder)}")
            taken = None
        if options.verify and folder.manifest is not None:
            folder.write(verify(folder, _now_us(), print))
    if taken is None:
        return NOT_AVAILABLE
    if not taken.confirmed:
        complain(
            PROGRAM,
            f"only a minority of the nodes answered (missing: {', '.join(taken.missing)}): the backup may "
            "lack what the "
            "others acknowledged. Take another one when they are back",
        )
        return NOT_AVAILABLE
    return DONE


def _as_before(folder: BackupFolder) -> str:
    if folder.manifest is None:
        return f"There is no backup in {folder.path}"
    return f"The backup in {folder.path} is as it was. {covers(folder.manifest)}"


def _print_taken(path: Path, taken: Taken) -> None:
    manifest = taken.manifest
    for piece in taken.new_pieces:
        print(f"Took {piece.file} from node {taken.node}: {piece.size_bytes:,} bytes")
    if not taken.new_pieces:
        print(f"Nothing is new: node {taken.node} has nothing behind entry {manifest.last_index} either")
    print(f"The backup in {path} is of cluster {manifest.cluster}. {covers(manifest)}")


def _reporting(command: Run) -> Run:
    """Return a command that reports its faults in a line, and returns the exit code."""

    def run(options: argparse.Namespace) -> int:
        try:
            return command(options)
        except FAULTS as error:
            complain(PROGRAM, str(error))
        except OSError as error:
            complain(PROGRAM, f"{error.filename or 'input or output'}: {error.strerror or error}")
        return FAILED

    return run


def _now_us() -> int:
    return time.time_ns() // 1000
