"""Each node in a network namespace of its own, all on one bridge, with packets dropped by nft rules.

The customers live in the namespace of the bridge, the *hub*. The namespaces carry the process id of whoever
made them in their names, and nothing outside of them is touched.

The kernel's bridge carries everything, at its own speed, but for ways that are to carry badly: while they do,
routes lead them through the switch of `tests.chaos.switch`, open connections included.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from atm.config import load
from atm.server.security.peppers import new_peppers
from tests.chaos.switch import TUN, Counts, Link, Told, Way, device

SUBNET = "10.77.0"
CUSTOMERS = "hub"  # the place of all customers, where nodes have theirs by their names
CLIENT_PORT, PEER_PORT = 5000, 6000

# Rules are put into the chain while a fault lasts; what a node does not hear, it was not sent.
TABLE = """table inet chaos {
    chain input {
        type filter hook input priority 0
        policy accept
    }
}
"""
LIST = ("list", "chain", "inet", "chaos", "input")


class NoNetwork(Exception):
    """Namespaces cannot be used here; `str()` of it says why."""


class Network:
    """The namespaces of one run; `remove` may be called at any time, and again."""

    def __init__(self, tag: str, names: Iterable[str]) -> None:
        self.tag = tag
        self._addresses = {name: f"{SUBNET}.{number}" for number, name in enumerate(names, 1)}
        self._places = {**self._addresses, CUSTOMERS: f"{SUBNET}.254"}
        self._switch: subprocess.Popen[bytes] | None = None

    @property
    def hub(self) -> str:
        return self.namespace(CUSTOMERS)

    def namespace(self, name: str) -> str:
        return f"{self.tag}-{name}"

    def inside(self, name: str) -> list[str]:
        """Return what to put before a command so that it runs where the node is."""
        return ["ip", "netns", "exec", self.namespace(name)]

    def create(self) -> None:
        """Make all namespaces; raise `NoNetwork`, and leave nothing behind, if that is not possible."""
        packages = {"ip": "iproute2", "nft": "nftables"}
        missing = [program for program in packages if shutil.which(program) is None]
        if missing:
            needed = " and ".join(packages[program] for program in missing)
            raise NoNetwork(f"there is no {' and no '.join(missing)}: install {needed}")
        if os.geteuid() != 0:
            raise NoNetwork("only root can make network namespaces")
        try:
            self._create()
        except subprocess.CalledProcessError as error:
            self.remove()
            raise NoNetwork(f"{' '.join(error.cmd)}: {error.stderr.strip()}") from error

    def _create(self) -> None:
        _run("ip", "netns", "add", self.hub)
        in_hub = ("ip", "-n", self.hub)
        _run(*in_hub, "link", "set", "lo", "up")
        _run(*in_hub, "link", "add", "bridge", "type", "bridge")
        _run(*in_hub, "address", "add", f"{self._places[CUSTOMERS]}/24", "dev", "bridge")
        _run(*in_hub, "link", "set", "bridge", "up")
        for name, address in self._addresses.items():
            namespace = self.namespace(name)
            inside = ("ip", "-n", namespace)
            _run("ip", "netns", "add", namespace)
            _run(*in_hub, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _run(*in_hub, "link", "set", name, "master", "bridge", "up")
            _run(*inside, "address", "add", f"{address}/24", "dev", "eth0")
            _run(*inside, "link", "set", "eth0", "up")
            _run(*inside, "link", "set", "lo", "up")
            self._nft(name, TABLE)

    def remove(self) -> None:
        """End what still runs in the namespaces, and remove them."""
        self.close_switch()
        there = [name for name in map(self.namespace, self._places) if Path("/run/netns", name).exists()]
        for namespace in there:
            for pid in _run("ip", "netns", "pids", namespace).split():
                if int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
        for namespace in there:
            _run("ip", "netns", "delete", namespace)

    def write_cluster_ini(self, folder: Path, **settings: str | float) -> Path:
        """Write a `cluster.ini` into `folder` for nodes at the addresses of the namespaces, and their pepper.

        `settings` are keys of its [cluster] section. Nodes of several hosts make no pepper themselves.
        """
        lines = ["[cluster]", "insecure = yes", *(f"{key} = {value}" for key, value in settings.items())]
        for name, address in self._addresses.items():
            lines += ["", f"[node {name}]", f"client = {address}:{CLIENT_PORT}"]
            lines += [f"peer = {address}:{PEER_PORT}"]
        path = folder / "cluster.ini"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        pepper = load(path).pepper_file
        pepper.parent.mkdir()
        pepper.touch(mode=0o600)
        pepper.write_bytes(new_peppers().contents())
        return path

    def cut(self, ways: Iterable[tuple[str, str]]) -> None:
        """For each (sender, receiver), let nothing through any more, open connections included."""
        for sender, receiver in ways:
            self._add_rule(receiver, f"ip saddr {self._addresses[sender]} counter drop")

    def lose(self, percent: int) -> None:
        """Lose a random share of all packets that reach a node, those of the customers included."""
        for name in self._addresses:
            self._add_rule(name, f"numgen random mod 100 < {percent} counter drop")

    def heal(self) -> int:
        """Let everything through again; return how many packets were dropped."""
        dropped = 0
        for name in self._addresses:
            listing = json.loads(_run(*self.inside(name), "nft", "-j", *LIST))
            for item in listing["nftables"]:
                for expression in item.get("rule", {}).get("expr", ()):
                    dropped += expression.get("counter", {}).get("packets", 0)
            self._nft(name, "flush chain inet chaos input\n")
        return dropped

    def carry_badly(self, links: Mapping[Way, Link]) -> None:
        """Let each (sender, receiver), of nodes and `CUSTOMERS`, carry as its link says, all others well."""
        if self._switch is None:
            self._switch = self._start_switch()
        self._tell_switch([Told(sender=a, receiver=b, link=link) for (a, b), link in links.items()])
        for sender, address in self._places.items():
            receivers = [b for a, b in links if a == sender]
            routes = [
                f"route replace {self._places[b]}/32 dev {device(sender)} src {address}\n" for b in receivers
            ]
            _run("ip", "-n", self.namespace(sender), "-batch", "-", script="".join(routes))

    def carry_well(self) -> Counts:
        """Lead all over the bridge again; return what the switch did. What it holds back still comes late."""
        for place in self._places:
            _run("ip", "-n", self.namespace(place), "route", "flush", "dev", device(place))
        return self._tell_switch([])

    def close_switch(self) -> None:
        """End the switch, if there is one, and its devices with it."""
        if self._switch is not None:
            with self._switch as process:  # which closes its input, its sign to end, and waits
                self._switch = None
            assert process.returncode == 0, f"the switch ended with {process.returncode}"

    def _start_switch(self) -> subprocess.Popen[bytes]:
        places = [f"{place}={address}" for place, address in self._places.items()]
        switch = subprocess.Popen(
            ["ip", "netns", "exec", self.hub, sys.executable, "-m", "tests.chaos.switch", *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for those who close it
        )
        _answer_of(switch)
        for place in self._places:
            namespace, name = self.namespace(place), device(place)
            if place != CUSTOMERS:
                _run("ip", "-n", self.hub, "link", "set", name, "netns", namespace)
            # An answer comes in where nothing was sent out: over the bridge, if only one way carries badly.
            files = " ".join(f"/proc/sys/net/ipv4/conf/{which}/rp_filter" for which in ("all", name))
            _run("ip", "netns", "exec", namespace, "sh", "-c", f"for file in {files}; do echo 0 >$file; done")
            _run("ip", "-n", namespace, "link", "set", name, "txqueuelen", "10000", "up")
        return switch

    def _tell_switch(self, ways: list[Told]) -> Counts:
        """Return what the switch did since it was told something before."""
        assert self._switch is not None
        assert self._switch.stdin is not None
        self._switch.stdin.write(msgspec.json.encode(ways) + b"\n")
        self._switch.stdin.flush()
        return _answer_of(self._switch)

    def _add_rule(self, name: str, rule: str) -> None:
        self._nft(name, f"add rule inet chaos input {rule}\n")

    def _nft(self, name: str, script: str) -> None:
        _run(*self.inside(name), "nft", "-f", "-", script=script)


def why_no_switch() -> str:
    """Return why packets cannot be led through the switch, where there are namespaces; or nothing."""
    return "" if Path(TUN).exists() else f"there is no {TUN}"


def _answer_of(switch: subprocess.Popen[bytes]) -> Counts:
    assert switch.stdout is not None
    line = switch.stdout.readline()
    assert line, f"the switch ended with {switch.wait()}"
    return msgspec.json.decode(line, type=Counts)


def _run(*command: str, script: str | None = None) -> str:
    return subprocess.run(
        command, input=script, capture_output=True, text=True, check=True, timeout=20
    ).stdout
