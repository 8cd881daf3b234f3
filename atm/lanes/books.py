"""The books of a bank on PostgreSQL as files, for whoever reads ledgers: a copy of each lane."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from atm.checkout import command_here
from atm.config import HOME_DATABASE
from atm.lanes.bank import read_bank
from atm.lanes.copying import NoLane, copy_lane
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineFault
from atm.lanes.halves import differences
from atm.lanes.places import read_places, url_of_lane
from atm.ledger.database import Database, LedgerFault
from atm.ledger.posting import NO_HASH

MOVES_S = 5.0  # for so long a lane that has just moved is looked for
LOOK_AGAIN_S = 0.2
LAST = "select coalesce(max(log_index), 0), coalesce(max(time_us), 0) from receipt"
LAST_POSTING = "select hash from journal order by posting desc limit 1"
LAST_DEED = "select hash from deed order by deed desc limit 1"


class LaneCopy(Struct, frozen=True):
    """A lane's books in a file, and what its row in `atm.lane` says that they do not, a line each."""

    lane: int
    path: Path
    problems: tuple[str, ...]


@contextmanager
def copied_lanes(url: str, others: Mapping[str, str] | None = None) -> Iterator[Sequence[LaneCopy]]:
    """Yield a copy of each lane; raise `EngineFault` or `EngineRefused`. The files are deleted afterwards.

    `url` is the bank's first database, `others` are those that lanes were moved to, by their names.
    """
    urls = {HOME_DATABASE: url, **(others or {})}
    with TemporaryDirectory(prefix="atm-lanes-") as folder:
        with closing(EngineConnection(url)) as engine:
            lanes = read_bank(engine).lanes
            used = {place.database for place in read_places(engine, lanes)}
        copies = [_copied(urls, lane, Path(folder, f"lane-{lane}.db")) for lane in range(lanes)]
        if lanes > 1 and not any(each.problems for each in copies):
            used_urls = [each for name, each in urls.items() if name in used]
            copies = _with_halves(used_urls, copies, Path(folder))
        yield copies


def _with_halves(urls: Sequence[str], copies: Sequence[LaneCopy], folder: Path) -> list[LaneCopy]:
    """Return the copies with what is wrong of transfers between them."""
    found = differences(urls, [(each.lane, each.path) for each in copies], folder)
    return [
        replace(each, problems=(*each.problems, *(line for lane, line in found if lane == each.lane)))
        for each in copies
    ]


def _copied(urls: dict[str, str], lane: int, path: Path) -> LaneCopy:
    deadline_s = time.monotonic() + MOVES_S
    while True:
        url = url_of_lane(urls, lane)
        try:
            return _copied_from(url, lane, path)
        except NoLane as fault:  # it has just moved, and the map will say so
            if time.monotonic() >= deadline_s:
                raise EngineFault(
                    f"{fault}. If it was being moved: {command_here('admin')} lanes complete"
                ) from fault
            time.sleep(LOOK_AGAIN_S)


def _copied_from(url: str, lane: int, path: Path) -> LaneCopy:
    with closing(EngineConnection(url, lane=lane)) as engine, closing(Database(path)) as into:
        try:
            row = copy_lane(engine, lane, into)
        except LedgerFault as fault:
            return LaneCopy(lane, path, (f"a row of it could be in no ledger: {fault}",))
        return LaneCopy(lane, path, tuple(_differences(row, into)))


def _differences(row: Sequence[Any], books: Database) -> Iterator[str]:
    """Yield what the lane's row, which the next batch begins with, says otherwise than the books."""
    applied, time_us, journal_hash, deed_hash = row
    execute = books.cursor().execute
    [(last_index, last_us)] = execute(LAST).fetchall()
    if applied < last_index:
        yield f"atm.lane says that {applied} was applied last, and there is a receipt of {last_index}"
    if time_us < last_us:
        yield f"atm.lane says the time {time_us}, and there is a receipt of {last_us}"
    if bytes(journal_hash) != (execute(LAST_POSTING).get or NO_HASH):
        yield "atm.lane has another journal_hash than the last posting"
    if bytes(deed_hash) != (execute(LAST_DEED).get or NO_HASH):
        yield "atm.lane has another deed_hash than the last deed"
