"""What a big ledger costs: `python -m bench.big_ledger [--accounts N] [--postings N] [--keep FOLDER]`.

Fills a ledger through `Ledger.apply`, then prints its size, the time of a statement's page (warm: asked again
at once; cold: the first for that account, from a ledger just opened, the file dropped from the system's
cache where it lets us), of opening it as a restart does, and of `bin/ledger verify` on it.
With `--keep` the file stays, and a second run with the same numbers measures without filling.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from atm.ledger.commands import (
    CASH,
    LOCAL,
    Credit,
    Debit,
    LogCommand,
    LoggedCommand,
    Open,
    Query,
    Read,
    Statement,
    Transfer,
)
from atm.ledger.ledger import Ledger, Record

FIRST_US = 1_700_000_000_000_000
BATCH = 250_000  # the fewer, the fewer pages are written: each touches nearly all of the indexes
REPORT_EVERY = 500_000
PAGES = 200  # statements measured
CREDIT = 100_000  # larger than all debits that may come before the next credit


def entries(accounts: int, postings: int) -> Iterator[Record]:
    """Yield log entries: every account is opened, then half the postings are credits, the rest split
    between debits and transfers, on accounts by chance."""
    chance = random.Random(1)
    total = accounts + postings
    for log_index in range(1, total + 1):
        time_us = FIRST_US + log_index * 100
        request_id = f"{time_us:016X}{log_index % 10_000:04d}"
        command = _command(log_index, request_id, accounts, chance)
        yield log_index, time_us, LoggedCommand(LOCAL, command)


def _command(log_index: int, request_id: str, accounts: int, chance: random.Random) -> LogCommand:
    if log_index <= accounts:
        return Open(id=request_id, account=f"customer-{log_index}")
    posting = log_index - accounts
    if posting <= accounts:
        return Credit(id=request_id, account=f"customer-{posting}", amount=CREDIT)
    account = f"customer-{chance.randint(1, accounts)}"
    amount = chance.randint(1, CREDIT // 100)
    dice = chance.randrange(4)
    if dice < 2:
        return Credit(id=request_id, account=account, amount=amount)
    if dice == 2:
        return Debit(id=request_id, account=account, amount=amount)
    target = f"customer-{chance.randint(1, accounts)}"
    if target == account:
        return Credit(id=request_id, account=account, amount=amount)
    return Transfer(id=request_id, account=account, target=target, amount=amount)


def fill(path: Path, accounts: int, postings: int, seconds_max: float) -> None:
    """Apply what the file lacks; raise SystemExit after `seconds_max`."""
    started = time.perf_counter()
    with closing(Ledger(path)) as ledger:
        done = ledger.applied_index
        batch: list[Record] = []
        for record in entries(accounts, postings):
            if record[0] <= done:
                continue
            batch.append(record)
            if len(batch) == BATCH or record[0] == accounts + postings:
                ledger.apply(batch)
                batch.clear()
                if ledger.applied_index % REPORT_EVERY == 0:
                    elapsed_s = time.perf_counter() - started
                    print(f"  entry {ledger.applied_index:,} after {elapsed_s:.0f} s", flush=True)
                    if elapsed_s > seconds_max:
                        raise SystemExit(f"gave up after {elapsed_s:.0f} s: ask for fewer postings")


def measure(path: Path, accounts: int) -> None:
    """Print the figures of the file."""
    print(f"size: {path.stat().st_size / 1e6:,.0f} MB")
    chance = random.Random(2)
    names = [f"customer-{chance.randint(1, accounts)}" for _ in range(PAGES)]
    _drop_from_cache(path)
    print(f"opening, file not in the system's cache: {_ms(lambda: Ledger(path).close()):.0f} ms")
    print(f"opening again: {_ms(lambda: Ledger(path).close()):.0f} ms")
    _drop_from_cache(path)
    with closing(Ledger(path)) as ledger:
        asks: list[tuple[str, Callable[[str], Read]]] = [
            ("a statement's page, cold", lambda name: Statement(id="s", account=name)),
            ("a statement's page, warm", lambda name: Statement(id="s", account=name)),
            ("a balance at a past time", lambda name: Query(id="q", account=name, at_us=_some_time(ledger))),
            ("the bank's own statement", lambda _: Statement(id="s", account=CASH)),
        ]
        for what, request in asks:
            times_ms = sorted(_ms(partial(ledger.view, request(name))) for name in names)
            p99 = times_ms[PAGES * 99 // 100]
            print(f"{what}: median {statistics.median(times_ms):.2f} ms, p99 {p99:.2f} ms")
    started = time.perf_counter()
    auditor = subprocess.Popen([sys.executable, "-m", "atm.ledger.audit", str(path)])
    _, status, used = os.wait4(auditor.pid, 0)
    took_s, processor_s, peak_mb = (
        time.perf_counter() - started,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
    )
    print(f"verify: {took_s:.1f} s, {processor_s:.1f} s of a processor, {peak_mb:.0f} MB of memory at most")
    if status:
        raise SystemExit("verify found problems")


def _some_time(ledger: Ledger) -> int:
    return FIRST_US + ledger.applied_index * 70


def _ms(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return (time.perf_counter() - started) * 1000


def _drop_from_cache(path: Path) -> None:
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.fsync(file.fileno())  # only clean pages are dropped
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Fill and measure."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.big_ledger", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=1_000_000, help="default: %(default)s")
    parser.add_argument("--postings", type=int, default=10_000_000, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=1800, help="stop filling after this time; default: %(default)s"
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the filled ledger in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="atm-bench-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"ledger-{options.accounts}-{options.postings}.db"
        print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        started = time.perf_counter()
        # In a process of its own, for its memory would be counted as that of what is started here later.
        filling = multiprocessing.get_context("spawn").Process(
            target=fill, args=(path, options.accounts, options.postings, options.seconds)
        )
        filling.start()
        filling.join()
        if filling.exitcode:
            raise SystemExit(filling.exitcode)
        print(f"filled in {time.perf_counter() - started:.0f} s")
        measure(path, options.accounts)


if __name__ == "__main__":
    main()
