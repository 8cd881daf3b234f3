"""The core's settings, in ticks: those of `cluster.ini`, in milliseconds there, and the fixed ones."""

from __future__ import annotations

from atm.config import Cluster
from atm.ledger.commands import Founding
from atm.raft.config import RaftConfig
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX
from atm.wire.log_entries import COMMAND_BYTES_MAX

TICK_MS = 10
SEGMENTS_PER_SNAPSHOT = 8  # of the log, at least: only whole segments are cut
FOLLOWER_APPLY_TICKS = 5  # 50 ms: for how long a busy follower may leave committed entries unapplied


def raft_config(cluster: Cluster, node: str, cluster_id: str) -> RaftConfig:
    """Return the core's settings, with times in ticks of `TICK_MS`; `cluster_id` is for an empty log."""
    low_ms, high_ms = cluster.election_timeout_ms
    heartbeat_ticks = max(1, round(cluster.heartbeat_ms / TICK_MS))
    election_ticks_min = max(heartbeat_ticks + 1, -(-low_ms // TICK_MS))
    return RaftConfig(
        node_id=node,
        peers=tuple(name for name in cluster.nodes if name != node),
        heartbeat_ticks=heartbeat_ticks,
        election_ticks_min=election_ticks_min,
        election_ticks_max=max(election_ticks_min, -(-high_ms // TICK_MS)),
        follower_apply_ticks=FOLLOWER_APPLY_TICKS,
        entry_bytes_max=CLIENT_FRAME_BYTES_MAX + COMMAND_BYTES_MAX,
        bootstrap=encode(Founding(cluster_id, tuple(sorted(cluster.nodes)))),
    )
