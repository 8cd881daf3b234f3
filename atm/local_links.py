"""The nodes of a `cluster.ini` on this machine, and between them a proxy (local_proxy.py) that can cut links.

A node keeps its addresses, in `cluster.ini`, in the log and for all others. Only where it listens for the
others is a port of its own; at its address, the proxy listens.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from atm.config import Address, is_loopback
from atm.local_cluster import (
    LISTEN_PEER_OPTION,
    LOOPBACK,
    STOP_TIMEOUT_S,
    LocalCluster,
    free_ports,
)
from atm.local_proxy import Direction


class LinkedCluster(LocalCluster):
    """A `LocalCluster` between whose nodes links can be cut.

    A node whose address the proxy cannot have, or that other machines reach, has no proxy, as has one that
    speaks TLS: its hello, which says who dials, is encrypted.
    """

    def __init__(self, config_path: str | Path) -> None:
        """Do as `LocalCluster` does."""
        super().__init__(config_path)
        self._proxy: subprocess.Popen[str] | None = None
        self._asking = threading.Lock()  # guards the proxy's pipes and _cuts
        self._cuts: frozenset[Direction] = frozenset()
        self._behind: dict[str, Address] = {}  # where nodes listen that have the proxy before them
        self._watching: dict[str, threading.Thread] = {}  # until such a node ends

    @property
    def linked(self) -> list[str]:
        """The nodes whose links with each other can be cut."""
        return [name for name in self.cluster.nodes if name in self._behind]

    @property
    def cuts(self) -> Collection[Direction]:
        """The directions in which nothing passes."""
        return self._cuts

    def cut(self, directions: Collection[Direction]) -> None:
        """Let nothing pass in these directions either; raise `OSError` if the proxy has ended."""
        self._replace_cuts(self._cuts.union(directions))

    def mend(self, directions: Collection[Direction]) -> None:
        """Let everything pass again in these directions; raise `OSError` if the proxy has ended."""
        self._replace_cuts(self._cuts.difference(directions))

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one node behind the proxy."""
        if name in self._watching:
            self._watching.pop(name).join()
        self._open(name)
        process = super().start(name, *arguments)
        if name in self._behind:
            watching = threading.Thread(target=self._close_at_end, args=(name, process), daemon=True)
            self._watching[name] = watching
            watching.start()
        return process

    def command(self, name: str) -> list[str]:
        """Return the command that starts the node where the proxy finds it."""
        interpreter, *rest = super().command(name)
        at = [f"{LISTEN_PEER_OPTION}{self._behind[name]}"] if name in self._behind else []
        place = rest.index("atm.local_cluster") + 1
        return [interpreter, *rest[:place], *at, *rest[place:]]

    def stop_all(self, timeout_s: float = STOP_TIMEOUT_S) -> dict[str, int]:
        """Stop every node, while links are as they are, and then the proxy."""
        codes = super().stop_all(timeout_s)
        if self._proxy is not None:
            self._proxy.kill()
            for watching in self._watching.values():
                watching.join()
            self._proxy.communicate()
            self._proxy = None
        return codes

    def _open(self, name: str) -> None:
        self._behind.pop(name, None)
        node = self.cluster.nodes[name]
        listens = node.listen_peer or node.peer
        if self.cluster.tls is not None or not is_loopback(listens.host):
            return
        server = Address(LOOPBACK, free_ports(1)[0])
        asked = {"do": "open", "node": name, "listens": str(listens), "server": str(server)}
        with contextlib.suppress(OSError):  # the node says what is wrong with its address
            self._ask(asked)
            self._behind[name] = server

    def _close_at_end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Free the node's address once it has ended, as if it had listened there itself."""
        process.wait()
        with contextlib.suppress(OSError):
            self._ask({"do": "close", "node": name})

    def _replace_cuts(self, cuts: frozenset[Direction]) -> None:
        self._ask({"do": "cut", "cuts": sorted(cuts)})
        self._cuts = cuts

    def _ask(self, asked: Mapping[str, object]) -> None:
        """Have the proxy do something; raise `OSError` if it could not."""
        with self._asking:
            if self._proxy is None:
                self._proxy = subprocess.Popen(
                    [sys.executable, "-P", "-m", "atm.local_proxy"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    start_new_session=True,  # nor does Ctrl-Z at the teller stop the links
                )
            assert self._proxy.stdin is not None
            assert self._proxy.stdout is not None
            try:
                self._proxy.stdin.write(json.dumps(asked) + "\n")
                self._proxy.stdin.flush()
                line = self._proxy.stdout.readline()
            except ValueError as error:  # its pipe is closed
                raise OSError(str(error)) from None
        failed = json.loads(line).get("failed") if line else "the proxy has ended"
        if failed:
            raise OSError(failed)
