"""Servers as users run them: a share of a processor for each, and a distance between them.

Each node runs in a network namespace and a control group of its own; the load is in a namespace of its own,
too. All packets between them pass the switch of `bench.far_switch`. Linux only, root only.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from atm.config import load
from atm.server.security.peppers import new_peppers
from bench import far_switch
from bench.far_switch import TUN, device

SUBNET = "10.79.0"
LOAD = "load"  # the place of the load program
CLIENT_PORT, PEER_PORT = 5000, 6000
MTU = 60_000  # a real network card also cuts up what is larger by itself
PERIOD_US = 10_000
PROGRAMS = ("ip", "sh")
CGROUPS = Path("/sys/fs/cgroup")

_CLONE_NEWNET = 0x40000000


class NoDistance(Exception):
    """Namespaces or shares cannot be had here; `str()` of it is one line that says why."""


class Share:
    """A control group whose processes together get so much of one core, not more."""

    def __init__(self, name: str, of_a_core: float, cgroups: Path = CGROUPS) -> None:
        quota_us = round(of_a_core * PERIOD_US)
        if (cgroups / "cgroup.controllers").exists():  # version 2
            self.folder = cgroups / name
            self._limits = {"cpu.max": f"{quota_us} {PERIOD_US}"}
        else:
            self.folder = cgroups / "cpu" / name
            self._limits = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}

    def create(self) -> None:
        """Make the group; raise `OSError` if this system has none."""
        self.folder.mkdir()
        for file, limit in self._limits.items():
            (self.folder / file).write_text(limit, encoding="ascii")

    def inside(self) -> list[str]:
        """Return what to put before a command so that it runs in the group."""
        return ["sh", "-c", f'echo $$ >{self.folder}/cgroup.procs && exec "$@"', "sh"]

    def remove(self) -> None:
        """Remove the group, if it is there; its processes have ended."""
        with suppress(FileNotFoundError):
            self.folder.rmdir()


class Far:
    """The places of one run. The process that creates it is in that of the load from then on."""

    def __init__(self, names: Sequence[str], *, delay_ms: float, of_a_core: float) -> None:
        self._tag = f"atm-far-{os.getpid()}"
        self.names = tuple(names)
        self._addresses = {name: f"{SUBNET}.{number}" for number, name in enumerate((*names, LOAD), 1)}
        self._shares = {name: Share(f"{self._tag}-{name}", of_a_core) for name in names}
        self._delay_ms = delay_ms
        self._switch: subprocess.Popen[str] | None = None

    def create(self) -> None:
        """Make all of it; raise `NoDistance`, and leave nothing behind, if that is not possible."""
        try:
            _enter_namespace()
            for share in self._shares.values():
                share.create()
            self._start_switch()
            for name in self.names:
                _ip("netns", "add", self._namespace(name))
                _ip("link", "set", device(name), "netns", self._namespace(name))
            for place in self._addresses:
                self._connect(place)
        except (OSError, subprocess.SubprocessError) as error:
            self.remove()
            detail = error.stderr.strip() if isinstance(error, subprocess.CalledProcessError) else error
            raise NoDistance(f"namespaces and control groups cannot be made here: {detail}") from error

    def remove(self) -> None:
        """Remove all of it; nothing runs in it any more. May be called at any time, and again."""
        if self._switch is not None:
            with self._switch:  # which closes its input, its sign to end, and waits
                self._switch = None
        for name in self.names:
            if Path("/run/netns", self._namespace(name)).exists():
                _ip("netns", "delete", self._namespace(name))
        for share in self._shares.values():
            share.remove()

    def inside(self, name: str) -> list[str]:
        """Return what to put before a command so that it runs at the node's place."""
        return [*self._shares[name].inside(), "ip", "netns", "exec", self._namespace(name)]

    def place_later(self, name: str, later_ms: float) -> None:
        """Have each packet to and from the node take so much longer."""
        assert self._switch is not None
        assert self._switch.stdin is not None
        assert self._switch.stdout is not None
        self._switch.stdin.write(f"{name} {later_ms}\n")
        self._switch.stdin.flush()
        if not self._switch.stdout.readline():
            raise NoDistance("the switch between the servers has ended")

    def switch_pid(self) -> int:
        """Return the process of the switch."""
        assert self._switch is not None
        return self._switch.pid

    def write_cluster_ini(self, folder: Path, number: int) -> Path:
        """Write a `cluster.ini` for nodes at these places; clusters of other numbers have other ports."""
        lines = ["[cluster]"]
        for name in self.names:
            address = self._addresses[name]
            lines += ["", f"[node {name}]", f"client = {address}:{CLIENT_PORT + number}"]
            lines += [f"peer = {address}:{PEER_PORT + number}"]
        path = folder / "cluster.ini"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        pepper_file = load(path).pepper_file
        pepper_file.parent.mkdir(exist_ok=True)
        pepper_file.touch(mode=0o600)
        pepper_file.write_bytes(new_peppers().contents())  # none makes its own where others have other hosts
        return path

    def _namespace(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _start_switch(self) -> None:
        places = [f"{place}={address}" for place, address in self._addresses.items()]
        self._switch = subprocess.Popen(
            [sys.executable, "-P", far_switch.__file__, str(self._delay_ms), *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for who closes it
        )
        os.setpriority(os.PRIO_PROCESS, self._switch.pid, -20)  # a network is not late for want of a core
        assert self._switch.stdout is not None
        if not self._switch.stdout.readline():
            raise OSError("the switch between the servers did not start")

    def _connect(self, place: str) -> None:
        where = () if place == LOAD else ("-n", self._namespace(place))
        name = device(place)
        _ip(*where, "link", "set", "lo", "up")
        _ip(*where, "address", "add", f"{self._addresses[place]}/24", "dev", name)
        _ip(*where, "link", "set", name, "mtu", str(MTU), "txqueuelen", "10000", "up")


def why_not() -> str | None:
    """Return, in one line, why there can be no distance on this machine, or None."""
    if sys.platform != "linux":
        return "network namespaces and control groups are Linux's: there are none on this system"
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"there is no {' and no '.join(missing)}: install iproute2"
    if os.geteuid() != 0:
        return "only root can make network namespaces and control groups: run it as root"
    if not Path(TUN).exists():
        return f"there is no {TUN}: load the kernel's module tun"
    return None


def _enter_namespace() -> None:
    """Let this process be in a network namespace of its own, which ends with it."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True, timeout=20)
