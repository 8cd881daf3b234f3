"""How long `./bin/run` takes to a leader, once installed.

python -m bench.startup [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from atm.local_cluster import write_cluster_ini

RUN = Path(__file__).parent.parent / "bin" / "run"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.startup", description="Time bin/run from the call to the teller's first line."
    )
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    options = parser.parse_args()
    fresh, again = [], []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="atm-bench-") as folder:
            config = write_cluster_ini(Path(folder))
            fresh.append(_seconds_to_teller(config))
            again.append(_seconds_to_teller(config))
    for name, seconds in (("new data folder", fresh), ("existing data folder", again)):
        print(f"{name}: median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s")


def _seconds_to_teller(config: Path) -> float:
    """Return the time until the teller's first line: by then there is a leader."""
    started = time.monotonic()
    command = [str(RUN), "--config", str(config)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.monotonic() - started
        process.stdin.close()
        process.stdout.read()
    if not line.startswith("Welcome"):
        raise SystemExit(f"bin/run said: {line!r}")
    return seconds


if __name__ == "__main__":
    main()
