"""The switch: how late, how often lost and doubled; alone in made-up time, and between real namespaces."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from atm.local_cluster import write_cluster_ini
from tests.chaos import bad_links
from tests.chaos.__main__ import NODES
from tests.chaos.faults import carry_badly
from tests.chaos.network import CUSTOMERS, Network, why_no_switch
from tests.chaos.scene import Scene
from tests.chaos.switch import Counts, Link, Switch
from tests.chaos.test_network import why_no_network

WAY = ("n1", "n2")
PACKETS = 10_000
SENT = 400  # between namespaces

RECEIVE = """
import json, socket, sys, time
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
receiver.bind((sys.argv[1], 7000))
receiver.settimeout(20.0)
print("ready", flush=True)
late_ms = {}
try:
    while True:
        packet = receiver.recv(100).decode()
        receiver.settimeout(1.5)
        number, sent_s = packet.split()
        late_ms.setdefault(number, []).append((time.monotonic() - float(sent_s)) * 1000)
except TimeoutError:
    print(json.dumps(late_ms))
"""
SEND = """
import socket, sys, time
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[2])):
    sender.sendto(f"{number} {time.monotonic()}".encode(), (sys.argv[1], 7000))
"""


class Receiver:
    """A switch in made-up time, and what it delivered when."""

    def __init__(self, **link: float) -> None:
        self.now_s = 0.0
        self.got: list[tuple[int, float]] = []  # number of the packet, when
        self.switch = Switch(self._get, random.Random(1))
        self.switch.links[WAY] = Link(**link)

    def _get(self, place: str, packet: bytes) -> None:
        assert place == "n2"
        self.got.append((int(packet), self.now_s))

    def send(self, count: int, every_s: float = 0.001) -> None:
        for number in range(count):
            self.run_until(number * every_s)
            self.switch.take(WAY, str(number).encode(), self.now_s)
        self.run_until(count * every_s + 10.0)

    def run_until(self, until_s: float) -> None:
        """Move time from one due packet to the next, as the switch says how long nothing is due."""
        while (wait_s := self.switch.wait_s(self.now_s)) is not None and self.now_s + wait_s <= until_s:
            self.now_s += wait_s
            self.switch.deliver_due(self.now_s)
        self.now_s = until_s

    def numbers(self) -> list[int]:
        return [number for number, _ in self.got]


def test_each_packet_is_late_by_the_delay_at_least_and_with_the_jitter_at_most() -> None:
    receiver = Receiver(delay_ms=50.0, jitter_ms=30.0)
    receiver.send(PACKETS)
    late_ms = [(at_s - number * 0.001) * 1000 for number, at_s in receiver.got]
    assert 50.0 <= min(late_ms) + 1e-6 < 51.0
    assert 79.0 < max(late_ms) < 80.0 + 1e-6
    assert sorted(receiver.numbers()) == list(range(PACKETS))
    assert receiver.switch.counts.late == PACKETS


def test_jitter_lets_packets_overtake_each_other_and_delay_alone_does_not() -> None:
    orderly, jittery = Receiver(delay_ms=50.0), Receiver(delay_ms=50.0, jitter_ms=10.0)
    for receiver in (orderly, jittery):
        receiver.send(PACKETS)
    assert orderly.numbers() == list(range(PACKETS))
    assert orderly.switch.counts.overtaken == 0
    assert jittery.numbers() != list(range(PACKETS))
    assert jittery.switch.counts.overtaken > PACKETS / 10


def test_the_share_that_was_asked_for_is_lost() -> None:
    receiver = Receiver(lost=0.05)
    receiver.send(PACKETS)
    counts = receiver.switch.counts
    assert 0.04 < counts.lost / PACKETS < 0.06
    assert len(receiver.got) == len(set(receiver.got)) == PACKETS - counts.lost
    assert counts.taken == PACKETS


def test_the_share_that_was_asked_for_is_doubled() -> None:
    receiver = Receiver(doubled=0.2)
    receiver.send(PACKETS)
    doubled = receiver.switch.counts.doubled
    assert 0.18 < doubled / PACKETS < 0.22
    assert len(receiver.got) == PACKETS + doubled
    assert set(receiver.numbers()) == set(range(PACKETS))


def test_what_is_not_told_otherwise_goes_on_at_once_and_once() -> None:
    receiver = Receiver()
    receiver.switch.links = {("n2", "n1"): Link(delay_ms=50.0, lost=1.0)}
    receiver.send(100)
    assert receiver.got == [(number, number * 0.001) for number in range(100)]


def test_where_nothing_waits_nothing_is_due() -> None:
    assert Receiver().switch.wait_s(0.0) is None


# -- between namespaces ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    if reason := why_no_network() or why_no_switch():
        pytest.skip(f"PACKETS NOT LED THROUGH THE SWITCH: {reason}")
    network = Network(f"chaos{os.getpid()}", NODES)
    network.create()
    try:
        yield network
    finally:
        network.remove()


def sent(network: Network, sender: str, receiver: str, count: int = SENT) -> dict[str, list[float]]:
    """Send datagrams; return, of each that arrived, how late it and its doubles came, in ms."""
    address = f"10.77.0.{receiver[1:]}"
    with subprocess.Popen(
        [*network.inside(receiver), sys.executable, "-c", RECEIVE, address], stdout=subprocess.PIPE, text=True
    ) as receiving:
        assert receiving.stdout is not None
        assert receiving.stdout.readline() == "ready\n"
        command = [*network.inside(sender), sys.executable, "-c", SEND, address, str(count)]
        subprocess.run(command, check=True, timeout=20)
        late_ms: dict[str, list[float]] = json.loads(receiving.communicate(timeout=20)[0])
    return late_ms


def flat(late_ms: dict[str, list[float]]) -> list[float]:
    return [late for copies in late_ms.values() for late in copies]


def test_a_way_between_namespaces_is_late_and_the_way_back_is_not(network: Network) -> None:
    network.carry_badly({WAY: Link(delay_ms=150.0, jitter_ms=50.0)})
    there, back = sent(network, "n1", "n2"), sent(network, "n2", "n1")
    counts = network.carry_well()
    assert len(there) == len(back) == SENT
    assert min(flat(there)) >= 150.0
    assert min(flat(back)) < 150.0
    assert counts.late == counts.taken == SENT, "the way back is over the bridge"
    assert counts.overtaken > 0
    assert min(flat(sent(network, "n1", "n2"))) < 150.0
    assert network.carry_well().taken == 0, "and so are both, now"


def test_packets_between_namespaces_are_lost_and_doubled(network: Network) -> None:
    network.carry_badly({WAY: Link(lost=0.2, doubled=0.2)})
    late_ms = sent(network, "n1", "n2")
    counts = network.carry_well()
    assert counts.taken == SENT
    assert counts.lost == SENT - len(late_ms)
    assert 0.1 < counts.lost / SENT < 0.3
    assert counts.doubled == len(flat(late_ms)) - len(late_ms)
    assert 0.08 < counts.doubled / SENT < 0.26


def test_a_connection_goes_on_over_the_switch_and_back_over_the_bridge(network: Network) -> None:
    """Opened before, with the customers at one end: routes change under it."""
    echo = (
        "import socket\nserver = socket.create_server(('10.77.0.1', 7001))\nprint(flush=True)\n"
        "peer, _ = server.accept()\nwhile data := peer.recv(100): peer.sendall(data)\n"
    )
    ask = (
        "import socket, time\npeer = socket.create_connection(('10.77.0.1', 7001))\n"
        "while input():\n  began = time.monotonic()\n  peer.sendall(b'x')\n  peer.recv(1)\n"
        "  print(time.monotonic() - began, flush=True)\n"
    )
    both_ways = {("n1", CUSTOMERS): Link(delay_ms=60.0), (CUSTOMERS, "n1"): Link(delay_ms=60.0)}
    in_hub = ["ip", "netns", "exec", network.hub, sys.executable, "-c", ask]
    with subprocess.Popen(
        [*network.inside("n1"), sys.executable, "-c", echo], stdout=subprocess.PIPE
    ) as server:
        assert server.stdout is not None
        server.stdout.readline()
        with subprocess.Popen(in_hub, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as customer:
            assert customer.stdin is not None
            assert customer.stdout is not None

            def round_trip_s() -> float:
                assert customer.stdin is not None
                assert customer.stdout is not None
                print("ask", file=customer.stdin, flush=True)
                return float(customer.stdout.readline())

            round_trip_s()
            network.carry_badly(both_ways)
            assert round_trip_s() >= 0.12
            assert network.carry_well().late >= 2
            assert min(round_trip_s() for _ in range(5)) < 0.12
            assert network.carry_well().taken == 0
            print(file=customer.stdin, flush=True)


def test_a_switch_that_is_closed_takes_its_devices_with_it(network: Network) -> None:
    network.carry_badly({WAY: Link(delay_ms=20.0)})
    network.close_switch()
    listing = subprocess.run(
        [*network.inside("n1"), "ls", "/sys/class/net"], capture_output=True, text=True, check=True
    )
    assert listing.stdout.split() == ["eth0", "lo"]
    network.carry_badly({WAY: Link(delay_ms=20.0)})
    assert network.carry_well().taken == 0


# -- the faults that use it ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_what_is_drawn_is_bad_enough_and_not_worse(tmp_path: Path, seed: int) -> None:
    scene = Scene(write_cluster_ini(tmp_path), None, random.Random(seed))
    for draw in (bad_links.slow_network, bad_links.far_customers):
        told, links = draw(scene)
        assert all(
            20.0 <= link.delay_ms <= link.delay_ms + link.jitter_ms <= 200.0 for link in links.values()
        )
        assert "ms late" in told
    assert all(0.01 <= link.lost <= 0.1 for link in bad_links.lossy_links(scene)[1].values())
    assert all(link.doubled > 0 for link in bad_links.doubled_packets(scene)[1].values())
    told, links = bad_links.bad_network(scene)
    assert links.keys() == set(permutations([*scene.nodes, CUSTOMERS], 2))
    assert len(set(links.values())) == len(links), "each direction has a draw of its own"
    assert all(word in told for word in ("late", "lost", "doubled"))


@pytest.mark.parametrize(
    ("counts", "fired"),
    [
        (Counts(taken=9, late=9, lost=9, doubled=9), True),
        (Counts(taken=9, late=9, lost=9), False),
        (Counts(taken=9, late=9, doubled=9), False),
        (Counts(taken=9, lost=9, doubled=9), False),
    ],
)
def test_bad_links_fired_only_if_packets_were_late_lost_and_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: Counts, fired: bool
) -> None:
    monkeypatch.setattr(Network, "carry_badly", lambda network, links: None)
    monkeypatch.setattr(Network, "carry_well", lambda network: counts)
    network = Network("unmade", NODES)
    story = carry_badly(bad_links.bad_network)(Scene(write_cluster_ini(tmp_path), network, random.Random(1)))
    assert "late" in next(story)
    with pytest.raises(StopIteration) as end:
        next(story)
    assert end.value.value is fired
