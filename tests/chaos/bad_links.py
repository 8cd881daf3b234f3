"""Which ways carry how badly, drawn by the scene's seed, each direction for itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import permutations

from tests.chaos.network import CUSTOMERS
from tests.chaos.scene import Scene
from tests.chaos.switch import Link, Way

DELAY_MS = (20.0, 200.0)  # with its jitter; an election timeout is 300 to 600
JITTER_MS_MAX = 50.0
LOST = (0.01, 0.1)
DOUBLED = (0.05, 0.3)
DOUBLE_APART_MS_MAX = 20.0

BadLinks = tuple[str, dict[Way, Link]]  # what it is, for people, and how each way carries


def slow_network(scene: Scene) -> BadLinks:
    """Every node is far from every other."""
    return _told("all nodes", scene, permutations(scene.nodes, 2), _slow)


def far_leader(scene: Scene) -> BadLinks:
    leader, *others = scene.leader_and_others()
    ways = [way for other in others for way in ((leader, other), (other, leader))]
    return _told(f"to and from {leader}", scene, ways, _slow)


def slow_one_way(scene: Scene) -> BadLinks:
    """What the leader says comes late, or what it is answered; not both."""
    leader, *others = scene.leader_and_others()
    if scene.chance.random() < 0.5:
        return _told(f"from {leader}", scene, [(leader, other) for other in others], _slow)
    return _told(f"to {leader}", scene, [(other, leader) for other in others], _slow)


def far_customers(scene: Scene) -> BadLinks:
    ways = [way for node in scene.nodes for way in ((CUSTOMERS, node), (node, CUSTOMERS))]
    return _told("customers to nodes and back", scene, ways, _slow)


def lossy_links(scene: Scene) -> BadLinks:
    return _told("all", scene, _all_ways(scene), _lossy)


def doubled_packets(scene: Scene) -> BadLinks:
    return _told("all", scene, _all_ways(scene), _doubling)


def bad_network(scene: Scene) -> BadLinks:
    """All of it at once, everywhere."""
    return _told("all", scene, _all_ways(scene), _bad)


def _all_ways(scene: Scene) -> Iterable[Way]:
    return permutations((*scene.nodes, CUSTOMERS), 2)


def _slow(scene: Scene) -> Link:
    jitter_ms = scene.chance.uniform(0.0, JITTER_MS_MAX)
    return Link(delay_ms=scene.chance.uniform(DELAY_MS[0], DELAY_MS[1] - jitter_ms), jitter_ms=jitter_ms)


def _lossy(scene: Scene) -> Link:
    return Link(lost=scene.chance.uniform(*LOST))


def _doubling(scene: Scene) -> Link:
    return Link(
        doubled=scene.chance.uniform(*DOUBLED), jitter_ms=scene.chance.uniform(1.0, DOUBLE_APART_MS_MAX)
    )


def _bad(scene: Scene) -> Link:
    slow, lossy, doubling = _slow(scene), _lossy(scene), _doubling(scene)
    return Link(delay_ms=slow.delay_ms, jitter_ms=slow.jitter_ms, lost=lossy.lost, doubled=doubling.doubled)


def _told(where: str, scene: Scene, ways: Iterable[Way], draw: Callable[[Scene], Link]) -> BadLinks:
    links = {way: draw(scene) for way in ways}
    return f"{where}: {_range(links.values())}", links


def _range(links: Iterable[Link]) -> str:
    """Say from what to what the links carry badly."""
    links = list(links)
    parts = []
    if any(link.delay_ms for link in links):
        latest_ms = max(link.delay_ms + link.jitter_ms for link in links)
        parts.append(f"{min(link.delay_ms for link in links):.0f} to {latest_ms:.0f} ms late")
    shares = {"lost": [link.lost for link in links], "doubled": [link.doubled for link in links]}
    parts += [f"{min(each):.0%} to {max(each):.0%} {word}" for word, each in shares.items() if any(each)]
    return ", ".join(parts)
