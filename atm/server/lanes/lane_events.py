"""What the flight recorder notes of a server on PostgreSQL: who has the lanes, and what the database does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from atm.events.recorder import FlightRecorder
from atm.server.lanes.keeper import Seen
from atm.server.lanes.lane_worker import LaneWorker
from atm.server.lanes.shares import LaneSeen


class LaneEvents:
    """Compares, at each tick, with how it was; `on_engine` for any thread, the rest within an iteration."""

    def __init__(
        self,
        recorder: FlightRecorder,
        node: str,
        workers: Mapping[int, LaneWorker],
        seen: Callable[[], Seen],
    ) -> None:
        self._recorder, self._node = recorder, node
        self._workers, self._seen = workers, seen
        self._lines: deque[str] = deque()
        self._line = ""  # the last one that was noted
        self._mine: dict[int, tuple[int, int]] = {}  # of a lane of this server, its epoch and last command
        self._others: dict[int, tuple[str, str, int]] = {}  # of another's: what it is, whose, its epoch

    def on_engine(self, line: str) -> None:
        """Note a line about the database; of equal ones in a row, the first."""
        self._lines.append(line)

    def on_tick(self) -> None:
        """Note what has changed since the last tick."""
        while self._lines:
            line = self._lines.popleft()
            if line != self._line:
                self._recorder.on_engine(line)
            self._line = line
        own = [worker for worker in self._workers.values() if worker.mine]
        for lane in self._mine.keys() - {worker.lane for worker in own}:
            epoch, index = self._mine.pop(lane)
            self._recorder.on_lane("lost", lane, epoch, "", index)
        for seen in self._seen().lanes:  # before what is taken, perhaps in the same tick, from who was silent
            self._note_other(seen)
        for worker in own:
            self._note_own(worker)

    def _note_own(self, worker: LaneWorker) -> None:
        lane, epoch, index = worker.lane, worker.epoch, worker.applied_index
        known_epoch, written = self._mine.get(lane, (None, 0))
        if known_epoch != epoch:
            written = worker.taken_index
            self._recorder.on_lane("taken", lane, epoch, self._node, written)
            self._others.pop(lane, None)
        if index > written:
            self._recorder.on_written(lane, written + 1, index)
        self._mine[lane] = (epoch, index)

    def _note_other(self, seen: LaneSeen) -> None:
        if seen.lane in self._mine or seen.holder == self._node:
            return
        what = "free" if not seen.holder else "held" if seen.is_alive else "silent"
        state = (what, seen.holder, seen.epoch)
        if self._others.get(seen.lane) != state:
            self._others[seen.lane] = state
            self._recorder.on_lane(what, seen.lane, seen.epoch, seen.holder, seen.applied)
