"""What one seed does: sizes, speeds, load and faults are all drawn, so that no two runs are alike.

Uniform faults hide defects that need a peculiar mix. So each fault has a weight of its own in each seed,
and a random half of them is off.
"""

from __future__ import annotations

from random import Random

from msgspec import Struct

from atm.raft.config import RaftConfig
from atm.raft.messages import NodeId

NODES: tuple[NodeId, ...] = ("5000", "5001", "5002", "5003", "5004")
TICK_US = 10_000

FAULTS = (
    "kill",  # -9 between two effects; what was written stays
    "power cut",  # in the middle of a change to the disk; what was not synced is lost or torn
    "failed sync",
    "disk full",
    "wiped disk",
    "pause",  # SIGSTOP
    "stall",  # the disk takes long
    "isolated leader",
    "split",
    "one-way cut",
    "ring",
    "wall clock jump",
)
MESSAGE_FAULTS = ("lost", "doubled", "delayed", "replayed")


class Plan(Struct, frozen=True, kw_only=True):
    """All that is drawn once for a seed; probabilities are per message, weights relative."""

    seed: int
    heartbeat_ticks: int
    election_ticks_min: int
    election_ticks_max: int
    batch_entries_max: int
    window_batches: int
    memory_bytes_max: int
    segment_bytes_max: int
    latency_us: tuple[int, int]
    message_faults: dict[str, float]
    faults: dict[str, float]
    fault_interval_us: int
    clients: int
    think_us: int
    patience_us: int  # a client waits so long for an answer
    tries_max: int
    read_share: float  # of the requests of those who write at all
    repeat_share: float  # of requests that repeat an id already answered
    loyalty: float  # how likely a customer asks the same server again after a failure
    turmoil_us: int
    follower_apply_ticks: int

    @property
    def election_us(self) -> int:
        return self.election_ticks_max * TICK_US

    def config(self, name: NodeId) -> RaftConfig:
        return RaftConfig(
            node_id=name,
            peers=tuple(other for other in NODES if other != name),
            heartbeat_ticks=self.heartbeat_ticks,
            election_ticks_min=self.election_ticks_min,
            election_ticks_max=self.election_ticks_max,
            batch_entries_max=self.batch_entries_max,
            window_batches=self.window_batches,
            memory_bytes_max=self.memory_bytes_max,
            follower_apply_ticks=self.follower_apply_ticks,
        )


def draw(seed: int) -> Plan:
    chance = Random(f"plan of {seed}")
    election_ticks_min = chance.randint(6, 12)
    election_ticks_max = election_ticks_min * 2
    election_us = election_ticks_max * TICK_US
    slow_us = chance.choice((500, 2_000, 10_000, 20_000))
    return Plan(
        seed=seed,
        heartbeat_ticks=chance.randint(1, election_ticks_min // 3),
        election_ticks_min=election_ticks_min,
        election_ticks_max=election_ticks_max,
        batch_entries_max=chance.choice((1, 1, 2, 8, 64, 512)),
        window_batches=chance.choice((1, 2, 4)),
        memory_bytes_max=chance.choice((0, 2_000, 8 << 20)),
        segment_bytes_max=chance.choice((500, 5_000, 64 << 20)),
        latency_us=(slow_us // 10, slow_us),
        message_faults={
            fault: chance.choice((0.002, 0.02, 0.1)) for fault in half_of(MESSAGE_FAULTS, chance)
        },
        faults={fault: chance.choice((1.0, 3.0, 10.0)) for fault in half_of(FAULTS, chance)},
        fault_interval_us=int(election_us * chance.choice((0.5, 1.0, 2.0, 4.0))),
        clients=chance.choice((3, 5, 8)),
        think_us=chance.choice((2_000, 10_000, 40_000)),
        patience_us=int(election_us * chance.choice((0.5, 1, 3))),
        tries_max=chance.choice((1, 10, 100)),
        read_share=chance.choice((0.1, 0.5, 0.9)),
        repeat_share=chance.choice((0.0, 0.1, 0.4)),
        loyalty=chance.choice((0.0, 0.5, 0.9)),
        turmoil_us=election_us * 18,
        follower_apply_ticks=chance.choice((0, 1, 5)),
    )


def half_of(names: tuple[str, ...], chance: Random) -> list[str]:
    return sorted(chance.sample(names, (len(names) + 1) // 2), key=names.index)
