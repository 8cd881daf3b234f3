"""Tells what committed entries change of the cluster itself: its members and its feature level."""

from __future__ import annotations

from atm.ledger.commands import Member
from atm.ledger.ledger import ClusterState
from atm.server.logger.logger import Logger


def tell_changes(logger: Logger, before: ClusterState, after: ClusterState) -> None:
    """Write a line for each change from one state to a later one."""
    if after.id != before.id:
        line = f"the cluster has its id, {after.id}; its first voters are {', '.join(after.voters)}"
        logger.info("cluster.founded", line, cluster=after.id)
    if after.feature_level != before.feature_level:
        line = f"the cluster is at feature level {after.feature_level}, it was at {before.feature_level}"
        logger.info("cluster.level", line, feature_level=after.feature_level)
    if not before.members:
        return  # they were known already, only not by the ledger
    known = {member.node: member for member in before.members}
    for member in after.members:
        _tell_change(logger, known.pop(member.node, None), member)
    for node in known:
        logger.info("member.removed", f"node {node} was removed from the cluster", peer=node)


def _tell_change(logger: Logger, before: Member | None, member: Member) -> None:
    node = member.node
    if before is None:
        line = f"node {node} at {member.peer} was added to the cluster, as a {_kind(member)}"
        logger.info("member.added", line, peer=node, address=member.peer, voter=member.voter)
        return
    if member.voter and not before.voter:
        logger.info("member.promoted", f"node {node} is a voter now", peer=node)
    if before.voter and not member.voter:
        line = f"node {node} is a learner now: its vote is not counted"
        logger.warning("member.demoted", line, peer=node)
    if before.peer and (member.peer, member.client) != (before.peer, before.client):
        line = f"node {node} is at {member.peer} now, and for clients at {member.client}"
        logger.info("member.moved", line, peer=node, address=member.peer, client=member.client)
    if before.store and member.store != before.store:
        logger.info("member.replaced", f"node {node} has another data folder, which counts now", peer=node)


def _kind(member: Member) -> str:
    return "voter" if member.voter else "learner"
