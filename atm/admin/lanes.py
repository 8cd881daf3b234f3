"""What speaks with PostgreSQL, whose driver is loaded for a bank there only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atm.lanes.faults import NoDriver

if TYPE_CHECKING:
    from types import ModuleType


def backup_lanes() -> ModuleType:
    """Return atm/admin/backup_lanes.py; raise `NoDriver` without the driver."""
    try:
        from atm.admin import backup_lanes as found  # noqa: PLC0415 - see the top
    except ModuleNotFoundError as error:
        raise NoDriver from error
    return found


def diagnosis() -> ModuleType:
    """Return atm/lanes/diagnosis.py; raise `NoDriver` without the driver."""
    try:
        from atm.lanes import diagnosis as found  # noqa: PLC0415 - see the top
    except ModuleNotFoundError as error:
        raise NoDriver from error
    return found


def moving() -> ModuleType:
    """Return atm/lanes/moving.py; raise `NoDriver` without the driver."""
    try:
        from atm.lanes import moving as found  # noqa: PLC0415 - see the top
    except ModuleNotFoundError as error:
        raise NoDriver from error
    return found
