"""What hurts a bank on PostgreSQL, or will soon: in its servers' own affairs, and with its lanes.

Each question is asked by itself, as an error or a warning ends whatever was asked (engine.py): one that
cannot be asked is told, and keeps no other from being asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from atm.command_line import counted, size
from atm.config import HOME_DATABASE
from atm.lanes.bank import has_bank, read_bank
from atm.lanes.engine import EngineConnection, refusals
from atm.lanes.faults import EngineFault, EngineRefused
from atm.lanes.lane_findings import LanesIn, LanesOf, lane_findings
from atm.lanes.places import LIVING, MOVED, SILENT_S, Moved, read_places

LAG_BYTES_MAX = 128 * 1024 * 1024
TRANSACTION_S_MAX = 600
CONNECTIONS_USED_MAX = 0.9  # of those that are not kept for superusers
TRANSACTION_IDS_MAX = 1_000_000_000  # at twice as many PostgreSQL ends all writing

RIGHTS = "select current_user::text, pg_has_role(current_user, 'pg_read_all_stats', 'usage')"
NAMED = "select current_setting('synchronous_standby_names'), current_setting('cluster_name')"
STANDBYS = """select application_name, state, sync_state,
    coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0)::bigint from pg_stat_replication"""
SLOTS = """select slot_name::text, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
    from pg_replication_slots where not active and restart_lsn is not null order by 2 desc"""
ARCHIVER = """select failed_count, last_failed_wal,
    to_char(last_failed_time at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') from pg_stat_archiver
    where current_setting('archive_mode') <> 'off'
    and last_failed_time > coalesce(last_archived_time, '-infinity')"""
TRANSACTIONS = """select pid, coalesce(usename::text, '?'), coalesce(application_name, ''),
    extract(epoch from now() - xact_start)::bigint from pg_stat_activity
    where now() - xact_start > make_interval(secs => %s) and backend_type = 'client backend'
    order by xact_start"""
PREPARED = """select gid, database::text, extract(epoch from now() - prepared)::bigint from pg_prepared_xacts
    where now() - prepared > make_interval(secs => %s) order by prepared"""
CONNECTIONS = """select (select sum(numbackends) from pg_stat_database)::bigint,
    current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
    - coalesce(current_setting('reserved_connections', true), '0')::bigint"""
OLDEST_ID = """select datname::text, greatest(age(datfrozenxid), mxid_age(datminmxid))::bigint as age
    from pg_database order by age desc limit 1"""
LANES = "select lane, holder from atm.lane"
ARRIVING = "select lane from atm.arriving"
# What receives WAL and replays none keeps it, as pg_receivewal does.
BACKUPS = """select current_setting('archive_mode') <> 'off' or exists (
        select from pg_stat_replication where state = 'streaming' and replay_lsn is null),
    (select floor((extract(epoch from now()) - max(time_us) / 1e6) / 86400)::bigint from atm.deed
        where lane = 0 and op = 'backup_begin' and outcome = 'ok')"""
# Whether `bin/admin lanes move` is at work: it has this lock (moving.py).
MOVES = """select exists (select from pg_locks where locktype = 'advisory' and objsubid = 1
    and (classid::bigint << 32 | objid::bigint) = hashtext('atm.lanes.move')::bigint
    and database = (select oid from pg_database where datname = current_database()))"""

Found = tuple[str, str]  # what it is about, in a word, and a sentence
Question = Callable[[EngineConnection], Iterator[Found]]


def diagnose(urls: Mapping[str, str], lanes: int) -> Iterator[Found]:
    """Yield what is found in the databases of a bank with so many lanes, and then about its lanes."""
    lanes_in: dict[str, LanesIn] = {}
    lanes_of: LanesOf | None = None
    for name, url in urls.items():
        with closing(_Database(name, url, lanes)) as database:
            for about, text in database.findings():
                yield about, text if len(urls) == 1 else f"{name}: {text}"
        if database.lanes_in is not None:
            lanes_in[name] = database.lanes_in
        lanes_of = database.lanes_of or lanes_of
    if lanes_of is not None and HOME_DATABASE in lanes_in:
        yield from lane_findings(urls, lanes_of, lanes_in)


class _Database:
    """One database, asked over one connection, or the next one where a question has cost that; to be closed.

    `lanes_in` and `lanes_of` are None where they could not be read.
    """

    def __init__(self, name: str, url: str, lanes: int) -> None:
        self._is_home, self._url, self._lanes = name == HOME_DATABASE, url, lanes
        self._engine: EngineConnection | None = None
        self.lanes_in: LanesIn | None = None
        self.lanes_of: LanesOf | None = None

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def findings(self) -> Iterator[Found]:
        """Yield what is found, the worst first."""
        questions: dict[str, Question] = {
            "its settings": _settings,
            "its standbys": _standbys,
            "its lanes": self._look_at_lanes,
            "its replication slots": _slots,
            "its archive": _archive,
            "its connections": _connections,
            "its transactions": _transactions,
            "its prepared transactions": _prepared,
            "its transaction ids": _transaction_ids,
            "the rights of its role": _rights,
        }
        for what, question in questions.items():
            try:
                engine = self._connected()
            except (EngineFault, EngineRefused) as error:
                why = str(error).rstrip(".?")
                yield "database", f"PostgreSQL cannot be asked: {why}. See whether it runs, and its log"
                return
            try:
                yield from question(engine)
            except EngineRefused as error:
                yield "database", str(error)
            except EngineFault as fault:
                yield "database", f"{what} cannot be looked at: {fault}"

    def _connected(self) -> EngineConnection:
        if self._engine is not None and self._engine.psycopg.closed:
            self._engine.close()
            self._engine = None
        self._engine = self._engine or EngineConnection(self._url, refuses=False)
        return self._engine

    def _look_at_lanes(self, engine: EngineConnection) -> Iterator[Found]:
        """Keep what there is of lanes; yield what keeps a server from starting here."""
        with engine.asking():
            if not has_bank(engine) and not self._is_home:
                return
        bank = read_bank(engine, home=self._is_home)
        moved = [Moved(*row) for row in _rows(engine, MOVED)]
        arriving = [lane for (lane,) in _rows(engine, ARRIVING)]
        [(archives, backup_days)] = _rows(engine, BACKUPS)
        holders = dict(_rows(engine, LANES))
        self.lanes_in = LanesIn(bank.id, holders, moved, arriving, archives, backup_days)
        if self._is_home:
            living = [name for (name,) in _rows(engine, LIVING, (SILENT_S,))]
            [(is_moving,)] = _rows(engine, MOVES)
            self.lanes_of = LanesOf(read_places(engine, bank.lanes), living, is_moving)
        if bank.lanes != self._lanes:
            yield (
                "cluster.ini",
                f"the bank has lanes = {bank.lanes}, and cluster.ini here says {self._lanes}: a server with "
                "that file does not start. Correct it",
            )


def _rows(engine: EngineConnection, sql: str, values: Sequence[object] = ()) -> list[Any]:
    with engine.asking():
        return engine.psycopg.execute(sql.encode(), values or None).fetchall()


# -- PostgreSQL ------------------------------------------------------------------------------------------


def _settings(engine: EngineConnection) -> Iterator[Found]:
    with engine.asking():
        found = list(refusals(engine.psycopg))
    for why in found:
        yield "settings", f"{why}. A server that connects with this refuses to start"


def _standbys(engine: EngineConnection) -> Iterator[Found]:
    [(setting, own_name)] = _rows(engine, NAMED)
    rows = _rows(engine, STANDBYS)
    needed, named = wanted_standbys(setting)
    if not named:
        yield (
            "standbys",
            "synchronous_standby_names is empty: what is acknowledged is on one disk, and lost with it, even "
            f"if standbys follow ({len(rows)} here). Name them there (docs/postgresql.md)",
        )
    else:
        # Who may not see the state is told so by `_rights`; then as many stream as are connected, at most.
        streaming = [row for row in rows if row[1] in (None, "streaming") and row[2] != "async"]
        names = {str(row[0]).lower() for row in streaming}
        missing = [name for name in named if name.lower() not in {*names, own_name.lower(), "*"}]
        yield from _too_few(setting, needed, len(streaming), missing, all(row[1] for row in rows))
    for name, _, _, lag_bytes in rows:
        if lag_bytes > LAG_BYTES_MAX:
            yield (
                "standbys",
                f"standby {name} has {size(lag_bytes)} to replay: as the next primary it would do that "
                "first, and the bank would wait. See its load, and whether pg_wal_replay_pause was called",
            )


def _too_few(
    setting: str, needed: int, streaming: int, missing: Sequence[str], is_readable: bool
) -> Iterator[Found]:
    start = (
        f"Start {', '.join(missing)}, or see their logs" if missing else "Start one more, or see their logs"
    )
    if streaming < needed:
        yield (
            "standbys",
            f"the bank stands still, as commits wait: synchronous_standby_names = {setting} asks for "
            f"{needed}, and {streaming} of these follow. {start}",
        )
    elif streaming == needed and missing and is_readable:
        yield (
            "standbys",
            f"of synchronous_standby_names = {setting} only as many follow as it asks for: if one more "
            f"ends, the bank stands still. {start}",
        )


def wanted_standbys(setting: str) -> tuple[int, list[str]]:
    """Return how many standbys synchronous_standby_names asks for, and the names of which."""
    counted_ones = re.fullmatch(r"\s*(?:(?:any|first)\b)?\s*(\d+)\s*\((.*)\)\s*", setting, re.I | re.S)
    needed, listed = (int(counted_ones[1]), counted_ones[2]) if counted_ones else (1, setting)
    pairs = re.findall(r'"((?:[^"]|"")+)"|([^\s,"]+)', listed)
    return needed, [quoted.replace('""', '"') or plain for quoted, plain in pairs]


def _slots(engine: EngineConnection) -> Iterator[Found]:
    for name, held_bytes in _rows(engine, SLOTS):
        yield (
            "slots",
            f"nobody uses replication slot {name}, which holds back {size(held_bytes)} of WAL, more and more "
            f"until the disk is full: start what used it, or select pg_drop_replication_slot('{name}')",
        )


def _archive(engine: EngineConnection) -> Iterator[Found]:
    for count, file, time in _rows(engine, ARCHIVER):
        yield (
            "archive",
            f"WAL is not archived, {counted(count, 'time')} and last at {time} ({file}): backups lack what "
            "came since, and pg_wal grows until the disk is full. See archive_command and PostgreSQL's log",
        )


def _connections(engine: EngineConnection) -> Iterator[Found]:
    [(used, usable)] = _rows(engine, CONNECTIONS)
    if used >= CONNECTIONS_USED_MAX * usable:
        yield (
            "connections",
            f"{used} of {usable} connections are in use: a server that takes lanes over may get none. See "
            "who has them (pg_stat_activity), or raise max_connections",
        )


def _transactions(engine: EngineConnection) -> Iterator[Found]:
    for pid, role, program, age_s in _rows(engine, TRANSACTIONS, (TRANSACTION_S_MAX,)):
        yield (
            "transactions",
            f"a transaction of {role} ({program or 'without a name'}, process {pid}) has been open for "
            f"{_age(age_s)}: nothing is cleaned up meanwhile, and the bank gets slower. End it, or "
            f"select pg_terminate_backend({pid})",
        )


def _prepared(engine: EngineConnection) -> Iterator[Found]:
    for name, database, age_s in _rows(engine, PREPARED, (TRANSACTION_S_MAX,)):
        yield (
            "transactions",
            f"prepared transaction {name} in the database {database} has waited for {_age(age_s)}, and the "
            "bank prepares none: nothing is cleaned up meanwhile, and the bank gets slower. Commit it there, "
            "or roll it back",
        )


def _transaction_ids(engine: EngineConnection) -> Iterator[Found]:
    [(database, age)] = _rows(engine, OLDEST_ID)
    if age > TRANSACTION_IDS_MAX:
        yield (
            "transactions",
            f"the oldest transaction id in {database} is {age:,} behind, and at 2.1 billion PostgreSQL ends "
            "all writing. See what keeps autovacuum from freezing (an old transaction, a slot), then VACUUM "
            "there",
        )


def _rights(engine: EngineConnection) -> Iterator[Found]:
    [(role, may_read)] = _rows(engine, RIGHTS)
    if not may_read:
        yield (
            "rights",
            "whether standbys stream and how far they are behind, and how long transactions of others are "
            f"open, is not readable: grant pg_monitor to {role}",
        )


def _age(seconds: int) -> str:
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    return (
        counted(days, "day")
        if days > 1
        else counted(hours, "hour")
        if hours > 1
        else counted(minutes, "minute")
    )
