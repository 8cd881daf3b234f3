"""docs/backup.md is run from its first command to its last, on real nodes, and says what is printed."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.admin import main as program
from atm.local_cluster import LocalCluster, free_ports, write_cluster_ini_for
from tests.support.ledgers import wait_until_equal
from tests.support.running import ROOT
from tests.support.server_parts import wait_until

PAGE = (ROOT / "docs" / "backup.md").read_text(encoding="utf-8")
FENCED = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BLOCKS = [text for kind, text in FENCED if not kind]
(NEW_INI,) = (text for kind, text in FENCED if kind == "ini")
NODES = ("5000", "5001", "5002")
RESTORED_PORTS = re.compile(r"localhost:(\d+)")
ENDS_WITH_1 = ("bin/admin recover 5002",)  # which only looks


class Shell:
    """The page's machine: /mnt/backup, /root/passphrase and /etc/atm are in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "passphrase").write_text("correct horse battery\n")
        self.bank = LocalCluster(write_cluster_ini_for(folder, NODES))
        ports = iter(free_ports(2 * len(NODES)))
        (folder / "new.ini").write_text(RESTORED_PORTS.sub(lambda _: f"localhost:{next(ports)}", NEW_INI))
        self.restored = LocalCluster(folder / "new.ini")
        self._places = {
            "/mnt/backup": str(folder / "backup"),
            "/root/passphrase": str(folder / "passphrase"),
            "/etc/atm": str(folder),
        }

    def run(self, command: str) -> str:
        """Carry out a line of the page; return what it printed."""
        for there, here in self._places.items():
            command = command.replace(there, here)
        match shlex.split(command):
            case ["bin/start_node", name, "--config", "new.ini", "&"]:
                self.restored.start(name)
                return ""
            case ["bin/atm", *arguments]:
                self._wait_for_leader(arguments)
                return self._python("atm.teller", arguments)
            case ["bin/admin", "recover", *arguments]:
                self._lose_two()
                return self._python(
                    "atm.admin", ["recover", *arguments], code=0 if "--yes" in arguments else 1
                )
            case ["bin/admin", *arguments]:
                return self._python("atm.admin", arguments)
        raise AssertionError(f"the page has a command that this test does not know: {command}")

    def _wait_for_leader(self, arguments: list[str]) -> None:
        cluster = self.restored if "new.ini" in arguments else self.bank
        cluster.wait_for_leader()

    def _lose_two(self) -> None:
        if len(self.bank.running()) == len(NODES):
            wait_until_equal(self.bank)
            for name in NODES:
                self.bank.kill(name)
            for name in ("5000", "5001"):
                shutil.rmtree(self.bank.cluster.data_dir / name)

    def _python(self, module: str, arguments: list[str], *, code: int = 0) -> str:
        if arguments[0] == "backup":
            wait_until_equal(self.bank)
        ran = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert ran.returncode == code, f"{arguments}: {ran.stdout}{ran.stderr}"
        printed = ran.stdout
        for there, here in self._places.items():
            printed = printed.replace(here, there)
        return printed

    def stop(self) -> None:
        self.bank.stop_all()
        self.restored.stop_all()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    try:
        shell.bank.start_all()
        shell.bank.wait_for_leader()
        wait_until_settled(shell.bank)
        yield shell
    finally:
        shell.stop()


def wait_until_settled(bank: LocalCluster) -> None:
    """Wait until the log names all members and their addresses: then no entry comes by itself any more."""

    def settled() -> bool:
        statuses = [bank.status(name) for name in NODES]
        return all(
            status is not None and status.members and all(member.peer for member in status.members)
            for status in statuses
        )

    wait_until(settled)
    wait_until_equal(bank)


DIFFERS = (  # from run to run: times, ids, sizes, who was asked
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
    (r"\b[0-9a-f]{32}\b", "CLUSTER"),
    (r"cut-off-[0-9a-f]{8}", "cut-off-ID"),
    (r"\b[0-9A-Z]{20}\b", "REQUEST"),
    (r"from node \d+: [\d,]+ bytes", "from node NODE: N bytes"),
    (r": node \d+ has nothing", ": node NODE has nothing"),
    (r"of term \d+", "of term N"),
    (r"\d+\.\d s", "N s"),
    (r"^(Welcome|Your starting|Available).*\n", ""),
)


def comparable(text: str) -> list[str]:
    for pattern, what in DIFFERS:
        text = re.sub(pattern, what, text, flags=re.MULTILINE)
    return [line for line in text.splitlines() if line.strip()]


def test_every_command_of_the_page_prints_what_the_page_says(shell: Shell) -> None:
    done = 0
    for block in BLOCKS:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, expected = part.partition("\n")
            assert comparable(shell.run(command)) == comparable(expected), command
            done += 1
    assert done == 14


def test_the_line_for_cron_is_a_command() -> None:
    (line,) = re.findall(r"^7 \* \* \* \*  (.*)$", PAGE, re.MULTILINE)
    options = program._arguments(shlex.split(line.split(" && ", 1)[1].split(">")[0])[1:])
    assert (options.command, options.verify, options.keep_days) == ("backup", True, 90)
