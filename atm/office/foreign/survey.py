"""What an import would book, before it books anything: counts, sums, and what cannot be carried over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tabulate import tabulate

from atm.command_line import counted, printable
from atm.ledger.commands import Batch, Command, Credit, Debit, Transfer
from atm.ledger.own_accounts import cash_of, is_banks_own
from atm.money import format_amount
from atm.office.foreign.entries import Problem
from atm.office.foreign.requests import Planned

HEADERS = ("account", "receives", "pays", "ends with")
PROBLEMS_MAX = 20  # that are shown; all are counted
LEFT_OUT = (
    "Not carried over: dates, for the bank's time is that of the booking (an id may have the day in it), "
    "and all that is no transaction"
)


class Survey:
    """The sums over one file; amounts are minor units, and accounts are taken to be empty before."""

    def __init__(self, found: Iterable[Planned | Problem], currency: str | None = None) -> None:
        self._currency = currency
        self.problems: list[Problem] = []
        self.problem_count = 0
        self.short: dict[str, tuple[int, int]] = {}  # account: the line where it is below 0 first, the lowest
        self.transactions = self.idle = self.unchecked = 0
        self.kinds: Counter[str] = Counter()
        self.days: list[str] = []  # those of the first and the last transaction, in the file's order
        self.received: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        for each in found:
            if isinstance(each, Problem):
                self.problem_count += 1
                if len(self.problems) < PROBLEMS_MAX:
                    self.problems.append(each)
            else:
                self._add(each)

    def _add(self, planned: Planned) -> None:
        entry = planned.entry
        self.unchecked += entry.unchecked
        if entry.day:
            self.days = [*self.days[:1], entry.day]
        if planned.command is None:
            self.idle += bool(entry.changes)
            self.transactions += bool(entry.changes)
            return
        self.transactions += 1
        self.kinds[str(planned.command.__struct_config__.tag)] += 1
        for payer, receiver, amount in moves(planned.command):
            self.paid[payer] += amount
            self.received[receiver] += amount
            left = self.received[payer] - self.paid[payer]
            if left < 0 and not is_banks_own(payer):
                line, lowest = self.short.get(payer, (planned.line, 0))
                self.short[payer] = (line, min(lowest, left))

    @property
    def accounts(self) -> list[str]:
        """The customers' accounts that take part, by name."""
        return sorted(name for name in {*self.received, *self.paid} if not is_banks_own(name))

    def told(self) -> Iterator[str]:
        """Yield lines for people."""
        span = f", from {printable(self.days[0])} to {printable(self.days[-1])}" if self.days else ""
        yield f"{counted(self.transactions, 'transaction')}{span}"
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.kinds.items()))
        yield f"{counted(sum(self.kinds.values()), 'request')}{': ' if kinds else ''}{kinds}"
        if self.idle:
            yield f"Left out: {counted(self.idle, 'transaction')}, without a move between accounts here"
        rows = [
            (
                name,
                *(
                    format_amount(minor, self._currency, in_column=True)
                    for minor in (
                        self.received[name],
                        self.paid[name],
                        self.received[name] - self.paid[name],
                    )
                ),
            )
            for name in sorted({*self.received, *self.paid})
        ]
        if rows:
            yield tabulate(rows, HEADERS, disable_numparse=True, colalign=("left", "right", "right", "right"))
        for account, (line, lowest) in self.short.items():
            amount = format_amount(-lowest, self._currency)
            yield f"{account} must have {amount} before: at line {line} it pays more than it has received"
        yield LEFT_OUT
        if self.unchecked:
            yield f"Not checked: {counted(self.unchecked, 'balance')} that the file asserts"


def moves(command: Command) -> Iterator[tuple[str, str, int]]:
    """Yield payer, receiver and minor units of each posting of a request that `planned` makes."""
    match command:
        case Credit():
            yield cash_of(command.currency), command.account, command.amount
        case Debit(amount=int(amount)):
            yield command.account, cash_of(command.currency), amount
        case Transfer(amount=int(amount)):
            yield command.account, command.target, amount
        case Batch():
            for leg in command.legs:
                yield leg.account, leg.target, leg.amount
        case _:
            raise AssertionError(f"no request of an import: {command}")
