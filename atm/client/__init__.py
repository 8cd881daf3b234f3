"""The bank from Python: finds a server, follows the leader, and repeats a request under its id.

    with Client("cluster.ini") as client:
        receipt = client.credit("main", 50_00)

Refusals are values (`receipt.outcome`, `receipt.ok`), unless `receipt.check()` is to raise them. Faults are
exceptions: `Unavailable` (certainly not done) and `OutcomeUnknown` (may or may not be done; ask again with
its `request_id`). Wrong arguments raise a `ValueError` before anything is sent. A `Client` may be used by
many threads at once, an `AsyncClient` by many tasks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from atm.client.client import Client
from atm.client.errors import (
    ClientClosed,
    ClientError,
    FeedBroken,
    Interrupted,
    InvalidAccount,
    InvalidAmount,
    InvalidPin,
    InvalidRequest,
    InvalidRequestId,
    NotAllowed,
    OutcomeUnknown,
    Refused,
    Rejected,
    Unavailable,
    Unfinished,
    UnknownNode,
)
from atm.client.feed import Posted
from atm.client.receipt import (
    Accepted,
    AccountsPage,
    ApprovalsPage,
    Balance,
    DeedsPage,
    Done,
    ExceptionsPage,
    FindPage,
    Found,
    HoldsPage,
    Receipt,
    Refusal,
    StatementPage,
    new_request_id,
)
from atm.config import ConfigError
from atm.ledger.commands import (
    AccountState,
    ApprovalLimit,
    Approve,
    Batch,
    Close,
    Command,
    Contents,
    Credit,
    Debit,
    Deed,
    Freeze,
    GrantRole,
    Hold,
    HoldState,
    Leg,
    Line,
    Login,
    Open,
    Outcome,
    Post,
    RaiseHold,
    ResetPin,
    Reverse,
    RevokeRole,
    SetApprovalLimit,
    SetCeiling,
    SetLimit,
    SetPin,
    Transfer,
    Unfreeze,
    Unlock,
    Void,
    WaitingRequest,
    WriteOff,
)

if TYPE_CHECKING:
    from atm.client.admin_client import AdminClient
    from atm.client.async_client import AsyncClient
    from atm.client.node_events import EventCursor, NodeEvents
    from atm.client.node_status import ClusterStatus, NodeStatus

# Imported once they are asked for: they load what a program that only moves money can do without (asyncio,
# which takes as long as all the rest, and dataclasses).
_LATER = {
    "AdminClient": "atm.client.admin_client",
    "AsyncClient": "atm.client.async_client",
    "ClusterStatus": "atm.client.node_status",
    "EventCursor": "atm.client.node_events",
    "NodeEvents": "atm.client.node_events",
    "NodeStatus": "atm.client.node_status",
}

__all__ = [
    "Accepted",
    "AccountState",
    "AccountsPage",
    "AdminClient",
    "ApprovalLimit",
    "ApprovalsPage",
    "Approve",
    "AsyncClient",
    "Balance",
    "Batch",
    "Client",
    "ClientClosed",
    "ClientError",
    "Close",
    "ClusterStatus",
    "Command",
    "ConfigError",
    "Contents",
    "Credit",
    "Debit",
    "Deed",
    "DeedsPage",
    "Done",
    "EventCursor",
    "ExceptionsPage",
    "FeedBroken",
    "FindPage",
    "Found",
    "Freeze",
    "GrantRole",
    "Hold",
    "HoldState",
    "HoldsPage",
    "Interrupted",
    "InvalidAccount",
    "InvalidAmount",
    "InvalidPin",
    "InvalidRequest",
    "InvalidRequestId",
    "Leg",
    "Line",
    "Login",
    "NodeEvents",
    "NodeStatus",
    "NotAllowed",
    "Open",
    "Outcome",
    "OutcomeUnknown",
    "Post",
    "Posted",
    "RaiseHold",
    "Receipt",
    "Refusal",
    "Refused",
    "Rejected",
    "ResetPin",
    "Reverse",
    "RevokeRole",
    "SetApprovalLimit",
    "SetCeiling",
    "SetLimit",
    "SetPin",
    "StatementPage",
    "Transfer",
    "Unavailable",
    "Unfinished",
    "Unfreeze",
    "UnknownNode",
    "Unlock",
    "Void",
    "WaitingRequest",
    "WriteOff",
    "new_request_id",
]


def __getattr__(name: str) -> object:
    """Import a name of `_LATER`."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_LATER[name]), name)
    return found
