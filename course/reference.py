"""The project's own core behind the interface of the exercise: the judge must pass it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from atm.raft.config import RaftConfig
from atm.raft.log import Log
from atm.raft.messages import Entry, HardState
from atm.raft.raft import Raft


class StudentRaft(Raft):
    """`Raft` on a log that is whole and in memory, with a state machine that starts empty."""

    def __init__(
        self,
        config: RaftConfig,
        *,
        hard_state: HardState,
        entries: Sequence[Entry],
        random: Callable[[int, int], int],
    ) -> None:
        super().__init__(
            config, hard_state=hard_state, log=Log(entries=entries), applied_index=0, random=random
        )
