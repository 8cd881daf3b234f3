"""Whether this runs from a checkout of the project, and so what its commands are called here."""

from __future__ import annotations

from functools import cache
from pathlib import Path

INSTALLED_NAMES = {"start_node": "atm-node", "atm": "atm"}  # all others are atm- and the name in bin/


@cache
def checkout() -> Path | None:
    """Return the folder of the checkout that this code is in, or None if it is an installed package."""
    root = Path(__file__).resolve().parent.parent
    return root if (root / "bin" / "start_node").exists() else None


def as_typed(program: str) -> str:
    """Return how people here type the program that calls itself `program`."""
    root = checkout()
    return f"bin/{program}" if root is not None and (root / "bin" / program).is_file() else program


def command_here(name: str) -> str:
    """Return how people here call the command `bin/<name>`."""
    return INSTALLED_NAMES.get(name, f"atm-{name}") if checkout() is None else f"bin/{name}"
