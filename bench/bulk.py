"""Commands in bulk: how many a second by `submit` and by `bin/ledger import`, and where the time goes.

    python -m bench.bulk [--rounds 5] [--commands 30000] [--accounts 10000] [--postings 50000]

Five servers and the client on this machine. By turns: `submit` of a thousand credits at a time, each to
another account; `submit` of batches of 64 transfers; credits one after the other. Then an import of a
journal of so many postings, half credits and half transfers between random accounts, and the same import
again, which books nothing. Printed are medians, and the processor time of each at the leader, a follower
and the client; and what the steps of a credit cost, each measured by itself in a loop. Needs the extra
'test'.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path

from tabulate import tabulate

from atm.client import Client, Leg, new_request_id
from atm.client.request_rules import TOGETHER_MAX
from atm.ledger.commands import LEGS_MAX, Batch, Command, Credit, Open
from atm.local_cluster import LocalCluster
from atm.office.import_command import import_journal
from bench.arguments import positive
from bench.bulk_parts import parts_of
from bench.cluster import fresh_cluster
from bench.command import say, stop_in_order
from bench.usage import processor_s
from tests.support.journals import write_journal

SINGLES_SHARE = 20  # there are so many times fewer single credits
BATCHES_SHARE = 40
MONEY = 10**9
WITHIN_S = 60.0
HEADERS = ["", "a second", "leader, µs", "a follower, µs", "client, µs"]

Row = tuple[float, float, float, float]


def main() -> None:
    """Measure, and print two tables."""
    stop_in_order()
    options = _arguments()
    names = [f"customer-{number}" for number in range(int(options.accounts))]
    rows = _submits(names, int(options.rounds), int(options.commands))
    rows |= _imports(len(names), int(options.postings))
    medians = [[label, *map(statistics.median, zip(*some, strict=True))] for label, some in rows.items()]
    print(tabulate(medians, headers=HEADERS, floatfmt=("", ",.0f", ".1f", ".1f", ".1f")))
    parts = parts_of(list(_openings(names)), list(_credits(islice(cycle(names), int(options.commands)))))
    print()
    print(tabulate(list(parts.items()), headers=["step of a credit", "µs"], floatfmt=".2f"))


def _submits(names: Sequence[str], rounds: int, commands: int) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    with fresh_cluster(5) as cluster, Client(cluster.cluster, timeout=WITHIN_S) as client:
        opened = _measured(cluster, len(names), lambda: _submit(client, _openings(names)))
        rows["submit: an account opened"] = [opened]
        _submit(client, _credits(names, MONEY))
        for number in range(1, rounds + 1):
            for label, count, work in _works(client, names, commands):
                row = _measured(cluster, count, work)
                rows.setdefault(label, []).append(row)
                say(f"round {number} of {rounds}  {label}: {row[0]:,.0f} a second")
    return rows


def _works(
    client: Client, names: Sequence[str], commands: int
) -> Iterator[tuple[str, int, Callable[[], None]]]:
    turns, batches, singles = cycle(names), commands // BATCHES_SHARE, commands // SINGLES_SHARE
    yield "submit: a credit", commands, lambda: _submit(client, _credits(islice(turns, commands)))
    legs = batches * LEGS_MAX
    yield "submit: a leg of a batch of 64", legs, lambda: _submit(client, _batches(names, batches))
    yield "one by one: a credit", singles, lambda: _one_by_one(client, _credits(islice(turns, singles)))


def _imports(accounts: int, postings: int) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    with fresh_cluster(5) as cluster:
        journal = cluster.cluster.data_dir / "books.jsonl"
        write_journal(journal, accounts, postings)
        for label in ("import: a posting", "import again: a posting"):
            rows[label] = [_measured(cluster, postings, lambda: _import(cluster, journal))]
            say(f"{label}: {rows[label][0][0]:,.0f} a second")
    return rows


def _measured(cluster: LocalCluster, count: int, work: Callable[[], None]) -> Row:
    """Return how many a second, and the processor time of each at the leader, a follower, the client."""
    leader = cluster.wait_for_leader()
    before = {name: processor_s(process.pid) for name, process in cluster.processes.items()}
    client_s, started_s = time.process_time(), time.monotonic()
    work()
    wall_s, client_s = time.monotonic() - started_s, time.process_time() - client_s
    spent_us = {
        name: (processor_s(process.pid) - before[name]) / count * 1e6
        for name, process in cluster.processes.items()
    }
    followers = [spent for name, spent in spent_us.items() if name != leader]
    return count / wall_s, spent_us[leader], statistics.mean(followers), client_s / count * 1e6


def _openings(names: Iterable[str]) -> Iterator[Command]:
    return (Open(id=new_request_id(), account=name) for name in names)


def _credits(names: Iterable[str], amount: int = 1) -> Iterator[Command]:
    return (Credit(id=new_request_id(), account=name, amount=amount) for name in names)


def _batches(names: Sequence[str], count: int) -> Iterator[Command]:
    for _ in range(count):
        payer, *payees = random.sample(names, k=LEGS_MAX + 1)
        legs = tuple(Leg(account=payer, target=payee, amount=1) for payee in payees)
        yield Batch(id=new_request_id(), legs=legs)


def _submit(client: Client, commands: Iterator[Command]) -> None:
    while some := list(islice(commands, TOGETHER_MAX)):
        _check({receipt.outcome for receipt in client.submit(some)})


def _one_by_one(client: Client, commands: Iterator[Command]) -> None:
    _check({client.ask(command).outcome for command in commands})


def _import(cluster: LocalCluster, journal: Path) -> None:
    with journal.open(encoding="utf-8") as file, contextlib.redirect_stdout(io.StringIO()) as said:
        if not import_journal(cluster.cluster, file, "jsonl"):
            raise SystemExit(said.getvalue())


def _check(outcomes: set[str]) -> None:
    if outcomes != {"ok"}:
        raise SystemExit(f"the bank refused: {', '.join(outcomes)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description="Measure commands in bulk.")
    for name, usual in (("rounds", 5), ("commands", 30_000), ("accounts", 10_000), ("postings", 50_000)):
        parser.add_argument(f"--{name}", type=positive(int), default=usual, help="default: %(default)s")
    return parser.parse_args()


if __name__ == "__main__":
    main()
