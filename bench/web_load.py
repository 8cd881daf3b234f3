"""What watching costs: credits a second with and without bin/web's streams and open pages, in turn.

    python -m bench.web_load [--watchers 200] [--pages 50] [--seconds 4] [--rounds 3]

One client credits as fast as it can (512 under way), first alone, then beside `watchers` streams of all
postings and `pages` that do what the teller's page does: a stream of one account, and the status every
10 seconds. The ratios are those of the medians: of the rates, which fall too as all of it shares this
machine's cores, and of the leader's processor time for a credit. At the end: how long a browser takes to a
live page.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from atm.client import AsyncClient, Credit, new_request_id
from atm.local_cluster import LocalCluster, write_cluster_ini
from bench.usage import processor_s

AT_ONCE = 512
AGAIN = (sys.executable, "-m", "bench.web_load")
STATUS_EVERY_S = 10.0
NICENESS = 10  # of what reads the streams: it stands for other machines


@contextlib.contextmanager
def web(config: Path) -> Iterator[str]:
    """Run bin/web, and give its address."""
    command = [sys.executable, "-P", "-m", "atm.web", "--config", str(config), "--listen", "localhost:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split(" at ")[1].strip()
        finally:
            process.terminate()


async def get(url: str, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask, and return what the answer is read from."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def watch(url: str, query: str) -> None:
    """Read a stream for ever."""
    reader, _ = await get(url, f"/api/v1/events{query}")
    while await reader.read(1 << 16):
        pass


async def look(url: str) -> None:
    """Ask for the status as an open page does."""
    while True:
        _, writer = await get(url, "/api/v1/status")
        writer.close()
        await asyncio.sleep(STATUS_EVERY_S)


async def read_streams(url: str, watchers: int, pages: int) -> None:
    """Have so many watch, say so, and go on for ever."""
    tasks = [asyncio.create_task(watch(url, "")) for _ in range(watchers)]
    tasks += [asyncio.create_task(watch(url, f"?account=page{page}")) for page in range(pages)]
    looking = [asyncio.create_task(look(url)) for _ in range(pages)]
    await asyncio.sleep(1)
    failed = [task.exception() for task in tasks if task.done()]
    assert not failed, failed[0]
    print("ready", flush=True)
    await asyncio.gather(*tasks, *looking)


@contextlib.contextmanager
def watched(url: str, options: argparse.Namespace) -> Iterator[None]:
    """Have streams read by a process of its own."""
    command = [*AGAIN, "--watch", url, "--watchers", str(options.watchers), "--pages", str(options.pages)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield
        finally:
            process.kill()


def credits_a_second(config: Path, seconds: float) -> float:
    """Return it, measured by a process of its own."""
    command = [*AGAIN, "--credit", str(config), "--seconds", str(seconds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


async def credit(config: Path, seconds: float) -> float:
    """Credit for so long; return how many a second."""
    client = AsyncClient(config)
    done, started = 0, time.monotonic()
    while time.monotonic() < started + seconds:
        orders = [Credit(id=new_request_id(), account="main", amount=1) for _ in range(AT_ONCE)]
        done += len(await client.submit(orders))
    took = time.monotonic() - started
    await client.close()
    return done / took


def measure(cluster: LocalCluster, url: str, options: argparse.Namespace) -> None:
    """Print a row for each round, and the ratios."""
    found: dict[str, list[tuple[float, float]]] = {"alone": [], "watched": []}
    for number in range(options.rounds):
        for name, beside in (("alone", contextlib.nullcontext()), ("watched", watched(url, options))):
            with beside:
                leader = cluster.processes[cluster.wait_for_leader()].pid
                before_s = processor_s(leader)
                rate = credits_a_second(cluster.cluster.path, options.seconds)
                took_s = processor_s(leader) - before_s
                found[name].append((rate, 1e6 * took_s / (rate * options.seconds)))
        row = ", ".join(
            f"{name} {each[-1][0]:,.0f}/s, {each[-1][1]:.1f} µs of the leader" for name, each in found.items()
        )
        print(f"round {number + 1}: {row}", flush=True)
    (alone, alone_us), (beside_all, watched_us) = (
        [statistics.median(column) for column in zip(*each, strict=True)] for each in found.values()
    )
    print(
        f"{options.watchers} watchers and {options.pages} pages: {beside_all / alone:.3f} of the credits "
        f"a second, {watched_us / alone_us:.3f} of the leader's processor time for one"
    )


def page_s(url: str) -> float | None:
    """Return how long a browser that has nothing takes until the page knows the bank; None without one."""
    with contextlib.suppress(ImportError):
        from tests.support.browser import browser, chromium, visit  # noqa: PLC0415

        if chromium():
            with browser() as running:
                started = time.monotonic()
                with visit(running, url) as (page, _):
                    page.wait_for_function("document.getElementById('bank').textContent.includes(' of ')")
                    return time.monotonic() - started
    return None


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--credit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--watch", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        os.nice(NICENESS)
        asyncio.run(read_streams(options.watch, options.watchers, options.pages))
        return 0
    if options.credit:
        print(asyncio.run(credit(options.credit, options.seconds)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        config = write_cluster_ini(Path(folder), 3)
        with LocalCluster(config) as cluster:
            cluster.start_all()
            cluster.wait_for_leader()
            with web(config) as url:
                took = page_s(url)
                measure(cluster, url, options)
                if took is not None:
                    print(f"From a click to a live page: {took:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
