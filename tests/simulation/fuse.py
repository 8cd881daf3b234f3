"""Kills a simulated server between two effects, or two statements of SQL."""

from __future__ import annotations


class Died(Exception):
    """The server was killed between two effects."""


class Fuse:
    """Counts effects, or statements of SQL, and kills the server when it has burnt down."""

    def __init__(self) -> None:
        self.effects_left: int | None = None
        self.statements_left: int | None = None

    def put_out(self) -> None:
        self.effects_left = self.statements_left = None

    def burn(self) -> None:
        if self.effects_left is not None:
            self.effects_left -= 1
            if self.effects_left <= 0:
                raise Died

    def burn_statement(self) -> None:
        if self.statements_left is not None:
            self.statements_left -= 1
            if self.statements_left <= 0:
                raise Died
