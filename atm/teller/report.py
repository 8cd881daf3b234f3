"""What the teller says about each command: to people in a sentence, to programs in JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tabulate import tabulate

from atm.client import Receipt
from atm.client.errors import OutcomeUnknown
from atm.client.node_status import DOWN, NodeStatus
from atm.ledger.commands import Command, Credit, Debit, Open, Outcome, Query
from atm.money import format_amount

DONE, DECLINED, USAGE, NOT_AVAILABLE, UNKNOWN = 0, 1, 2, 3, 5  # exit codes; 4 is "not allowed"
INTERRUPTED = 130  # as a shell counts Ctrl-C

_TABLE_HEADERS = ("node", "role", "term", "commit", "applied", "lag", "address")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What became of one command; `text` is for people, the rest for programs, amounts in minor units."""

    command: str
    outcome: str
    code: int
    text: str
    account: str | None = None
    amount: int | None = None
    balance: int | None = None
    available: int | None = None
    request_id: str | None = None
    reference: int | None = None
    nodes: Sequence[NodeStatus] | None = None

    def as_json(self) -> str:
        """Return one line of JSON in ASCII; `nodes` is there for `status` only."""
        fields: dict[str, object] = {
            "command": self.command,
            "outcome": self.outcome,
            "account": self.account,
            "amount": self.amount,
            "balance": self.balance,
            "available": self.available,
            "request_id": self.request_id,
            "reference": self.reference,
            "message": self.text if self.nodes is None else "",
        }
        if self.nodes is not None:
            fields["nodes"] = [asdict(node) for node in self.nodes]
        return json.dumps(fields)


def decided(request: Command | Query, receipt: Receipt) -> Report:
    """Report the bank's decision."""
    done = receipt.outcome is Outcome.OK
    return Report(
        command=command_name(request),
        outcome=str(receipt.outcome),
        code=DONE if done else DECLINED,
        text=_done(request, receipt) if done else _declined(request, receipt.outcome),
        account=request.account,
        amount=amount_of(request),
        balance=receipt.balance,
        available=receipt.available,
        request_id=receipt.request_id,
        reference=receipt.reference or None,
    )


def undecided(request: Command | Query, outcome: str, code: int, text: str) -> Report:
    """Report that the bank did not answer, or not that anyone knows."""
    return Report(
        command=command_name(request),
        outcome=outcome,
        code=code,
        text=text,
        account=request.account,
        amount=amount_of(request),
        request_id=request.id,
    )


def status(nodes: Sequence[NodeStatus]) -> Report:
    """Report how the servers are doing; not available if none of them answers."""
    rows = [
        (n.node, printable(n.role), n.term, n.commit_index, n.applied_index, n.lag, n.address) for n in nodes
    ]
    alignment = ("left", "left", "right", "right", "right", "right", "left")
    table = tabulate(rows, _TABLE_HEADERS, missingval="-", disable_numparse=True, colalign=alignment)
    nobody = all(node.role == DOWN for node in nodes)
    return Report(
        command="status",
        outcome="unavailable" if nobody else "ok",
        code=NOT_AVAILABLE if nobody else DONE,
        text=table,
        nodes=nodes,
    )


def settled(request: Command, receipt: Receipt, *, from_last_time: bool) -> str:
    """Tell what became of a request whose answer had not come."""
    opening = "Settled from last time" if from_last_time else "Settled"
    if receipt.outcome is Outcome.OK:
        return f"{opening}: {_deed(request)} (reference {request.id})"
    reason = _declined(request, receipt.outcome)
    return f"{opening}: not {_deed(request)} (reference {request.id}): {reason}"


def still_unknown(request_id: str, *, journalled: bool) -> str:
    """Tell that nobody knows, and when the teller will ask again."""
    also = ", or when the teller starts again" if journalled else ""
    return f"{OutcomeUnknown(request_id)}: it will be settled at the next command{also}"


def no_such_account(account: str) -> str:
    """Tell that there is no such account, and what to do about it."""
    return f"No such account: {account} (open it with: open {account})"


def command_name(request: Command | Query) -> str:
    """Return the word that people type for it."""
    return type(request).__name__.lower()


def amount_of(request: Command | Query) -> int | None:
    """Return the amount in minor units, if it has one."""
    return request.amount if isinstance(request, Credit | Debit) else None


def printable(text: str) -> str:
    """Return the text with all that could move a cursor or break a line replaced."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _done(request: Command | Query, receipt: Receipt) -> str:
    assert receipt.balance is not None
    match request:
        case Credit():
            return f"Successfully credited {format_amount(request.amount)} to your account"
        case Debit():
            return f"Successfully debited {format_amount(request.amount)} from your account"
        case Open():
            return f"Successfully opened account {request.account} (go on with it: account {request.account})"
        case Query():
            return f"Your current account balance is: {format_amount(receipt.balance)}"


def _deed(request: Command) -> str:
    match request:
        case Credit():
            return f"credited {format_amount(request.amount)} to {request.account}"
        case Debit():
            return f"debited {format_amount(request.amount)} from {request.account}"
        case Open():
            return f"opened {request.account}"


def _declined(request: Command | Query, outcome: Outcome) -> str:
    match outcome:
        case Outcome.INSUFFICIENT_FUNDS:
            return "Insufficient account balance"
        case Outcome.NO_SUCH_ACCOUNT:
            return no_such_account(request.account)
        case Outcome.EXISTS:
            return f"There is an account {request.account} already"
        case Outcome.LIMIT_EXCEEDED:
            return "The balance would become too large: nothing was changed"
        case Outcome.ID_REUSED:
            return "The reference belongs to another request: nothing was changed"
        case _:
            return f"The bank declined: {outcome.replace('_', ' ')}"
