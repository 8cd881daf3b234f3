"""Restores a bank from a backup: new data folders, a new cluster id, and a list of what was cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import msgspec
from msgspec import Struct

from atm.admin.backup_rebuild import index_at, line_to, rebuild, utc
from atm.admin.lanes import backup_lanes
from atm.admin.new_folders import (
    NewCluster,
    founders_of,
    new_cluster_id,
    require_empty,
    take_over,
    write_folder,
)
from atm.command_line import counted
from atm.config import POSTGRESQL, Cluster, ConfigError
from atm.files import make_folder, sync_folder, write_durably
from atm.ledger.audit.extract import with_currency
from atm.ledger.audit.read_only import open_read_only
from atm.ledger.epoch import Epoch
from atm.ledger.posting import POSTINGS_PER_ENTRY
from atm.money import format_amount
from atm.storage.backup_folder import BackupFolder
from atm.storage.entry_file import Position

IDS_SHOWN_MAX = 10

REQUESTS_AFTER = """select request_id, op, account, amount, outcome, log_index, time_us,
    coalesce((select sum(iif({is_in}, amount, -amount)) from journal
        where journal.request_id = receipt.request_id and ({is_in} or {is_out})), 0),
    (select {currency} from journal {join} where journal.request_id = receipt.request_id limit 1)
    from receipt where log_index > ? and op <> 'tombstone' order by log_index"""
SUMS_AFTER = """select coalesce(sum(amount) filter (where {is_in}), 0),
    coalesce(sum(amount) filter (where {is_out}), 0),
    coalesce(sum(amount) filter (where not {is_in} and not {is_out}), 0), {currency}
    from journal {join} where posting >= ? group by 4 order by 4"""
BOOKS = """select count(*), sum(amount), {currency} from balance {join}
    where balance.account not in ('cash', 'writeoff') and instr(balance.account, ':') = 0
    group by 3 order by 3"""
# Cash of any currency: see own_accounts.py.
IS_IN = "substr(debit_account || ':', 1, 5) = 'cash:'"
IS_OUT = "substr(credit_account || ':', 1, 5) = 'cash:'"

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
    currency: str | None = None  # of what it moved; None: the bank's first


class CutSums(Struct, frozen=True):
    """What is behind the restored index in one currency (None: the bank's first), in minor units."""

    paid_in: int
    paid_out: int
    moved: int
    currency: str | None = None


class CutOff(Struct, frozen=True, kw_only=True):
    """All that is behind the restored index."""

    requests: tuple[CutRequest, ...]
    sums: tuple[CutSums, ...]


class Books(Struct, frozen=True):
    """The customers' accounts in one currency (None: the bank's first), and what is on them."""

    accounts: int
    total: int
    currency: str | None = None


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
    books: tuple[Books, ...]
    cut_off: CutOff


def restore(folder: BackupFolder, cluster: Cluster, wanted: Wanted) -> Restored:
    """Make the data folders, or with `preview` nothing; raise `BackupRefused` and `DamagedBackup`."""
    manifest = folder.manifest
    assert manifest is not None
    for name in wanted.nodes:
        if name not in cluster.nodes:
            raise ConfigError(f"{cluster.path}: there is no node {name!r}, only {', '.join(cluster.nodes)}")
    on_postgresql = cluster.engine.kind == POSTGRESQL
    if on_postgresql:
        if cluster.engine.lanes > 1:
            raise ConfigError(
                f"{cluster.path}: [engine] lanes: a ledger has one chain, and becomes a bank of one lane: "
                "restore it with lanes = 1"
            )
        backup_lanes().require_no_bank(cluster.engine.url)
    else:
        require_empty(cluster, wanted.nodes)
    index = wanted.index if wanted.time_us is None else index_at(folder, wanted.time_us)
    index, line = line_to(folder, index)
    with _work_folder(cluster.data_dir, preview=wanted.preview) as work:
        ledger = work / "ledger.db"
        end = rebuild(folder, line, index, ledger)
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
            books=_books(ledger),
            cut_off=_cut_off(folder, end, work / "end.db"),
        )
        if not wanted.preview:
            new = NewCluster(
                epoch=epoch, end=end, pepper=manifest.pepper or None if wanted.pepper_known else None
            )
            take_over(ledger, new)
            if on_postgresql:
                _load(cluster, ledger, new)
                _write_cut_off(cut_off_path(cluster, found), found.cut_off)
                return found
            for name in wanted.nodes:
                write_folder(work / name, name, ledger, new)
            _put_in_place(work, cluster.data_dir, wanted.nodes)
            _write_cut_off(cut_off_path(cluster, found), found.cut_off)
    return found


def _load(cluster: Cluster, ledger: Path, new: NewCluster) -> None:
    """Make the ledger the books of a bank on PostgreSQL."""
    loading = backup_lanes()
    end = loading.LoadedFrom(term=new.end.term, time_us=new.end.time_us, pepper=new.pepper or "")
    loading.load_ledger(cluster.engine.url, ledger, end)


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


def _books(ledger: Path) -> tuple[Books, ...]:
    with open_read_only(ledger) as cursor:
        rows = cursor.execute(with_currency(cursor, BOOKS, "balance.account")).fetchall()
    return tuple(Books(*row) for row in msgspec.convert(rows, list[tuple[int, int, str | None]]))


def _cut_off(folder: BackupFolder, end: Position, path: Path) -> CutOff:
    """Return what the backup's last ledger knows and the one at `end` does not."""
    assert folder.manifest is not None
    if folder.manifest.last_index == end.index:
        return CutOff(requests=(), sums=())
    last, line = line_to(folder, None)
    rebuild(folder, line, last, path)
    with open_read_only(path) as cursor:
        rows = cursor.execute(_of_cash(cursor, REQUESTS_AFTER), (end.index,)).fetchall()
        first_posting = (end.index + 1) * POSTINGS_PER_ENTRY
        sums = cursor.execute(_of_cash(cursor, SUMS_AFTER), (first_posting,)).fetchall()
    by_currency = msgspec.convert(sums, list[tuple[int, int, int, str | None]])
    names = CutRequest.__struct_fields__
    requests = tuple(msgspec.convert(dict(zip(names, row, strict=True)), CutRequest) for row in rows)
    return CutOff(requests=requests, sums=tuple(CutSums(*row) for row in by_currency))


def _of_cash(cursor: apsw.Cursor, sql: str) -> str:
    filled = sql.replace("{is_in}", IS_IN).replace("{is_out}", IS_OUT)
    return with_currency(cursor, filled, "debit_account")


def _write_cut_off(path: Path, cut_off: CutOff) -> None:
    if cut_off.requests:
        lines = map(msgspec.json.encode, cut_off.requests)
        write_durably(path, b"".join(line + b"\n" for line in lines))


# -- words -----------------------------------------------------------------------------------------------


def _words_of(sums: CutSums) -> str:
    paid_in, paid_out, moved = (
        format_amount(amount, sums.currency) for amount in (sums.paid_in, sums.paid_out, sums.moved)
    )
    return f"{paid_in} paid in, {paid_out} paid out, {moved} moved between accounts"


def lines_about(restored: Restored, backup_end: Position) -> list[str]:
    """Return what to say of the restored books, and of what was cut off."""
    end, cut, books = restored.end, restored.cut_off, restored.books
    totals = " and ".join(format_amount(each.total, each.currency) for each in books)
    sums = "; ".join(map(_words_of, cut.sums or (CutSums(0, 0, 0),)))
    accounts = sum(each.accounts for each in books)
    lines = [
        f"The books are as of entry {end.index}, {utc(end.time_us)}: {counted(accounts, 'account')} of "
        f"customers with {totals} in all"
    ]
    if cut.requests:
        done = sum(request.outcome == "ok" for request in cut.requests)
        shown = ", ".join(request.request_id for request in cut.requests[:IDS_SHOWN_MAX])
        more = f" and {len(cut.requests) - IDS_SHOWN_MAX:,} more" if len(cut.requests) > IDS_SHOWN_MAX else ""
        lines.append(
            f"Cut off: {counted(len(cut.requests), 'request')} behind it, {done:,} of them done: {sums}"
        )
        lines.append(
            "CASH MAY HAVE LEFT FOR THEM. The restored bank does not know their ids: a teller that asks "
            f"again under one is served anew. They are {shown}{more}"
        )
    else:
        lines.append("Nothing that the backup holds was cut off")
    lines.append(
        f"What was acknowledged after the backup's last entry ({utc(backup_end.time_us)}) is in no backup: "
        "it is "
        "lost and not counted here. Compare with the tellers' journals and the cash in the machines"
    )
    return lines
