"""bin/run: every node of `cluster.ini` in the background, and the teller in the foreground.

Standard output is for the teller only; messages about the nodes go to standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NoReturn

import platformdirs

from atm.checkout import command_here
from atm.command_line import INTERRUPTED, add_config, add_version, interruptible, program_name
from atm.config import CONFIG_FILE, ConfigError, found_config
from atm.files import keep_private, make_folder
from atm.local_cluster import POLL_S, STOP_TIMEOUT_S, LocalCluster, NoLeader, own_cluster_ini
from atm.teller import main as teller

LEADER_TIMEOUT_S = 15.0
EXIT_USAGE = 2
EXIT_NOT_AVAILABLE = 3
LOCK_FILE = "run.lock"
ANOTHER_RUNS = (
    "This bank is run by another of these commands: its nodes are used. When that one ends they stop, "
    "and this one starts them again within seconds"
)
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster and the teller; return the teller's exit code, or 2 or 3 if it never opened."""
    parser = argparse.ArgumentParser(
        prog=program_name("bin/run"),
        usage="%(prog)s [-h] [--config FILE] [teller's arguments]",
        allow_abbrev=False,
        description="Start every node of cluster.ini in the background, open the teller, and stop the nodes "
        "when it ends. The output of a node goes to <data_dir>/<node>.log. Without any cluster.ini it makes "
        "a bank of five nodes in your state folder, and says where.",
        epilog=f"All other arguments go to the teller: see {command_here('atm')} --help.",
    )
    add_version(parser)
    add_config(parser)
    options, teller_arguments = parser.parse_known_args(argv)
    keep_private()
    try:
        config: Path = options.config or found_config() or _own_bank()
        cluster = LocalCluster(config)
    except ConfigError as error:
        _say(str(error))
        return EXIT_USAGE
    except OSError as error:
        _say(f"The state folder {_own_folder()} cannot be written: {error.strerror}. Give --config FILE")
        return EXIT_NOT_AVAILABLE
    turn = _Turn(cluster)
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _end)
    try:
        if not _start(cluster, turn):
            return EXIT_NOT_AVAILABLE
        return teller.main(["--config", str(config), *teller_arguments])
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        for number in (*ENDING_SIGNALS, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave nodes behind
        turn.end()
        cluster.stop_all()


def _own_bank() -> Path:
    """Return the cluster.ini of the user's own bank, which is made at the first call; raise `OSError`."""
    path = own_cluster_ini(_own_folder())
    _say(f"There is no {CONFIG_FILE} here, so this is a bank of your own, in {path.parent}")
    _say(f"Other commands reach it with --config {path}")
    return path


def _own_folder() -> Path:
    return platformdirs.user_state_path("atm") / "bank"


def _start(cluster: LocalCluster, turn: _Turn) -> bool:
    """Start the nodes and wait for a leader; return whether there is one, and print why if not."""
    nodes = cluster.cluster.nodes
    others: list[str] = []
    try:
        if turn.begin():
            others = [name for name in nodes if _answers(cluster, name)]
            for name in (name for name in nodes if name not in others):
                cluster.start(name)
        else:
            _say(ANOTHER_RUNS)
    except OSError as error:
        _say(f"The data folder {cluster.cluster.data_dir} cannot be written: {error.strerror}")
        return False
    if others:
        _say(f"Already running, hence used and not stopped at the end: {', '.join(others)}")

    def majority_runs() -> bool:
        return not turn.is_ours or len(cluster.running()) + len(others) > len(nodes) // 2

    try:
        cluster.wait_for_leader(LEADER_TIMEOUT_S, while_true=majority_runs)
    except NoLeader as error:
        _tell_ended(cluster)
        _say(f"{error}. The reason is in the nodes' output: {cluster.cluster.data_dir}/*.log")
        return False
    _tell_ended(cluster)
    return True


class _Turn:
    """Of several of these programs for one bank, it is one's turn to run the nodes, until that one ends.

    Then the next one starts them. A lock in the data folder says whose turn it is; it ends with its process,
    however that ends.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        self.is_ours = False
        self._cluster = cluster
        self._starting = threading.Lock()  # guards _ended; no node is started once that is set
        self._ended = False
        self._lock_file: BinaryIO | None = None

    def begin(self) -> bool:
        """Return whether it is our turn; if not, wait for it in the background. Raise `OSError`."""
        folder = self._cluster.cluster.data_dir
        make_folder(folder)
        self._lock_file = open(folder / LOCK_FILE, "ab")  # noqa: SIM115 - held until this process ends
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Thread(target=self._await, name="turn", daemon=True).start()
        else:
            self.is_ours = True
        return self.is_ours

    def end(self) -> None:
        """Start no node any more."""
        with self._starting:
            self._ended = True

    def _await(self) -> None:
        """Start the nodes that ended with the program before; they may take a while for it."""
        assert self._lock_file is not None
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        nodes = self._cluster.cluster.nodes
        until = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < until and len(self._cluster.running()) < len(nodes):
            for name in nodes:
                if not _answers(self._cluster, name):
                    self._start_node(name)
            time.sleep(POLL_S)

    def _start_node(self, name: str) -> None:
        with self._starting, contextlib.suppress(OSError):  # the disk is full: the teller says what follows
            if not self._ended and name not in self._cluster.running():
                self._cluster.start(name)


def _answers(cluster: LocalCluster, name: str) -> bool:
    answer = cluster.status(name)
    return answer is not None and answer.node == name


def _tell_ended(cluster: LocalCluster) -> None:
    """Print, for each node that ended, its exit code and its last line."""
    for name, process in cluster.processes.items():
        exit_code = process.poll()
        if exit_code is not None:
            lines = cluster.output(name).strip().splitlines() or ["it printed nothing"]
            _say(f"Node {name} ended with exit code {exit_code}: {lines[-1]}")


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(interruptible(main))
