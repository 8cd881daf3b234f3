"""Any sequence of commands, restarts and batches has the results of a model in dictionaries."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from atm.ledger.commands import BALANCE_MINOR_MAX, Exceptions, Line, LoggedCommand, Query, Statement
from atm.ledger.ledger import Ledger, Record
from tests.ledger.audit import audit
from tests.ledger.model import FULL, Model
from tests.support.entries import entry

HOUR_US = 3_600_000_000
OF_NOBODY = {"-", "expire", "expire 1"}
KINDS = [
    *("-", "expire", "expire 1", "again", "under the same id", "open {account}", "set_pin {account} 1234"),
    *("credit {account} {amount}", "debit {account} {amount}{pin}", "debit {account} {amount}{pin}"),
    *("transfer {pair} {amount}{pin}", "batch {pair} {amount}{pin}, {pair2} {amount}{pin}, {pair3} 1{pin}"),
    *("hold {account} {amount} {span}{pin}", "hold {account} {amount} {span}{pin}"),
    *(
        "post {hold}{part}",
        "post {hold}{part}",
        "void {hold}",
        "reverse {original}{part}",
        "reverse {money}{part}",
        "reverse {hold}{part}",
    ),
    *("write_off {account} {amount}", "write_off cash 3", "set_limit {account} {limit}", "freeze {account}"),
    *("unfreeze {account}", "unfreeze {account}", "close {account}", "unlock {account}"),
    *("login {account} 5678", "login {account} 1234", "set_pin {account} 5678 old 1234"),
]
ACCOUNTS = st.sampled_from(["ann", "ann", "ann", "bob", "bob", "main", "main", "zoe", "cash"])
WORDS = {
    "account": ACCOUNTS,
    **{
        pair: st.lists(ACCOUNTS, min_size=2, max_size=2, unique=True).map(" ".join)
        for pair in ("pair", "pair2", "pair3")
    },
    "amount": st.sampled_from(["1", "2", "3", "20", "50", "100", "LARGEST"]),
    "part": st.sampled_from(["", "", " 1", " 50"]),
    "pin": st.sampled_from(["", " pin 1234", " pin 1234", " pin 5678"]),
    "span": st.sampled_from(["60s", "1h", "1d"]),
    "limit": st.sampled_from(["60", "100", "none"]),
}


class AnyHistory(RuleBasedStateMachine):
    """One ledger on disk against the model, and at the end against ledgers with other batches."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "ledger.db")
        self.ledger = Ledger(self.path)
        self.model = Model()
        self.log: list[Record] = []
        self.lines: list[str] = []
        self.full = False
        self.now_us = 1_700_000_000_000_000

    @initialize()
    def open_accounts(self) -> None:
        lines = ["open ann", "open bob", "credit ann 200", "credit bob 100", "credit main 50"]
        self.apply_lines([f"given{number} {line}" for number, line in enumerate(lines)])

    @rule(data=st.data(), count=st.integers(1, 8), later_us=st.sampled_from([1, 1, HOUR_US, 24 * HOUR_US]))
    def apply(self, data: st.DataObject, count: int, later_us: int) -> None:
        self.now_us += later_us
        self.apply_lines([self.draw_line(data, number) for number in range(count)])

    def draw_line(self, data: st.DataObject, number: int) -> str:
        """Return a line that likely names an existing account, hold or request."""
        request_id = f"id{len(self.log) + number}"
        kind = data.draw(st.sampled_from(KINDS))
        if kind in OF_NOBODY:
            return kind
        if kind == "again":
            return data.draw(st.sampled_from(self.lines))
        if kind == "under the same id":
            request_id = data.draw(st.sampled_from(list(self.model.answers)))
            kind = "credit {account} {amount}"
        there = {
            "hold": list(self.model.holds)[-4:] or ["no-hold"],
            "money": list(self.model.moved)[-8:],
            "original": [*list(self.model.answers)[-8:], f"id{len(self.log) + number + 3}"],
        }
        words = {name: data.draw(choice) for name, choice in WORDS.items() if f"{{{name}}}" in kind}
        words |= {
            name: data.draw(st.sampled_from(ids)) for name, ids in there.items() if f"{{{name}}}" in kind
        }
        return f"{request_id} {kind.format(**words)}"

    def apply_lines(self, lines: list[str]) -> None:
        first = len(self.log) + 1
        batch = [(first + n, self.now_us + first + n, entry(line)) for n, line in enumerate(lines)]
        receipts = self.ledger.apply(batch)
        found = [
            receipt and (str(receipt.outcome), receipt.balance, receipt.available, receipt.log_index)
            for receipt in receipts
        ]
        assert found == [
            self.model.ask(index, time_us, asked.command if isinstance(asked, LoggedCommand) else None)
            for index, time_us, asked in batch
        ]
        self.log += batch
        self.lines += [line for line in lines if line not in OF_NOBODY]

    @precondition(lambda self: not self.full)
    @rule()
    def fill_up(self) -> None:
        """Make `limit_exceeded` reachable: ids of their own, each with the largest amount."""
        self.full = True
        self.apply_lines([f"fill-{number} credit main LARGEST" for number in range(91)])

    @precondition(lambda self: self.log)
    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.path)

    @invariant()
    def the_ledger_is_what_the_model_is(self) -> None:
        assert self.ledger.applied_index == len(self.log)
        audit(self.ledger)
        for account in ("cash", "writeoff", "main", "ann", "bob", "zoe"):
            view = self.ledger.view(Query(id="q", account=account))
            money = self.model.money.get(account)
            assert view.balance == money
            if money is not None and account in self.model.people:
                person = self.model.people[account]
                pin = "locked" if person.wrong >= 3 else "none" if person.pin is None else "set"
                available = self.model.available(account)
                assert (view.available, view.state, view.pin) == (available, person.state, pin)
        due = [hold[2] for hold in self.model.holds.values() if hold[3] == "active"]
        assert self.ledger.next_expiry_us == min(due, default=None)

    @invariant()
    def statements_show_all_there_was_to_the_last_cent(self) -> None:
        for account in self.model.money:
            lines: list[Line] = []
            before: int | str | None = None
            while True:
                assert not isinstance(before, str)
                page = self.ledger.view(Statement(id="s", account=account, limit=7, before=before))
                lines += page.lines or ()
                before = page.next
                if before is None:
                    break
            balance = self.model.money[account]
            for line in lines:
                assert line.balance == balance
                balance -= line.amount
            assert balance == 0
            moves = [move for moves in self.model.moved.values() for move in moves if account in move]
            assert len(lines) == len(moves)

    @invariant()
    def exceptions_are_the_models(self) -> None:
        found = self.ledger.view(Exceptions(id="e", limit=100)).lines or ()
        expected = self.model.exceptions[-100:]
        assert [(line.request_id, line.exception) for line in reversed(found)] == expected

    def teardown(self) -> None:
        digest = self.ledger.digest()
        for size in (1, 3, max(1, len(self.log))):
            other = Ledger(":memory:")
            for start in range(0, len(self.log), size):
                other.apply(self.log[start : start + size])
            assert other.digest() == digest, f"batches of {size} leave another ledger"
            other.close()
        self.ledger.close()
        self.folder.cleanup()


def test_the_model_knows_the_largest_balance() -> None:
    assert FULL == BALANCE_MINOR_MAX


AnyHistory.TestCase.settings = settings(max_examples=80, stateful_step_count=20, deadline=None)
TestAnyHistory = AnyHistory.TestCase
