"""bin/web as a process beside others on this machine: it ends with its starter, however that ends.

Run as a program, this module is that process: `python -m atm.local_web` takes the arguments of bin/web.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from atm.config import load
from atm.local_cluster import STOP_TIMEOUT_S, end_with_starter
from atm.local_faults import FaultClient, FaultServer

WEB_LISTEN = "localhost:8080"
LOG_FILE = "web.log"
FAULTS_OPTION = "--faults-over="  # a descriptor; the first argument of this module's program, not of bin/web
_STARTED = re.compile(r"The bank is at (\S+)\n")


class NoWeb(Exception):
    """It did not start; `str()` of it is one line for people."""


class WebProcess:
    """bin/web for the cluster of a `cluster.ini`; what it complains of is in `<data_dir>/web.log`."""

    def __init__(self, config: Path, listen: str, faults: FaultServer) -> None:
        """Start nothing yet. Its page can ask for the `faults`."""
        self._config = config
        self._listen = listen
        self._faults = faults
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Start it, and return its address once it can be reached; raise `NoWeb`."""
        path = load(self._config).data_dir / LOG_FILE
        command = [sys.executable, "-P", "-m", "atm.local_web"]
        with path.open("w", encoding="utf-8") as log, self._faults.begin() as for_faults:
            command += [f"{FAULTS_OPTION}{for_faults.fileno()}", "--config", str(self._config)]
            self._process = subprocess.Popen(
                [*command, "--listen", self._listen],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                pass_fds=[for_faults.fileno()],
                start_new_session=True,  # the terminal's Ctrl-C is for the teller
            )
        assert self._process.stdout is not None
        started = _STARTED.fullmatch(self._process.stdout.readline())
        if started is None:
            lines = path.read_text(encoding="utf-8").splitlines() or ["it printed nothing"]
            why = lines[-1].removeprefix("web: ").replace("--listen", "--web-listen")  # as the starter has it
            raise NoWeb(f"The bank's pages cannot be served: {why}")
        return started.group(1)

    def stop(self) -> None:
        """End it (SIGTERM), and wait for that; no fault is made after it."""
        self._faults.end()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _run_web() -> int:
    end_with_starter()
    main = import_module("atm.web.main").main  # loaded only here: starters need not have its extra
    arguments = sys.argv[1:]
    faults = None
    if arguments and arguments[0].startswith(FAULTS_OPTION):
        descriptor = int(arguments.pop(0).removeprefix(FAULTS_OPTION))
        os.set_inheritable(descriptor, False)
        faults = FaultClient(socket.socket(fileno=descriptor))
    code: int = main(arguments, faults=faults)
    return code


if __name__ == "__main__":
    sys.exit(_run_web())
