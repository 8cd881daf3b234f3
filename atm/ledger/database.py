"""The SQLite file of the ledger: opened, checked, written by one connection; writes of others are detected.

Why a node uses WAL with synchronous=NORMAL: after a power cut the file is consistent at some earlier index,
and the durable Raft log is replayed from there. A sync for each commit would gain nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import apsw

from atm.checkout import command_here
from atm.files import rename_durably, sync_folder

SCHEMA = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
LEVEL_2_TABLES = Path(__file__).with_name("schema_4.sql").read_text(encoding="utf-8")
SCHEMA_VERSION = 3  # of a new ledger
LEVEL_2_SCHEMA_VERSION = 4  # with `LEVEL_2_TABLES`, which the cluster's feature level 2 adds
SCHEMAS = {SCHEMA_VERSION: (SCHEMA,), LEVEL_2_SCHEMA_VERSION: (SCHEMA, LEVEL_2_TABLES)}

BUSY_TIMEOUT_MS = 5000
CACHE_KIB = 8192
UNCACHED_KIB = 64  # of the connection that reads pages anew: what it needs to walk down a tree
# The WAL takes whole pages: with pages of 4096 bytes a commit of one command is a fifth slower.
PAGE_BYTES = 2048
# 4 MB, checkpointed within 3 to 7 ms. The cost is by the byte, so a larger WAL would only pause longer.
CHECKPOINT_PAGES = 2000
WAL_BYTES_MAX = 20 * 1024 * 1024  # a WAL that a long reader let grow beyond this is cut to it

BESIDE = ("-wal", "-shm", "-journal")  # SQLite's files beside a database

NORMAL, FULL = 1, 2  # the values of SQLite's `synchronous`

PRAGMAS: tuple[tuple[str, str | int], ...] = (
    ("page_size", PAGE_BYTES),  # before the file has any page
    ("journal_mode", "wal"),
    ("journal_size_limit", WAL_BYTES_MAX),
    ("synchronous", NORMAL),  # unless the ledger is opened with another
    ("cache_size", -CACHE_KIB),
    ("cell_size_check", 1),  # detects some damage that would otherwise be read as data
    ("foreign_keys", 0),  # what a row refers to is written before it, in its transaction; `verify` checks
    ("trusted_schema", 0),
)
FILE_ONLY = {"journal_mode", "journal_size_limit"}  # a database in memory has no WAL

DETAIL_CHARS_MAX = 200
MOVE_THE_BOOKS = (
    f"export the books with that release ({command_here('ledger')} export) and import them into a new "
    f"cluster with this one ({command_here('ledger')} import), as docs/upgrade.md says"
)
REBUILD = "Stop the node, delete {path} with its -wal and -shm, start again: the Raft log rebuilds it"


class LedgerFault(Exception):
    """The ledger cannot be used. `str()` of it is one line: the file, what is wrong, what to do."""


class LedgerDamaged(LedgerFault):
    """The contents of the file are wrong; `what` says how, without advice. The log has all for a new one."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(f"{path} {what}. {REBUILD.format(path=path)}")
        self.what = f"{path} {what}"


class Database:
    """One connection to the ledger's file, and one that reads it anew. Used by one thread at a time.

    After a fault every later call raises it again: the file's contents are unknown until it is reopened.
    Only a lock that another program holds too long leaves the database usable, since nothing had begun.
    """

    def __init__(self, path: Path | str, *, synchronous: int = NORMAL) -> None:
        """Open the ledger at `path`, or create one that has applied nothing; raise `LedgerFault`.

        With `FULL` every commit is on disk when it returns: for uses without a log to replay.
        """
        self.path = path
        self._synchronous = synchronous
        self._in_memory = path == ":memory:"
        self._fault: LedgerFault | None = None
        self._wal_pages = 0  # in the WAL at the last commit
        self._checkpoint_pages = 0  # in the WAL at the last checkpoint
        self._second: apsw.Connection | None = None  # for `uncached_cursor`
        with self._faults():
            self._connection = apsw.Connection(str(path))
        try:
            with self._faults():
                self._set_up()
        except LedgerFault:
            self.close()
            raise

    def cursor(self) -> apsw.Cursor:
        """Return a cursor to keep: its statements stay prepared."""
        return self._connection.cursor()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block as one write transaction: all of it or nothing; raise `LedgerFault`.

        Waits up to `BUSY_TIMEOUT_MS` for a lock that another program holds.
        """
        with self._faults():
            self._execute("begin immediate")
            try:
                self._assert_no_foreign_write()
                yield
                self._execute("commit")
            except BaseException:
                if self._connection.in_transaction:
                    self._execute("rollback")
                raise
            self._checkpoint_when_due()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Run the block, then check that no other program wrote what it read; raise `LedgerFault`."""
        with self._faults():
            yield
            self._assert_no_foreign_write()

    def replaced_by(self, prepared: Path) -> Database:
        """Close this file, put `prepared` in its place, durably, and return that one opened."""
        path = Path(self.path)
        self.close()
        try:
            put_in_place(prepared, path)
        except OSError as error:
            raise LedgerFault(
                f"{path} cannot be replaced ({error.strerror or error}): check the disk and start again; the "
                "snapshot that was to be installed is kept, and nothing is lost"
            ) from error
        return Database(path, synchronous=self._synchronous)

    @property
    def has_level_2_tables(self) -> bool:
        """Whether the ledger has the tables of `LEVEL_2_TABLES`."""
        return schema_version_of(self._connection) == LEVEL_2_SCHEMA_VERSION

    def add_level_2_tables(self) -> None:
        """Add the tables of `LEVEL_2_TABLES` if they are not there, within the caller's transaction."""
        if self.has_level_2_tables:
            return
        self._execute(LEVEL_2_TABLES)
        self._execute("update applied set schema_version = ?", (LEVEL_2_SCHEMA_VERSION,))

    def uncached_cursor(self) -> apsw.Cursor:
        """Return a cursor that reads the file itself, past all caches; to be used in `reading`."""
        if self._in_memory:
            return self._connection.cursor()
        if self._second is None:
            self._second = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            self._second.set_busy_timeout(BUSY_TIMEOUT_MS)
            for pragma in (f"cache_size = -{UNCACHED_KIB}", "cell_size_check = 1", "trusted_schema = 0"):
                self._second.execute(f"pragma {pragma}")
        self._second.release_memory()  # while nothing is written, the connection keeps what it has read
        return self._second.cursor()

    def close(self) -> None:
        """Close the file; the last connection checkpoints the WAL. A second call does nothing."""
        if self._second is not None:
            self._second.close(True)
        self._connection.close(True)

    def damage(self, what: str) -> LedgerDamaged:
        """Return the fault that says `what` is wrong with the contents, and how to rebuild them."""
        return LedgerDamaged(self.path, what)

    # -- opening -----------------------------------------------------------------------------------

    def _set_up(self) -> None:
        self._connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        self._execute = self._connection.cursor().execute
        if self._rows("select 1 from sqlite_schema"):
            self._check_contents()  # first, so that a file of another program is not changed
            self._set_pragmas()
        else:
            self._set_pragmas()
            self._create()
        self._data_version = self._read_data_version()
        self._connection.set_wal_hook(self._note_wal_pages)

    def _set_pragmas(self) -> None:
        for name, wanted in (dict(PRAGMAS) | {"synchronous": self._synchronous}).items():
            if self._in_memory and name in FILE_ONLY:
                continue
            self._connection.pragma(name, wanted)
            found = self._connection.pragma(name)
            if found != wanted:
                raise LedgerFault(
                    f"{self.path}: SQLite refused {name}={wanted} and kept {found}: "
                    "keep the data folder on a local disk that the node may write to"
                )

    def _create(self) -> None:
        self._execute("begin immediate")
        self._execute(SCHEMA)
        self._execute("commit")

    def _check_contents(self) -> None:
        """Refuse a file that a few quick checks show is no ledger of this program."""
        names = {str(name) for (name,) in self._rows("select name from sqlite_schema")}
        if "applied" not in names:
            raise self.damage("is a database, but not a ledger")
        version = schema_version_of(self._connection)
        if version not in SCHEMAS:
            raise self._another_version(version)
        if schema_of(self._connection) != expected_schema(version):
            raise self.damage("has tables that were changed by another program")
        if self._rows("select sum(amount) from balance") != [(0,)]:
            raise self.damage("has balances that do not add up to 0")

    def _another_version(self, found: object) -> LedgerFault:
        if not isinstance(found, int):
            return self.damage("is a ledger of no known version")
        ours = " and ".join(map(str, SCHEMAS))
        if found > LEVEL_2_SCHEMA_VERSION:
            return LedgerFault(
                f"{self.path} is a ledger of version {found}, and this release's are {ours}: "
                "it was written by a newer release: install that one"
            )
        return LedgerFault(
            f"{self.path} is a ledger of version {found}, written by release 1.0, and this release's are "
            f"{ours}: {MOVE_THE_BOOKS}"
        )

    # -- others ------------------------------------------------------------------------------------

    def _read_data_version(self) -> object:
        return self._execute("pragma data_version").get

    def _assert_no_foreign_write(self) -> None:
        """Raise `LedgerFault` if another connection has changed the file since it was opened."""
        if self._read_data_version() != self._data_version:
            raise self.damage("was written to by another program while the node ran")

    # -- the write-ahead log -----------------------------------------------------------------------

    def _note_wal_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint_when_due(self) -> None:
        """Checkpoint the WAL every `CHECKPOINT_PAGES`, as far as readers allow.

        Not SQLite's automatic checkpoint: it hides a failed sync, and under a long reader it retries at
        every commit.
        """
        if self._wal_pages < self._checkpoint_pages:
            self._checkpoint_pages = 0  # the WAL has started over
        if self._wal_pages - self._checkpoint_pages < CHECKPOINT_PAGES:
            return
        self._checkpoint_pages = self._wal_pages
        try:
            self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # another program checkpoints now; the next commit tries again

    # -- faults ------------------------------------------------------------------------------------

    def _rows(self, sql: str) -> list[tuple[object, ...]]:
        return list(self._execute(sql))

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn SQLite's errors into a `LedgerFault`, which every later call raises too."""
        if self._fault is not None:
            raise self._fault
        try:
            yield
        except apsw.BusyError as error:
            raise LedgerFault(
                f"{self.path} has been locked by another program for {BUSY_TIMEOUT_MS // 1000} s: "
                "end the transaction in that program; nothing was changed and nothing is lost"
            ) from error
        except LedgerFault as fault:
            self._fault = fault
            raise
        except UnicodeDecodeError as error:
            self._fault = self.damage("contains text that is not valid UTF-8")
            raise self._fault from error
        except apsw.Error as error:
            self._fault = self._fault_of(error)
            raise self._fault from error

    def _fault_of(self, error: apsw.Error) -> LedgerFault:
        match error:
            case apsw.FullError():
                advice = "the disk is full. Make room and start the node again; nothing is lost"
            case apsw.CantOpenError() | apsw.ReadOnlyError() | apsw.PermissionsError():
                advice = (
                    "cannot be written. Make sure that its folder exists and that the node may write to it"
                )
            case apsw.NotADBError():
                return self.damage("is not a SQLite database")
            case apsw.CorruptError() | apsw.ConstraintError() | apsw.SQLError():
                return self.damage(f"is damaged ({brief(error)})")
            case _:
                advice = f"{brief(error)}. Check the disk and start again; the Raft log replaces what is lost"
        return LedgerFault(f"{self.path}: {advice}")


def put_in_place(prepared: Path, path: Path) -> None:
    """Give a database that is closed and synced the name `path`, in the same folder, durably.

    The files beside it belong to the old one: SQLite would add what they hold to the new one. So they go in
    between, when there is no database; the old one goes first, as without them it may not be whole. A crash
    leaves the old database, none, or the new one.
    """
    for old in (path, *(path.with_name(path.name + suffix) for suffix in BESIDE)):
        old.unlink(missing_ok=True)
        sync_folder(path.parent)
    rename_durably(prepared, path)


def brief(text: object) -> str:
    """Return `text` cut to one printable line: SQLite quotes arbitrary contents of the file."""
    words = " ".join(str(text).split())[:DETAIL_CHARS_MAX]
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)


def schema_of(connection: apsw.Connection) -> list[tuple[object, ...]]:
    """Return the definitions of all tables and indexes, to compare with those of another file."""
    return list(connection.execute("select type, name, tbl_name, sql from sqlite_schema order by name"))


def schema_version_of(connection: apsw.Connection) -> object:
    """Return the version of the tables, None if the ledger says none."""
    return connection.execute("select schema_version from applied").get


@lru_cache
def expected_schema(version: int) -> list[tuple[object, ...]]:
    """Return the schema of a ledger of that version, one of `SCHEMAS`."""
    connection = apsw.Connection(":memory:")
    try:
        for definitions in SCHEMAS[version]:
            connection.execute(definitions)
        return schema_of(connection)
    finally:
        connection.close()
