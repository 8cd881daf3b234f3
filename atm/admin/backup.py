"""bin/admin backup, restore, recover, drill: see docs/backup.md."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from atm.admin.backup_drill import drill
from atm.admin.backup_pepper import add_pepper, put_pepper_back, read_passphrase
from atm.admin.backup_pruning import prune
from atm.admin.backup_rebuild import covers, utc, verify
from atm.admin.backup_recover import Plan, plan_recovery, recover
from atm.admin.backup_restore import Wanted, cut_off_path, lines_about, restore
from atm.admin.backup_taking import NoBackup, Taken, have_recorded, take
from atm.admin.lanes import backup_lanes
from atm.admin.task import DONE, NOT_AVAILABLE, REFUSED, USAGE, NotDone, Task
from atm.command_line import told_of
from atm.config import POSTGRESQL
from atm.lanes.faults import EngineFault, EngineRefused, NoDriver
from atm.ledger.audit.read_only import DamagedLedger, NoLedger
from atm.ledger.database import LedgerFault
from atm.storage.backup_folder import BackupFolder, BackupRefused, DamagedBackup
from atm.storage.data_folder import FolderRefused
from atm.storage.log_file import DamagedLog, LogFailed, LogOfAnotherRelease
from atm.wire.log_entries import NewerEntry

FAULTS = (
    BackupRefused,
    DamagedBackup,
    DamagedLedger,
    DamagedLog,
    EngineFault,
    EngineRefused,
    FolderRefused,
    LedgerFault,
    LogFailed,
    LogOfAnotherRelease,
    NewerEntry,
    NoDriver,
    NoLedger,
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Run = Callable[[Task], int]


def _reporting(command: Run) -> Run:
    """Return a command whose faults end it with a line."""

    def run(task: Task) -> int:
        try:
            return command(task)
        except FAULTS as error:
            raise NotDone(REFUSED, str(error)) from error
        except OSError as error:
            line, code = told_of(error)
            raise NotDone(REFUSED if code == USAGE else code, line) from error

    return run


# -- backup ----------------------------------------------------------------------------------------------


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="where the backup is; made if it is missing"
    )
    parser.add_argument("--verify", action="store_true", help="check all of it by rebuilding the books")
    parser.add_argument(
        "--keep-days",
        type=_days,
        metavar="D",
        help="with --verify: afterwards drop what is only needed to restore older moments",
    )
    parser.add_argument("--pepper", type=Path, metavar="FILE", help="add the secret of the PINs, encrypted")
    parser.add_argument("--passphrase-file", type=Path, metavar="FILE", help="its first line encrypts that")


@_reporting
def run_backup(task: Task) -> int:
    """Add to a backup all that is new."""
    options, cluster = task.options, task.cluster
    passphrase = _passphrase(options.passphrase_file)
    if options.pepper is not None and passphrase is None:
        raise NotDone(
            USAGE, "--pepper needs --passphrase-file: the secret is never written without encryption"
        )
    if options.keep_days is not None and not options.verify:
        raise NotDone(USAGE, "--keep-days needs --verify: nothing old goes before the newest is verified")
    with closing(BackupFolder(options.folder, write=True)) as folder:
        folder.check_sizes()
        if cluster.engine.kind == POSTGRESQL:
            return _backup_of_lanes(task, folder, passphrase)
        taken, why_not = None, ""
        try:
            taken = take(cluster, folder, _now_us(), task.progress)
        except NoBackup as error:
            why_not = f"nothing was taken: {str(error).removesuffix('?')}. {_as_before(folder)}"
        if taken is not None and options.pepper is not None and passphrase is not None:
            add_pepper(folder, options.pepper, passphrase)
        if options.verify and folder.manifest is not None:
            folder.write(verify(folder, _now_us(), task.progress))
            if options.keep_days is not None and taken is not None and taken.confirmed:
                prune(folder, _now_us(), options.keep_days)
        if taken is None:
            raise NotDone(NOT_AVAILABLE, why_not)
        return _finish_backup(task, folder, taken)


def _backup_of_lanes(task: Task, folder: BackupFolder, passphrase: bytes | None) -> int:
    """Add the books of a bank on PostgreSQL as they are now."""
    options, lanes = task.options, backup_lanes()
    # Whoever reaches the database can read it without a server: a refusal would protect nothing.
    not_recorded = have_recorded(task.cluster) if task.cluster.engine.lanes == 1 else ""
    piece = lanes.take_lanes(task.cluster, folder, _now_us())
    if options.pepper is not None and passphrase is not None:
        add_pepper(folder, options.pepper, passphrase)
    if options.verify and folder.manifest is not None:
        folder.write(verify(folder, _now_us(), task.progress))
    manifest = folder.manifest
    assert manifest is not None
    line = "Nothing is new" if piece is None else f"Took {piece.file}: {piece.size_bytes:,} bytes"
    if not_recorded:
        line += f". The bank has no record of who took it: {not_recorded}"
    lines = [line, f"The backup in {folder.path} is of bank {manifest.cluster}. {covers(manifest)}"]
    if manifest.verified_index == manifest.last_index:
        lines.append(f"It is verified: the books that it rebuilds are right at entry {manifest.last_index}")
    fields: Mapping[str, object] = msgspec.to_builtins(manifest)
    return task.finish("\n".join(lines), {**fields, "recorded": not not_recorded})


def _finish_backup(task: Task, folder: BackupFolder, taken: Taken) -> int:
    manifest = folder.manifest
    assert manifest is not None
    lines = [
        f"Took {piece.file} from node {taken.node}: {piece.size_bytes:,} bytes" for piece in taken.new_pieces
    ]
    if not lines:
        lines.append(f"Nothing is new: the log of node {taken.node} ends at entry {manifest.last_index}, too")
    lines.append(f"The backup in {folder.path} is of cluster {manifest.cluster}. {covers(manifest)}")
    if manifest.verified_index == manifest.last_index:
        lines.append(f"It is verified: the books that it rebuilds are right at entry {manifest.last_index}")
    code = DONE
    if not taken.confirmed:
        code = NOT_AVAILABLE
        lines.append(
            f"ONLY A MINORITY of the nodes answered (missing: {', '.join(taken.missing)}): the backup may "
            "lack "
            "what the others acknowledged. Take another one when they are back"
        )
    fields: Mapping[str, object] = msgspec.to_builtins(manifest)
    new = [piece.file for piece in taken.new_pieces]
    about_run = {"node": taken.node, "new": new, "confirmed": taken.confirmed, "missing": taken.missing}
    return task.finish("\n".join(lines), {**fields, **about_run}, code)


def _as_before(folder: BackupFolder) -> str:
    if folder.manifest is None:
        return f"There is no backup in {folder.path}"
    return f"The backup in {folder.path} is as it was. {covers(folder.manifest)}"


# -- restore ---------------------------------------------------------------------------------------------


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the backup is")
    point = parser.add_mutually_exclusive_group()
    point.add_argument("--to-index", type=int, metavar="N", help="the last log entry of the restored books")
    point.add_argument(
        "--to-time", type=_time, metavar="T", help="their last moment, such as 2027-03-01T12:00 (UTC)"
    )
    parser.add_argument("--preview", action="store_true", help="say what would be restored; write nothing")
    parser.add_argument(
        "--node", action="append", metavar="NAME", help="only this node's folder; may be given again"
    )
    parser.add_argument(
        "--cluster-id",
        type=_cluster_id,
        metavar="ID",
        help="the id that the restore on the first machine printed",
    )
    parser.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="its first line decrypts the secret of the PINs"
    )
    parser.add_argument(
        "--without-pepper", action="store_true", help="that secret is lost: every PIN has to be reset"
    )


@_reporting
def run_restore(task: Task) -> int:
    """Make new data folders from a backup."""
    options, cluster = task.options, task.cluster
    passphrase = _passphrase(options.passphrase_file)
    wanted = Wanted(
        nodes=tuple(options.node or cluster.nodes),
        index=options.to_index,
        time_us=options.to_time,
        cluster_id=options.cluster_id or "",
        pepper_known=not options.without_pepper,
        preview=options.preview,
    )
    with closing(BackupFolder(options.folder)) as folder:
        assert folder.manifest is not None
        about_pepper = "Without the PINs' secret: no customer's PIN is right, an operator has to reset each"
        if wanted.pepper_known:
            about_pepper = put_pepper_back(folder, cluster, passphrase, preview=True)
        restored = restore(folder, cluster, wanted)
        if wanted.pepper_known:
            about_pepper = put_pepper_back(folder, cluster, passphrase, preview=wanted.preview)
        lines = [*lines_about(restored, folder.manifest.end), about_pepper]
    if wanted.preview:
        lines.append("This was a preview: nothing was written")
    else:
        if restored.cut_off.requests:
            lines.append(f"All that was cut off is listed in {cut_off_path(cluster, restored)}")
        names = ", ".join(wanted.nodes)
        if cluster.engine.kind == POSTGRESQL:
            lines.append(
                f"Restored into PostgreSQL as the new bank {restored.cluster}, and compared row by row"
            )
            return task.finish("\n".join(lines), msgspec.to_builtins(restored))
        lines.append(f"Restored {names} in {cluster.data_dir} as the new cluster {restored.cluster}")
        others = [name for name in cluster.nodes if name not in wanted.nodes]
        if others:
            lines.append(
                f"Restore {', '.join(others)} on their machines with --cluster-id {restored.cluster} before "
                "any node is started: nodes with empty folders would begin another bank"
            )
    return task.finish("\n".join(lines), msgspec.to_builtins(restored))


# -- recover ---------------------------------------------------------------------------------------------


def add_recover_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "nodes",
        nargs="+",
        metavar="NODE",
        help="the nodes that are left; all their data folders are on this machine",
    )
    parser.add_argument(
        "--yes", action="store_true", help="do it; without it only what would be lost is said"
    )


@_reporting
def run_recover(task: Task) -> int:
    """Make a new cluster of the nodes that are left after a majority was lost for good."""
    nodes, yes = task.options.nodes, task.options.yes
    kept: list[Path] = []
    if yes:
        plan, kept = recover(task.cluster, nodes)
    else:
        plan = plan_recovery(task.cluster, nodes)
    lines = _lines_about(plan)
    if not yes:
        lines.append(
            "Nothing was changed: with --yes these nodes become a new cluster, and the lost ones are "
            "never let in"
        )
        return task.finish("\n".join(lines), msgspec.to_builtins(plan), REFUSED)
    names = ", ".join(dict.fromkeys(nodes))
    lines.append(
        f"The new cluster {plan.cluster} is {names}. The old folders are {', '.join(map(str, kept))}"
    )
    lines.append(f"Start them with a cluster.ini that names {names} and no other node")
    return task.finish("\n".join(lines), msgspec.to_builtins(plan))


def _lines_about(plan: Plan) -> list[str]:
    end = plan.newest.end
    lines = [
        f"Node {each.node} ends with entry {each.end.index} of term {each.end.term}, {utc(each.end.time_us)}"
        for each in plan.survivors
    ]
    lines.append(f"The newest log is that of node {plan.newest.node}: the books go on from entry {end.index}")
    if end.index > plan.committed:
        lines.append(
            f"Entries {plan.committed + 1} to {end.index} are not known to be acknowledged: they are "
            "carried out"
        )
    lost = [node for node in plan.old_voters if node not in {each.node for each in plan.survivors}]
    lines.append(
        f"MAY BE LOST: whatever was acknowledged after {utc(end.time_us)} by the lost nodes alone "
        f"({', '.join(lost)}; "
        f"{plan.majority} of {len(plan.old_voters)} were enough). How much that is, only they know. Cash "
        "may have left "
        "for it, and a teller that asks again is served anew"
    )
    return lines


# -- drill -----------------------------------------------------------------------------------------------


def add_drill_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the backup is")


@_reporting
def run_drill(task: Task) -> int:
    """Restore a backup into a temporary folder, let that bank serve, and compare it with the backup."""
    with closing(BackupFolder(task.options.folder)) as folder:
        done = drill(folder, task.progress)
    end = done.restored.end
    lines = [
        f"Restored entry {end.index} ({utc(end.time_us)}) in {done.restore_s:.1f} s; "
        f"{', '.join(done.nodes)} served {done.serving_s:.1f} s later, and are stopped"
    ]
    if done.problems:
        lines += [
            *done.problems,
            "THE RESTORED BANK IS NOT THE ONE THAT WAS BACKED UP: take another backup now",
        ]
        return task.finish("\n".join(lines), msgspec.to_builtins(done), REFUSED)
    lines.append(f"All {done.balances:,} balances, the journal and its hashes are those of the backup")
    return task.finish("\n".join(lines), msgspec.to_builtins(done))


# -- parts -----------------------------------------------------------------------------------------------


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


def _days(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise argparse.ArgumentTypeError("a number of days, such as 30")
    return int(text)


def _cluster_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise argparse.ArgumentTypeError(
            "a cluster id has 32 hexadecimal digits, as the first restore printed it"
        )
    return text


def _now_us() -> int:
    return time.time_ns() // 1000
