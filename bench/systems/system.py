"""What each system under test is to the benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar

from bench import load
from bench.load import Connection, Result
from bench.usage import processor_s_of_all
from bench.work import LEGS, TRANSFERS, WORKS, Work

MEMBERS = 5
START_S = 30.0


class NotStarted(Exception):
    """The system did not come up, or broke down; the text is one line that says how."""


class System(ABC):
    """One system, started anew for each round in an empty folder of its own."""

    name: ClassVar[str]
    legs: ClassVar[int] = LEGS  # transfers in a request of bulk work
    works: ClassVar[tuple[Work, ...]] = WORKS  # what it can be asked to do
    fails_over: ClassVar[bool] = False

    def __init__(self, members: int = MEMBERS) -> None:
        """Make a system of so many servers, if it is one of several."""
        self.members = members

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Return why it cannot be measured here and what to do about it, or None."""

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Return the version of what is measured."""

    @abstractmethod
    def settings(self) -> str:
        """Return, for people, how it is set up and what it is asked."""

    @abstractmethod
    def start(self, folder: Path) -> None:
        """Start it, and return when it serves; raise `NotStarted`."""

    @abstractmethod
    def stop(self) -> None:
        """End all that was started; may be called at any time, and again."""

    @abstractmethod
    def processes(self) -> list[int]:
        """Return the ids of the servers' processes, whose descendants count too; none before the start."""

    def servers_s(self) -> float:
        """Return the processor time that all servers have used; nan if it cannot be told."""
        return processor_s_of_all(self.processes())

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
        load.open_accounts(self.connect(), fund=any(work in self.works for work in TRANSFERS))

    def measure(self, work: Work, *, seconds: float, warm_up_s: float) -> Result:
        meter = partial(processor_s_of_all, self.processes())
        result = load.run(self.connect(), work, seconds=seconds, warm_up_s=warm_up_s, meter=meter)
        result.legs = work.legs(self.legs)
        return result
