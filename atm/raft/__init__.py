"""The Raft core: no thread, no clock, no socket, no file. docs/raft.md says how to use it.

This docstring is the contract of the core; `raft.py` keeps it.

    raft = Raft(config, hard_state=…, log=…, applied_index=…, random=…)

Work goes in, by these calls only:

    raft.step(message)            a message from another server came in; returns why it was rejected, if so
    raft.tick()                   one tick of time has passed
    raft.propose(data, now_us)    clients want this data replicated
    raft.read(read_id)            a client wants a read that sees every acknowledged write
    raft.change_membership(members, now_us)   the cluster shall have these members
    raft.transfer(target)         another server shall lead
    raft.demote(node_id, store)   that server shows another disk: its promises no longer count
    raft.snapshot_taken(…)        what the state machine holds is in a file, and the log may have been cut
    raft.installed(snapshot)      the state machine was replaced by another server's snapshot
    raft.install_failed(snapshot) it could not be

What happens on the way, changes of role and votes with their reasons, is told to `Raft(on_event=…)`; it is
for people and tests (`events.py`).

Work comes out:

    ready = raft.ready()          what to save, send, apply and answer; None when there is nothing
    perform(ready)                the caller does it, in the order that `Ready` states
    raft.advance(ready)           it is done: entries are durable, committed ones applied

The core returns the next `Ready` only after `advance` of the last. It reads no clock: time is a count of
ticks. It draws random numbers only from the function it was given. All that must survive a crash is in
`Ready.hard_state` and `Ready.entries`.

What it promises is Figure 3 of the paper:

- Election safety: at most one leader in a term.
- Leader append-only: a leader never overwrites or deletes entries of its own log.
- Log matching: two logs that hold an entry of the same index and term are equal up to there.
- Leader completeness: an entry that was committed is in the log of every later leader.
- State-machine safety: no two servers apply different entries at one index.

`invariants.py` checks what one server can see of this, after every call to a `CheckedRaft`: in the tests of
the core, in the simulation, and in production with `--check-invariants`. The rest needs a view of all
servers; the tests have one (tests/support/checks.py). docs/ways.md says where each is kept and tested.

What it adds to Figure 2 comes from Ongaro's thesis: pre-vote (9.6), leaders that step down without a
majority (6.2), reads by ReadIndex (6.4), changes of the membership by one voter at a time (4.1), leadership
transfer (3.10), batches and a pipeline for each follower (10.2).

A log may be cut once a snapshot is taken (section 7). The files are the caller's: here a leader only says
which snapshot it offers, and a follower which it wants.
"""

from atm.raft.checked import CheckedRaft
from atm.raft.config import RaftConfig
from atm.raft.errors import (
    BadConfiguration,
    ChangeRefused,
    EntryTooLarge,
    InvariantBroken,
    NotLeader,
    Transferring,
)
from atm.raft.events import (
    Cause,
    CoreEvent,
    LeaderLearned,
    RoleChanged,
    VoteDecided,
    VoteReceived,
    VoteRefusal,
)
from atm.raft.log import Log, LogStart
from atm.raft.membership import (
    Configuration,
    Member,
    Membership,
    decode_configuration,
    encode_configuration,
)
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    CatchUp,
    ConfirmedRead,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    InstallSnapshotResponse,
    NodeId,
    Outgoing,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    TimeoutNow,
)
from atm.raft.raft import Raft
from atm.raft.ready import Ready, Role
from atm.raft.rejection import Rejection, Violation

__all__ = [
    "AppendEntries",
    "AppendEntriesResponse",
    "BadConfiguration",
    "CatchUp",
    "Cause",
    "ChangeRefused",
    "CheckedRaft",
    "Configuration",
    "ConfirmedRead",
    "CoreEvent",
    "Entry",
    "EntryKind",
    "EntryTooLarge",
    "HardState",
    "InstallSnapshot",
    "InstallSnapshotResponse",
    "InvariantBroken",
    "LeaderLearned",
    "Log",
    "LogStart",
    "Member",
    "Membership",
    "NodeId",
    "NotLeader",
    "Outgoing",
    "Raft",
    "RaftConfig",
    "RaftMessage",
    "Ready",
    "Rejection",
    "RequestVote",
    "RequestVoteResponse",
    "Role",
    "RoleChanged",
    "Snapshot",
    "TimeoutNow",
    "Transferring",
    "Violation",
    "VoteDecided",
    "VoteReceived",
    "VoteRefusal",
    "decode_configuration",
    "encode_configuration",
]
