"""The first start on five machines, by docs/install.md: namespaces, each with a hosts file of its own.

On one machine, where every address is 127.0.0.1, none of what is tried here can go wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.server.security.peppers import new_peppers
from tests.chaos.network import CLIENT_PORT, PEER_PORT, Network, NoNetwork
from tests.support.server_parts import wait_until

HOSTS = tuple(f"h{number}" for number in range(1, 6))
NETNS = Path("/etc/netns")  # `ip netns exec` puts what is in there in the place of /etc
ENDS_WITHIN_S = 15.0


class Machines:
    """Five machines h1.bank to h5.bank, each with files of its own, and an office where the tellers are."""

    def __init__(self, folder: Path) -> None:
        self.network = Network(f"five{os.getpid()}", HOSTS)
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.network.create()
        for number, host in enumerate((*HOSTS, "hub"), 1):
            device = "bridge" if host == "hub" else "eth0"
            command = ["ip", "-n", self.network.namespace(host), "-6", "address", "add", f"fd77::{number}/64"]
            subprocess.run([*command, "dev", device, "nodad"], check=True)
            self.write_hosts(host)
            (folder / host).mkdir()

    def write_hosts(self, host: str, *, own: str | None = None, ipv6: bool = False) -> None:
        """Write the hosts file of one machine, in which its own name may mean the address `own`."""
        lines = ["127.0.0.1 localhost"]
        for number, other in enumerate(HOSTS, 1):
            address = f"fd77::{number}" if ipv6 else f"10.77.0.{number}"
            lines.append(f"{own if own and other == host else address} {other}.bank")
        place = NETNS / self.network.namespace(host)
        place.mkdir(parents=True, exist_ok=True)
        (place / "hosts").write_text("\n".join(lines) + "\n")

    def write_configs(self, *, more: dict[str, str] | None = None) -> None:
        """Put one and the same cluster.ini on all machines and in the office; `more` lines for a node."""
        lines = ["[cluster]", "insecure = yes", "pepper_file = pepper.key"]
        for host in HOSTS:
            lines += [f"[node {host}]", f"client = {host}.bank:{CLIENT_PORT}"]
            lines += [f"peer = {host}.bank:{PEER_PORT}", (more or {}).get(host, "")]
        for place in (*HOSTS, "hub"):
            (self.folder / place / "cluster.ini").write_text("\n".join(lines))

    def copy_pepper(self, pepper: bytes, *hosts: str) -> None:
        for host in hosts or HOSTS:
            (self.folder / host / "pepper.key").write_bytes(pepper)

    def start(self, *hosts: str) -> None:
        for host in hosts or HOSTS:
            command = [sys.executable, "-m", "atm.server.main", host, "--config", "cluster.ini"]
            with (self.folder / host / "printed").open("a") as printed:
                self.processes[host] = subprocess.Popen(
                    [*self.network.inside(host), *command],
                    cwd=self.folder / host,
                    env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                    stdout=printed,
                    stderr=printed,
                    text=True,
                )

    def printed(self, host: str) -> str:
        return (self.folder / host / "printed").read_text()

    def ended(self, host: str) -> int:
        return self.processes[host].wait(ENDS_WITHIN_S)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(ENDS_WITHIN_S)

    def kill(self, host: str) -> None:
        self.processes[host].kill()
        self.processes[host].wait()

    def leader(self) -> str:
        """Return the host that was the last to say that it leads."""
        terms = {
            host: max(int(line.rsplit(" ", 1)[1]) for line in lines)
            for host in HOSTS
            if self.processes[host].poll() is None
            and (lines := [line for line in self.printed(host).splitlines() if line.startswith("Leader on")])
        }
        return max(terms, key=terms.__getitem__) if terms else ""

    def teller(self, *commands: str) -> subprocess.CompletedProcess[str]:
        arguments = [part for command in commands for part in ("-c", command)]
        return subprocess.run(
            [
                *self.network.inside("hub"),
                sys.executable,
                "-m",
                "atm.teller",
                "--config",
                "cluster.ini",
                *arguments,
            ],
            cwd=self.folder / "hub",
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "XDG_STATE_HOME": str(self.folder / "state"),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def remove(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
        self.network.remove()
        for host in (*HOSTS, "hub"):
            shutil.rmtree(NETNS / self.network.namespace(host), ignore_errors=True)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    try:
        there = Machines(tmp_path)
    except NoNetwork as error:
        pytest.skip(f"namespaces: {error}")
    (tmp_path / "hub").mkdir(exist_ok=True)
    try:
        yield there
    finally:
        there.remove()


def served(machines: Machines, *commands: str) -> str:
    done = machines.teller(*commands)
    assert done.returncode == 0, done
    return done.stdout


def test_a_stranger_gets_from_five_empty_machines_to_a_bank_that_survives_two(machines: Machines) -> None:
    machines.write_configs()
    machines.start()
    for host in HOSTS:  # no pepper yet: none is made, and the line says what to do
        assert machines.ended(host) == 1
        assert "make it once and copy it to all" in machines.printed(host)
        assert not (machines.folder / host / "pepper.key").exists()

    for host in HOSTS:  # a mistake: each gets one of its own
        machines.copy_pepper(new_peppers().contents(), host)
    machines.start()
    wait_until(lambda: all("copy the pepper_file of one machine" in machines.printed(h) for h in HOSTS))
    machines.stop()
    machines.copy_pepper((machines.folder / "h1" / "pepper.key").read_bytes())
    machines.start()
    wait_until(lambda: machines.leader() != "")
    assert "Successfully credited 5" in served(machines, "credit 5")

    machines.kill(machines.leader())
    wait_until(lambda: machines.leader() != "")
    machines.kill(machines.leader())
    assert "Successfully credited 7" in served(machines, "credit 7")
    assert "is: 12" in served(machines, "query")


def test_a_machine_whose_own_name_means_its_loopback_says_so_and_listens_elsewhere(
    machines: Machines,
) -> None:
    machines.write_configs()
    machines.copy_pepper(new_peppers().contents())
    machines.write_hosts("h5", own="127.0.1.1")
    machines.start()
    assert machines.ended("h5") == 1
    assert "h5.bank means 127.0.1.1 on this machine" in machines.printed("h5")
    machines.stop()
    machines.write_configs(more={"h5": "listen_client = 0.0.0.0:5000\nlisten_peer = 0.0.0.0:6000"})
    machines.start()
    wait_until(lambda: machines.leader() != "")
    assert "Successfully credited 5" in served(machines, "credit 5")
    for host in HOSTS[:2]:  # the others need h5 now
        machines.kill(host)
    assert "is: 5" in served(machines, "query")


def test_five_machines_that_speak_ipv6_only(machines: Machines) -> None:
    for host in (*HOSTS, "hub"):
        machines.write_hosts(host, ipv6=True)
    machines.write_configs(more={"h2": "listen_client = [::]:5000\nlisten_peer = [fd77::2]:6000"})
    machines.copy_pepper(new_peppers().contents())
    machines.start()
    wait_until(lambda: machines.leader() != "")
    assert "Successfully credited 5" in served(machines, "credit 5")
    assert machines.teller("status").returncode == 0
