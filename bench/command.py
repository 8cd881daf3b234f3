"""Shared by the benchmark commands: progress, end by SIGTERM, and early checks of arguments."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path
from types import FrameType


def say(line: str) -> None:
    """Print progress to stderr, apart from the table."""
    print(line, file=sys.stderr, flush=True)


def stop_in_order() -> None:
    """Make SIGTERM raise `SystemExit`, so that everything that was started is stopped."""
    signal.signal(signal.SIGTERM, _leave)


def unwritable(path: Path) -> str | None:
    """Return why a file cannot be written, or None."""
    if path.parent.is_dir() and os.access(path.parent, os.W_OK):
        return None
    return f"{path} cannot be written: there is no such folder, or it is not yours to write to"


def no_pictures(option: str) -> str | None:
    """Return why the option cannot draw, or None."""
    if importlib.util.find_spec("matplotlib") is not None:
        return None
    return f"{option} needs the extra 'bench': use bin/bench, or pip install -e '.[bench]'"


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Raise `SystemExit`; further SIGTERMs are ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit(128 + signal.SIGTERM)
