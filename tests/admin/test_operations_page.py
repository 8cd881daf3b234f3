"""docs/operations.md is run from its first command to its last, on real nodes, and says what is printed."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.admin import main as program
from atm.admin.commands import COMMANDS
from atm.client import Client
from atm.client.cluster_health import judge
from atm.client.node_status import ask_all
from atm.client.receipt import new_request_id
from atm.ledger.commands import Pepper
from atm.local_cluster import LocalCluster, free_ports
from tests.support.running import ROOT
from tests.support.server_parts import wait_until

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [block for language, block in FENCED.findall(PAGE) if not language]
PORT = re.compile(r"\blocalhost:(\d+)")
NODES = 5


class Bank:
    """The page's nodes, with a free port for each of its ports, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        named = list(dict.fromkeys(PORT.findall("\n".join(BLOCKS))))
        named += [str(port) for base in (5000, 6000) for port in range(base, base + NODES)]
        named = list(dict.fromkeys(named))
        self._ports = dict(zip(named, map(str, free_ports(len(named))), strict=True))
        self._names = {there: here for here, there in self._ports.items()}
        self._nodes: LocalCluster | None = None

    def local(self, text: str) -> str:
        """Return the text of the page with this machine's ports."""
        return PORT.sub(lambda match: f"localhost:{self._ports[match[1]]}", text)

    def shown(self, text: str) -> str:
        """Return what was printed with the ports of the page."""
        return PORT.sub(lambda match: f"localhost:{self._names.get(match[1], match[1])}", text)

    def run(self, command: str) -> str:
        """Carry out a line of the page; return what it printed."""
        words = shlex.split(self.local(command))
        match words:
            case ["bin/admin", *arguments]:
                return self._admin(arguments)
            case ["bin/start_node", name, "&"]:
                self._start(name)
            case ["rm", "-r", path]:
                self._cluster.kill(Path(path).name)
                shutil.rmtree(self.folder / path)
            case _:
                raise AssertionError(f"the page has a command that this test does not know: {command}")
        return ""

    def _admin(self, arguments: list[str]) -> str:
        if arguments[0] != "init":
            self._wait_until_well(arguments[0])
        if arguments == ["pepper", "show"]:
            wait_until(self._is_carried_over)
        ran = subprocess.run(
            [sys.executable, "-P", "-m", "atm.admin", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}"
        if arguments[0] == "init":
            self._begin()
        return self.shown(ran.stdout)

    def _begin(self) -> None:
        config = self.folder / "cluster.ini"
        config.write_text(self.local(config.read_text()))
        self._nodes = LocalCluster(config)
        self._nodes.start_all()
        self._nodes.wait_for_leader()

    def _start(self, name: str) -> None:
        """Start a node; one that is new has a file with its own section."""
        if name in self._cluster.cluster.nodes:
            self._cluster.start(name)
            return
        section = re.search(rf"^\[node {name}\]\n(?:\w+ = .*\n)+", PAGE, re.MULTILINE)
        assert section is not None
        config = self.folder / "cluster.ini"
        joined = self.folder / f"joined-{name}.ini"
        joined.write_text(f"{config.read_text()}\n{self.local(section[0])}")
        self._joined = LocalCluster(joined)
        self._joined.start(name)

    def _wait_until_well(self, command: str) -> None:
        """Wait until the change before has settled: the page's reader takes longer to type."""

        def settled() -> bool:
            status = ask_all(self._cluster.cluster)
            reasons = judge(status).reasons
            if command == "replace":
                return any("has lost its vote" in reason for reason in reasons)
            return status.available and not reasons

        wait_until(settled)

    def _is_carried_over(self) -> bool:
        with Client(self._cluster.cluster) as client:
            view = client.ask(Pepper(id=new_request_id())).pepper
        return view is not None and view.carried_index is not None

    @property
    def _cluster(self) -> LocalCluster:
        assert self._nodes is not None, "the page begins with init"
        return self._nodes

    def stop(self) -> None:
        for cluster in (self._nodes, getattr(self, "_joined", None)):
            if cluster is not None:
                cluster.stop_all()


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[Bank]:
    bank = Bank(tmp_path)
    yield bank
    bank.stop()


DIFFERS = (  # from run to run: who leads, numbers, times, widths of tables
    (r"led by \d+", "led by NODE"),
    (r"\bterm \d+", "term N"),
    (r"up to entry \d+", "up to entry N"),
    (r"cluster=[0-9a-f]{32}", "cluster=ID"),
    (r"\b[0-9a-f]{16}\b", "PEPPER"),
    (r" to \S+/secrets/", " to FOLDER/secrets/"),
    (r"\bentry \d+(:| on\b| the books|$)", r"entry N\1"),
    (r"^Took entries-\d+-\d+\.bin from node \d+: \d+ bytes", "Took ENTRIES"),
    (r"of cluster [0-9a-f]{32}", "of cluster ID"),
    (r"log entries 1 to \d+", "log entries 1 to N"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"^(\d{4}) +(?:leader|follower) +([\d.]+) .* (localhost:\d+)$", r"\1 serves with \2 at \3"),
    (r"^(\d{4} +voter .*) \d+$", r"\1 N"),
    (r"^[- ]+$", ""),
    (r" +", " "),
)


def comparable(text: str) -> list[str]:
    """Return the lines without what differs from run to run."""
    for pattern, what in DIFFERS:
        text = re.sub(pattern, what, text, flags=re.MULTILINE)
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.timeout(300)
def test_every_command_of_the_page_prints_what_the_page_says(bank: Bank) -> None:
    done = 0
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            printed = bank.run(command)
            assert comparable(printed) == comparable(expected), command
            done += 1
    assert done >= 19


def test_the_page_names_every_command_that_there_is() -> None:
    assert [
        command.name
        for command in COMMANDS
        if f"`{command.name}" not in PAGE and f"admin {command.name}" not in PAGE
    ] == []


def test_the_line_for_cron_is_a_command() -> None:
    (line,) = re.findall(r"^\*/5 \* \* \* \*  (.*)$", PAGE, re.MULTILINE)
    first, second = line.split(" && ", 1)[1].split(" || ")
    for command in (first, second):
        arguments = shlex.split(command.split(">")[0].split("2>")[0])
        options = program._arguments([word for word in arguments[1:] if word != "2"])
        assert isinstance(options, argparse.Namespace)
        assert options.command == "health"
