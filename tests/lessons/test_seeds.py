"""A seed as a lesson: watching changes nothing, and the frames add up to what the servers hold."""

from __future__ import annotations

from typing import Any

import pytest

from lessons.frames import DETAIL, Frame
from lessons.seeds import run_seed
from lessons.seeds import watched as watched_simulation

SEED = 4  # a short one
Run = tuple[Any, list[Frame], int]  # the simulation, its frames, its digest


@pytest.fixture(scope="module")
def watched() -> Run:
    """A run that was recorded to its end, its frames, and its digest."""
    frames: list[Frame] = []
    simulation, _ = watched_simulation(SEED, frames.append)
    digest = simulation.run().digest
    return simulation, frames, digest


def test_watching_does_not_change_a_run(watched: Run) -> None:
    assert run_seed(SEED).digest == watched[2]


def test_the_frames_add_up_to_what_the_servers_hold(watched: Run) -> None:
    simulation, frames, _ = watched
    logs: dict[str, tuple[int, list[tuple[int, str]]]] = {}
    nodes: dict[str, dict[str, Any]] = {}
    for frame in frames:
        for name, changes in frame.nodes.items():
            nodes.setdefault(name, {}).update(changes)
            if "log" in changes:
                start, entries = logs.get(name, (0, []))
                change = changes["log"]
                kept = entries[max(0, change["start"] - start) : change["keep"] - start]
                logs[name] = change["start"], [*kept, *change["add"]]
    running = [server for server in simulation.servers.values() if server.up]
    assert len(running) >= 3
    for server in running:
        raft, (start, entries) = server.core.raft, logs[server.name]
        assert [term for term, _ in entries] == [
            raft.log.term_at(index) for index in range(start + 1, raft.last_index + 1)
        ]
        assert nodes[server.name]["commit"] == raft.commit_index
        assert nodes[server.name]["term"] == raft.term
        assert nodes[server.name]["balances"] == server.storage.ledger_file.balances()


def test_messages_that_are_gone_were_sent_before(watched: Run) -> None:
    in_flight: set[int] = set()
    for frame in watched[1]:
        in_flight |= {flight.id for flight in frame.sent if not flight.doomed}
        gone = {number for number, _ in frame.gone}
        assert gone <= in_flight
        in_flight -= gone


def test_frames_come_in_the_order_of_time(watched: Run) -> None:
    times = [frame.time_us for frame in watched[1]]
    assert times == sorted(times)


def test_turns_have_a_reason(watched: Run) -> None:
    events = [event for frame in watched[1] for event in frame.events]
    kinds = {"elected", "campaign", "refusal", "vote", "conflict"}
    told = [event for event in events if event.kind in kinds and event.weight > DETAIL]
    assert {"elected", "campaign", "vote"} <= {event.kind for event in told}
    assert [event for event in told if not event.why] == []
    assert not any("ALTHOUGH" in event.why for event in events)  # that is said of planted defects alone
