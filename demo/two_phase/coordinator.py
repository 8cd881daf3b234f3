"""The coordinator of two-phase commit: asks all, decides, tells all.

A decision is on disk before it is sent, and never changes. A transaction without one that is not
under way, as after a crash, is aborted when a branch asks (presumed abort).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock

import apsw

from demo.two_phase.branch import Ask
from demo.two_phase.messages import (
    Decide,
    Inquire,
    Outcome,
    Prepare,
    Reply,
    Request,
    Transfer,
    branch_of,
)

SCHEMA = "create table if not exists decision (id text primary key, outcome text not null) strict"

VOTED, DECIDED = "voted", "decided"  # where a coordinator may be killed


class Coordinator:
    """The rules of the coordinator, over a file that is synced with each decision. Safe from many threads.

    `reached` is called with a transaction and `VOTED`, when all have answered, or `DECIDED`, when that is on
    disk and was not sent; a demo or a test ends it all there.
    """

    def __init__(self, path: Path, ask: Ask, reached: Callable[[str, str], None] = lambda *_: None) -> None:
        self._ask = ask
        self._reached = reached
        self._lock = Lock()  # guards _database and _under_way; never held while a branch is asked
        self._under_way: set[str] = set()
        self._database = apsw.Connection(str(path))
        self._database.pragma("journal_mode", "wal")
        self._database.pragma("synchronous", 2)  # FULL: a commit is on the disk
        self._database.execute(SCHEMA)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    def answer(self, request: Request) -> Reply:
        """Serve customers, who ask for transfers, and branches, which ask how they ended."""
        match request:
            case Transfer():
                return self._transfer(request)
            case Inquire():
                return self._tell(request.id)
            case _:
                return Reply(outcome=Outcome.REFUSED, why="the coordinator keeps no accounts")

    def _transfer(self, transfer: Transfer) -> Reply:
        source, target = branch_of(transfer.source), branch_of(transfer.target)
        if source == target:
            return Reply(outcome=Outcome.REFUSED, why=f"both accounts are at {source}: nothing to coordinate")
        with self._lock:
            known = self._decision(transfer.id)
            if known is not None or transfer.id in self._under_way:
                return Reply(outcome=known or Outcome.UNDECIDED)
            self._under_way.add(transfer.id)
        try:
            return self._two_phases(transfer, (source, target))
        finally:
            with self._lock:
                self._under_way.discard(transfer.id)

    def _two_phases(self, transfer: Transfer, branches: tuple[str, str]) -> Reply:
        parts = ((transfer.source, -transfer.amount), (transfer.target, transfer.amount))
        votes = [
            self._ask(
                branch_of(account),
                Prepare(id=transfer.id, account=account, amount=amount, branches=branches),
            )
            for account, amount in parts
        ]
        self._reached(transfer.id, VOTED)
        all_promised = all(vote is not None and vote.outcome is Outcome.PREPARED for vote in votes)
        outcome = self._decide(transfer.id, Outcome.COMMITTED if all_promised else Outcome.ABORTED)
        for branch in branches:
            self._ask(branch, Decide(id=transfer.id, outcome=outcome))  # who misses it will inquire
        whys = [vote.why if vote is not None else "a branch did not answer" for vote in votes]
        return Reply(outcome=outcome, why="; ".join(why for why in whys if why))

    def _tell(self, transaction: str) -> Reply:
        with self._lock:
            known = self._decision(transaction)
            if known is None and transaction in self._under_way:
                return Reply(outcome=Outcome.UNDECIDED)
        return Reply(outcome=known or self._decide(transaction, Outcome.ABORTED))

    def _decide(self, transaction: str, outcome: Outcome) -> Outcome:
        """Write the decision and return it, or the one that was written before.

        They are kept for ever here; a coordinator for years forgets what every branch has confirmed.
        """
        with self._lock:
            self._database.execute(
                "insert or ignore into decision values (?, ?)", (transaction, outcome.value)
            )
            decision = self._decision(transaction)
            self._reached(transaction, DECIDED)  # under the lock: it was not sent yet, and cannot be
        assert decision is not None
        return decision

    def _decision(self, transaction: str) -> Outcome | None:
        """Return what is written; the lock must be held."""
        found = self._database.execute("select outcome from decision where id = ?", (transaction,)).get
        return None if found is None else Outcome(found)
