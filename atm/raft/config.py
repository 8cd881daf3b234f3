"""The settings of one server's core. Times are in ticks; the caller decides how long a tick is."""

from __future__ import annotations

from msgspec import Struct

from atm.raft.messages import NodeId


class RaftConfig(Struct, frozen=True, kw_only=True):
    """This server's id, the other servers' ids at the start, and the limits."""

    node_id: NodeId
    peers: tuple[NodeId, ...]
    heartbeat_ticks: int = 5
    election_ticks_min: int = 30
    election_ticks_max: int = 60
    follower_apply_ticks: int = 0  # a follower applies committed entries together, at most this late
    batch_entries_max: int = 512  # entries in one append, or applied in one `Ready`
    batch_bytes_max: int = 1 << 20
    apply_bytes_max: int = 160 << 10  # applied in one `Ready`: a long one would delay ticks and heartbeats
    window_batches: int = 4  # appends in flight to one follower
    entry_bytes_max: int = 1 << 16
    memory_bytes_max: int = 8 << 20  # applied entries above this are evicted: the disk has them
    bootstrap: bytes = (
        b""  # data of the BOOTSTRAP entry with which a leader starts an empty log; if empty, a no-op
    )

    def __post_init__(self) -> None:
        assert self.node_id not in self.peers
        assert len(set(self.peers)) == len(self.peers)
        assert 0 < self.heartbeat_ticks < self.election_ticks_min <= self.election_ticks_max
        assert self.batch_entries_max >= 1
        assert self.window_batches >= 1
