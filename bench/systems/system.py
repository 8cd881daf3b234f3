"""What each system under test is to the benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from bench import load
from bench.load import Connection, Result
from bench.work import WORKS, Work

MEMBERS = 5
START_S = 30.0


class NotStarted(Exception):
    """The system did not come up, or broke down; the text is one line that says how."""


class System(ABC):
    """One system, started anew for each round in an empty folder of its own."""

    name: ClassVar[str]
    works: ClassVar[tuple[Work, ...]] = WORKS  # what it can be asked to do
    fails_over: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return why it cannot be measured here and what to do about it, or None."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the version of what is measured."""

    @classmethod
    @abstractmethod
    def settings(cls) -> str:
        """Return, for people, how it is set up and what it is asked."""

    @abstractmethod
    def start(self, folder: Path) -> None:
        """Start it, and return when it serves; raise `NotStarted`."""

    @abstractmethod
    def stop(self) -> None:
        """End all that was started; may be called at any time, and again."""

    @abstractmethod
    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        """Do the work; raise `NotAcknowledged` or `NotStarted`."""

    def fail_over(self) -> float:
        """Kill the leader; return the milliseconds until a write is acknowledged that was asked for after it.

        Nothing else is asked of the system afterwards. Raise `NotStarted` if none is in a generous time.
        """
        raise NotImplementedError


class Served(System):
    """A system that is reached over sockets."""

    @abstractmethod
    def connect(self) -> Callable[[], Connection]:
        """Return what opens a connection, to the leader if there is one."""

    def open_accounts(self) -> None:
        """Open the many accounts, once they are to be worked with."""
        load.open_accounts(self.connect())

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        return load.run(self.connect(), work, seconds=seconds, warm_up_s=warm_up_s)
