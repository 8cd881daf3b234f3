"""`ledger.db`: rotten, cut off, another program's. It is refused in one line, or does what a ledger does.

SQLite has no checksums, so some rot reads as data. A ledger may be lost at any time, as the log rebuilds
it, but rot that nothing shows can give a wrong balance: such inputs are counted ("wrong and not noticed").
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from types import TracebackType

import apsw
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from atm.ledger.ledger import Ledger, LedgerFault
from tests.hostile.mutations import Edit, edited, edits
from tests.hostile.target import in_one_line
from tests.support.entries import apply_in_batches, balance_of, records

LINES = [f"o{n} open a{n}" for n in range(5)] + [
    f"r{n} {'debit' if n % 3 == 0 else 'credit'} a{n % 5} {n + 1}" for n in range(60)
]
MORE = ["m1 credit a1 5", "m2 debit a2 1", "r7 credit a2 8", "m3 open a9"]

Change = tuple[str, list[Edit]]  # which file, and the edits


class LedgerFiles:
    """The ledger of a server that has stopped, and of one that was killed with a WAL beside it."""

    name = "ledger.db"
    inputs: SearchStrategy[Change] = st.tuples(
        st.sampled_from(["stopped", "stopped", "killed: file", "killed: wal"]), edits
    ) | st.tuples(st.just("other database"), edits)

    def __enter__(self) -> LedgerFiles:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        self._make()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def saved(self) -> list[Change]:
        """Return bit flips spread over the whole file, and other databases as they are."""
        flips = [("stopped", [("flip a bit", at, at, b"")]) for at in range(0, len(self._stopped), 211)]
        return [*flips, ("other database", []), ("stopped", []), ("killed: wal", [])]

    def attempt(self, given: Change) -> str:
        kind, changes = given
        path = self._folder / "ledger.db"
        for old in self._folder.glob("ledger.db*"):
            old.unlink()
        wal = b""
        match kind:
            case "stopped":
                data = edited(self._stopped, changes)
            case "killed: file":
                data, wal = edited(self._killed, changes), self._wal
            case "killed: wal":
                data, wal = self._killed, edited(self._wal, changes)
            case _:
                data = edited(self._other, changes)
        path.write_bytes(data)
        if wal:
            path.with_name("ledger.db-wal").write_bytes(wal)
        try:
            with closing(Ledger(path)) as ledger:
                return self._judge(ledger)
        except LedgerFault as refusal:
            return in_one_line(refusal)

    def finish(self) -> None:
        """Nothing can be left behind."""

    def _judge(self, ledger: Ledger) -> str:
        """Let it do a ledger's work from where it is, as recovery does, and compare all it then holds."""
        if ledger.applied_index > len(LINES):
            return "ahead of its log, which recovery refuses"
        assert ledger.applied_index >= 0, "the applied index is none"
        ledger.apply(records(LINES)[ledger.applied_index :])
        ledger.apply(records([*LINES, *MORE])[len(LINES) :])
        balances = {account: balance_of(ledger, account) for account in ("main", "cash", "a1", "a2", "a9")}
        if balances != self._balances:
            return "wrong and not noticed: a balance"
        return "right" if ledger.digest() == self._digest else "wrong and not noticed: a receipt or posting"

    def _make(self) -> None:
        path = self._folder / "ledger.db"
        with closing(Ledger(path)) as ledger:
            apply_in_batches(ledger, records(LINES), 5)
            self._killed, self._wal = path.read_bytes(), path.with_name("ledger.db-wal").read_bytes()
        self._stopped = path.read_bytes()
        with closing(Ledger(path)) as ledger:
            ledger.apply(records([*LINES, *MORE])[len(LINES) :])
            self._digest = ledger.digest()
            accounts = ("main", "cash", "a1", "a2", "a9")
            self._balances = {account: balance_of(ledger, account) for account in accounts}
        other = self._folder / "other.db"
        with closing(apsw.Connection(str(other))) as connection:
            connection.execute("create table applied (schema_version, log_index)")
            connection.execute("insert into applied values (1, 'x'); create table balance (account, amount)")
        self._other = other.read_bytes()
