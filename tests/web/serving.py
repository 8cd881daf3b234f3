"""bin/web as a process, before a real cluster or a fake one."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STARTED = re.compile(r"The bank is at (http://\S+)/\n")


@contextmanager
def web(config: Path, *arguments: str) -> Iterator[str]:
    """Serve on a free port, and give the address without the last slash; it must stop cleanly."""
    with running_web(config, *arguments) as (address, process):
        yield address
        process.send_signal(signal.SIGTERM)
        said, complained = process.communicate(timeout=20)
        assert (process.returncode, said, complained) == (0, "", "")


@contextmanager
def running_web(config: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve on a free port, and give the address and the process, which is killed at last."""
    command = [sys.executable, "-P", "-m", "atm.web", "--config", str(config), "--listen", "localhost:0"]
    process = subprocess.Popen(
        [*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        started = STARTED.fullmatch(process.stdout.readline())
        assert started, process.stderr and process.stderr.read()
        yield started.group(1), process
    finally:
        process.kill()
        process.communicate()
