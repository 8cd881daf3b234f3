"""How servers share lanes out: each lane has a writer soon, and each server about as many."""

from __future__ import annotations

import pytest

from atm.server.lanes.shares import LaneSeen, to_take


def lanes(*holders: str, dead: str = "") -> list[LaneSeen]:
    """Return lanes with these writers, of whom `dead` is silent."""
    return [
        LaneSeen(lane=n, epoch=1, applied=0, holder=name, is_alive=bool(name) and name != dead)
        for n, name in enumerate(holders)
    ]


@pytest.mark.parametrize(
    ("me", "seen", "living", "taken"),
    [
        ("a", lanes("", "", "", ""), "a", [0, 1, 2, 3]),
        ("a", lanes("", "", "", ""), "ab", [0, 1]),
        ("b", lanes("", "", "", ""), "ab", [2, 3]),
        ("a", lanes("", "", "", ""), "", [0, 1, 2, 3]),  # before its first beat is seen
        ("b", lanes("a", "a", "a", "a"), "ab", [3]),
        ("b", lanes("a", "a", "a", "b"), "ab", [3, 2]),
        ("b", lanes("a", "a", "b", "b"), "ab", [2, 3]),
        ("c", lanes("a", "a", "b", "b"), "abc", [3]),
        ("c", lanes("a", "a", "b", "c"), "abc", [3]),
        ("a", lanes("a", "c", "b", "c", dead="c"), "ab", [0, 1]),
        ("b", lanes("a", "c", "b", "c", dead="c"), "ab", [2, 3]),
        ("b", lanes("a", "a"), "ab", [1]),
        ("b", lanes("a"), "ab", []),
        ("a", lanes("a", "b"), "ab", [0]),  # what it has is taken again after a restart
    ],
)
def test_a_server_takes_what_has_no_writer_or_one_from_who_has_two_more(
    me: str, seen: list[LaneSeen], living: str, taken: list[int]
) -> None:
    assert to_take(me, seen, list(living)) == taken


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_whoever_comes_and_goes_all_lanes_are_shared_evenly_soon(count: int) -> None:
    names = [f"s{each}" for each in range(count)]
    holders = ["s0"] * 16
    for _ in range(64):
        for me in names:
            for lane in to_take(me, lanes(*holders), names):
                holders[lane] = me
    counts = [holders.count(name) for name in names]
    assert max(counts) - min(counts) <= 1
    before = list(holders)
    for me in names:
        for lane in to_take(me, lanes(*holders), names):
            holders[lane] = me
    assert holders == before, "and then nothing moves any more"
