"""bin/start_node: runs one node in the foreground."""

from __future__ import annotations

import argparse
import contextlib
import math
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from types import FrameType

from atm.command_line import add_config, add_version, interruptible, program_name
from atm.config import Address, Cluster, ConfigError, default_config, load
from atm.files import keep_private
from atm.ledger.ledger import LedgerDamaged, LedgerFault
from atm.raft import InvariantBroken, NodeId
from atm.server.group.disk_guard import NoRoom
from atm.server.group.ledger_file import LedgerTooOld
from atm.server.group.rebuild import move_ledger_aside
from atm.server.group.recovery import ClusterMismatch, LedgerAhead, LogUnusable
from atm.server.net import service_manager
from atm.server.net.listener import AddressUnavailable
from atm.server.peers.snapshot_fetcher import FetchFailed
from atm.server.peers.snapshot_of_peer import peers_of, roster_of, take_over_snapshot
from atm.server.security.core_dumps import forbid_core_dumps
from atm.server.security.peppers import PepperRefused
from atm.server.server import Server
from atm.storage.data_folder import DataFolder, FolderRefused
from atm.storage.log_file import DamagedLog, LogFailed, LogOfAnotherRelease
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.storage.snapshots import SnapshotsUnusable
from atm.wire.log_entries import NewerEntry

HANDLER_STACK_BYTES = 512 * 1024  # there may be thousands of threads, and even an iteration needs little

REBUILD_AGAIN_S = 3600.0  # a ledger that is wrong again so soon is not rebuilt in the same way


class WrongAgain(Exception):
    """A ledger that was just rebuilt is wrong again, and no other server helps; `str()` is one line."""


EXPECTED = (
    AddressUnavailable,
    ClusterMismatch,
    DamagedLog,
    FolderRefused,
    InvariantBroken,
    LedgerAhead,
    LedgerFault,
    LedgerTooOld,
    LogFailed,
    LogOfAnotherRelease,
    LogUnusable,
    NewerEntry,
    NoRoom,
    PepperRefused,
    SnapshotsUnusable,
    WrongAgain,
)


def main(argv: Sequence[str] | None = None, *, traceable: bool = False) -> int:
    """Run a node until SIGINT or SIGTERM; return the exit code.

    `traceable`: its user's other programs may look into the process, to measure or debug it.
    """
    options = _options(argv)
    keep_private()
    forbid_core_dumps(traceable=traceable)
    try:
        cluster = load(options.config or default_config())
    except ConfigError as error:
        _report(str(error))
        return 2
    if options.node not in cluster.nodes:
        _report(f"{cluster.path}: there is no node {options.node!r}, only {', '.join(cluster.nodes)}")
        return 2
    try:
        return _run(cluster, options.node, verbose=options.verbose, check_invariants=options.check_invariants)
    except ConfigError as error:
        _report(f"node {options.node} does not start: {error}")
        return 2
    except EXPECTED as error:
        _report(f"node {options.node} stops: {error}")
    except Exception as error:
        # Fail-stop: a server in a state that should be impossible must make no further promise.
        _report(
            f"node {options.node} stops: internal error: {type(error).__name__}: {error}. What was "
            "acknowledged is in its log. Start it again; if this comes back, report what it prints with -v"
        )
        if options.verbose:
            traceback.print_exc()
    return 1


def _run(cluster: Cluster, name: str, *, verbose: bool, check_invariants: bool) -> int:
    """Serve until a signal; rebuild a wrong ledger, and serve again. Raise what ends the node."""
    threading.stack_size(HANDLER_STACK_BYTES)
    rebuilt_at_s = -math.inf
    asked: set[NodeId] = set()  # for a snapshot, since the ledger was right for long
    while True:
        try:
            wrong = _serve(cluster, name, verbose=verbose, check_invariants=check_invariants)
        except LedgerDamaged as damage:
            wrong = damage.what
        if not wrong:
            _report(f"node {name} has stopped")
            return 0
        if time.monotonic() >= rebuilt_at_s + REBUILD_AGAIN_S:
            asked.clear()
            _rebuild(cluster, name, wrong)
        else:
            _rebuild_from_another(cluster, name, wrong, asked)
        rebuilt_at_s = time.monotonic()


def _rebuild(cluster: Cluster, name: str, wrong: str) -> None:
    """Move the ledger aside: the next start makes a new one from the log."""
    _stop_on_signals(_abandon_start)
    with closing(DataFolder(cluster, name)) as folder:
        aside = move_ledger_aside(folder.path)
    _report(f"node {name}: {wrong}. It is kept as {aside}, and a new one is made from the log")


def _rebuild_from_another(cluster: Cluster, name: str, wrong: str, asked: set[NodeId]) -> None:
    """Begin again with a snapshot of a server that was not asked before; raise `WrongAgain` without one.

    The ledger was rebuilt just before, so the snapshot that the log begins behind may be as wrong as it was.
    """
    _stop_on_signals(_abandon_start)
    roster = roster_of(cluster, name)
    whys: list[str] = []
    for peer in peers_of(roster, name):
        if peer in asked:
            continue
        asked.add(peer)
        with closing(DataFolder(cluster, name)) as folder:
            try:
                index = take_over_snapshot(cluster, folder, roster, peer)
            except FetchFailed as error:
                whys.append(str(error))
                continue
            aside = move_ledger_aside(folder.path)
        _report(
            f"node {name}: {wrong}, and it was rebuilt only just before. It is kept as {aside}, "
            f"and a new one is made from the snapshot of node {peer} up to entry {index}"
        )
        return
    raise WrongAgain(
        f"{wrong}, and it was rebuilt only just before: memory or disk of this machine may be faulty. No "
        f"other server gave a snapshot that it had not given before{''.join('; ' + why for why in whys)}. "
        f"Nothing acknowledged is lost. {START_EMPTY_ADVICE}"
    )


def _serve(cluster: Cluster, name: str, *, verbose: bool, check_invariants: bool) -> str:
    """Serve until a signal; return "", or why the ledger is wrong, in a line for people."""
    _stop_on_signals(_abandon_start)
    server = Server(
        cluster, name, say=_say, report=_report, verbose=verbose, check_invariants=check_invariants
    )
    here = cluster.nodes[name].client
    neighbours = _places([node.client for node in cluster.nodes.values() if node.name != name], here)
    _say(f"Running server on port {here.port}")
    _say(f"Expects neighbours to be on {', '.join(neighbours)}" if neighbours else "Expects no neighbours")
    try:
        _stop_on_signals(server.stop, server.read_files_again)
        _say(f"Listening on {here.pair}")
        service_manager.notify("READY=1")
        server.run()
        service_manager.notify("STOPPING=1")
    finally:
        server.close()
    if server.ended_because:
        _report(f"node {name} stops: {server.ended_because}")
    return server.ledger_is_wrong


def _places(addresses: Sequence[Address], here: Address) -> list[str]:
    """Return the ports of servers on this host; with the hosts, if any server is on another."""
    elsewhere = any(address.host != here.host for address in addresses)
    return [str(address if elsewhere else address.port) for address in addresses]


def _abandon_start() -> None:
    """End the process during its start, when it has promised nothing yet."""
    raise SystemExit(0)


def _stop_on_signals(stop: Callable[[], None], reload: Callable[[], None] = lambda: None) -> None:
    def handle(_signal: int, _frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)

    def read_again(_signal: int, _frame: FrameType | None) -> None:
        reload()

    # At a terminal that was closed the node stops, as any program does. Elsewhere SIGHUP has the certificates
    # and the pepper read again, as programs do that rotate logs or renew certificates.
    signal.signal(signal.SIGHUP, handle if sys.stdin is not None and sys.stdin.isatty() else read_again)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program_name("start_node"), description="Run one node of the bank in the foreground."
    )
    add_version(parser)
    parser.add_argument("node", metavar="NODE", help="the node's name in cluster.ini, such as 5000")
    add_config(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="print a line for each request")
    parser.add_argument(
        "--check-invariants",
        action="store_true",
        help="check the invariants of Raft after every step, and stop when one is broken; "
        "takes about 30 %% more processor time",
    )
    return parser.parse_args(argv)


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal or pipe is gone; the node goes on
        print(f"{line}\n", end="", flush=True)  # in one piece, as several threads print


def _report(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"{line}\n", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(interruptible(main))
