"""Whether a terminal shows what is typed while no prompt waits for it."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

Mode = list[Any]  # of a terminal, as termios has it


@contextmanager
def echo_off() -> Iterator[None]:
    """Show nothing that is typed ahead within the block: it may be a PIN, and the program may be slow.

    Does nothing if standard input is no terminal. Line editors set and restore the mode for themselves.
    """
    with _mode(on=False):
        yield


@contextmanager
def echo_on() -> Iterator[None]:
    """Within a block of `echo_off`, show what is typed."""
    with _mode(on=True):
        yield


def drop_typed_ahead() -> None:
    """Forget what was typed and not read yet."""
    with suppress(termios.error, OSError, ValueError, AttributeError):
        termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)


@contextmanager
def _mode(*, on: bool) -> Iterator[None]:
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (termios.error, OSError, ValueError, AttributeError):  # no terminal, or no standard input
        yield
        return
    changed = list(before)
    changed[3] = changed[3] | termios.ECHO if on else changed[3] & ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, changed)
    try:
        with _stopped_by(descriptor, before, changed):
            yield
    finally:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def _stopped_by(descriptor: int, before: Mode, changed: Mode) -> Iterator[None]:
    """Give the terminal back as it was while Ctrl-Z stops the program: not every shell does it."""

    def stop(number: int, frame: FrameType | None) -> None:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        if callable(outer):  # that of a block around this one
            outer(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)  # and here it goes on
        signal.signal(number, stop)
        termios.tcsetattr(descriptor, termios.TCSANOW, changed)

    outer = signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, outer)
