"""The status of every node of a cluster."""

from __future__ import annotations

from dataclasses import dataclass, replace

from atm.client.each_node import ask_each
from atm.config import Cluster, NodeConfig
from atm.wire.client_messages import ClientReply, Status, StatusReply

STATUS_TIMEOUT_S = 1.0
DOWN = "down"


@dataclass(frozen=True)
class NodeStatus:
    """The answer of one node. Without one its role is "down", and all but name and address is None.

    `lag` counts the entries that are committed at some node and not yet applied at this one. The nodes do
    not answer at the same time, so under load a lag of a few entries means nothing.
    """

    node: str
    address: str
    role: str = DOWN
    term: int | None = None
    leader: str | None = None
    commit_index: int | None = None
    applied_index: int | None = None
    last_index: int | None = None
    lag: int | None = None
    version: str | None = None  # the node's release
    feature_level: int | None = None  # the cluster's, as far as this node knows


def ask_all(cluster: Cluster, request_id: str) -> list[NodeStatus]:
    """Ask all nodes at once; return their answers in the file's order, after `STATUS_TIMEOUT_S` at most."""
    answers = ask_each(cluster.nodes.values(), Status(id=request_id), STATUS_TIMEOUT_S)
    statuses = [_status(node, answers[node.name]) for node in cluster.nodes.values()]
    committed = max((status.commit_index or 0 for status in statuses), default=0)
    return [_with_lag(status, committed) for status in statuses]


def _status(node: NodeConfig, answer: ClientReply | None) -> NodeStatus:
    status = NodeStatus(node=node.name, address=str(node.client))
    if not isinstance(answer, StatusReply) or answer.node != node.name:
        return status  # no answer, busy, or another node at its address
    return replace(
        status,
        role=answer.role,
        term=answer.term,
        leader=answer.leader,
        commit_index=answer.commit_index,
        applied_index=answer.applied_index,
        last_index=answer.last_index,
        version=answer.version,
        feature_level=answer.feature_level,
    )


def _with_lag(status: NodeStatus, committed: int) -> NodeStatus:
    if status.applied_index is None:
        return status
    return replace(status, lag=max(0, committed - status.applied_index))
