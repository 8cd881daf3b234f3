"""Says that this server lives, and sees to it that every lane has a writer, by the database's clock alone.

Each server notes twice a second, in the bank's first database, that it is alive, and looks there where lanes
lie (atm/lanes/places.py). Who has been silent for `SILENT_S` has its lanes taken by the others. That may be a
mistake, as of a server that was only frozen: the fence keeps its batches out.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from threading import Event, Thread

from msgspec import Struct
from msgspec.structs import replace

from atm.config import HOME_DATABASE, NodeConfig
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import AlreadyRunning, EngineFault, EngineRefused
from atm.lanes.places import MOVER, PLACES, SILENT_S, Place, address, follow
from atm.ledger.commands import ApprovalLimit
from atm.ledger.peppers import PepperState
from atm.ledger.roles import RoleChange
from atm.server.lanes.database_watch import BEAT_S, Asked, DatabaseSeen, DatabaseWatch
from atm.server.lanes.lane_worker import LaneWorker
from atm.server.lanes.routes import HOME
from atm.server.lanes.shares import LaneSeen, to_take

BEAT_S_MIN = 0.05  # between two, also when somebody asks for one
BEAT = """insert into atm.server values (%s, %s, now(), %s, %s, %s) on conflict (node) do update set
    run = excluded.run, seen = excluded.seen, peer = excluded.peer, client = excluded.client,
    peppers = excluded.peppers"""
PEPPERS = "select node, peppers from atm.server where seen > now() - make_interval(secs => %s)"
CLOCK = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"
OTHER_RUN = "select run, seen > now() - make_interval(secs => %s), seen::text from atm.server where node = %s"
GIVE_BACK = "update atm.lane set holder = '' where holder = %s and lane = any(%s)"
LEAVE = "delete from atm.server where node = %s and run = %s"


class Seen(Struct, frozen=True):
    """What was seen at the last beat, replaced as a whole; `fault` is why there is nothing newer."""

    lanes: tuple[LaneSeen, ...] = ()
    places: Mapping[int, Place] = {}
    living: Sequence[str] = ()
    role_changes: Mapping[str, RoleChange] = {}
    approval_limits: Mapping[str, ApprovalLimit] = {}
    pepper: PepperState = PepperState()
    peppers: Mapping[str, Sequence[str]] = {}  # the names of those that each living server knows
    fault: str = "the database was not asked yet"

    def holder(self, lane: int) -> str | None:
        """Return the living server that has the lane, None without one."""
        found = next((each for each in self.lanes if each.lane == lane), None)
        return found.holder if found is not None and found.holder in self.living else None


class Keeper:
    """A thread that beats; `seen` and `now_us` are for any thread."""

    def __init__(
        self,
        urls: dict[str, str],
        bank_id: str,
        node: NodeConfig,
        workers: Mapping[int, LaneWorker],
        *,
        peppers: Callable[[], Sequence[str]],
        tell: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`urls` are the bank's databases by their names, `peppers` names those in this server's file.

        `tell` gets a line for the operator.
        """
        self._urls, self._node, self._workers = urls, node, workers
        self._url = urls[HOME_DATABASE]
        self._watches = {
            name: DatabaseWatch(name, url, bank_id, tell)
            for name, url in urls.items()
            if name != HOME_DATABASE
        }
        self._knows_bank = False  # whether what lane 0 has for all was ever read
        self._unnamed: set[str] = set()  # databases that have lanes, and are not in cluster.ini
        self._peppers, self._tell, self._clock = peppers, tell, clock
        self._run_id = secrets.token_hex(8)
        self._engine: EngineConnection | None = None
        self._ahead_us = time.time_ns() // 1000 - int(clock() * 1e6)  # of the database's clock, from `clock`
        self._stopping, self._wake = Event(), Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)
        self.seen = Seen()

    def now_us(self) -> int:
        """Return the time of the database's clock, which all servers share."""
        return int(self._clock() * 1e6) + self._ahead_us

    def check_alone(self) -> None:
        """Raise `AlreadyRunning` if a server of this name lives; wait until one that was killed is silent."""
        deadline_s, first = self._clock() + 2 * SILENT_S, ""
        with closing(EngineConnection(self._url)) as engine:
            while True:
                with engine.asking():
                    found = engine.psycopg.execute(OTHER_RUN, (SILENT_S, self._node.name)).fetchall()
                if not found or not found[0][1]:
                    return
                seen = str(found[0][2])
                first = first or seen
                if seen != first or self._clock() >= deadline_s:
                    raise AlreadyRunning(
                        f"a server {self._node.name} of this bank runs already, maybe on another machine: "
                        "run each name once"
                    )
                self._stopping.wait(BEAT_S)

    def url_of(self, lane: int) -> str:
        """Return the address of the database that a lane lies in; raise `EngineFault` if it is not known."""
        return address(self._urls, self.seen.places.get(lane, Place(lane)))

    @property
    def faults(self) -> Sequence[str]:
        """Which databases cannot be used, and why; any thread may read it."""
        found = [f"the database cannot be used: {self.seen.fault}"] if self.seen.fault else []
        for name, watch in self._watches.items():
            if watch.seen.fault:
                found.append(f"the database {name} cannot be used: {watch.seen.fault}")
        return found

    def look(self) -> None:
        """Look now who has which lane, instead of at the next beat."""
        self._wake.set()

    def start(self) -> None:
        """Beat from now on."""
        for watch in self._watches.values():
            watch.start()
        self._thread.start()

    def stop(self) -> None:
        """Give back the lanes and leave; to be called when their workers have ended."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    # -- the keeper's thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            began_s = self._clock()
            try:
                self._beat()
            except (EngineFault, EngineRefused) as error:
                self._drop()
                if str(error) != self.seen.fault:
                    self._tell(f"the database cannot be used: {error}")
                self.seen = replace(self.seen, fault=str(error))
            self._stopping.wait(BEAT_S_MIN)
            self._wake.wait(max(0.0, began_s + BEAT_S - self._clock()))
            self._wake.clear()
        self._leave()

    def _beat(self) -> None:
        engine = self._engine = self._engine or EngineConnection(self._url)
        node, began_s = self._node, self._clock()
        with engine.asking(writes=True), engine.psycopg.pipeline(), engine.psycopg.transaction():
            known = " ".join(self._peppers())
            engine.psycopg.execute(BEAT, (node.name, self._run_id, str(node.peer), str(node.client), known))
            # The others were looked at before the map: what is newer there is in a later look.
            others = {name: watch.seen for name, watch in self._watches.items()}
            asked = Asked(engine.psycopg)
            living = engine.psycopg.execute(PEPPERS, (SILENT_S,))
            mapped = engine.psycopg.execute(PLACES)
            clock = engine.psycopg.execute(CLOCK)
            databases = {HOME_DATABASE: asked.found(), **others}
            peppers = {str(name): str(known).split() for name, known in living.fetchall()}
            names = list(peppers)
            places = {place.lane: place for place in (Place(*row) for row in mapped.fetchall())}
            time_us = int(clock.fetchall()[0][0])
        self._ahead_us = time_us - int((began_s + self._clock()) / 2 * 1e6)
        if self.seen.fault and self.seen.lanes:
            self._tell("the database answers again")
        moved = [each for seen in databases.values() for each in seen.moved]
        moved = [each for each in moved if each.epoch > places.get(each.lane, Place(each.lane)).epoch]
        if moved:  # somebody moved them, and did not come to write it into the map
            follow(engine, moved)
            self._wake.set()
        found = self._lanes_seen(databases, places, names)
        bank = databases.get(places.get(HOME, Place(HOME)).database, DatabaseSeen())
        if HOME in bank.lanes:
            is_newer = bank.pepper.generation > self.seen.pepper.generation
            self.seen = Seen(
                found, places, names, bank.role_changes, bank.approval_limits, bank.pepper, peppers, ""
            )
            self._knows_bank = True
            for worker in self._workers.values() if is_newer else ():
                worker.wake()
        else:  # its database was not reached yet, or it has just moved
            self.seen = replace(
                self.seen, lanes=found, places=places, living=names, peppers=peppers, fault=""
            )
        for seen in found:
            worker = self._workers[seen.lane]
            if worker.mine and seen.holder != node.name:
                worker.lose(seen.epoch)
        if not self._knows_bank:  # who may do what is not known
            return
        epochs = {each.lane: each.epoch for each in found}
        for lane in to_take(node.name, found, names):
            self._workers[lane].start()
            self._workers[lane].take_over(epochs[lane])

    def _lanes_seen(
        self, databases: Mapping[str, DatabaseSeen], places: Mapping[int, Place], living: Sequence[str]
    ) -> tuple[LaneSeen, ...]:
        """Return each lane as the database that it lies in has it; none that was never seen there.

        `is_alive` is also one that nobody may take now: it is being moved, or its database fails.
        """
        found = []
        for lane in self._workers:
            place = places.get(lane, Place(lane))
            seen = databases.get(place.database)
            if seen is None and place.database not in self._unnamed:
                self._unnamed.add(place.database)
                self._tell(f"lanes lie in the database {place.database}, and cluster.ini does not name it")
            row = seen.lanes.get(lane) if seen is not None else None
            if seen is None or row is None:
                continue
            is_moving = place.is_moving and row.holder.startswith(MOVER)
            alive = row.holder in living or is_moving or bool(seen.fault)
            found.append(LaneSeen(lane, row.epoch, row.applied, row.holder, alive))
        return tuple(found)

    def _leave(self) -> None:
        engine = self._engine
        if engine is None:
            return
        mine = [lane for lane, worker in self._workers.items() if worker.mine]
        places = self.seen.places
        for watch in self._watches.values():
            watch.stop()
            there = [lane for lane in mine if places.get(lane, Place(lane)).database == watch.name]
            if there:
                self._give_back(watch, there)
        try:
            with engine.asking(writes=True), engine.psycopg.transaction():
                engine.psycopg.execute(GIVE_BACK, (self._node.name, mine))
                engine.psycopg.execute(LEAVE, (self._node.name, self._run_id))
        except EngineFault as error:
            self._tell_not_given_back(error)
        self._drop()

    def _give_back(self, watch: DatabaseWatch, lanes: Sequence[int]) -> None:
        try:
            with closing(EngineConnection(watch.url)) as engine, engine.asking(writes=True):
                engine.psycopg.execute(GIVE_BACK, (self._node.name, lanes))
        except (EngineFault, EngineRefused) as error:
            self._tell_not_given_back(error)

    def _tell_not_given_back(self, error: Exception) -> None:
        self._tell(f"the lanes could not be given back, and are taken in {SILENT_S:g} s: {error}")

    def _drop(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
