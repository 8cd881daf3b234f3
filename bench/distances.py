"""The bank as its users run it: a share of a processor for each server, and a distance between them.

    python -m bench.distances [--rounds 5] [--seconds 3] [--trees .,../other] [--here]

Each server is in a network namespace of its own, a packet takes half a millisecond from one to another and to
the load program, and no server gets more than 30 % of a core. Work is done closed (the next request follows
the answer) or at a bounded rate, in calm, while the follower that is furthest stops for a second out of two,
and while the way to it takes ten milliseconds more each way.

Trees are checkouts of this project to compare. Each round starts their servers anew; they alternate at each
work, and meanwhile the servers of the others are stopped (SIGSTOP). A figure's ratio is to the first tree's.
`--here` measures the same on loopback without distances and shares. Linux only, root only but for `--here`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tabulate import tabulate

from atm.local_cluster import LocalCluster, NoLeader, write_cluster_ini
from bench.arguments import listed, positive
from bench.cluster import leaders_status
from bench.command import say, stop_in_order
from bench.far import Far, NoDistance, why_not
from bench.load import NotAcknowledged, Result, run
from bench.systems.load_connection import LoadConnection
from bench.usage import processor_s
from bench.work import Work

SERVERS = 5
START_S = 30.0
DELAY_MS = 0.5  # each way
SHARE = 0.3  # of a core, for each server: the load and the switch need the rest of two
WARM_UP_S = 0.5
STOPPED_S = GOING_S = 1.0
LATER_MS = 10.0
SETTLE_S = 1.0  # after a fault, until all are level again
CALM, STOPPED, LATER = "calm", "stopped", "later"
HEADERS = ["work", "tree", "ops/s", "p50 ms", "p99 ms", "p99.9 ms", "leader µs", "follower µs"]
HEADERS += ["ops/s", "p50", "p99", "leader µs"]


@dataclass(frozen=True)
class Cell:
    """One thing that is measured of each tree."""

    connections: int
    per_second: float = float("inf")
    fault: str = CALM

    @property
    def label(self) -> str:
        """The name to choose it by on the command line."""
        rate = "" if self.per_second == float("inf") else f"@{self.per_second:g}"
        return f"{self.connections}{rate}" + ("" if self.fault == CALM else f"-{self.fault}")


BOUNDED = ((1, 100.0), (8, 400.0), (64, 800.0))
CELLS = (
    *(Cell(connections) for connections in (1, 8, 64)),
    *(Cell(*load) for load in BOUNDED),
    *(Cell(*load, fault) for fault in (STOPPED, LATER) for load in BOUNDED),
)


@dataclass
class Figures:
    """What one tree did in one cell; a figure for each round, of which each tree has the same."""

    ops_per_s: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    p999_ms: list[float] = field(default_factory=list)
    leader_us: list[float] = field(default_factory=list)  # of a processor, for each credit
    follower_us: list[float] = field(default_factory=list)  # likewise, the mean of the followers

    def add(self, result: Result, used_s: dict[str, float], leader: str) -> None:
        """Add a round's; `used_s` is each server's processor time, for all credits, warm-up included."""
        self.ops_per_s.append(result.per_second)
        self.p50_ms.append(result.percentile_ms(0.5))
        self.p99_ms.append(result.percentile_ms(0.99))
        self.p999_ms.append(result.percentile_ms(0.999))
        credits = result.per_second * (result.seconds + WARM_UP_S) or float("nan")
        others = [used for name, used in used_s.items() if name != leader]
        self.leader_us.append(used_s[leader] * 1e6 / credits)
        self.follower_us.append(statistics.mean(others) * 1e6 / credits)


Measured = dict[tuple[str, str], Figures]  # by cell and tree


def table(measured: Measured, cells: Sequence[str], trees: Sequence[str]) -> str:
    """Return medians, and beside them the ratios to the first tree, round by round, with their spread."""
    rows = []
    for cell in cells:
        first = measured[cell, trees[0]]
        for tree in trees:
            its = measured[cell, tree]
            columns = (its.p50_ms, its.p99_ms, its.p999_ms, its.leader_us, its.follower_us)
            row = [cell, tree, f"{statistics.median(its.ops_per_s):.0f}"]
            row += [f"{statistics.median(column):.1f}" for column in columns]
            if tree != trees[0]:
                row += [
                    spread(its.ops_per_s, first.ops_per_s),
                    spread(its.p50_ms, first.p50_ms),
                    spread(its.p99_ms, first.p99_ms),
                    spread(its.leader_us, first.leader_us),
                ]
            rows.append(row)
    return tabulate(rows, headers=HEADERS, disable_numparse=True)


def spread(ours: Sequence[float], first: Sequence[float]) -> str:
    """Return the median of the rounds' ratios, the lowest and the highest."""
    ratios = [one / other for one, other in zip(ours, first, strict=True) if other]
    if not ratios:
        return "–"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


class Nodes(LocalCluster):
    """Servers of one tree, at their places."""

    def __init__(self, config: Path, tree: str, far: Far | None) -> None:
        super().__init__(config)
        self._tree = str(Path(tree).absolute())
        self._far = far

    def command(self, name: str) -> list[str]:
        inside = self._far.inside(name) if self._far is not None else []
        return [*inside, "env", f"PYTHONPATH={self._tree}", *super().command(name)]

    def sleep(self) -> None:
        """Stop all servers (SIGSTOP); time that passes meanwhile is nearly none to them."""
        for name in self.running():
            self.pause(name)

    def wake(self) -> None:
        """Let all servers go on, and return when they have a leader; raise `NoLeader`."""
        for name in self.running():
            self.resume(name)
        self.wait_for_leader(START_S)

    def furthest(self) -> str:
        """Return the follower whose log agrees with the leader's furthest."""
        matched = leaders_status(self).matched
        return max(matched, key=lambda name: matched[name])


@contextmanager
def _started(trees: Sequence[str], far: Far | None) -> Iterator[dict[str, Nodes]]:
    """Yield the servers of each tree, all of them asleep; they are ended, and their folders removed."""
    with ExitStack() as ends:
        clusters = {}
        for number, tree in enumerate(trees):
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="atm-distances-")))
            config = far.write_cluster_ini(folder, number) if far else write_cluster_ini(folder, SERVERS)
            nodes = ends.enter_context(Nodes(config, tree, far))
            nodes.start_all()
            nodes.wait_for_leader(START_S)
            nodes.sleep()
            clusters[tree] = nodes
        yield clusters


def measure(nodes: Nodes, far: Far | None, cell: Cell, seconds: float, figures: Figures) -> None:
    """Do one cell's work and add what was seen; raise `NotAcknowledged`, `NoLeader` or `OSError`."""
    leader = nodes.wait_for_leader(START_S)
    connect = partial(LoadConnection, nodes.cluster.nodes[leader].client)
    work = Work("credits", cell.connections)
    with _fault(nodes, far, cell.fault):
        before_s = {name: processor_s(process.pid) for name, process in nodes.processes.items()}
        result = run(connect, work, seconds=seconds, warm_up_s=WARM_UP_S, per_second=cell.per_second)
        after_s = {name: processor_s(process.pid) for name, process in nodes.processes.items()}
    figures.add(result, {name: after_s[name] - before_s[name] for name in after_s}, leader)
    if cell.fault != CALM:
        time.sleep(SETTLE_S)


@contextmanager
def _fault(nodes: Nodes, far: Far | None, fault: str) -> Iterator[None]:
    if fault == STOPPED:
        with _again_and_again(partial(_stop_one, nodes)):
            yield
    elif fault == LATER and far is not None:
        name = nodes.furthest()
        far.place_later(name, LATER_MS)
        try:
            yield
        finally:
            far.place_later(name, 0.0)
    else:
        yield


def _stop_one(nodes: Nodes, ended: threading.Event) -> None:
    """Let the servers be for a while, then stop the follower that is furthest, and let it go on again."""
    if ended.wait(GOING_S):
        return
    process = nodes.processes[nodes.furthest()]
    process.send_signal(signal.SIGSTOP)
    try:
        ended.wait(STOPPED_S)
    finally:
        process.send_signal(signal.SIGCONT)


@contextmanager
def _again_and_again(do: Callable[[threading.Event], None]) -> Iterator[None]:
    ended = threading.Event()

    def keep_doing() -> None:
        while not ended.is_set():
            do(ended)

    thread = threading.Thread(target=keep_doing)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _rounds(options: argparse.Namespace, cells: Sequence[Cell], far: Far | None) -> Measured:
    measured: Measured = {(cell.label, tree): Figures() for cell in cells for tree in options.trees}
    for number in range(options.rounds):
        first = number % len(options.trees)
        with _started(options.trees, far) as clusters:
            for cell in cells:
                for tree in options.trees[first:] + options.trees[:first]:
                    figures = measured[cell.label, tree]
                    clusters[tree].wake()
                    measure(clusters[tree], far, cell, options.seconds, figures)
                    clusters[tree].sleep()
                    say(
                        f"round {number + 1} of {options.rounds}  {tree:<12} {cell.label:<16} "
                        f"{figures.ops_per_s[-1]:9,.0f}/s  p50 {figures.p50_ms[-1]:7.2f} ms  "
                        f"p99 {figures.p99_ms[-1]:7.2f} ms  load average {os.getloadavg()[0]:.1f}"
                    )
        if options.json is not None:
            _write_json(options.json, measured)
    return measured


def _write_json(path: Path, measured: Measured) -> None:
    rows = [{"cell": cell, "tree": tree, **vars(figures)} for (cell, tree), figures in measured.items()]
    path.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table; return the exit code."""
    options = _options(argv)
    why = None if options.here else why_not()
    if why is not None:
        print(f"bench.distances: {why}", file=sys.stderr)
        return 1
    stop_in_order()
    cells = [
        cell for cell in CELLS if cell.label in options.only and not (options.here and cell.fault == LATER)
    ]
    names = [f"n{number}" for number in range(1, SERVERS + 1)]
    far = None if options.here else Far(names, delay_ms=options.delay_ms, of_a_core=options.share)
    try:
        if far is not None:
            far.create()
        try:
            measured = _rounds(options, cells, far)
        finally:
            if far is not None:
                say(f"the switch took {processor_s(far.switch_pid()):.0f} s of a processor")
                far.remove()
    except (NoDistance, NoLeader, NotAcknowledged, OSError) as error:
        print(f"bench.distances: given up: {error}", file=sys.stderr)
        return 1
    print(table(measured, [cell.label for cell in cells], options.trees))
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    labels = [cell.label for cell in CELLS]
    parser = argparse.ArgumentParser(
        prog="python -m bench.distances",
        description="Measure five servers, each with a share of a processor, and a distance between them.",
    )
    parser.add_argument("--rounds", type=positive(int), default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=positive(float), default=3.0, help="default: %(default)s")
    parser.add_argument(
        "--only",
        type=listed(labels, "cell"),
        default=labels,
        help=f"measure these only, by commas: {','.join(labels)}",
    )
    parser.add_argument(
        "--trees", type=_trees, default=["."], help="checkouts to compare, by commas; default: this one"
    )
    parser.add_argument(
        "--delay-ms",
        type=positive(float),
        default=DELAY_MS,
        help="delay of each packet, each way; default: %(default)s",
    )
    parser.add_argument(
        "--share",
        type=positive(float),
        default=SHARE,
        help="share of a core for each server; default: %(default)s",
    )
    parser.add_argument("--here", action="store_true", help="measure on loopback, without delay and share")
    parser.add_argument("--json", type=Path, help="write each round's figures to this file")
    return parser.parse_args(argv)


def _trees(text: str) -> list[str]:
    trees = text.split(",")
    for tree in trees:
        if not Path(tree, "atm").is_dir():
            raise argparse.ArgumentTypeError(f"{tree!r} is no checkout of this project")
    return trees


if __name__ == "__main__":
    sys.exit(main())
