"""The bank from Python: finds a server, follows the leader, and repeats a request under its id.

    with Client("cluster.ini") as client:
        receipt = client.credit("main", 50_00)

Refusals are values (`receipt.outcome`); faults are exceptions: `Unavailable` (certainly not done) and
`OutcomeUnknown` (may or may not be done; ask again with its `request_id`). Wrong arguments raise a
`ValueError` before anything is sent. A client may be used by many threads at once.
"""

from __future__ import annotations

from atm.client.client import Client
from atm.client.errors import (
    ClientClosed,
    ClientError,
    Interrupted,
    InvalidAccount,
    InvalidAmount,
    InvalidPin,
    InvalidRequest,
    InvalidRequestId,
    NotAllowed,
    OutcomeUnknown,
    Rejected,
    Unavailable,
    Unfinished,
    UnknownNode,
)
from atm.client.node_status import ClusterStatus, NodeStatus
from atm.client.receipt import Receipt, new_request_id
from atm.ledger.commands import Leg, Line

__all__ = [
    "Client",
    "ClientClosed",
    "ClientError",
    "ClusterStatus",
    "Interrupted",
    "InvalidAccount",
    "InvalidAmount",
    "InvalidPin",
    "InvalidRequest",
    "InvalidRequestId",
    "Leg",
    "Line",
    "NodeStatus",
    "NotAllowed",
    "OutcomeUnknown",
    "Receipt",
    "Rejected",
    "Unavailable",
    "Unfinished",
    "UnknownNode",
    "new_request_id",
]
