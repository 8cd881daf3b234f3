"""A node as `LocalCluster` starts it, on a machine with another clock or less room on its disk than this one.

`python -m tests.support.odd_node FILE NODE --config …`. What is odd stands in FILE, as JSON, and may
change at any time: `ahead_s` of the true time, `free_mib` on the disk.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from atm.local_cluster import LocalCluster, end_with_starter
from atm.server import main as node
from atm.server.group.disk_guard import MIB, Room
from atm.server.server import Server

ROOT = Path(__file__).parents[2]


class Odd:
    """What is odd at present."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def _now(self) -> dict[str, Any]:
        said: dict[str, Any] = msgspec.json.decode(self._file.read_bytes()) if self._file.exists() else {}
        return said

    def wall_clock_us(self) -> int:
        return time.time_ns() // 1000 + int(self._now().get("ahead_s", 0) * 1e6)

    def room(self, _folder: Path) -> Room:
        return Room(self._now().get("free_mib", 100_000) * MIB, 1_000_000 * MIB)


def odd_command(file: Path, name: str, config: Path) -> list[str]:
    """Return the command that starts the node so, odd as `file` says."""
    found = f"PYTHONPATH={ROOT}"  # the tests are not installed
    program = [sys.executable, "-P", "-m", "tests.support.odd_node"]
    return ["/usr/bin/env", found, *program, str(file), name, "--config", str(config)]


class OddCluster(LocalCluster):
    """All nodes are started so; `set` says what is odd about one."""

    def command(self, name: str) -> list[str]:
        return odd_command(self._file(name), name, self.cluster.path)

    def set(self, name: str, **odd: float) -> None:
        """Say what is odd about a node from now on; nothing, if nothing is said."""
        new = self._file(name).with_suffix(".new")
        new.write_bytes(msgspec.json.encode(odd))
        new.rename(self._file(name))

    def _file(self, name: str) -> Path:
        return self.cluster.path.with_name(f"{name}.odd")


def run() -> int:
    odd = Odd(Path(sys.argv[1]))
    end_with_starter()
    odd_server = partial(Server, room=odd.room, wall_clock_us=odd.wall_clock_us)
    setattr(node, "Server", odd_server)  # noqa: B010
    return node.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(run())
