"""What each lane does of the operations of a bank: so every lane can be judged as a bank of its own.

A transfer within a lane is one operation. One between lanes is three, each at some point between the call and
the return: the amount is held in the payer's lane, credited in the receiver's, and what is held is paid out,
after which the payer's lane tells the balance. A reversal of such a transfer goes the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from tests.chaos.one_bank import Operation


def parts(
    history: Iterable[Operation], lane_of: Callable[[str], int], lanes: int
) -> Mapping[int, list[Operation]]:
    """Return the operations of each lane; outcomes must be known, as by `customers.resolved`."""
    operations = list(history)
    originals = {operation.name: operation for operation in operations}
    found: dict[int, list[Operation]] = {lane: [] for lane in range(lanes)}
    for operation in operations:
        payer, receiver = ends(operation, originals)
        here, there = lane_of(payer), lane_of(receiver)
        if here == there:
            found[here].append(operation)
        elif operation.outcome == "ok":
            held, paid_out, credited = _three(operation, payer, receiver)
            found[here] += (held, paid_out)
            found[there].append(credited)
        elif operation.outcome == "insufficient_funds":
            found[here].append(_leaving(operation, payer))
        # What else is refused, a second reversal, says nothing of any balance that the judge could look at.
    return found


def ends(operation: Operation, originals: Mapping[str, Operation]) -> tuple[str, str]:
    """Return whose money goes to whom; both are the account itself where no other one takes part."""
    if operation.kind == "transfer":
        return operation.account, operation.target
    original = originals.get(operation.about)
    if operation.kind == "reverse" and original is not None and original.kind == "transfer":
        return original.target, original.account
    return operation.account, operation.account


def _three(operation: Operation, payer: str, receiver: str) -> tuple[Operation, Operation, Operation]:
    held = replace(_leaving(operation, payer), name=f"{operation.name}/held", balance=None, available=None)
    paid_out = replace(operation, account=payer, kind="post", target="", about=held.name)
    credited = replace(
        operation,
        account=receiver,
        kind="credit",
        target="",
        about="",
        balance=None,
        available=None,
        log_index=0,  # it is not told where it is in this lane's log
    )
    return held, paid_out, credited


def _leaving(operation: Operation, payer: str) -> Operation:
    return replace(operation, account=payer, kind="hold", target="", about="")
