"""The bank's rules once more, in the simplest words, to hold the ledger's receipts against."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

from atm.ledger.commands import BALANCE_MINOR_MAX, CASH, Command, Credit, Debit, LogCommand, Open
from atm.raft.messages import Entry
from atm.wire.serializer import decode_command

Decision = tuple[str, str, int | None, int, int]  # id, outcome, balance, reference, time


class BankModel:
    """What follows from the committed log alone: a decision for each index, every balance at each index."""

    def __init__(self) -> None:
        self.decisions: list[Decision | None] = []  # of index i at i - 1; None for a no-op
        self.first: dict[str, tuple[Command, Decision]] = {}
        self.copies: Counter[bytes] = Counter()  # how often a request, to the byte, stands in the log
        self._first_indices: list[int] = []
        self._posted_indices: list[int] = []
        self._history: dict[str, list[tuple[int, int]]] = {CASH: [(0, 0)], "main": [(0, 0)]}

    def commit(self, entry: Entry) -> None:
        assert entry.index == len(self.decisions) + 1
        self.copies[entry.command] += 1
        self.decisions.append(self._decide(entry, decode_command(entry.command)) if entry.command else None)

    def balance(self, account: str, index: int | None = None) -> int | None:
        """Return the balance after `index` was applied, or the newest; None if there is no such account."""
        history = self._history.get(account)
        if history is None:
            return None
        if index is None:
            return history[-1][1]
        position = bisect_right(history, (index, 1 << 62))
        return history[position - 1][1] if position else None

    def balances(self, index: int) -> dict[str, int]:
        """Return every balance after `index` was applied."""
        found = {account: self.balance(account, index) for account in self._history}
        return {account: amount for account, amount in found.items() if amount is not None}

    def first_indices(self, index: int) -> list[int]:
        """Return where, up to `index`, an id came for the first time."""
        return self._first_indices[: bisect_right(self._first_indices, index)]

    def posted_indices(self, index: int) -> list[int]:
        """Return where, up to `index`, money moved."""
        return self._posted_indices[: bisect_right(self._posted_indices, index)]

    def total(self) -> int:
        return sum(history[-1][1] for history in self._history.values())

    def overdrawn(self) -> list[str]:
        return [name for name, history in self._history.items() if name != CASH and history[-1][1] < 0]

    def _decide(self, entry: Entry, command: LogCommand) -> Decision:
        assert isinstance(command, Open | Credit | Debit)
        known = self.first.get(command.id)
        if known is not None:
            if known[0] == command:
                return known[1]
            return self._decision(entry, command, "id_reused")
        decision = self._decision(entry, command, self._rule(entry.index, command))
        self.first[command.id] = (command, decision)
        self._first_indices.append(entry.index)
        return decision

    def _decision(self, entry: Entry, command: Open | Credit | Debit, outcome: str) -> Decision:
        balance = None if outcome == "no_such_account" else self.balance(command.account)
        return command.id, outcome, balance, entry.index, entry.time_us

    def _rule(self, index: int, command: Open | Credit | Debit) -> str:
        account = command.account
        match command:
            case Open():
                if account in self._history:
                    return "exists"
                self._history[account] = [(index, 0)]
            case Credit(amount=amount):
                if account not in self._history:
                    return "no_such_account"
                if (self.balance(account) or 0) + amount > BALANCE_MINOR_MAX:
                    return "limit_exceeded"
                self._move(index, CASH, account, amount)
            case Debit(amount=amount):
                if account not in self._history:
                    return "no_such_account"
                if (self.balance(account) or 0) < amount:
                    return "insufficient_funds"
                self._move(index, account, CASH, amount)
        return "ok"

    def _move(self, index: int, source: str, target: str, amount: int) -> None:
        self._posted_indices.append(index)
        for account, change in ((source, -amount), (target, amount)):
            self._history[account].append((index, (self.balance(account) or 0) + change))
