"""Any run of commands, restarts and batches does what a dictionary of integers does."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from atm.ledger.store import Ledger, Record
from tests.ledger.entries import records

IDS = st.sampled_from([f"id-{n}" for n in range(12)])
ACCOUNTS = st.sampled_from(["main", "cash", "ann", "bob", "Bob"])
AMOUNTS = st.sampled_from(["1", "2", "3", "100", "LARGEST"])
LINES = st.one_of(
    st.just("-"),
    st.builds("{} open {}".format, IDS, ACCOUNTS),
    st.builds("{} credit {} {}".format, IDS, ACCOUNTS, AMOUNTS),
    st.builds("{} debit {} {}".format, IDS, ACCOUNTS, AMOUNTS),
)
BALANCE_MINOR_MAX = 9_007_199_254_740_991


class Model:
    """The bank as a teller would explain it: accounts in a dictionary, answers by id in another."""

    def __init__(self) -> None:
        self.held = {"cash": 0, "main": 0}
        self.answers: dict[str, tuple[str, tuple[str, int | None, int]]] = {}

    def ask(self, line: str, log_index: int) -> tuple[str, int | None, int] | None:
        """Return (outcome, balance, reference)."""
        if line == "-":
            return None
        request_id, _, contents = line.partition(" ")
        op, account, *amount = contents.split()
        if request_id in self.answers:
            first_contents, answer = self.answers[request_id]
            return answer if first_contents == contents else ("id_reused", self.held.get(account), log_index)
        outcome = self.decide(
            op, account, {"LARGEST": 10**14 - 1}.get(amount[0]) or int(amount[0]) if amount else 0
        )
        balance = None if outcome == "no_such_account" else self.held[account]
        self.answers[request_id] = (contents, (outcome, balance, log_index))
        return outcome, balance, log_index

    def decide(self, op: str, account: str, amount: int) -> str:
        """Return the outcome and change what is held."""
        if op == "open":
            outcome = "exists" if account in self.held else "ok"
            self.held.setdefault(account, 0)
            return outcome
        if account == "cash" or account not in self.held:
            return "no_such_account"
        signed = amount if op == "credit" else -amount
        if self.held[account] + signed < 0:
            return "insufficient_funds"
        if self.held[account] + signed > BALANCE_MINOR_MAX:
            return "limit_exceeded"
        self.held[account] += signed
        self.held["cash"] -= signed
        return "ok"


class AnyHistory(RuleBasedStateMachine):
    """One ledger on disk against the model, and in the end against a ledger that took all in one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "ledger.db")
        self.ledger = Ledger(self.path)
        self.model = Model()
        self.log: list[Record] = []

    @rule(lines=st.lists(LINES, max_size=8))
    def apply(self, lines: list[str]) -> None:
        batch = records(lines, len(self.log) + 1)
        receipts = self.ledger.apply(batch)
        found = [
            receipt and (str(receipt.outcome), receipt.balance, receipt.reference) for receipt in receipts
        ]
        assert found == [
            self.model.ask(line, index) for line, (index, _, _) in zip(lines, batch, strict=True)
        ]
        assert all(receipt is None or receipt.available == receipt.balance for receipt in receipts)
        self.log += batch

    @rule(times=st.integers(70, 100))
    def fill_up(self, times: int) -> None:
        """Make `limit_exceeded` reachable: ids of their own, each with the largest amount."""
        start = len(self.log) + 1
        self.apply([f"fill-{start + n} credit main LARGEST" for n in range(times)])

    @precondition(lambda self: self.log)
    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path)

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        accounts = ["cash", "main", "ann", "bob", "Bob"]
        assert [self.ledger.balance(name) for name in accounts] == [
            self.model.held.get(name) for name in accounts
        ]
        assert self.ledger.applied_index == len(self.log)

    def teardown(self) -> None:
        one_batch = Ledger(":memory:")
        one_batch.apply(self.log)
        assert self.ledger.digest() == one_batch.digest()
        one_batch.close()
        self.ledger.close()
        self.folder.cleanup()


AnyHistory.TestCase.settings = settings(max_examples=40, stateful_step_count=15)
TestAnyHistory = AnyHistory.TestCase
