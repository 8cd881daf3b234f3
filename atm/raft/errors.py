"""The exceptions of the core."""

from __future__ import annotations

from atm.raft.messages import NodeId


class NotLeader(Exception):
    """Only a leader accepts this call; try `leader`, if one is known."""

    def __init__(self, leader: NodeId | None) -> None:
        super().__init__(f"not the leader; the leader is {leader or 'not known'}")
        self.leader = leader


class ChangeRefused(Exception):
    """The membership cannot be changed like this, or leadership not handed over, now; `str()` says why."""


class Transferring(Exception):
    """This leader hands leadership over: propose again once `Raft.transferring` is None, or elsewhere."""

    def __init__(self, target: NodeId) -> None:
        super().__init__(f"leadership is being handed to {target}")
        self.target = target


class BadConfiguration(Exception):
    """The data of a MEMBERSHIP entry is none that a leader writes; `str()` continues "the entry …"."""


class EntryTooLarge(Exception):
    """The entry can never be replicated: it is over the limit of one entry."""

    def __init__(self, length: int, entry_bytes_max: int) -> None:
        super().__init__(f"an entry of {length} bytes is over the limit of {entry_bytes_max}")


class InvariantBroken(Exception):
    """The server's state is one that correct code cannot reach; `promise` names what does not hold."""

    def __init__(self, promise: str, state: str) -> None:
        super().__init__(
            f"an invariant of Raft is broken: {promise}. {state}. This is a defect of the program or of the "
            "machine's memory. Nothing of it was saved or sent: start the node again, and report this line"
        )
        self.promise = promise
