"""The ledger's file, in memory: what a restart finds in it is what some commit left, as a whole.

SQLite syncs the ledger only now and then, so a power cut brings back an older state. A killed program
loses nothing that was committed, but it may die between any two statements.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import apsw

from atm.ledger.ledger import Ledger

VERSIONS_MAX = 6
KEEP_SHARE = 0.1  # of all commits leave a version that a power cut may bring back


class SimLedgerFile:
    """Keeps the bytes of one server's ledger across its crashes; `before_statement` may kill it."""

    def __init__(self, chance: Random) -> None:
        self.reopened = 0  # how often a restart found a ledger that had applied something
        self._chance = chance
        self._versions: list[bytes] = []  # the newest last
        self._connection: apsw.Connection
        self._dying = False
        self._is_there = False  # not while the file is being replaced
        self._before_statement: Callable[[], None]

    def open(self, before_statement: Callable[[], None]) -> Ledger:
        """Open the newest version with the production code."""
        self._dying, self._before_statement = False, before_statement

        def take_over(connection: apsw.Connection) -> None:
            apsw.connection_hooks.remove(take_over)  # the first connection is the ledger's own
            if self._versions:
                connection.deserialize("main", self._versions[-1])
            self._connection = connection

        def watch(_cursor: apsw.Cursor, _sql: str, _bindings: object) -> bool:
            if not self._dying:  # the rollback of the next opening comes at once
                self._dying = True
                before_statement()
                self._dying = False
            return True

        apsw.connection_hooks.append(take_over)
        ledger = Ledger(":memory:")
        self._connection.exec_trace = watch
        self._is_there = True
        self.reopened += ledger.applied_index > 0
        return ledger

    def committed(self) -> None:
        """A commit has happened: remember it, perhaps."""
        if self._chance.random() < KEEP_SHARE:
            self._keep()

    def close(self, *, power_cut: bool) -> None:
        """The server has died; after a power cut some earlier version, or none, is what is left."""
        self._dying = True
        if self._is_there:
            if self._connection.in_transaction:
                self._connection.execute("rollback")
            self._keep()
        if power_cut:
            del self._versions[self._chance.randint(0, len(self._versions)) :]

    def lose(self) -> None:
        """The file is gone."""
        self._versions.clear()

    def versions(self) -> list[bytes]:
        return list(self._versions)

    def restore(self, versions: list[bytes]) -> None:
        """An old copy takes the place of the file."""
        self._versions[:] = versions

    def contents(self) -> bytes:
        """Return the file as it is, between two transactions."""
        assert not self._connection.in_transaction
        return bytes(self._connection.serialize("main"))

    def put(self, contents: bytes) -> None:
        """Put another file in the place of this one, which is closed; a power cut brings no old one back."""
        self._versions[:] = [contents]

    def replace(self, contents: bytes, in_between: Callable[[], None]) -> Ledger:
        """Replace the file, which was closed, and open the new one; `in_between` there is none."""
        self._is_there = False
        self.lose()
        in_between()
        self.put(contents)
        return self.open(self._before_statement)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return what a shell would see."""
        return list(self._connection.execute(sql))

    def balances(self) -> dict[str, int]:
        """Return the customers' balances as they are now, in minor units; unlike `rows` it kills nobody."""
        connection = self._connection
        watch, connection.exec_trace = connection.exec_trace, None
        try:
            rows = connection.execute("select account, amount from balance join account using (account)")
            return dict(rows)
        finally:
            connection.exec_trace = watch

    def _keep(self) -> None:
        self._versions.append(bytes(self._connection.serialize("main")))
        if len(self._versions) > VERSIONS_MAX:
            del self._versions[self._chance.randrange(VERSIONS_MAX)]
