"""Which lanes nobody writes, and which moves were cut off, from what was read in the databases. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from atm.checkout import command_here
from atm.config import HOME_DATABASE
from atm.lanes.places import MOVER, Moved, Place

BACKUP_DAYS_MAX = 7


class LanesIn(Struct, frozen=True):
    """What there is of lanes in one database: holders, those that have left, those being copied to it.

    `archives`: its WAL is kept elsewhere. `backup_days`: since the last recorded backup began.
    """

    bank: str
    holders: Mapping[int, str]
    moved: Sequence[Moved] = ()
    arriving: Sequence[int] = ()
    archives: bool = True
    backup_days: int | None = None


class LanesOf(Struct, frozen=True):
    """What the home database knows of all lanes; `is_moving`: one is being moved at the moment."""

    places: Sequence[Place]
    living: Sequence[str]
    is_moving: bool


def lane_findings(
    urls: Mapping[str, str], known: LanesOf, lanes_in: Mapping[str, LanesIn]
) -> Iterator[tuple[str, str]]:
    """Yield what is found, as a word and a sentence; a database that could not be asked is in `urls` only."""
    bank = lanes_in[HOME_DATABASE].bank
    for name, found in lanes_in.items():
        if found.bank != bank:
            yield "lanes", f"the database {name} has lanes of another bank, {found.bank}: correct url.{name}"
    lanes_in = {name: found for name, found in lanes_in.items() if found.bank == bank}
    places = _where(known.places, lanes_in)
    yield from _backups(known, lanes_in)
    yield from _lost(urls, places, lanes_in)
    yield from _without_writer(known, places, lanes_in)
    if not known.is_moving:
        yield from _cut_off(places, lanes_in)


def _where(places: Sequence[Place], lanes_in: Mapping[str, LanesIn]) -> dict[int, Place]:
    """Return where each lane lies: as the map has it, unless its old database says something newer."""
    found = {place.lane: place for place in places}
    for moved in (moved for each in lanes_in.values() for moved in each.moved):
        if moved.epoch > found[moved.lane].epoch:
            found[moved.lane] = replace(
                found[moved.lane], database=moved.database, epoch=moved.epoch, is_moving=False
            )
    return found


def _backups(known: LanesOf, lanes_in: Mapping[str, LanesIn]) -> Iterator[tuple[str, str]]:
    """Yield that nothing brings back what was deleted: a standby deletes it, too."""
    days = min((each.backup_days for each in lanes_in.values() if each.backup_days is not None), default=None)
    if all(each.archives for each in lanes_in.values()) or (days is not None and days < BACKUP_DAYS_MAX):
        return
    admin, has_one_lane = command_here("admin"), len(known.places) == 1
    take = f", or take one: {admin} backup FOLDER --verify, from cron" if has_one_lane else ""
    when = "none was ever begun" if days is None else f"the last one was begun {days} days ago"
    yield (
        "backup",
        f"no backup of this bank is known: PostgreSQL archives no WAL, and {when} by {admin}. What is "
        f"deleted by mistake is deleted on every standby. Let it archive{take}",
    )


def _lost(
    urls: Mapping[str, str], places: Mapping[int, Place], lanes_in: Mapping[str, LanesIn]
) -> Iterator[tuple[str, str]]:
    for lane, place in places.items():
        name = place.database
        if name not in urls:
            yield (
                "lanes",
                f"lane {lane} lies in the database {name}, and cluster.ini here has no url.{name}: a server "
                "with that file cannot have it. Add the key",
            )
        elif name in lanes_in and lane not in lanes_in[name].holders:
            yield (
                "lanes",
                f"lane {lane} is not in the database {name}, where it should lie, and its accounts are not "
                "served: was one of the databases restored without the others? Look for it in all of them",
            )


def _without_writer(
    known: LanesOf, places: Mapping[int, Place], lanes_in: Mapping[str, LanesIn]
) -> Iterator[tuple[str, str]]:
    lanes = []
    for lane, place in places.items():
        holder = lanes_in[place.database].holders.get(lane) if place.database in lanes_in else None
        is_moving = place.is_moving and (holder or "").startswith(MOVER)
        if holder is not None and holder not in known.living and not is_moving:
            lanes.append(str(lane))
    if lanes:
        yield (
            "lanes",
            f"no living server has lane{'' if len(lanes) == 1 else 's'} {', '.join(lanes)}: requests to "
            "accounts there are not done. Start a server; if one runs, see what it prints",
        )


def _cut_off(places: Mapping[int, Place], lanes_in: Mapping[str, LanesIn]) -> Iterator[tuple[str, str]]:
    admin = command_here("admin")
    for name, found in lanes_in.items():
        for moved in found.moved:
            yield (
                "moves",
                f"lane {moved.lane} was moved to {moved.database}, and rows of it are left in {name}: "
                f"{admin} lanes complete",
            )
        copied = {*found.arriving, *(lane for lane in found.holders if places[lane].database != name)}
        for lane in sorted(copied):
            yield (
                "moves",
                f"a move of lane {lane} to {name} was cut off, and it lies in {places[lane].database} as "
                f"before: {admin} lanes move {lane} {name} moves it; until then the copy takes up room",
            )
