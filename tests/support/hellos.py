"""The hello of a server, for tests of servers and for the simulation."""

from __future__ import annotations

from atm.raft import NodeId
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.peer_messages import Hello


def hello_of(node: NodeId, feature_level: int = FEATURE_LEVEL_MAX, store: str = "") -> Hello:
    """Return the hello of a server that runs this release, as the others have it."""
    return Hello(
        protocol_min=PROTOCOL_MIN,
        protocol_max=PROTOCOL_MAX,
        release=RELEASE,
        feature_level=feature_level,
        cluster="",
        node=node,
        store=store or f"store of {node}",
        pepper="",
    )
