"""What one seed does: sizes, speeds, load and faults are all drawn, so that no two runs are alike.

Uniform faults hide defects that need a peculiar mix. So each fault has a weight of its own in each seed,
and a random half of them is off.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from msgspec import Struct, convert, to_builtins

from atm.ledger.commands import AMOUNT_MINOR_MAX
from atm.raft.config import RaftConfig
from atm.raft.messages import NodeId

TICK_US = 10_000
SECOND_US = 1_000_000
BEGIN_US = 20_000 * 86_400 * SECOND_US - 2 * SECOND_US  # of every run: some see a midnight pass

FAULTS = (
    "kill",  # -9 between two effects; what was written stays
    "power cut",  # in the middle of a change to the disk; what was not synced is lost or torn
    "failed sync",
    "disk error",  # a read, a write, an opening or the sync of a folder fails
    "disk full",
    "slow disk",
    "wiped disk",
    "lost ledger",  # only the ledger's file; the log is still there
    "pause",  # SIGSTOP
    "slow node",  # all it does takes long
    "isolated leader",
    "split",
    "one-way cut",
    "ring",
    "connection reset",  # what was under way is lost, and its sender learns of it
    "wall clock jump",
    "stop",  # SIGTERM: a leader hands over first
    "old copy",  # of a data folder is put back
)
MESSAGE_FAULTS = ("lost", "doubled", "delayed", "replayed")

# What an administrator asks for, with weights (`administrator.py`).
CHANGES = {"add": 3.0, "promote": 4.0, "remove": 2.0, "replace": 2.0, "move": 1.0, "transfer": 2.0} | {
    "snapshot": 0.5,
    "backup": 0.5,
}

# What customers request (`workload.py`), with weights; each seed uses half of the optional operations.
BASIC_OPERATIONS = {"credit": 6.0, "debit": 4.0, "open": 1.0}
OPTIONAL_OPERATIONS = {
    "transfer": 3.0,
    "batch": 2.0,
    "hold": 8.0,  # and what ends them
    "reverse": 4.0,
    "write_off": 0.5,
    "freeze": 1.0,
    "close": 1.0,
    "pin": 3.0,
    "limit": 1.0,
    "roles": 1.0,
    "approvals": 3.0,
    "currencies": 4.0,  # all kinds of requests about accounts in other currencies than the bank's first
}


class Plan(Struct, frozen=True, kw_only=True):
    """All that is drawn once for a seed; probabilities are per message, weights relative."""

    seed: int
    luck: int  # of everything that happens by chance during the run
    nodes: int
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
    workload: dict[str, float]
    patience_us: int  # a client waits so long for an answer
    tries_max: int
    read_share: float  # of the requests of those who write at all
    repeat_share: float  # of requests that repeat an id already answered
    amounts: tuple[int, int]
    loyalty: float  # how likely a customer retries at the same server after a failure
    turmoil_us: int
    stretch_max: int  # how many times as long the turmoil may last where little happens
    faults_end_us: int  # no fault strikes and no message suffers after this
    follower_apply_ticks: int
    torn_bytes: int  # what a power cut leaves whole: a disk's sector
    clock_rates: tuple[float, float]  # how fast the clocks of servers run
    wall_skew_us: int  # and by how much they may be wrong from the start
    snapshot_log_bytes: int  # by how much the log grows until a snapshot is due
    piece_bytes: int  # of a snapshot that is fetched
    old_release_share: float  # of the servers, at first
    spares: int  # servers that may be added
    changes: dict[str, float]  # what an administrator asks for
    change_interval_us: int
    pepper_interval_us: int  # 0: it is never changed

    @property
    def names(self) -> tuple[NodeId, ...]:
        """The servers that found the cluster."""
        return self.all_names[: self.nodes]

    @property
    def all_names(self) -> tuple[NodeId, ...]:
        return tuple(str(5000 + number) for number in range(self.nodes + self.spares))

    @property
    def election_us(self) -> int:
        return self.election_ticks_max * TICK_US

    def config(self, name: NodeId) -> RaftConfig:
        return RaftConfig(
            node_id=name,
            peers=tuple(other for other in dict.fromkeys((*self.names, name)) if other != name),
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
        luck=seed,
        nodes=chance.choice((5, 5, 5, 3)),
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
        clients=chance.choice((3, 6, 12)),
        think_us=chance.choice((2_000, 10_000, 40_000)),
        workload={
            operation: weight * chance.choice((0.5, 1.0, 2.0))
            for operation, weight in (BASIC_OPERATIONS | OPTIONAL_OPERATIONS).items()
            if operation in [*BASIC_OPERATIONS, *half_of(tuple(OPTIONAL_OPERATIONS), chance)]
        },
        patience_us=int(election_us * chance.choice((0.5, 1, 3))),
        tries_max=chance.choice((1, 10, 100)),
        read_share=chance.choice((0.1, 0.5, 0.9)),
        repeat_share=chance.choice((0.0, 0.1, 0.4)),
        amounts=chance.choice(((1, 100_00), (1, 100_00), (AMOUNT_MINOR_MAX - 1000, AMOUNT_MINOR_MAX))),
        loyalty=chance.choice((0.0, 0.5, 0.9)),
        turmoil_us=election_us * 18,
        stretch_max=30,
        faults_end_us=3600 * SECOND_US,
        follower_apply_ticks=chance.choice((0, 1, 5)),
        torn_bytes=chance.choice((512, 4096)),
        clock_rates=chance.choice(((1.0, 1.0), (0.95, 1.05))),
        wall_skew_us=chance.choice((0, SECOND_US, 3600 * SECOND_US)),
        snapshot_log_bytes=chance.choice((700, 700, 2_000, 5_000, 64 << 20)),
        piece_bytes=chance.choice((4 << 10, 64 << 10)),
        old_release_share=chance.choice((0.0, 0.5)),
        spares=chance.choice((0, 1, 1, 2)),
        changes={kind: weight * chance.choice((0.3, 1.0, 3.0)) for kind, weight in CHANGES.items()}
        if chance.random() < 0.75
        else {},
        change_interval_us=int(election_us * chance.choice((0.5, 1.0, 2.0))),
        pepper_interval_us=int(election_us * chance.choice((0, 2, 5))),
    )


def changed(seed: int, changes: Mapping[str, Any]) -> Plan:
    """Return the plan of `seed` with other values in some of its fields."""
    unknown = changes.keys() - set(Plan.__struct_fields__)
    if unknown:
        raise ValueError(f"a plan has no {', '.join(sorted(unknown))}")
    return convert({**to_builtins(draw(seed)), **changes}, Plan)


def parse(text: str) -> Plan:
    """Return the plan that `tell` told: a JSON object of a seed, and of what is not as drawn from it."""
    changes = json.loads(text)
    return changed(changes["seed"], changes)


def tell(plan: Plan) -> str:
    """Return `plan` in one short line for `parse`."""
    drawn, fields = to_builtins(draw(plan.seed)), to_builtins(plan)
    return json.dumps(
        {name: fields[name] for name in fields if name == "seed" or fields[name] != drawn[name]}
    )


def half_of(names: tuple[str, ...], chance: Random) -> list[str]:
    return sorted(chance.sample(names, (len(names) + 1) // 2), key=names.index)
