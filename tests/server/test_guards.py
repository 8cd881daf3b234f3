"""The guards of one server: what it tells the others, what it makes of what they tell, and its advice."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from atm.ledger.ledger import Ledger
from atm.ledger.state_hash import FIRST_ROW
from atm.raft.ready import Role
from atm.server.group.clock_guard import ClockGuard
from atm.server.group.disk_guard import DiskGuard, Room
from atm.server.group.guards import NO_SPACE, REPORT_S, Guards
from atm.server.group.ledger_comparison import LedgerComparison
from atm.wire.peer_messages import CheckLedger, NodeReport, PeerReport
from tests.support.collecting import collecting
from tests.support.server_parts import FakeCore

NOON_US = 10**15


class Story:
    """n1 of some servers, all connected and with room, and with the same clock."""

    def __init__(self, count: int = 3) -> None:
        self.now_s, self.off_us = 100.0, 0
        self.free = 10**12
        self.voters = tuple(f"n{number}" for number in range(1, count + 1))
        self.up = list(self.voters[1:])
        self.sent: list[PeerReport] = []
        self.core, self.ledger = FakeCore(), Ledger(":memory:")
        self.core.role = Role.FOLLOWER

        def voters() -> tuple[str, ...]:
            return self.voters

        def clock() -> float:
            return self.now_s

        def ignore(_line: str) -> None: ...

        self.guards = Guards(
            "n1",
            self.ledger,
            self,
            LedgerComparison(
                "n1",
                self.core,
                self.ledger,
                self,
                voters=voters,
                clock=clock,
                on_wrong=ignore,
                logger=collecting([]),
            ),
            DiskGuard(lambda: Room(self.free, 10**12), 1000, collecting([])),
            ClockGuard(
                "n1",
                skew_us=2_000_000,
                voters=voters,
                clock=clock,
                wall_clock_us=self.wall_us,
                logger=collecting([]),
            ),
            voters=voters,
            clock=clock,
            wall_clock_us=self.wall_us,
            own_peppers=lambda: ("first", "second"),
        )

    def wall_us(self) -> int:
        return NOON_US + int(self.now_s * 1e6) + self.off_us

    def connected(self) -> list[str]:
        return self.up

    def send_report(self, report: PeerReport) -> None:
        self.sent.append(report)

    def hear(self, *low: str, off_us: int = 0) -> None:
        """Let all connected servers report, those in `low` that they are short of room, and a second pass."""
        for node in self.up:
            time_us = self.wall_us() - self.off_us + off_us
            self.guards.receive(
                [NodeReport(sender=node, time_us=time_us, is_low=node in low, free_bytes=1, applied_index=0)]
            )
        self.now_s += REPORT_S
        self.guards.tick()


def test_a_server_reports_once_a_second_how_it_is() -> None:
    story = Story()
    story.guards.tick()
    story.now_s += REPORT_S / 2
    story.guards.tick()
    story.now_s += REPORT_S / 2
    story.free = 999
    story.guards.tick()
    told = [report for report in story.sent if isinstance(report, NodeReport)]
    assert [(each.sender, each.is_low, each.free_bytes) for each in told] == [
        ("n1", False, 10**12),
        ("n1", True, 999),
    ]
    assert told[1].time_us == story.wall_us()


def test_a_server_that_connects_is_told_at_once() -> None:
    story = Story()
    story.up = ["n2"]
    story.guards.tick()
    story.now_s += 0.01
    story.up = ["n2", "n3"]
    story.guards.tick()
    assert len(story.sent) == 2
    story.now_s += 0.01
    story.up = ["n3"]
    story.guards.tick()
    assert len(story.sent) == 2


@pytest.mark.parametrize(
    ("count", "own_low", "low", "down", "refused"),
    [
        (3, False, (), (), False),
        (3, True, (), (), False),
        (3, False, ("n2",), (), False),
        (3, True, ("n2",), (), True),
        (3, False, ("n2", "n3"), (), True),
        (3, False, ("n2",), ("n3",), True),  # those that have room are no majority
        (3, False, (), ("n2", "n3"), False),  # no majority at all: that is another matter
        (3, True, (), ("n2", "n3"), False),
        (5, True, ("n2",), (), False),
        (5, True, ("n2", "n3"), (), True),
        (5, False, ("n2",), ("n3",), False),
        (5, False, ("n2",), ("n3", "n4"), True),
        (1, True, (), (), True),
    ],
)
def test_changes_are_refused_while_no_majority_has_room(
    count: int, own_low: bool, low: tuple[str, ...], down: tuple[str, ...], refused: bool
) -> None:
    story = Story(count)
    story.up = [node for node in story.up if node not in down]
    story.free = 1 if own_low else 10**12
    story.hear(*low)
    assert story.guards.no_space == (NO_SPACE if refused else "")
    story.free = 10**12
    story.hear()
    assert story.guards.no_space == "", "it ends by itself"


def test_a_server_short_of_room_or_with_a_wrong_clock_should_not_lead() -> None:
    story = Story()
    story.hear()
    assert (story.guards.hands_over, story.guards.abstains) == (False, False)
    story.free = 1
    story.hear("n2")
    assert (story.guards.hands_over, story.guards.abstains, story.guards.unfit) == (True, False, {"n2"})
    story.free = 10**12
    story.off_us = 3600 * 10**6
    story.hear()
    assert (story.guards.hands_over, story.guards.abstains, story.guards.unfit) == (True, True, set())
    assert len(story.guards.alarms) == 1


def test_the_time_is_this_machines_up_to_the_bound_of_the_others() -> None:
    story = Story()
    assert story.guards.time_us() == story.wall_us(), "nothing is known yet"
    story.hear()
    story.off_us = 10**6
    assert story.guards.time_us() == story.wall_us()
    story.off_us = -(10**6)
    assert story.guards.time_us() == story.wall_us()
    story.off_us = 3600 * 10**6
    assert story.guards.time_us() == story.wall_us() - story.off_us + 2 * 10**6


def test_what_is_about_ledgers_goes_to_the_comparison() -> None:
    story = Story()
    story.core.leader = "n2"
    story.guards.receive([CheckLedger(sender="n2", index=0, rows_from=FIRST_ROW, rows_max=5)])
    assert len(story.sent) == 1


def test_the_servers_tell_each_other_which_peppers_they_know() -> None:
    story = Story()
    story.hear()
    (told,) = [each for each in story.sent if isinstance(each, NodeReport)][-1:]
    assert told.peppers == ("first", "second")
    assert set(story.guards.peppers) == {"n2", "n3"}
    assert story.guards.peppers["n2"] == ()
    story.guards.receive([replace(told, sender="n2", peppers=("first",))])
    assert story.guards.peppers["n2"] == ("first",)
    story.up.remove("n2")
    story.guards.tick()
    assert set(story.guards.peppers) == {"n3"}, "a server that has gone may come back with another file"
