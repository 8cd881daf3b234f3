"""What applying commands to the ledger costs: `python -m bench.ledger_apply [--ids random]`.

Prints, for each batch size, the microseconds a command on an empty ledger and on one with N receipts:
the mean, which has the checkpoints in it, the median, which has not, the processor time, and the
longest batch.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from atm.ledger.commands import LOCAL, Command, Credit, LoggedCommand, Open, Query
from atm.ledger.ledger import Ledger, Record

ACCOUNTS = 1000
RUNS = {1: 4000, 16: 500, 100: 150, 500: 60}  # batches of each size
FIRST_US = 1_700_000_000_000_000


def records(ids: str, seed: int) -> Iterator[Record]:
    """Yield log entries without end: the accounts are opened, then credited one after the other."""
    chance = random.Random(seed)
    log_index = 0
    while True:
        log_index += 1
        time_us = FIRST_US + log_index * 100
        prefix = time_us if ids == "ordered" else chance.getrandbits(52)
        request_id = f"{prefix:013x}-{chance.getrandbits(32):08x}"
        account = f"customer-{log_index % ACCOUNTS}"
        command: Command = Open(id=request_id, account=account)
        if log_index > ACCOUNTS:
            command = Credit(id=request_id, account=account, amount=100 + log_index % 1000)
        yield log_index, time_us, LoggedCommand(LOCAL, command)


def take(source: Iterator[Record], count: int) -> list[Record]:
    """Return the next `count` records."""
    return [next(source) for _ in range(count)]


def measure(ledger: Ledger, source: Iterator[Record], label: str) -> None:
    """Print a line for each batch size."""
    for size, runs in RUNS.items():
        wall, processor = [], 0.0
        for _ in range(runs):
            batch = take(source, size)
            started, started_cpu = time.perf_counter(), time.process_time()
            ledger.apply(batch)
            wall.append(time.perf_counter() - started)
            processor += time.process_time() - started_cpu
        us = 1e6 / size
        print(
            f"{label:>9} receipts, batch {size:>3}: mean {sum(wall) / runs * us:6.1f} us, "
            f"median {sorted(wall)[runs // 2] * us:6.1f} us, "
            f"processor {processor / runs * us:6.1f} us a command, "
            f"longest batch {max(wall) * 1e3:.1f} ms"
        )


def main() -> None:
    """Run it in a temporary folder."""
    parser = argparse.ArgumentParser(prog="python -m bench.ledger_apply", description=__doc__)
    parser.add_argument(
        "--receipts", type=int, default=1_000_000, help="in the full ledger; default: %(default)s"
    )
    parser.add_argument(
        "--ids",
        choices=("ordered", "random"),
        default="ordered",
        help="order of request ids; default: %(default)s",
    )
    parser.add_argument("--folder", type=Path, default=None, help="measure on the disk of this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "ledger.db")
        ledger = Ledger(path)
        source = records(options.ids, seed=1)
        ledger.apply(take(source, ACCOUNTS))
        measure(ledger, source, "0")
        started = time.perf_counter()
        while ledger.applied_index < options.receipts:
            ledger.apply(take(source, 1000))
        print(f"filled up in {time.perf_counter() - started:.1f} s")
        measure(ledger, source, f"{options.receipts}")
        query = Query(id="q", account="customer-7")
        started = time.perf_counter()
        for _ in range(10_000):
            ledger.view(query)
        print(f"query: {(time.perf_counter() - started) * 100:.1f} us")
        ledger.close()
        print(f"{path.stat().st_size / ledger.applied_index:.0f} bytes a posting with its receipt")
        started = time.perf_counter()
        Ledger(path).close()
        print(f"open and close: {(time.perf_counter() - started) * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
