"""The way between servers that are apart: a program that hands each packet on a fixed time later.

Started as `python bench/far_switch.py DELAY_MS PLACE=ADDRESS …`, it makes a TUN device for each place in the
network namespace where it runs. It prints a line once they are there. On standard input it receives how much
later than the others a place is, `PLACE MS` each way, and answers each line by printing it. It ends when its
input does, and the devices with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from ipaddress import IPv4Address

TUN = "/dev/net/tun"
PACKET_BYTES_MAX = 65_536
PACKETS_AT_ONCE = 32  # from one place, before the other sockets and due packets are served

_TUNSETIFF = 0x400454CA
_TUN_WITHOUT_PREFIX = 0x1001  # IFF_TUN | IFF_NO_PI: IP packets and nothing before them
_DESTINATION = slice(16, 20)  # of an IPv4 header

Due = tuple[float, int, bytes]  # when, to which device, what


class Ways:
    """What is under way. Packets that are equally late leave in the order in which they came: no heap."""

    def __init__(self, delay_s: float) -> None:
        self.later_s: dict[int, float] = {}  # by device, besides the delay of all; each way
        self._delay_s = delay_s
        self._queues: dict[float, deque[Due]] = {}

    def take(self, sender: int, receiver: int, packet: bytes, now_s: float) -> None:
        """Keep a packet until its time has come."""
        late_s = self._delay_s + self.later_s.get(sender, 0.0) + self.later_s.get(receiver, 0.0)
        queue = self._queues.get(late_s)
        if queue is None:
            queue = self._queues[late_s] = deque()
        queue.append((now_s + late_s, receiver, packet))

    def due(self, now_s: float) -> list[tuple[int, bytes]]:
        """Return to which device to write what now."""
        found = []
        for queue in self._queues.values():
            while queue and queue[0][0] <= now_s:
                _, receiver, packet = queue.popleft()
                found.append((receiver, packet))
        return found

    def wait_s(self, now_s: float) -> float | None:
        """Return how long nothing will be due, or None if nothing is under way."""
        heads = [queue[0][0] for queue in self._queues.values() if queue]
        return max(0.0, min(heads) - now_s) if heads else None


def device(place: str) -> str:
    """Return the name of a place's device."""
    return f"far-{place}"


def main(arguments: Sequence[str]) -> int:
    """Carry packets until the input ends; return the exit code."""
    places = dict(argument.split("=") for argument in arguments[1:])
    devices = {place: _open_device(place) for place in places}
    receivers = {IPv4Address(address).packed: devices[place] for place, address in places.items()}
    ways = Ways(float(arguments[0]) / 1000)
    told = sys.stdin.fileno()
    print("ready", flush=True)
    while True:
        readable, _, _ = select.select([*devices.values(), told], [], [], ways.wait_s(time.monotonic()))
        for file in readable:
            if file != told:
                _read(file, receivers, ways)
            elif not _obey(ways, devices):
                return 0
        for receiver, packet in ways.due(time.monotonic()):
            with contextlib.suppress(OSError):  # not up yet, or its queue is full: lost, as at any switch
                os.write(receiver, packet)


def _open_device(place: str) -> int:
    file = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", device(place).encode(), _TUN_WITHOUT_PREFIX))
    return file


def _read(file: int, receivers: dict[bytes, int], ways: Ways) -> None:
    now_s = time.monotonic()
    for _ in range(PACKETS_AT_ONCE):
        try:
            packet = os.read(file, PACKET_BYTES_MAX)
        except OSError:
            return
        receiver = receivers.get(packet[_DESTINATION])
        if receiver is not None and packet[0] >> 4 == 4:  # systems also announce themselves in IPv6
            ways.take(file, receiver, packet, now_s)


def _obey(ways: Ways, devices: dict[str, int]) -> bool:
    """Let a place be so much later; return False at the end of the input."""
    line = sys.stdin.readline()
    if not line:
        return False
    place, later_ms = line.split()
    ways.later_s[devices[place]] = float(later_ms) / 1000
    print(line, end="", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
