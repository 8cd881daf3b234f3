"""A branch, the participant of two-phase commit: it keeps accounts, promises, and keeps its promises.

A promise is on disk before it is given, so that a branch which died still holds it. From then on its account
is locked: while its balance may still change, it is unknown how much may be withdrawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import assert_never

import apsw

from demo.two_phase.messages import (
    COORDINATOR,
    DECISIONS,
    Decide,
    Deposit,
    Inquire,
    Look,
    Outcome,
    Prepare,
    Reply,
    Request,
    Transfer,
)

SCHEMA = """
create table if not exists account (name text primary key, amount integer not null) strict;
create table if not exists promise (
    id text primary key,
    account text,            -- none if this branch was never asked, and has ruled the transaction out
    amount integer,
    branches text not null,  -- all that take part, separated by spaces
    state text not null check (state in ('prepared', 'committed', 'aborted'))
) strict;
"""

ALONE = "the coordinator does not answer"

Ask = Callable[[str, Request], Reply | None]  # whom, what; None: no answer came


class Contradiction(Exception):
    """The coordinator decided what cannot be: the protocol is broken, here or there."""


@dataclass(frozen=True)
class Promise:
    """What this branch has promised and has not been told the end of."""

    id: str
    account: str
    others: tuple[str, ...]


class Branch:
    """The rules of a participant, over a file that is synced with each change. Safe from many threads."""

    def __init__(self, name: str, path: Path, accounts: Mapping[str, int] | None = None) -> None:
        """Open the file at `path`, or make one with these accounts and balances."""
        self.name = name
        self._lock = Lock()  # guards _database: one request at a time
        self._database = apsw.Connection(str(path))
        self._database.pragma("journal_mode", "wal")
        self._database.pragma("synchronous", 2)  # FULL: a commit is on the disk
        self._execute = self._database.execute
        with self._database:
            self._execute(SCHEMA)
            for account, amount in (accounts or {}).items():
                self._execute("insert or ignore into account values (?, ?)", (account, amount))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def answer(self, request: Request) -> Reply:
        """Do what is asked and return the reply; what it says is on disk."""
        with self._lock, self._database:
            reply = self._answer(request)
        return reply  # noqa: RET504  (outside: the transaction ends first)

    def _answer(self, request: Request) -> Reply:
        match request:
            case Prepare():
                return self._prepare(request)
            case Decide():
                return self._decide(request.id, request.outcome)
            case Inquire():
                return self._tell(request.id)
            case Deposit():
                return self._deposit(request.account, request.amount)
            case Look():
                return Reply(outcome=Outcome.DONE, balance=self._balance(request.account))
            case Transfer():
                return Reply(outcome=Outcome.REFUSED, why="a transfer is for the coordinator")
            case _:
                assert_never(request)

    # -- the two phases ----------------------------------------------------------------------------

    def _prepare(self, prepare: Prepare) -> Reply:
        """Promise, or rule the transaction out for ever."""
        state = self._state(prepare.id)
        if state is not None:
            return Reply(outcome=state)
        why = self._why_not(prepare)
        state = Outcome.ABORTED if why else Outcome.PREPARED
        self._execute(
            "insert into promise values (?, ?, ?, ?, ?)",
            (prepare.id, prepare.account, prepare.amount, " ".join(prepare.branches), state.value),
        )
        return Reply(outcome=state, why=why)

    def _why_not(self, prepare: Prepare) -> str:
        balance = self._balance(prepare.account)
        if balance is None:
            return f"there is no account {prepare.account}"
        if holder := self._holder(prepare.account):
            return f"{prepare.account} is locked by {holder}"
        if balance + prepare.amount < 0:
            return f"{prepare.account} has too little"
        return ""

    def _decide(self, transaction: str, outcome: Outcome) -> Reply:
        """Do what was decided, once; the account is free again."""
        state = self._state(transaction)
        if outcome not in DECISIONS or state in DECISIONS - {outcome}:
            raise Contradiction(f"{self.name}: {transaction} is {state} and shall be {outcome}")
        if state is None:
            if outcome is Outcome.COMMITTED:
                raise Contradiction(f"{self.name} never promised {transaction}, which shall be committed")
            self._rule_out(transaction)
        elif state is Outcome.PREPARED:
            self._execute("update promise set state = ? where id = ?", (outcome.value, transaction))
            if outcome is Outcome.COMMITTED:
                self._execute(
                    "update account set amount = account.amount + promise.amount from promise"
                    " where promise.id = ? and account.name = promise.account",
                    (transaction,),
                )
        return Reply(outcome=outcome)

    # -- waiting for an end ------------------------------------------------------------------------

    def in_doubt(self) -> list[Promise]:
        """Return the promises that wait for their end."""
        with self._lock:
            rows = self._execute("select id, account, branches from promise where state = 'prepared'")
            return [
                Promise(i, account, tuple(b for b in branches.split() if b != self.name))
                for i, account, branches in rows
            ]

    def settle(self, promise: Promise, ask: Ask) -> str:
        """Find out how it ended and do so: return "", or why that is unknown.

        Only the coordinator's word counts, or that of a branch which has it, or one that has not promised and
        now never will. While all of them hold the same promise there is nothing to be learned, and nothing to
        be done: that is where two-phase commit blocks.
        """
        heard = ask(COORDINATOR, Inquire(id=promise.id))
        if heard is None:
            heard = self._ask_others(promise, ask)
            if heard is None:
                others = " and ".join(promise.others)
                return f"{ALONE}, and {others} cannot tell either"
        elif heard.outcome not in DECISIONS:
            return "the coordinator has not decided"
        self.answer(Decide(id=promise.id, outcome=heard.outcome))
        return ""

    def _ask_others(self, promise: Promise, ask: Ask) -> Reply | None:
        for other in promise.others:
            heard = ask(other, Inquire(id=promise.id))
            if heard is not None and heard.outcome in DECISIONS:
                return heard
        return None

    def _tell(self, transaction: str) -> Reply:
        """Tell another branch what is known here.

        A branch that has not promised can still say no, and that ends it; one that has promised cannot.
        """
        state = self._state(transaction)
        if state is None:
            self._rule_out(transaction)
            state = Outcome.ABORTED
        return Reply(outcome=state)

    def _rule_out(self, transaction: str) -> None:
        self._execute("insert into promise values (?, null, null, '', 'aborted')", (transaction,))

    # -- accounts ----------------------------------------------------------------------------------

    def _deposit(self, account: str, amount: int) -> Reply:
        balance = self._balance(account)
        if balance is None:
            return Reply(outcome=Outcome.REFUSED, why=f"there is no account {account}")
        if holder := self._holder(account):
            return Reply(outcome=Outcome.REFUSED, why=f"{account} is locked by {holder}")
        self._execute("update account set amount = amount + ? where name = ?", (amount, account))
        return Reply(outcome=Outcome.DONE, balance=balance + amount)

    def _balance(self, account: str) -> int | None:
        found = self._execute("select amount from account where name = ?", (account,)).get
        return None if found is None else int(found)

    def _holder(self, account: str) -> str | None:
        """Return the transaction that has locked the account."""
        found = self._execute(
            "select id from promise where account = ? and state = 'prepared'", (account,)
        ).get
        return None if found is None else str(found)

    def _state(self, transaction: str) -> Outcome | None:
        found = self._execute("select state from promise where id = ?", (transaction,)).get
        return None if found is None else Outcome(found)
