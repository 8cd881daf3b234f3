"""Five real nodes under faults, watched by customers: `bin/chaos --minutes 5 --seed 1`.

With root and network namespaces (Linux), each node gets a namespace of its own, and networks fail as well.
What cannot be exercised here is named. Exit code 0: all promises were kept, and enough happened to show it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from atm.command_line import add_version
from atm.local_cluster import write_cluster_ini_for
from tests.chaos.faults import FAULTS, why_not
from tests.chaos.network import Network, NoNetwork
from tests.chaos.report import not_exercised_lines
from tests.chaos.run import run
from tests.support.certificates import Authority, add_tls

NODES = ("n1", "n2", "n3", "n4", "n5")
SPARE = "n6"  # an empty machine, for a server that is added
SNAPSHOT_LOG_MB = 0.1  # the smallest: logs are cut all the time
ROOT = Path(__file__).parent.parent.parent
CLEAN_UP_S = 40.0


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 for a pass, 1 for findings, 2 for wrong arguments."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _options(arguments)
    signal.signal(signal.SIGTERM, _leave)
    if options.inside or options.loopback:
        return _run(options)
    network = Network(f"chaos{os.getpid()}", (*NODES, SPARE))
    try:
        network.create()
    except NoNetwork as error:
        return _run(options, no_network=str(error))
    try:
        return _run_inside(network, [*arguments, "--seed", str(options.seed)])
    finally:
        network.remove()


def _run_inside(network: Network, arguments: list[str]) -> int:
    """Run in the hub's namespace, where the nodes can be reached; who made it stays outside to remove it."""
    command = [sys.executable, "-P", "-m", "tests.chaos", *arguments, "--inside", network.tag]
    process = subprocess.Popen(
        ["ip", "netns", "exec", network.hub, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,  # Ctrl-C reaches this process only, which then asks the other to stop
    )
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait(CLEAN_UP_S)
        raise


def _run(options: argparse.Namespace, no_network: str = "run with --loopback") -> int:
    network = Network(options.inside, (*NODES, SPARE)) if options.inside else None
    reasons = {fault.name: why_not(fault.needs, "" if network else no_network) for fault in FAULTS}
    chosen = [f for f in FAULTS if not reasons[f.name] and (not options.faults or f.name in options.faults)]
    not_exercised = {name: reason for name, reason in reasons.items() if reason}
    for line in not_exercised_lines(not_exercised):
        print(line, flush=True)
    with _folder() as folder, ExitStack() as leaving:
        if network:
            leaving.callback(network.close_switch)
        settings = {"snapshot_log_mb": SNAPSHOT_LOG_MB}
        if network:
            config = network.write_cluster_ini(folder, **settings)
        else:
            config = write_cluster_ini_for(folder, (*NODES, SPARE), **settings)
        if options.tls:
            add_tls(config, Authority())
        report = run(
            config,
            network,
            chosen,
            seed=options.seed,
            duration_s=options.minutes * 60,
            clients=options.clients,
            say=lambda line: print(line, flush=True),
        )
        if report.findings:
            kept = folder.rename(folder.with_name(f"{folder.name}-kept"))
            print(f"Logs, ledgers, what the nodes printed and what the customers saw are kept in {kept}")
    report.not_exercised = not_exercised
    print(report.text(), flush=True)
    if options.json:
        options.json.write_text(json.dumps(report.as_dict(), indent=1) + "\n")
    if options.plot:
        from tests.chaos.picture import draw  # noqa: PLC0415  (needs the extra 'chaos')

        draw(report, options.plot)
    return 1 if report.findings else 0


@contextmanager
def _folder() -> Iterator[Path]:
    """Yield a new folder, which is removed at the end unless it was moved."""
    folder = Path(tempfile.mkdtemp(prefix="atm-chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/chaos", description=__doc__)
    add_version(parser)
    parser.add_argument("--minutes", type=float, default=5.0, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000), help="default: random")
    parser.add_argument("--clients", type=int, default=12, help="five of them only query; default: 12")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw throughput and latency over time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument("--loopback", action="store_true", help="no namespaces, and so no network faults")
    parser.add_argument("--tls", action="store_true", help="encrypt all connections")
    parser.add_argument(
        "--fault",
        action="append",
        dest="faults",
        choices=[f.name for f in FAULTS],
        help="only this one; repeatable",
    )
    parser.add_argument("--inside", metavar="TAG", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Clean up once, whatever else comes."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
