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
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import platformdirs

from atm.checkout import command_here
from atm.command_line import (
    INTERRUPTED,
    OneLineParser,
    add_config,
    add_version,
    complain,
    interruptible,
    program_name,
)
from atm.config import CONFIG_FILE, ENGINE_KINDS, LANES_MAX, RAFT, Cluster, ConfigError, found_config
from atm.files import keep_private, make_folder
from atm.lanes.faults import NoEngine
from atm.local_cluster import POLL_S, STOP_TIMEOUT_S, LocalCluster, NoLeader, own_cluster_ini
from atm.local_faults import FaultServer
from atm.local_links import LinkedCluster
from atm.local_web import WEB_LISTEN, NoWeb, WebProcess
from atm.teller import main as teller

if TYPE_CHECKING:
    from atm.local_postgres.own_bank import KeptServers

LEADER_TIMEOUT_S = 15.0
EXIT_USAGE = 2
EXIT_NOT_AVAILABLE = 3
LOCK_FILE = "run.lock"
PROGRAM = "run"
ANOTHER_RUNS = (
    "Another run of this bank has started its nodes: they are used here, too. When it ends they stop, "
    "and this one starts them again within seconds"
)
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster and the teller; return the teller's exit code, or 2 or 3 if it never opened."""
    options, teller_arguments = _options(argv)
    keep_private()
    try:
        config = _config(options.config or found_config(), options.engine, options.lanes)
        linked = LinkedCluster(config) if options.web else None
        cluster = linked or LocalCluster(config)
        turn = _Turn(cluster, _databases(cluster.cluster))
    except ConfigError as error:
        complain(program_name(PROGRAM), str(error))
        return EXIT_USAGE
    except OSError as error:
        _say(f"The state folder {_own_folder()} cannot be written: {error.strerror}. Give --config FILE")
        return EXIT_NOT_AVAILABLE
    except NoEngine as error:
        _say(f"PostgreSQL does not start: {error}")
        return EXIT_NOT_AVAILABLE
    pages = None if linked is None else _pages(linked, turn, options.web_listen or WEB_LISTEN)
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _end)
    return _run(cluster, turn, pages, ["--config", str(config), *teller_arguments])


def _run(cluster: LocalCluster, turn: _Turn, pages: WebProcess | None, arguments: Sequence[str]) -> int:
    """Run all until the teller ends; return the exit code."""
    try:
        if not _start(cluster, turn):
            return EXIT_NOT_AVAILABLE
        if pages is not None:
            _say(f"The bank's pages are at {pages.start()}")
        return teller.main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except NoWeb as error:
        _say(str(error))
        return EXIT_NOT_AVAILABLE
    finally:
        for number in (*ENDING_SIGNALS, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave nodes behind
        _stop(cluster, turn, pages)


def _options(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return what is for this program, and what is for the teller."""
    parser = OneLineParser(
        prog=program_name(PROGRAM),
        usage="%(prog)s [-h] [--config FILE] [--engine {raft,postgresql} [--lanes N]]\n"
        "           [--web [--web-listen HOST:PORT]] [teller's arguments]",
        allow_abbrev=False,
        description="Start every node of cluster.ini in the background, open the teller, and stop the nodes "
        "when it ends. The output of a node goes to <data_dir>/<node>.log. Without any cluster.ini it makes "
        "a bank of five nodes in your state folder, and says where.",
        epilog=f"All other arguments go to the teller: see {command_here('atm')} --help.",
    )
    add_version(parser)
    add_config(parser)
    parser.add_argument(
        "--engine",
        choices=ENGINE_KINDS,
        default=RAFT,
        help="postgresql: another bank, whose books three PostgreSQL servers keep that are started, too; it "
        "says where they are (default: raft)",
    )
    parser.add_argument(
        "--lanes",
        type=_number_of_lanes,
        metavar="N",
        help="with --engine postgresql, when its bank is made: how many parts of it are written side by side",
    )
    parser.add_argument("--web", action="store_true", help="serve the bank's pages, too, and say where")
    parser.add_argument(
        "--web-listen", metavar="HOST:PORT", help=f"with --web: where (default: {WEB_LISTEN})"
    )
    options, teller_arguments = parser.parse_known_args(argv)
    if options.web_listen is not None and not options.web:
        parser.error("--web-listen says where --web serves the bank's pages: give --web, too")
    return options, teller_arguments


def _number_of_lanes(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= LANES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {LANES_MAX}")
    return int(text)


def _config(found: Path | None, engine: str, lanes: int | None) -> Path:
    """Return the bank's file; raise `ConfigError`, `OSError`, and on PostgreSQL what that needs."""
    if engine == RAFT:
        if lanes is not None:
            raise ConfigError("--lanes belongs to --engine postgresql: a bank on Raft has one log")
        return found or _own_bank()
    from atm.local_postgres.own_bank import own_bank  # noqa: PLC0415  (a bank on Raft need not load it)

    return own_bank(found, otherwise=_own_folder().with_name("bank-postgresql"), lanes=lanes)


def _databases(cluster: Cluster) -> KeptServers | None:
    """Return the servers of PostgreSQL that this program starts for the bank, None without any."""
    if cluster.engine.kind == RAFT:
        return None
    from atm.local_postgres.own_bank import KeptServers, is_own_bank  # noqa: PLC0415

    return KeptServers(cluster, _say) if is_own_bank(cluster.path) else None


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
            turn.start_databases()
            others = [name for name in nodes if _answers(cluster, name)]
            for name in (name for name in nodes if name not in others):
                cluster.start(name)
        else:
            _say(ANOTHER_RUNS)
    except NoEngine as error:
        _say(f"PostgreSQL does not start: {error}")
        return False
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


def _pages(cluster: LinkedCluster, turn: _Turn, listen: str) -> WebProcess:
    return WebProcess(cluster.cluster.path, listen, FaultServer(cluster, turn.start_node))


def _stop(cluster: LocalCluster, turn: _Turn, pages: WebProcess | None) -> None:
    turn.end()
    if pages is not None:
        pages.stop()
    cluster.stop_all()
    turn.stop_databases()


class _Turn:
    """Of several of these programs for one bank, it is one's turn to run the nodes, until that one ends.

    Then the next one starts them. A lock in the data folder says whose turn it is; it ends with its process,
    however that ends.
    """

    def __init__(self, cluster: LocalCluster, databases: KeptServers | None = None) -> None:
        """`databases` are what the nodes need, and run as long as they do."""
        self.is_ours = False
        self._databases = databases
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

    def start_databases(self) -> None:
        """Start what the nodes need, and say where it is; raise `NotStarted`, `OSError`."""
        if self._databases is None:
            return
        self._wait_for_nodes_to_end()
        self._databases.start()
        _say(f"This bank is kept by {self._databases.about()}")
        _say(f"Look into it with {self._databases.psql()}")
        _say(f"Other commands reach it with --config {self._cluster.cluster.path}")

    def stop_databases(self) -> None:
        """End what the nodes needed, after them."""
        if self._databases is not None:
            self._databases.stop()

    def _wait_for_nodes_to_end(self) -> None:
        """Wait for those whose starter was killed: they are about to end, with their databases."""
        until = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < until and any(
            _answers(self._cluster, name) for name in self._cluster.cluster.nodes
        ):
            time.sleep(POLL_S)

    def end(self) -> None:
        """Start no node any more."""
        with self._starting:
            self._ended = True

    def _await(self) -> None:
        """Start the nodes that ended with the program before; they may take a while for it."""
        assert self._lock_file is not None
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            self.start_databases()
        except (NoEngine, OSError) as error:
            _say(f"PostgreSQL does not start: {error}")
            return
        nodes = self._cluster.cluster.nodes
        until = time.monotonic() + STOP_TIMEOUT_S
        while time.monotonic() < until and len(self._cluster.running()) < len(nodes):
            for name in nodes:
                if not _answers(self._cluster, name):
                    self.start_node(name)
            time.sleep(POLL_S)

    def start_node(self, name: str) -> None:
        """Start a node that does not run, unless this program ends."""
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
