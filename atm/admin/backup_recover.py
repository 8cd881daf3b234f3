"""After a majority was lost for good: the nodes that are left become a cluster of their own, offline.

The newest of their logs is taken as a whole, by Raft's own order (term and index of the last entry). An
entry in it that was never committed is carried out, too: nobody was told that it failed. What only the lost
nodes had is lost.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from atm.admin.backup_rebuild import apply_entries
from atm.admin.new_folders import NewCluster, founders_of, new_cluster_id, take_over, write_folder
from atm.checkout import command_here
from atm.config import LEDGER_FILE, Cluster, ConfigError
from atm.files import sync_folder
from atm.ledger.audit.read_only import DamagedLedger, NoLedger, open_read_only
from atm.ledger.epoch import Epoch
from atm.ledger.ledger import Ledger
from atm.ledger.snapshot import LedgerState, NotMade, make, read_state
from atm.raft.messages import Entry
from atm.server.group.entry_validator import Unusable
from atm.storage.backup_folder import BackupRefused
from atm.storage.data_folder import NODE_FILE, DataFolder
from atm.storage.entry_file import Position
from atm.storage.read_only_log import ReadOnlyLog
from atm.storage.snapshots import SNAPSHOT_FOLDER, newest_in, wrong_with


class Survivor(Struct, frozen=True, kw_only=True):
    """What a node's folder holds; `committed` is as far as it knows."""

    node: str
    end: Position
    committed: int


class Plan(Struct, frozen=True, kw_only=True):
    """Which log the new cluster goes on from, and what the old one was."""

    old_cluster: str
    old_voters: tuple[str, ...]
    survivors: tuple[Survivor, ...]
    newest: Survivor
    cluster: str

    @property
    def majority(self) -> int:
        """How many nodes of the old cluster were a majority."""
        return len(self.old_voters) // 2 + 1

    @property
    def committed(self) -> int:
        return max(each.committed for each in self.survivors)


def plan_recovery(cluster: Cluster, names: Sequence[str]) -> Plan:
    """Look at the folders of these nodes, which must not run; raise `BackupRefused`. Nothing is changed."""
    with ExitStack() as locks:
        folders = [locks.enter_context(closing(_opened(cluster, name))) for name in dict.fromkeys(names)]
        return _plan(folders)


def recover(cluster: Cluster, names: Sequence[str]) -> tuple[Plan, list[Path]]:
    """Do it; return the plan, and where the old folders are now."""
    names = list(dict.fromkeys(names))
    with ExitStack() as locks:
        folders = [locks.enter_context(closing(_opened(cluster, name))) for name in names]
        plan = _plan(folders)
        best = next(each for each in folders if each.owner.node == plan.newest.node)
        with TemporaryDirectory(prefix="recovering-", dir=cluster.data_dir) as made:
            work = Path(made)
            ledger = _ledger_at_the_end(best.path, plan.newest.end, work / LEDGER_FILE)
            epoch = Epoch(
                op="recovered",
                cluster=plan.cluster,
                founders=founders_of(cluster, names),
                old_cluster=plan.old_cluster,
                log_index=plan.newest.end.index,
                time_us=plan.newest.end.time_us,
            )
            new = NewCluster(epoch=epoch, end=plan.newest.end, pepper=best.owner.pepper)
            take_over(ledger, new)
            for name in names:
                write_folder(work / name, name, ledger, new)
            return plan, _exchange(work, folders)


def _opened(cluster: Cluster, name: str) -> DataFolder:
    if name not in cluster.nodes:
        raise ConfigError(f"{cluster.path}: there is no node {name!r}, only {', '.join(cluster.nodes)}")
    if not (cluster.data_dir / name / NODE_FILE).exists():
        raise BackupRefused(
            f"{cluster.data_dir / name} is no data folder of node {name}: copy the folders of all nodes "
            "that are left "
            "to this machine, and recover them together"
        )
    return DataFolder(cluster, name)


def _plan(folders: Sequence[DataFolder]) -> Plan:
    ids = {folder.cluster_id for folder in folders}
    if len(ids) > 1 or "" in ids:
        names = ", ".join(f"{folder.owner.node} of {folder.cluster_id or 'none yet'}" for folder in folders)
        raise BackupRefused(f"these folders are not of one cluster: {names}")
    survivors = tuple(map(_survivor, folders))
    newest = max(survivors, key=lambda each: (each.end.term, each.end.index))
    voters = _ledger(next(each for each in folders if each.owner.node == newest.node).path).voters
    plan = Plan(
        old_cluster=ids.pop(),
        old_voters=voters,
        survivors=survivors,
        newest=newest,
        cluster=new_cluster_id(),
    )
    voting = [each.node for each in survivors if each.node in voters]
    if len(voting) >= plan.majority:
        raise BackupRefused(
            f"{', '.join(voting)} are a majority of {len(voters)}: start them, and the bank goes on with "
            "nothing lost. "
            f"Bring the others back with {command_here('admin')} replace or remove"
        )
    return plan


def _survivor(folder: DataFolder) -> Survivor:
    name = folder.owner.node
    log, snapshot = ReadOnlyLog(folder.path), newest_in(folder.path / SNAPSHOT_FOLDER)
    if log.damage is not None:
        raise BackupRefused(f"the log of node {name} cannot be read: {log.damage}. Leave that node out")
    if len(log):
        (last,) = log.entries(log.last_index, log.last_index)
        end = Position(last.index, last.term, last.time_us)
    elif snapshot is not None:
        end = Position(snapshot[0].index, snapshot[0].term, snapshot[0].time_us)
    else:
        raise BackupRefused(f"node {name} has no entry of the log: leave it out")
    committed = min(max(log.hard_state.commit_index, _ledger(folder.path).index), end.index)
    return Survivor(node=name, end=end, committed=committed)


def _ledger(folder: Path) -> LedgerState:
    """Return the state of the node's ledger; it may have a write-ahead log."""
    try:
        with open_read_only(folder / LEDGER_FILE) as cursor:
            return read_state(cursor.connection)
    except (NoLedger, DamagedLedger, NotMade) as error:
        raise BackupRefused(f"{error}. Leave that node out") from error


# -- the books -------------------------------------------------------------------------------------------


def _ledger_at_the_end(folder: Path, end: Position, path: Path) -> Path:
    """Make the ledger at `path` as it is once the whole log in `folder` was applied; return its path."""
    log = ReadOnlyLog(folder)
    _copy_ledger(folder, log.first_index if len(log) else end.index + 1, path)
    with closing(Ledger(path)) as ledger:
        try:
            apply_entries(ledger, _behind(log, ledger.applied_index, end.index))
        except Unusable as error:
            raise BackupRefused(f"an entry of the log {error}: see docs/repair.md") from error
        assert ledger.applied_index == end.index
    return path


def _copy_ledger(folder: Path, first_index: int, path: Path) -> None:
    """Copy the node's ledger, or its snapshot if entries behind the ledger are not in the log any more."""
    try:
        if make(folder / LEDGER_FILE, path).index >= first_index - 1:
            return
    except NotMade:
        pass
    found = newest_in(folder / SNAPSHOT_FOLDER)
    if found is None or (wrong := wrong_with(*found)) is not None:
        raise BackupRefused(
            f"{folder / LEDGER_FILE} does not reach the log, which begins at {first_index}, and there is "
            "no sound "
            f"snapshot{'' if found is None else f': {wrong}'}"
        )
    shutil.copyfile(found[1], path)


def _behind(log: ReadOnlyLog, applied_index: int, last: int) -> Iterator[Entry]:
    return log.entries(applied_index + 1, last) if applied_index < last else iter(())


def _exchange(work: Path, folders: Sequence[DataFolder]) -> list[Path]:
    """Put the new folders in the place of the old ones; return where those are now."""
    kept = []
    for folder in folders:
        number = 1
        while (old := folder.path.with_name(f"{folder.path.name}.before-recovery-{number}")).exists():
            number += 1
        folder.path.rename(old)
        (work / folder.path.name).rename(folder.path)
        sync_folder(folder.path.parent)
        kept.append(old)
    return kept
