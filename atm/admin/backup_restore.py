"""Restores a bank from a backup: new data folders, a new cluster id, and a list of what was cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct

from atm.admin.backup_rebuild import index_at, line_to, rebuild, utc
from atm.admin.new_folders import (
    NewCluster,
    founders_of,
    new_cluster_id,
    require_empty,
    take_over,
    write_folder,
)
from atm.config import Cluster, ConfigError
from atm.files import make_folder, sync_folder, write_durably
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.epoch import Epoch
from atm.ledger.posting import POSTINGS_PER_ENTRY
from atm.money import format_amount
from atm.storage.backup_folder import BackupFolder
from atm.storage.entry_file import Position

IDS_SHOWN_MAX = 10

REQUESTS_AFTER = """select request_id, op, account, amount, outcome, log_index, time_us,
    coalesce((select sum(iif(debit_account = 'cash', amount, -amount)) from journal
        where journal.request_id = receipt.request_id and 'cash' in (debit_account, credit_account)), 0)
    from receipt where log_index > ? and op <> 'tombstone' order by log_index"""
SUMS_AFTER = """select coalesce(sum(amount) filter (where debit_account = 'cash'), 0),
    coalesce(sum(amount) filter (where credit_account = 'cash'), 0),
    coalesce(sum(amount) filter (where 'cash' not in (debit_account, credit_account)), 0)
    from journal where posting >= ?"""
BOOKS = "select count(*), coalesce(sum(amount), 0) from balance where account not in ('cash', 'writeoff')"

Report = Callable[[str], None]


class CutRequest(Struct, frozen=True, kw_only=True):
    """A request that the backup knows and the restored bank does not; `cash` above 0 was paid in."""

    request_id: str
    op: str
    account: str | None
    amount: int | None
    outcome: str
    log_index: int
    time_us: int
    cash: int


class CutOff(Struct, frozen=True, kw_only=True):
    """All that is behind the restored index, in minor units."""

    requests: tuple[CutRequest, ...]
    paid_in: int
    paid_out: int
    moved: int


class Wanted(Struct, frozen=True, kw_only=True):
    """What to restore, and for which nodes of the new cluster.ini on this machine."""

    nodes: tuple[str, ...]
    index: int | None = None
    time_us: int | None = None
    cluster_id: str = ""
    pepper_known: bool = True
    preview: bool = False


class Restored(Struct, frozen=True, kw_only=True):
    """What was restored, or would be."""

    cluster: str
    end: Position
    accounts: int
    customers_sum: int
    cut_off: CutOff


def restore(folder: BackupFolder, cluster: Cluster, wanted: Wanted) -> Restored:
    """Make the data folders, or with `preview` nothing; raise `BackupRefused` and `DamagedBackup`."""
    manifest = folder.manifest
    assert manifest is not None
    for name in wanted.nodes:
        if name not in cluster.nodes:
            raise ConfigError(f"{cluster.path}: there is no node {name!r}, only {', '.join(cluster.nodes)}")
    require_empty(cluster, wanted.nodes)
    index = wanted.index if wanted.time_us is None else index_at(folder, wanted.time_us)
    index, line = line_to(folder, index)
    with _work_folder(cluster.data_dir, preview=wanted.preview) as work:
        ledger = work / "ledger.db"
        end = rebuild(folder, line, index, ledger)
        accounts, total = _books(ledger)
        epoch = Epoch(
            op="restored",
            cluster=wanted.cluster_id or new_cluster_id(),
            founders=founders_of(cluster, list(cluster.nodes)),
            old_cluster=manifest.cluster,
            log_index=end.index,
            time_us=end.time_us,
        )
        found = Restored(
            cluster=epoch.cluster,
            end=end,
            accounts=accounts,
            customers_sum=total,
            cut_off=_cut_off(folder, end, work / "end.db"),
        )
        if not wanted.preview:
            new = NewCluster(
                epoch=epoch, end=end, pepper=manifest.pepper or None if wanted.pepper_known else None
            )
            take_over(ledger, new)
            for name in wanted.nodes:
                write_folder(work / name, name, ledger, new)
            _put_in_place(work, cluster.data_dir, wanted.nodes)
            _write_cut_off(cut_off_path(cluster, found), found.cut_off)
    return found


def cut_off_path(cluster: Cluster, restored: Restored) -> Path:
    """Return the file that lists what was cut off."""
    return cluster.data_dir / f"cut-off-{restored.cluster[:8]}.jsonl"


@contextmanager
def _work_folder(data_dir: Path, *, preview: bool) -> Iterator[Path]:
    """Yield a folder for what is being made: on the disk where it stays, or elsewhere if it does not."""
    if not preview:
        make_folder(data_dir)
        sync_folder(data_dir.parent)
    with TemporaryDirectory(prefix="restoring-", dir=None if preview else data_dir) as work:
        yield Path(work)


def _put_in_place(work: Path, data_dir: Path, nodes: Sequence[str]) -> None:
    for name in nodes:
        target = data_dir / name
        if target.exists():
            target.rmdir()  # it is empty, or this raises
        (work / name).rename(target)
    sync_folder(data_dir)


def _books(ledger: Path) -> tuple[int, int]:
    with open_read_only(ledger) as cursor:
        books = cursor.execute(BOOKS).fetchall()
    [(accounts, total)] = msgspec.convert(books, list[tuple[int, int]])
    return accounts, total


def _cut_off(folder: BackupFolder, end: Position, path: Path) -> CutOff:
    """Return what the backup's last ledger knows and the one at `end` does not."""
    assert folder.manifest is not None
    if folder.manifest.last_index == end.index:
        return CutOff(requests=(), paid_in=0, paid_out=0, moved=0)
    last, line = line_to(folder, None)
    rebuild(folder, line, last, path)
    with open_read_only(path) as cursor:
        rows = cursor.execute(REQUESTS_AFTER, (end.index,)).fetchall()
        first_posting = (end.index + 1) * POSTINGS_PER_ENTRY
        sums = cursor.execute(SUMS_AFTER, (first_posting,)).fetchall()
    [(paid_in, paid_out, moved)] = msgspec.convert(sums, list[tuple[int, int, int]])
    names = CutRequest.__struct_fields__
    requests = tuple(msgspec.convert(dict(zip(names, row, strict=True)), CutRequest) for row in rows)
    return CutOff(requests=requests, paid_in=paid_in, paid_out=paid_out, moved=moved)


def _write_cut_off(path: Path, cut_off: CutOff) -> None:
    if cut_off.requests:
        lines = map(msgspec.json.encode, cut_off.requests)
        write_durably(path, b"".join(line + b"\n" for line in lines))


# -- words -----------------------------------------------------------------------------------------------


def lines_about(restored: Restored, backup_end: Position) -> list[str]:
    """Return what to say of the restored books, and of what was cut off."""
    end, cut = restored.end, restored.cut_off
    lines = [
        f"The books are as of entry {end.index}, {utc(end.time_us)}: {restored.accounts:,} accounts of "
        "customers "
        f"with {format_amount(restored.customers_sum)} in all"
    ]
    if cut.requests:
        done = sum(request.outcome == "ok" for request in cut.requests)
        shown = ", ".join(request.request_id for request in cut.requests[:IDS_SHOWN_MAX])
        more = f" and {len(cut.requests) - IDS_SHOWN_MAX:,} more" if len(cut.requests) > IDS_SHOWN_MAX else ""
        lines.append(
            f"Cut off: {len(cut.requests):,} requests behind it, {done:,} of them done: "
            f"{format_amount(cut.paid_in)} paid "
            f"in, {format_amount(cut.paid_out)} paid out, {format_amount(cut.moved)} moved between accounts"
        )
        lines.append(
            "CASH MAY HAVE LEFT FOR THEM. The restored bank does not know their ids: a teller that asks "
            "again "
            f"under one is served anew. They are {shown}{more}"
        )
    else:
        lines.append("Nothing that the backup holds was cut off")
    lines.append(
        f"What was acknowledged after the backup's last entry ({utc(backup_end.time_us)}) is in no backup: "
        "it is "
        "lost and not counted here. Compare with the tellers' journals and the cash in the machines"
    )
    return lines
