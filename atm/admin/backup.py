"""The commands of bin/admin about backups: backup, restore, recover, drill. See docs/backup.md."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from atm.admin.backup_pepper import add_pepper, put_pepper_back, read_passphrase
from atm.admin.backup_rebuild import covers, verify
from atm.admin.backup_restore import Wanted, cut_off_path, lines_about, restore
from atm.admin.backup_taking import NoBackup, Taken, take
from atm.command_line import USAGE, complain
from atm.config import ConfigError, load
from atm.ledger.audit.read_only import DamagedLedger, NoLedger
from atm.ledger.database import LedgerFault
from atm.storage.backup_folder import BackupFolder, BackupRefused, DamagedBackup
from atm.storage.data_folder import FolderRefused
from atm.storage.log_file import DamagedLog, LogFailed, LogOfAnotherRelease
from atm.wire.log_entries import NewerEntry

PROGRAM = "admin"
DONE, FAILED, NOT_AVAILABLE = 0, 1, 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FAULTS = (
    BackupRefused,
    DamagedBackup,
    DamagedLedger,
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
    backup.add_argument("--pepper", type=Path, metavar="FILE", help="add the secret of the PINs, encrypted")
    backup.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line encrypts that")

    restores = commands.add_parser("restore", help="make new data folders from a backup, offline")
    restores.add_argument("folder", type=Path, metavar="FOLDER", help="of the backup")
    point = restores.add_mutually_exclusive_group()
    point.add_argument("--to-index", type=int, metavar="N", help="the last log entry of the restored books")
    point.add_argument(
        "--to-time",
        type=_time,
        metavar="T",
        help="their last moment, such as 2027-03-01T12:00 (UTC) or …+01:00",
    )
    restores.add_argument("--preview", action="store_true", help="say what would be restored; write nothing")
    restores.add_argument(
        "--node", action="append", metavar="NAME", help="only this node's folder; may be given again"
    )
    restores.add_argument(
        "--cluster-id", type=_cluster_id, metavar="ID", help="of a restore on another machine"
    )
    restores.add_argument("--passphrase-file", type=Path, metavar="FILE", help="of the secret of the PINs")
    restores.add_argument(
        "--without-pepper", action="store_true", help="that secret is lost: every PIN has to be reset"
    )
    restores.set_defaults(run=_reporting(_restore))
    return [backup, restores]


def _backup(options: argparse.Namespace) -> int:
    cluster = load(options.config)
    passphrase = _passphrase(options.passphrase_file)
    if options.pepper is not None and passphrase is None:
        raise BackupRefused("--pepper needs --passphrase-file: the secret is never written unencrypted")
    with closing(BackupFolder(options.folder, write=True)) as folder:
        folder.check_sizes()
        try:
            taken = take(cluster, folder, _now_us(), print)
            _print_taken(folder.path, taken)
        except NoBackup as error:
            complain(PROGRAM, f"nothing was taken: {error}. {_as_before(folder)}")
            taken = None
        if passphrase is not None and options.pepper is not None and folder.manifest is not None:
            add_pepper(folder, options.pepper, passphrase)
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


def _restore(options: argparse.Namespace) -> int:
    cluster = load(options.config)
    passphrase = _passphrase(options.passphrase_file)
    with closing(BackupFolder(options.folder)) as folder:
        assert folder.manifest is not None
        wanted = Wanted(
            nodes=tuple(options.node or cluster.nodes),
            index=options.to_index,
            time_us=options.to_time,
            cluster_id=options.cluster_id or "",
            pepper_known=not options.without_pepper,
            preview=options.preview,
        )
        about_pepper = "Without the PINs' secret: no customer's PIN is right, an operator has to reset each"
        if not options.without_pepper:
            about_pepper = put_pepper_back(folder, cluster, passphrase, preview=True)
        restored = restore(folder, cluster, wanted)
        if not options.without_pepper:
            about_pepper = put_pepper_back(folder, cluster, passphrase, preview=options.preview)
        for line in lines_about(restored, folder.manifest.end):
            print(line)
    print(about_pepper)
    if options.preview:
        print("This was a preview: nothing was written")
        return DONE
    if restored.cut_off.requests:
        print(f"All that was cut off is listed in {cut_off_path(cluster, restored)}")
    print(f"Restored {', '.join(wanted.nodes)} in {cluster.data_dir} as the new cluster {restored.cluster}")
    others = [name for name in cluster.nodes if name not in wanted.nodes]
    if others:
        print(
            f"Restore {', '.join(others)} on their machines with --cluster-id {restored.cluster} before "
            "any node is "
            "started: nodes with empty folders would begin another bank"
        )
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
        except (ConfigError, NoLedger) as error:
            complain(PROGRAM, str(error))
            return USAGE
        except FAULTS as error:
            complain(PROGRAM, str(error))
        except OSError as error:
            complain(PROGRAM, f"{error.filename or 'input or output'}: {error.strerror or error}")
        return FAILED

    return run


def _passphrase(path: Path | None) -> bytes | None:
    return None if path is None else read_passphrase(path)


def _time(text: str) -> int:
    """Return the microseconds since 1970 of a time in ISO 8601, of UTC unless it says otherwise."""
    try:
        time_at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2027-03-01T12:00:00+01:00") from None
    if time_at.tzinfo is None:
        time_at = time_at.replace(tzinfo=UTC)
    return (time_at - EPOCH) // timedelta(microseconds=1)


def _cluster_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError(
            "a cluster id has 32 hexadecimal digits, as the first restore printed it"
        )
    return text


def _now_us() -> int:
    return time.time_ns() // 1000
