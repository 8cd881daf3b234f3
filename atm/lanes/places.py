"""In which database each lane lies: a map in the home database, and what the others say that is newer.

A lane leaves a database in one transaction there: its row in `atm.lane` is exchanged for one in `atm.moved`,
if its epoch is still that of the mover. That decides. The map follows, by whoever sees it: a row of
`atm.moved` counts if its epoch is higher than the map's, so one that is read late does no harm.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing

from msgspec import Struct

from atm.config import HOME_DATABASE
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineFault

MOVER = "moving:"  # begins the holder of a lane that is being moved
SILENT_S = 3.0  # a server that said nothing for so long does not live
LIVING = "select node from atm.server where seen > now() - make_interval(secs => %s)"
PLACES = "select lane, database, epoch, coalesce(until > now(), false) from atm.place"
MOVED = "select lane, epoch, database from atm.moved"
FOLLOW = """insert into atm.place values (%s, %s, %s, null) on conflict (lane) do update
    set database = excluded.database, epoch = excluded.epoch, until = null
    where place.epoch < excluded.epoch"""


class Place(Struct, frozen=True):
    """Where a lane lies, the epoch by which it came there, and whether it is being moved at the moment."""

    lane: int
    database: str = HOME_DATABASE
    epoch: int = 0
    is_moving: bool = False


class Moved(Struct, frozen=True):
    """A lane that has left a database for another one, by that epoch."""

    lane: int
    epoch: int
    database: str


def read_places(home: EngineConnection, lanes: int) -> list[Place]:
    """Return the place of each lane, as the map has it."""
    with home.asking():
        found = {row[0]: Place(*row) for row in home.psycopg.execute(PLACES).fetchall()}
    return [found.get(lane, Place(lane)) for lane in range(lanes)]


def follow(home: EngineConnection, moved: Collection[Moved]) -> None:
    """Have the map say where these lanes have moved to, unless it says something newer."""
    with home.asking(writes=True), home.psycopg.transaction():
        for each in moved:
            home.psycopg.execute(FOLLOW, (each.lane, each.database, each.epoch))


def url_of_lane(urls: dict[str, str], lane: int) -> str:
    """Return the address of the database that a lane lies in; raise `EngineFault` if none is known."""
    with closing(EngineConnection(urls[HOME_DATABASE])) as home:
        return address(urls, read_places(home, lane + 1)[lane])


def address(urls: dict[str, str], place: Place) -> str:
    """Return the address of a place; raise `EngineFault` if cluster.ini names no such database."""
    if place.database not in urls:
        raise EngineFault(
            f"lane {place.lane} lies in the database {place.database}, and cluster.ini has no "
            f"url.{place.database}"
        )
    return urls[place.database]
