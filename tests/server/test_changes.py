"""What committed entries change of the cluster is told, and what was known before is not."""

from __future__ import annotations

import logging

from msgspec.structs import replace

from atm.ledger.commands import Member
from atm.ledger.ledger import ClusterState
from atm.server.peers.changes import tell_changes
from tests.support.collecting import collecting

N1, N2 = (Member(node=name, voter=True, peer=f"{name}:6000", client=f"{name}:5000") for name in ("n1", "n2"))
STATE = ClusterState(id="c", voters=("n1", "n2"), feature_level=2, members=(N1, N2))


def told(before: ClusterState, after: ClusterState, level: int = logging.INFO) -> list[str]:
    lines: list[str] = []
    tell_changes(collecting(lines, level=level), before, after)
    return lines


def with_n2(member: Member) -> ClusterState:
    return replace(STATE, members=(N1, member))


def test_nothing_is_told_of_what_stays() -> None:
    assert told(STATE, STATE) == []


def test_a_member_that_is_added_promoted_and_removed_is_told() -> None:
    learner = replace(N2, voter=False)
    alone = replace(STATE, members=(N1,))
    assert told(alone, with_n2(learner)) == ["node n2 at n2:6000 was added to the cluster, as a learner"]
    assert told(with_n2(learner), STATE) == ["node n2 is a voter now"]
    assert told(STATE, alone) == ["node n2 was removed from the cluster"]


def test_a_vote_that_is_not_counted_any_more_is_a_warning() -> None:
    demoted = with_n2(replace(N2, voter=False))
    assert told(STATE, demoted, logging.WARNING) == ["node n2 is a learner now: its vote is not counted"]


def test_a_member_that_moves_or_has_another_folder_is_told() -> None:
    assert told(STATE, with_n2(replace(N2, peer="h:1"))) == [
        "node n2 is at h:1 now, and for clients at n2:5000"
    ]
    one, another = with_n2(replace(N2, store="one")), with_n2(replace(N2, store="another"))
    assert told(one, another) == ["node n2 has another data folder, which counts now"]


def test_members_that_the_log_names_for_the_first_time_were_no_strangers() -> None:
    founded = ClusterState(id="c", voters=("n1", "n2"), feature_level=1)
    assert told(replace(founded, id="", voters=()), founded) == [
        "the cluster has its id, c; its first voters are n1, n2"
    ]
    assert told(founded, STATE) == ["the cluster is at feature level 2, it was at 1"]
    nowhere = with_n2(replace(N2, peer="", client=""))
    assert told(nowhere, STATE) == [], "its address was in cluster.ini"
