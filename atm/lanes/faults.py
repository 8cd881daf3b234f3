"""What can go wrong between a server and PostgreSQL; without the driver, which only such a bank needs."""

from __future__ import annotations


class EngineFault(Exception):
    """PostgreSQL did not do what it was asked; `str()` of it is one line. The connection is of no use then.

    `may_be_done`: what was to be written may be written all the same.
    """

    def __init__(self, why: str, *, may_be_done: bool = False) -> None:
        super().__init__(why)
        self.may_be_done = may_be_done


class NoSpace(EngineFault):
    """PostgreSQL's disk is full: the transaction was rolled back, and will be again until there is room."""


class Fenced(EngineFault):
    """Another server has taken the lane: nothing was written, and nothing may be answered from memory."""


class EngineRefused(Exception):
    """This PostgreSQL must not keep a bank as it is set up; `str()` of it is one line."""


class AlreadyRunning(Exception):
    """A server of this name runs elsewhere; `str()` of it is one line."""


class NoEngine(Exception):
    """No PostgreSQL can be used here; `str()` of it is one line that says what to do."""


class NoDriver(NoEngine):
    """The package that speaks with PostgreSQL is not installed; `str()` of it is one line."""

    def __init__(self) -> None:
        super().__init__(
            "a bank on PostgreSQL needs the package psycopg: install atm-raft[postgresql], or in a checkout "
            "psycopg[binary] with the pip of its environment"
        )
