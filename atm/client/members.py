"""Who the members of the cluster are, as a server tells it in its status."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from atm.config import Address, NodeConfig, parse_address
from atm.wire.client_messages import MemberView, StatusReply


def members_index(status: StatusReply) -> int:
    """Return the log entry that the members in a status are as of."""
    return status.applied_index if status.members_index is None else status.members_index


def nodes_of(members: Iterable[MemberView]) -> dict[str, NodeConfig]:
    """Return those members whose address the log says, by their names."""
    nodes: dict[str, NodeConfig] = {}
    for member in members:
        address = _address(member.client)
        if address is not None:
            nodes[member.node] = NodeConfig(member.node, address, _address(member.peer) or address)
    return nodes


def _address(text: str) -> Address | None:
    with contextlib.suppress(ValueError):
        return parse_address(text)
    return None
