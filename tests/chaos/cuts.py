"""Which node receives from which: the shapes of broken networks, drawn by the scene's seed."""

from __future__ import annotations

from tests.chaos.scene import Scene

Cut = tuple[str, list[tuple[str, str]]]  # what it is, for people, and each (sender, receiver) that is cut


def isolated_leader(scene: Scene) -> Cut:
    leader, *others = scene.leader_and_others()
    return f"{leader} | {', '.join(others)}", _both_ways([leader], others)


def halves(scene: Scene) -> Cut:
    """Two and three; the leader is on the smaller side."""
    smaller = scene.leader_and(1)
    larger = [name for name in scene.nodes if name not in smaller]
    return f"{', '.join(smaller)} | {', '.join(larger)}", _both_ways(smaller, larger)


def deaf_leader(scene: Scene) -> Cut:
    leader, *others = scene.leader_and_others()
    return f"{leader} receives nothing", [(other, leader) for other in others]


def mute_leader(scene: Scene) -> Cut:
    leader, *others = scene.leader_and_others()
    return f"{leader} reaches no one", [(leader, other) for other in others]


def deaf_follower(scene: Scene) -> Cut:
    [name] = scene.followers()
    return f"{name} receives nothing", [(other, name) for other in scene.nodes if other != name]


def ring(scene: Scene) -> Cut:
    """Each reaches only its two neighbours, so everyone sees a majority and no two see the same."""
    order = scene.choose(5)
    apart = [(order[i], order[(i + step) % 5]) for i in range(5) for step in (2, 3)]
    return "-".join(order), apart


def bridge(scene: Scene) -> Cut:
    """Two and two, and one that reaches both; the leader is not in the middle, or nothing would be cut."""
    one, another, middle, *beyond = scene.leader_and(4)
    return f"{one}, {another} - {middle} - {', '.join(beyond)}", _both_ways([one, another], beyond)


def _both_ways(these: list[str], those: list[str]) -> list[tuple[str, str]]:
    return [pair for a in these for b in those for pair in ((a, b), (b, a))]
