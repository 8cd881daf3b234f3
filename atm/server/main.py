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
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from atm.command_line import (
    OneLineParser,
    add_config,
    add_version,
    complain,
    interruptible,
    program_name,
)
from atm.config import POSTGRESQL, Address, Cluster, ConfigError, default_config, load
from atm.files import keep_private
from atm.lanes.faults import AlreadyRunning, EngineFault, EngineRefused, NoDriver
from atm.ledger.ledger import LedgerDamaged, LedgerFault
from atm.raft import InvariantBroken, NodeId
from atm.server.group.disk_guard import NoRoom
from atm.server.group.ledger_file import LedgerTooOld
from atm.server.group.rebuild import move_ledger_aside
from atm.server.group.recovery import ClusterMismatch, LedgerAhead, LogUnusable
from atm.server.logger.line_writer import Descriptor, LineWriter
from atm.server.logger.logger import Logger
from atm.server.logger.node_log import NodeLog, NoLogFile, descriptor_of
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

if TYPE_CHECKING:
    from atm.server.lanes.lane_server import LaneServer

PROGRAM = "start_node"
HANDLER_STACK_BYTES = 512 * 1024  # there may be thousands of threads, and even an iteration needs little

REBUILD_AGAIN_S = 3600.0  # a ledger that is wrong again so soon is not rebuilt in the same way


class WrongAgain(Exception):
    """A ledger that was just rebuilt is wrong again, and no other server helps; `str()` is one line."""


EXPECTED = (
    AddressUnavailable,
    AlreadyRunning,
    ClusterMismatch,
    DamagedLog,
    EngineFault,
    EngineRefused,
    FolderRefused,
    InvariantBroken,
    LedgerAhead,
    LedgerFault,
    LedgerTooOld,
    LogFailed,
    LogOfAnotherRelease,
    LogUnusable,
    NewerEntry,
    NoDriver,
    NoRoom,
    PepperRefused,
    SnapshotsUnusable,
    WrongAgain,
)


def main(
    argv: Sequence[str] | None = None, *, traceable: bool = False, listen_peer: Address | None = None
) -> int:
    """Run a node until SIGINT or SIGTERM; return the exit code.

    `traceable`: its user's other programs may look into the process, to measure or debug it. `listen_peer` is
    in place of that of cluster.ini, for a starter that has put something in front of the node.
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
    if listen_peer is not None:
        node = replace(cluster.nodes[options.node], listen_peer=listen_peer)
        cluster = replace(cluster, nodes={**cluster.nodes, node.name: node})
    threading.stack_size(HANDLER_STACK_BYTES)
    try:
        node_log = NodeLog(cluster, options.node)
    except NoLogFile as error:
        _report(f"node {options.node} does not start: {error}")
        return 2
    stdout = LineWriter(Descriptor(descriptor_of(sys.stdout)), lost_line=_lost_line)
    with closing(stdout), closing(node_log):
        return _run_to_the_end(cluster, options, node_log, lambda line: stdout.put(f"{line}\n".encode()))


def _run_to_the_end(
    cluster: Cluster, options: argparse.Namespace, node_log: NodeLog, say: Callable[[str], None]
) -> int:
    """Run the node; return the exit code, once it is told why it is not 0."""
    name: str = options.node
    threading.excepthook = partial(_tell_dead_thread, node_log.logger)
    try:
        return _run(
            cluster,
            name,
            node_log,
            say=say,
            verbose=options.verbose,
            check_invariants=options.check_invariants,
        )
    except ConfigError as error:
        node_log.fatal("node.failed", f"node {name} does not start: {error}")
        return 2
    except EXPECTED as error:
        node_log.fatal("node.failed", f"node {name} stops: {error}")
    except Exception as error:
        # Fail-stop: a server in a state that should be impossible must make no further promise.
        if options.verbose:
            node_log.logger.error("node.traceback", traceback.format_exc())
        node_log.fatal(
            "node.failed",
            f"node {name} stops: internal error: {type(error).__name__}: {error}. What was "
            "acknowledged is in its log. Start it again; if this comes back, report what it prints with -v",
        )
    return 1


def _run(
    cluster: Cluster,
    name: str,
    node_log: NodeLog,
    *,
    say: Callable[[str], None],
    verbose: bool,
    check_invariants: bool,
) -> int:
    """Serve until a signal; rebuild a wrong ledger, and serve again. Raise what ends the node."""
    logger = node_log.logger
    rebuilt_at_s = -math.inf
    asked: set[NodeId] = set()  # for a snapshot, since the ledger was right for long
    while True:
        try:
            wrong = _serve(
                cluster, name, node_log, say=say, verbose=verbose, check_invariants=check_invariants
            )
        except LedgerDamaged as damage:
            wrong = damage.what
        if not wrong:
            return 0
        if time.monotonic() >= rebuilt_at_s + REBUILD_AGAIN_S:
            asked.clear()
            _rebuild(cluster, name, wrong, logger)
        else:
            _rebuild_from_another(cluster, name, wrong, asked, logger)
        rebuilt_at_s = time.monotonic()


def _rebuild(cluster: Cluster, name: str, wrong: str, logger: Logger) -> None:
    """Move the ledger aside: the next start makes a new one from the log."""
    _stop_on_signals(_abandon_start)
    with closing(DataFolder(cluster, name)) as folder:
        aside = move_ledger_aside(folder.path)
    line = f"{wrong}. It is kept as {aside}, and a new one is made from the log"
    logger.error("ledger.rebuilding", line, kept_as=str(aside))


def _rebuild_from_another(
    cluster: Cluster, name: str, wrong: str, asked: set[NodeId], logger: Logger
) -> None:
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
        logger.error(
            "ledger.rebuilding",
            f"{wrong}, and it was rebuilt only just before. It is kept as {aside}, "
            f"and a new one is made from the snapshot of node {peer} up to entry {index}",
            kept_as=str(aside),
            peer=peer,
            index=index,
        )
        return
    raise WrongAgain(
        f"{wrong}, and it was rebuilt only just before: memory or disk of this machine may be faulty. No "
        f"other server gave a snapshot that it had not given before{''.join('; ' + why for why in whys)}. "
        f"Nothing acknowledged is lost. {START_EMPTY_ADVICE}"
    )


def _serve(
    cluster: Cluster,
    name: str,
    node_log: NodeLog,
    *,
    say: Callable[[str], None],
    verbose: bool,
    check_invariants: bool,
) -> str:
    """Serve until a signal; return "", or why the ledger is wrong, in a line for people."""
    logger = node_log.logger
    _stop_on_signals(_abandon_start)
    server: Server | LaneServer
    if cluster.engine.kind == POSTGRESQL:
        server = _lane_server(cluster, name, say=say, logger=logger, verbose=verbose)
    else:
        server = Server(
            cluster, name, say=say, logger=logger, verbose=verbose, check_invariants=check_invariants
        )
    here = cluster.nodes[name].client
    neighbours = _places([node.client for node in cluster.nodes.values() if node.name != name], here)
    say(f"Running server on port {here.port}")
    say(f"Expects neighbours to be on {', '.join(neighbours)}" if neighbours else "Expects no neighbours")
    try:
        told_to_stop = _stop_on_signals(server.stop, server.read_files_again, node_log.read_again)
        say(f"Listening on {here.pair}")
        server.tell_started()
        service_manager.notify("READY=1")
        server.run()
        service_manager.notify("STOPPING=1")
        if server.ledger_is_wrong:
            server.dump_events(server.ledger_is_wrong)
    except Exception as error:
        server.dump_events(f"{type(error).__name__}: {error}")
        raise
    finally:
        server.close()
    if server.ended_because:
        logger.warning("node.removed", f"node {name} stops: {server.ended_because}")
    if not server.ledger_is_wrong:
        by = f", by {told_to_stop[-1].name}" if told_to_stop else ""
        logger.info("node.stopped", f"node {name} has stopped{by}")
    return server.ledger_is_wrong


def _lane_server(
    cluster: Cluster, name: str, *, say: Callable[[str], None], logger: Logger, verbose: bool
) -> LaneServer:
    """Return a server of a bank on PostgreSQL, whose driver only such a bank loads; raise `NoDriver`."""
    try:
        from atm.server.lanes.lane_server import LaneServer  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        raise NoDriver from error
    return LaneServer(cluster, name, say=say, logger=logger, verbose=verbose)


def _places(addresses: Sequence[Address], here: Address) -> list[str]:
    """Return the ports of servers on this host; with the hosts, if any server is on another."""
    elsewhere = any(address.host != here.host for address in addresses)
    return [str(address if elsewhere else address.port) for address in addresses]


def _abandon_start() -> None:
    """End the process during its start, when it has promised nothing yet."""
    raise SystemExit(0)


def _stop_on_signals(stop: Callable[[], None], *reloads: Callable[[], None]) -> list[signal.Signals]:
    """Have signals handled so from now on; return those that told the node to stop, once they have come."""
    came: list[signal.Signals] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        came.append(signal.Signals(number))
        stop()

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)

    def read_again(_signal: int, _frame: FrameType | None) -> None:
        for reload in reloads:
            reload()

    # At a terminal that was closed the node stops, as any program does. Elsewhere SIGHUP has certificates,
    # pepper and [log] read again and the file of [log] opened again, as programs do that rotate logs.
    signal.signal(signal.SIGHUP, handle if sys.stdin is not None and sys.stdin.isatty() else read_again)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    return came


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog=program_name(PROGRAM),
        description="Run one node of the bank in the foreground.",
        epilog="Exit codes: 0 stopped by a signal, or removed from the cluster, 1 it cannot run or go on, "
        "2 wrong usage or configuration.",
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


def _lost_line(count: int) -> bytes:
    return f"{count} lines could not be written here\n".encode()


def _tell_dead_thread(logger: Logger, failed: threading.ExceptHookArgs) -> None:
    name = "" if failed.thread is None else failed.thread.name
    told = "".join(traceback.format_exception(failed.exc_type, failed.exc_value, failed.exc_traceback))
    logger.error("thread.failed", f"internal error in the thread {name}: {told}", thread=name)


def _report(line: str) -> None:
    """Tell why the node does not start while it is not known yet where its lines go."""
    with contextlib.suppress(OSError):  # the terminal or pipe is gone
        complain(program_name(PROGRAM), line)


if __name__ == "__main__":
    sys.exit(interruptible(main))
