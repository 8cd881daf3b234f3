"""Each node in a network namespace of its own, all on one bridge, with packets dropped by nft rules.

The customers live in the namespace of the bridge, the *hub*. The namespaces carry the process id of whoever
made them in their names, and nothing outside of them is touched.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

SUBNET = "10.77.0"
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

    @property
    def hub(self) -> str:
        return f"{self.tag}-hub"

    def namespace(self, name: str) -> str:
        return f"{self.tag}-{name}"

    def inside(self, name: str) -> list[str]:
        """Return what to put before a command so that it runs where the node is."""
        return ["ip", "netns", "exec", self.namespace(name)]

    def create(self) -> None:
        """Make all namespaces; raise `NoNetwork`, and leave nothing behind, if that is not possible."""
        missing = [program for program in ("ip", "nft") if shutil.which(program) is None]
        if missing:
            raise NoNetwork(f"there is no {' and no '.join(missing)} (iproute2, nftables)")
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
        _run(*in_hub, "address", "add", f"{SUBNET}.254/24", "dev", "bridge")
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
        for namespace in (*map(self.namespace, self._addresses), self.hub):
            if not Path("/run/netns", namespace).exists():
                continue
            for pid in _run("ip", "netns", "pids", namespace).split():
                if int(pid) != os.getpid():
                    os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "delete", namespace)

    def write_cluster_ini(self, folder: Path) -> Path:
        """Write a `cluster.ini` into `folder` for nodes at the addresses of the namespaces."""
        lines = ["[cluster]"]
        for name, address in self._addresses.items():
            lines += ["", f"[node {name}]", f"client = {address}:{CLIENT_PORT}"]
            lines += [f"peer = {address}:{PEER_PORT}"]
        path = folder / "cluster.ini"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
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

    def _add_rule(self, name: str, rule: str) -> None:
        self._nft(name, f"add rule inet chaos input {rule}\n")

    def _nft(self, name: str, script: str) -> None:
        _run(*self.inside(name), "nft", "-f", "-", script=script)


def _run(*command: str, script: str | None = None) -> str:
    return subprocess.run(
        command, input=script, capture_output=True, text=True, check=True, timeout=20
    ).stdout
