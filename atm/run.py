"""bin/run: every node of `cluster.ini` in the background, and the teller in the foreground.

Standard output is for the teller only; messages about the nodes go to standard error.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import platformdirs

from atm.checkout import command_here
from atm.command_line import INTERRUPTED, add_config, add_version, interruptible, program_name
from atm.config import CONFIG_FILE, ConfigError, found_config
from atm.files import keep_private
from atm.local_cluster import LocalCluster, NoLeader, own_cluster_ini
from atm.teller import main as teller

LEADER_TIMEOUT_S = 15.0
EXIT_USAGE = 2
EXIT_NOT_AVAILABLE = 3
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
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
            signal.signal(number, _end)
    try:
        if not _start(cluster):
            return EXIT_NOT_AVAILABLE
        return teller.main(["--config", str(config), *teller_arguments])
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        for number in (*ENDING_SIGNALS, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave nodes behind
        cluster.stop_all()


def _own_bank() -> Path:
    """Return the cluster.ini of the user's own bank, which is made at the first call; raise `OSError`."""
    path = own_cluster_ini(_own_folder())
    _say(f"There is no {CONFIG_FILE} here, so this is a bank of your own, in {path.parent}")
    _say(f"Other commands reach it with --config {path}")
    return path


def _own_folder() -> Path:
    return platformdirs.user_state_path("atm") / "bank"


def _start(cluster: LocalCluster) -> bool:
    """Start the nodes and wait for a leader; return whether there is one, and print why if not."""
    nodes = cluster.cluster.nodes
    others = []
    try:
        for name, node in nodes.items():
            answer = cluster.status(name)
            if answer is not None and answer.node == name:
                _say(f"Node {name} already runs on {node.client}: it is used, and not stopped at the end")
                others.append(name)
            else:
                cluster.start(name)
    except OSError as error:
        _say(f"The data folder {cluster.cluster.data_dir} cannot be written: {error.strerror}")
        return False

    def majority_runs() -> bool:
        return len(cluster.running()) + len(others) > len(nodes) // 2

    try:
        cluster.wait_for_leader(LEADER_TIMEOUT_S, while_true=majority_runs)
    except NoLeader as error:
        _tell_ended(cluster)
        _say(f"{error}. The reason is in the nodes' output: {cluster.cluster.data_dir}/*.log")
        return False
    _tell_ended(cluster)
    return True


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
