"""A network in user space whose ways carry badly: packets come late, out of order, twice, or never.

Run as a program it makes a TUN device for each place, `python -m tests.chaos.switch n1=10.77.0.1 …`, in the
namespace where it is started. On standard input it receives the ways, a line of JSON each time, and answers
each line with what it did since the one before. It ends when its input does, and the devices with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import random
import struct
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from selectors import EVENT_READ, DefaultSelector

import msgspec
from msgspec import Struct

TUN = "/dev/net/tun"
PACKET_BYTES_MAX = 65_536
PACKETS_AT_ONCE = 64  # from one place, before the other sockets and due packets are served

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_PREFIX = 0x1001  # IFF_TUN | IFF_NO_PI: IP packets and nothing before them
_DESTINATION = slice(16, 20)  # of an IPv4 header

Way = tuple[str, str]  # sender, receiver


class Link(Struct, frozen=True, kw_only=True):
    """How one way carries: each packet is late by `delay_ms` and up to `jitter_ms`; shares are 0 to 1."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    lost: float = 0.0
    doubled: float = 0.0


class Told(Struct, frozen=True, kw_only=True):
    """A way and how it carries from now on; of a way that is not told, packets go on at once."""

    sender: str
    receiver: str
    link: Link


class Counts(Struct, kw_only=True):
    """What became of the packets."""

    taken: int = 0
    late: int = 0
    lost: int = 0
    doubled: int = 0
    overtaken: int = 0  # delivered after one that was sent later on the same way


class Switch:
    """Decides over each packet, and keeps it until its time has come; time is passed in."""

    def __init__(self, deliver: Callable[[str, bytes], None], chance: random.Random) -> None:
        self.links: dict[Way, Link] = {}
        self.counts = Counts()
        self._deliver = deliver
        self._chance = chance
        self._taken = 0  # numbers the packets, which also keeps those due at one time in order
        self._newest: dict[Way, int] = {}
        self._waiting: list[tuple[float, int, Way, bytes]] = []  # a heap

    def take(self, way: Way, packet: bytes, now_s: float) -> None:
        """Lose the packet, or keep it for later, once or twice."""
        link = self.links.get(way, Link())
        self.counts.taken += 1
        self._taken += 1
        if self._chance.random() < link.lost:
            self.counts.lost += 1
            return
        self._keep(way, link, packet, now_s)
        if self._chance.random() < link.doubled:
            self.counts.doubled += 1
            self._keep(way, link, packet, now_s)

    def _keep(self, way: Way, link: Link, packet: bytes, now_s: float) -> None:
        late_ms = link.delay_ms + self._chance.random() * link.jitter_ms
        self.counts.late += late_ms > 0
        heapq.heappush(self._waiting, (now_s + late_ms / 1000, self._taken, way, packet))

    def deliver_due(self, now_s: float) -> None:
        """Deliver all whose time has come."""
        while self._waiting and self._waiting[0][0] <= now_s:
            _, number, way, packet = heapq.heappop(self._waiting)
            newest = self._newest.get(way, 0)
            self.counts.overtaken += number < newest
            self._newest[way] = max(newest, number)
            self._deliver(way[1], packet)

    def wait_s(self, now_s: float) -> float | None:
        """Return how long nothing will be due, or None if nothing waits."""
        return max(0.0, self._waiting[0][0] - now_s) if self._waiting else None


def device(place: str) -> str:
    """Return the name of a place's device."""
    return f"far-{place}"


def main(arguments: Sequence[str]) -> int:
    addresses = dict(argument.split("=") for argument in arguments)
    devices = {place: _open_device(place) for place in addresses}
    places = {IPv4Address(address).packed: place for place, address in addresses.items()}
    switch = Switch(lambda place, packet: _write(devices[place], packet), random.Random())
    with DefaultSelector() as selector:
        for place, file in devices.items():
            selector.register(file, EVENT_READ, place)
        selector.register(sys.stdin.fileno(), EVENT_READ, None)
        _answer(switch)  # the devices are there
        while True:
            for key, _ in selector.select(switch.wait_s(time.monotonic())):
                if key.data is not None:
                    _read(key.fd, key.data, places, switch)
                elif not _obey(switch):
                    return 0
            switch.deliver_due(time.monotonic())


def _open_device(place: str) -> int:
    file = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", device(place).encode(), _TUN_WITHOUT_PREFIX))
    return file


def _read(file: int, sender: str, places: Mapping[bytes, str], switch: Switch) -> None:
    for _ in range(PACKETS_AT_ONCE):
        try:
            packet = os.read(file, PACKET_BYTES_MAX)
        except BlockingIOError:
            return
        receiver = places.get(packet[_DESTINATION])
        if packet[0] >> 4 == 4 and receiver is not None:  # systems also announce themselves in IPv6
            switch.take((sender, receiver), packet, time.monotonic())


def _write(file: int, packet: bytes) -> None:
    with contextlib.suppress(BlockingIOError):  # its queue is full: lost, as at any switch
        os.write(file, packet)


def _obey(switch: Switch) -> bool:
    """Take over the ways of one line, and answer; return False at the end of the input."""
    line = sys.stdin.buffer.readline()
    if not line:
        return False
    ways = msgspec.json.decode(line, type=list[Told])
    switch.links = {(way.sender, way.receiver): way.link for way in ways}
    _answer(switch)
    return True


def _answer(switch: Switch) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(switch.counts) + b"\n")
    sys.stdout.buffer.flush()
    switch.counts = Counts()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
