"""An operator's command, given through `atm.admin`, and given again until it is done."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos.scene import NotMended, Scene

DONE_WITHIN_S = 60.0
AGAIN_AFTER_S = 0.3
OUTPUT_CHARS_MAX = 600


class Order:
    """Begins at once. `is_so` tells whether what was ordered is so, whatever the command said."""

    def __init__(self, scene: Scene, *arguments: str, is_so: Callable[[], bool] = lambda: False) -> None:
        self._config = scene.cluster.path
        self._arguments = arguments
        self._is_so = is_so
        self._process = self._give()

    def wait(self) -> str:
        """Return what the command printed when it was done; raise `NotMended`."""
        deadline_s = time.monotonic() + DONE_WITHIN_S
        while True:
            try:
                told = self._process.communicate(timeout=DONE_WITHIN_S)[0]
            except subprocess.TimeoutExpired:
                self._process.kill()
                told = self._process.communicate()[0]
            if self._process.returncode == 0 or self._is_so():
                return told
            if time.monotonic() > deadline_s:
                raise NotMended(f"'admin {' '.join(self._arguments)}' fails: {told[-OUTPUT_CHARS_MAX:]}")
            time.sleep(AGAIN_AFTER_S)
            self._process = self._give()

    def _give(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            admin(self._config, *self._arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def admin(config: Path, *arguments: str) -> list[str]:
    """Return the command."""
    return [sys.executable, "-P", "-m", "atm.admin", *arguments, "--config", str(config)]
