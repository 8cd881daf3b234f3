"""The nodes of a `cluster.ini` as real processes on this machine; for bin/run, tests and measurements.

A node that is started here ends with its starter, however that ends: its standard input is a pipe to which
nothing is written, and when the other end closes, the node stops. Run as a program, this module is that node:
`python -m atm.local_cluster NODE --config FILE`.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from atm.client.each_node import ask_one
from atm.config import CONFIG_FILE, Address, Cluster, load, parse_address
from atm.files import create_durably, make_folder
from atm.tls.credentials import Credentials
from atm.tls.of_cluster import client_credentials
from atm.wire.client_messages import Status, StatusReply

STOP_TIMEOUT_S = 10.0
STATUS_TIMEOUT_S = 0.25
POLL_S = 0.02
LOOPBACK = "127.0.0.1"
LISTEN_PEER_OPTION = "--listen-peer="  # an address; the first argument of this module's program
# Below the ports of outgoing connections (from 32768 on Linux): a node that redials a stopped one could
# otherwise get that one's port, and keep it from starting again.
PORTS = range(20_000, 32_000)


class NoLeader(Exception):
    """No leader in time; `str()` of it is one line that says which nodes answer, and their roles."""


@dataclass
class _Started:
    process: subprocess.Popen[bytes]
    log_path: Path
    log_offset: int  # where the node's output since its first start here begins


class LocalCluster:
    """Starts, stops, kills and pauses the nodes of one cluster; ends only those that it started.

    The output of a node is appended to `<data_dir>/<node>.log`.
    """

    def __init__(self, config_path: str | Path) -> None:
        """Raise `ConfigError` if the file, or the certificate of its [tls], cannot be used."""
        self.cluster: Cluster = load(config_path)
        self.credentials = client_credentials(self.cluster)
        self._started: dict[str, _Started] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()

    @property
    def processes(self) -> dict[str, subprocess.Popen[bytes]]:
        """The last process of each node that was started here, running or not."""
        return {name: started.process for name, started in self._started.items()}

    def running(self) -> list[str]:
        """Return the names of the nodes that were started here and have not ended."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def log_path(self, name: str) -> Path:
        """Return the file that collects what the node prints."""
        return self.cluster.data_dir / f"{name}.log"

    def output(self, name: str) -> str:
        """Return the node's output since it was first started here, over all its restarts."""
        started = self._started[name]
        with started.log_path.open("rb") as log:
            log.seek(started.log_offset)
            return log.read().decode(errors="replace")

    # -- beginning ---------------------------------------------------------------------------------

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one node, with further `arguments` of bin/start_node, and return at once.

        Raise `OSError` when the data folder cannot be written.
        """
        assert name in self.cluster.nodes, name
        assert name not in self.running(), f"node {name} runs already"
        path = self.log_path(name)
        make_folder(path.parent / name)  # durably: a node does not sync a folder that it finds
        with open(path, "ab", opener=_private) as log:
            offset = self._started[name].log_offset if name in self._started else log.tell()
            process = subprocess.Popen(
                [*self.command(name), *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C is for the teller
            )
        self._started[name] = _Started(process, path, offset)
        return process

    def command(self, name: str) -> list[str]:
        """Return the command that starts the node. A subclass may wrap it, in the same process."""
        return [sys.executable, "-P", "-m", "atm.local_cluster", name, "--config", str(self.cluster.path)]

    def start_all(self) -> None:
        """Start every node that does not run; raise `OSError` as `start` does."""
        running = self.running()
        for name in self.cluster.nodes:
            if name not in running:
                self.start(name)

    def status(self, name: str) -> StatusReply | None:
        """Return the node's status, or None if it does not answer at once."""
        return ask_status(self.cluster.nodes[name].client, credentials=self.credentials, node=name)

    def wait_for_leader(
        self, timeout_s: float = 15.0, *, while_true: Callable[[], bool] = lambda: True
    ) -> str:
        """Return the name of the leader that a majority of the cluster's nodes follow.

        Raise `NoLeader` after `timeout_s`, or as soon as `while_true()` is false.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            answers = [answer for name in self.cluster.nodes if (answer := self.status(name))]
            leader = _followed_leader(answers, len(self.cluster.nodes))
            if leader is not None:
                return leader
            if time.monotonic() > deadline or not while_true():
                raise NoLeader(_no_leader_line(answers, len(self.cluster.nodes)))
            time.sleep(POLL_S)

    # -- ending ------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """End the node at once, as a power cut does to a program (SIGKILL)."""
        process = self._started[name].process
        process.kill()
        _reap(process)

    def stop(self, name: str, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ask the node to stop (SIGTERM) and return its exit code; kill it if it does not in time."""
        process = self._started[name].process
        process.terminate()
        process.send_signal(signal.SIGCONT)  # a paused process does not get SIGTERM
        return _wait_or_kill(process, timeout_s)

    def pause(self, name: str) -> None:
        """Pause the node (SIGSTOP) until `resume`."""
        self._started[name].process.send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Continue a paused node (SIGCONT)."""
        self._started[name].process.send_signal(signal.SIGCONT)

    def stop_all(self, timeout_s: float = STOP_TIMEOUT_S) -> dict[str, int]:
        """Stop every node, all at once, and return the exit codes; kill what has not stopped in time."""
        for process in self.processes.values():
            process.terminate()
            process.send_signal(signal.SIGCONT)
        deadline = time.monotonic() + timeout_s
        return {
            name: _wait_or_kill(process, max(0.0, deadline - time.monotonic()))
            for name, process in self.processes.items()
        }


def ask_status(
    address: Address,
    timeout_s: float = STATUS_TIMEOUT_S,
    *,
    credentials: Credentials | None = None,
    node: str = "",
) -> StatusReply | None:
    """Return the status of the node whose client port is `address`, or None; with credentials, of `node`."""
    answer = ask_one(address, Status(id="status"), timeout_s, credentials, node)
    return answer if isinstance(answer, StatusReply) else None


def write_cluster_ini(folder: Path, count: int = 5, **settings: str | float) -> Path:
    """Write a `cluster.ini` into `folder` for nodes n1, n2, … on free ports of this machine.

    `settings` are keys of its [cluster] section. Return its path.
    """
    return write_cluster_ini_for(folder, node_names(count), **settings)


def write_cluster_ini_for(folder: Path, names: Sequence[str], **settings: str | float) -> Path:
    """Do what `write_cluster_ini` does, for nodes of these names."""
    path = folder / CONFIG_FILE
    path.write_text(cluster_ini(names, free_ports(2 * len(names)), **settings), encoding="utf-8")
    return path


def own_cluster_ini(folder: Path) -> Path:
    """Return the `cluster.ini` in `folder`, which is made with five nodes unless it is there.

    Of several processes that make it at once, one wins. Raise `OSError`.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        make_folder(folder)
        create_durably(path, cluster_ini(node_names(5), free_ports(10)).encode(), mode=0o600)
    return path


def node_names(count: int) -> list[str]:
    """Return n1, n2, …"""
    return [f"n{number}" for number in range(1, count + 1)]


def cluster_ini(names: Sequence[str], free: Sequence[int], **settings: str | float) -> str:
    """Return the text of a `cluster.ini` for nodes of these names, with two of the ports for each."""
    ports = iter(free)
    lines = ["[cluster]", *(f"{key} = {value}" for key, value in settings.items())]
    for name in names:
        lines += ["", f"[node {name}]"]
        lines += [f"client = {LOOPBACK}:{next(ports)}", f"peer = {LOOPBACK}:{next(ports)}"]
    return "\n".join(lines) + "\n"


def free_ports(count: int) -> list[int]:
    """Return ports that can be listened on, each tried while the ones before it are still held."""
    held: list[socket.socket] = []
    try:
        for port in random.sample(PORTS, len(PORTS)):
            if len(held) == count:
                break
            listener = socket.socket()
            held.append(listener)
            try:
                listener.bind((LOOPBACK, port))
            except OSError:
                held.pop().close()
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner reads, also if it was there and others did."""
    descriptor = os.open(path, flags, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor


def _followed_leader(answers: list[StatusReply], node_count: int) -> str | None:
    for leader in answers:
        if leader.role != "leader":
            continue
        followed_by = [a for a in answers if a.leader == leader.node and a.term == leader.term]
        if len(followed_by) > node_count // 2:
            return leader.node
    return None


def _no_leader_line(answers: list[StatusReply], node_count: int) -> str:
    answering = ", ".join(f"{a.node} ({a.role}, term {a.term})" for a in answers) or "none"
    return f"There is no leader; of {node_count} nodes, these answer: {answering}"


def _wait_or_kill(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
    return _reap(process)


def _reap(process: subprocess.Popen[bytes]) -> int:
    exit_code = process.wait()
    if process.stdin is not None:
        process.stdin.close()
    return exit_code


def end_with_starter() -> None:
    """Have this process stopped (SIGTERM) when its standard input, its starter's pipe, closes."""
    threading.Thread(target=_stop_when_stdin_closes, name="starter", daemon=True).start()


def _stop_when_stdin_closes() -> None:
    os.read(0, 1)  # not sys.stdin: holding its lock here would abort the interpreter's exit
    os.kill(os.getpid(), signal.SIGTERM)


def _run_node() -> int:
    from atm.server.main import main  # noqa: PLC0415  (a starter of nodes need not load the server)

    end_with_starter()
    arguments = sys.argv[1:]
    listen_peer = None
    if arguments and arguments[0].startswith(LISTEN_PEER_OPTION):
        listen_peer = parse_address(arguments.pop(0).removeprefix(LISTEN_PEER_OPTION))
    return main(arguments, traceable=True, listen_peer=listen_peer)


if __name__ == "__main__":
    sys.exit(_run_node())
