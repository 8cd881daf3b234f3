"""What a server on PostgreSQL notes of its lanes: each change once, seen from tick to tick."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from atm.events.decoding import page_of
from atm.events.recorder import FlightRecorder
from atm.events.sentences import sentence
from atm.server.lanes.keeper import Seen
from atm.server.lanes.lane_events import LaneEvents
from atm.server.lanes.lane_worker import LaneWorker
from atm.server.lanes.shares import LaneSeen


@dataclass
class Worker:
    """As much of a lane's worker as is looked at."""

    lane: int = 0
    mine: bool = False
    epoch: int = 0
    taken_index: int = 0
    applied_index: int = 0

    def take(self, epoch: int, index: int) -> None:
        self.mine, self.epoch, self.taken_index, self.applied_index = True, epoch, index, index


class Server:
    """The events of server n1, and what they are made of."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.seen = Seen()
        self.recorder = FlightRecorder("n1", lambda: 1)
        workers = {0: cast("LaneWorker", self.worker)}
        self.events = LaneEvents(self.recorder, "n1", workers, lambda: self.seen)
        self._told = 0

    def tick(self) -> list[str]:
        """Return the sentences of what a tick notes."""
        self.events.on_tick()
        page = page_of(self.recorder, self._told)
        self._told = page.next
        return [sentence(event) for event in page.events]

    def sees(self, holder: str, epoch: int, *, alive: bool = True) -> None:
        self.seen = Seen((LaneSeen(0, epoch, 70, holder, alive),), fault="")


def test_a_lane_of_another_server_is_told_at_each_change_once() -> None:
    server = Server()
    assert server.tick() == []
    server.sees("n2", 4)
    assert server.tick() == ["n1 sees that n2 has lane 0 in epoch 4"]
    assert server.tick() == []
    server.sees("n2", 4, alive=False)
    assert server.tick() == ["n1 sees that n2, which has lane 0, gives no sign of life"]
    server.sees("", 4, alive=False)
    assert server.tick() == ["n1 sees that lane 0 was given back"]
    server.sees("n3", 5)
    assert server.tick() == ["n1 sees that n3 has lane 0 in epoch 5"]


def test_a_lane_is_told_as_taken_written_taken_again_and_lost() -> None:
    server = Server()
    server.sees("n2", 4, alive=False)
    server.tick()
    server.worker.take(5, 70)
    assert server.tick() == ["n1 takes lane 0 in epoch 5, after command 70"]  # whatever was seen before it
    server.worker.applied_index = 73
    assert server.tick() == ["n1 has written commands 71 to 73 of lane 0"]
    server.worker.take(6, 73)  # after an error of the database
    assert server.tick() == ["n1 takes lane 0 in epoch 6, after command 73"]
    server.worker.mine = False
    server.sees("n2", 7)
    assert server.tick() == ["n1 has lane 0 no more", "n1 sees that n2 has lane 0 in epoch 7"]


def test_whose_silence_let_a_lane_be_taken_is_told_although_both_come_within_a_tick() -> None:
    server = Server()
    server.sees("n2", 4)
    server.tick()
    server.sees("n2", 4, alive=False)
    server.worker.take(5, 70)
    assert server.tick() == [
        "n1 sees that n2, which has lane 0, gives no sign of life",
        "n1 takes lane 0 in epoch 5, after command 70",
    ]
    assert server.tick() == []  # although it was last seen with n2


def test_what_is_written_within_the_tick_in_which_the_lane_was_taken_is_told_too() -> None:
    server = Server()
    server.worker.take(5, 70)
    server.worker.applied_index = 72
    assert server.tick() == [
        "n1 takes lane 0 in epoch 5, after command 70",
        "n1 has written commands 71 to 72 of lane 0",
    ]


def test_of_equal_lines_about_the_database_the_first_is_told() -> None:
    server = Server()
    for line in ("it is away", "it is away", "it answers again"):
        server.events.on_engine(line)
    server.events.on_engine("it answers again")
    assert server.tick() == ["n1 says of PostgreSQL: it is away", "n1 says of PostgreSQL: it answers again"]
