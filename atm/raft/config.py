"""The settings of one server's core. Times are in ticks, whose length only the server knows."""

from __future__ import annotations

from msgspec import Struct

from atm.raft.messages import NodeId


class RaftConfig(Struct, frozen=True, kw_only=True):
    """Who this server is, who the others are at its start, and the limits it keeps."""

    node_id: NodeId
    peers: tuple[NodeId, ...]
    heartbeat_ticks: int = 5
    election_ticks_min: int = 30
    election_ticks_max: int = 60
    follower_apply_ticks: int = 0  # a follower gathers committed entries for so long: nobody waits for it
    batch_entries_max: int = 512  # entries in one append, or applied in one `Ready`
    batch_bytes_max: int = 1 << 20
    apply_bytes_max: int = 160 << 10  # as much as is applied in one `Ready`: time must go on meanwhile
    window_batches: int = 4  # appends under way to one follower
    entry_bytes_max: int = 1 << 16
    memory_bytes_max: int = 8 << 20  # applied entries beyond this are left to the disk
    bootstrap: bytes = (
        b""  # the data of a BOOTSTRAP entry, with which this server begins an empty log; none: a no-op
    )

    def __post_init__(self) -> None:
        assert self.node_id not in self.peers
        assert len(set(self.peers)) == len(self.peers)
        assert 0 < self.heartbeat_ticks < self.election_ticks_min <= self.election_ticks_max
        assert self.batch_entries_max >= 1
        assert self.window_batches >= 1
