"""`bin/admin lanes`: which lane lies in which database of a bank on PostgreSQL, and moves one to another."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from msgspec.structs import asdict
from tabulate import tabulate

from atm.admin.lanes import moving
from atm.admin.task import NOT_AVAILABLE, REFUSED, USAGE, NotDone, Task
from atm.command_line import printable
from atm.config import POSTGRESQL
from atm.lanes.faults import EngineFault, EngineRefused, NoDriver

if TYPE_CHECKING:
    from atm.lanes.moving import LaneListed, Mover

ACTIONS = ("list", "move", "complete")
AGAIN = "Ask again: what was begun is completed, or begun anew"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what is to be done, and with which lane."""
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default="list",
        metavar="list|move|complete",
        help="default: list; complete: only what a move that was cut off has left",
    )
    parser.add_argument("lane", nargs="?", type=_number, metavar="LANE", help="its number")
    parser.add_argument(
        "database", nargs="?", metavar="NAME", help="home, or NAME of a key url.NAME in cluster.ini"
    )


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of a lane")
    return int(text)


def run(task: Task) -> int:
    """Carry out one of the three."""
    action, lane, database = task.options.action, task.options.lane, task.options.database
    engine = task.cluster.engine
    if action == "move" and database is None:
        raise NotDone(USAGE, "lanes move needs a lane and a database, such as: lanes move 3 east")
    if action != "move" and lane is not None:
        raise NotDone(USAGE, f"lanes {action} takes no lane: it is about all of them")
    if engine.kind != POSTGRESQL:
        raise NotDone(REFUSED, "this bank has one log, and no lanes: see [engine] in cluster.ini")
    if action == "move" and database not in engine.urls:
        raise NotDone(
            USAGE, f"there is no database {printable(database)} in cluster.ini, only {', '.join(engine.urls)}"
        )
    if action == "move" and lane >= engine.lanes:
        raise NotDone(USAGE, f"there is no lane {lane}: this bank has those from 0 to {engine.lanes - 1}")
    try:
        found = moving()
        if action == "list":
            return _list(task, found.list_lanes(engine.urls))
        with found.mover(engine.urls, task.progress) as mover:
            return _complete(task, mover) if action == "complete" else _move(task, mover, lane, database)
    except NoDriver as error:
        raise NotDone(USAGE, str(error)) from error
    except EngineRefused as error:
        raise NotDone(REFUSED, str(error)) from error
    except EngineFault as fault:
        again = "" if action == "list" else f". {AGAIN}"
        raise NotDone(NOT_AVAILABLE, f"PostgreSQL cannot be used: {fault}{again}") from fault


def _list(task: Task, lanes: list[LaneListed]) -> int:
    table = tabulate(
        [
            (
                row.lane,
                printable(row.database),
                "?" if row.epoch is None else printable(row.holder) or "-",
                "?" if row.epoch is None else "yes" if row.lives else "no",
                "?" if row.epoch is None else row.epoch,
                "?" if row.applied is None else row.applied,
                "?" if row.open_transfers is None else row.open_transfers,
            )
            for row in lanes
        ],
        ("lane", "database", "holder", "lives", "epoch", "applied", "open transfers"),
        disable_numparse=True,
        colalign=("right", "left", "left", "left", "right", "right", "right"),
    )
    faults = {row.database: row.fault for row in lanes if row.fault}
    lines = [f"{printable(name)}: {printable(fault)}" for name, fault in faults.items()]
    code = NOT_AVAILABLE if faults else 0
    return task.finish("\n".join([table, *lines]), {"lanes": [asdict(row) for row in lanes]}, code)


def _complete(task: Task, mover: Mover) -> int:
    done = mover.complete()
    lanes = sorted({each.lane for each in done})
    text = f"Completed: lane {', '.join(map(str, lanes))}" if lanes else "Nothing was left to be completed"
    return task.finish(text, {"completed": lanes})


def _move(task: Task, mover: Mover, lane: int, database: str) -> int:
    completed = [each for each in mover.complete() if each.lane == lane]
    if completed and completed[-1].database == database:
        text = f"Lane {lane} lies in {database}: an earlier call had moved it, and is completed"
        return task.finish(text, {"lane": lane, "database": database, "rows": 0, "stood_still_s": None})
    try:
        done = mover.move(lane, database)
    except moving().NotMoved as error:
        raise NotDone(REFUSED, str(error)) from error
    text = f"Lane {lane} lies in {database}: {done.rows} rows; it stood still for {done.stood_still_s:.1f} s"
    if not done.is_taken:
        text += ", and no server has taken it yet: does one run, with this cluster.ini?"
    fields = {"lane": lane, "database": database, "rows": done.rows, "is_taken": done.is_taken}
    return task.finish(text, {**fields, "stood_still_s": round(done.stood_still_s, 3)})
