"""What /learn says about two-phase commit, three-phase commit and Raft is what they do."""

from __future__ import annotations

from functools import cache

import pytest

from lessons.commit.race import FAULTS, OUTAGE_US, ProtocolName, Result, run
from lessons.frames import Frame


@cache
def result(protocol: ProtocolName, fault: str) -> Result:
    return run(protocol, fault, lambda frame: None)


def test_two_phase_commit_blocks_until_its_coordinator_is_back() -> None:
    back = result("two_phase", "returns")
    assert OUTAGE_US <= back.unavailable_us < OUTAGE_US + 500_000
    assert back.ended
    assert not result("two_phase", "dies").ended


def test_two_phase_commit_is_stopped_by_any_server_and_never_split() -> None:
    assert result("two_phase", "participant").unavailable_us >= OUTAGE_US
    for fault in FAULTS:
        assert result("two_phase", fault.name).split == []
        assert len(result("two_phase", fault.name).balances) == 1


def test_three_phase_commit_goes_on_after_a_crash() -> None:
    for fault in ("returns", "dies", "participant"):
        outcome = result("three_phase", fault)
        assert outcome.unavailable_us < OUTAGE_US / 2
        assert outcome.split == []
        assert len(outcome.balances) == 1


def test_three_phase_commit_splits_with_the_network() -> None:
    outcome = result("three_phase", "split")
    assert 10 in outcome.split  # the payment that was under way: one side has it
    assert len(outcome.balances) == 2


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS])
def test_raft_goes_on_and_agrees(fault: str) -> None:
    outcome = result("raft", fault)
    assert outcome.unavailable_us < 1_300_000  # two election timeouts and a little
    assert outcome.acknowledged == outcome.asked
    assert outcome.split == []
    assert outcome.balances == ["700.00"]


def test_blocked_servers_say_so() -> None:
    frames: list[Frame] = []
    run("two_phase", "dies", frames.append)
    blocked = {e.node for frame in frames for e in frame.events if "is blocked on payment 10" in e.text}
    assert blocked == {"5001", "5002", "5003", "5004"}
