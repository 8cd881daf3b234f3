"""What a person may do to a cluster, and what comes of it."""

from __future__ import annotations

from lessons.frames import Event, Frame
from lessons.playground import STEP_US, Playground

SECOND_US = 1_000_000


class Watched:
    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.playground = Playground(3, self.frames.append)
        self.playground.advance(1_500_000)

    @property
    def leader(self) -> str:
        leader = self.playground.leader()
        assert leader is not None
        return leader

    def events(self, kind: str) -> list[Event]:
        return [event for frame in self.frames for event in frame.events if event.kind == kind]

    def balances(self) -> set[int]:
        servers = self.playground.simulation.servers.values()
        return {server.storage.ledger_file.balances()["main"] for server in servers if server.up}


def test_a_payment_at_a_leader_that_dies_is_done_once() -> None:
    watched = Watched()
    leader = watched.leader
    watched.playground.credit(leader, 700)
    watched.playground.kill(leader)
    watched.playground.advance(3 * SECOND_US)
    watched.playground.start(leader)
    watched.playground.advance(SECOND_US)
    assert watched.balances() == {700}
    (reply,) = watched.events("reply")
    assert "all under one id" in reply.why
    assert watched.leader != leader


def test_an_isolated_leader_steps_down_and_follows_once_links_are_mended() -> None:
    watched = Watched()
    leader = watched.leader
    watched.playground.isolate(leader)
    assert watched.frames[-1].cuts is not None
    assert len(watched.frames[-1].cuts) == 8
    watched.playground.advance(2 * SECOND_US)
    assert any(event.node == leader for event in watched.events("step-down"))
    watched.playground.mend()
    assert watched.frames[-1].cuts == []
    watched.playground.advance(SECOND_US)
    core = watched.playground.simulation.servers[leader].core
    assert core.leader == watched.leader != leader


def test_a_broken_promise_ends_the_run_and_is_told() -> None:
    watched = Watched()
    server = watched.playground.simulation.servers[watched.leader]
    server.core.raft._commit_index += 1  # as no correct code does
    watched.playground.advance(SECOND_US)
    assert watched.playground.broken
    (told,) = watched.events("broken")
    assert watched.playground.broken in told.text
    before = watched.playground.now_us
    watched.playground.advance(SECOND_US)
    assert watched.playground.now_us == before


def test_it_begins_with_the_first_campaign() -> None:
    frames: list[Frame] = []
    playground = Playground(1, frames.append)
    playground.until_campaign()
    campaigns = [frame.time_us for frame in frames for event in frame.events if event.kind == "campaign"]
    assert playground.now_us - STEP_US <= campaigns[0] <= playground.now_us
