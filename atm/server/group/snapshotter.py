"""Takes snapshots of this node's ledger, and cuts the log behind them (section 7, Figure 12)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from threading import Event, Lock, Thread
from typing import Protocol

from atm.ledger.ledger import ClusterState
from atm.ledger.snapshot import MadeSnapshot, NotMade
from atm.raft import Entry, Log, NodeId, Snapshot
from atm.server.group.kept_snapshots import KeptSnapshots, snapshot_of
from atm.server.group.log_growth import LogGrowth
from atm.server.group.settings import TICK_MS
from atm.server.group.snapshot_maker import SnapshotMaker
from atm.server.logger.logger import Logger
from atm.storage.log_index import LogBase

SNAPSHOTS_LEVEL = 2  # below this feature level a release may run that cannot read a log that was cut
TAKE_S_MAX = 900.0  # how long an operator's command waits
RETRY_TICKS = 60_000 // TICK_MS  # after a snapshot that could not be made
PRUNE_TICKS = 1_000 // TICK_MS
SHARE_MIN = (
    0.75  # of the limit: each server draws when it takes its next one, so that they do not all at once
)
LOG_LIMITS_MAX = (
    4  # times the limit: a log that is larger waits for no follower that fetches an older snapshot
)


class CompactedCore(Protocol):
    """What the snapshotter needs of `Raft`."""

    @property
    def log(self) -> Log: ...
    @property
    def applied_index(self) -> int: ...
    def offered(self) -> dict[NodeId, Snapshot]: ...
    def snapshot_taken(self, snapshot: Snapshot, first_index: int) -> None: ...


class CuttableLog(Protocol):
    """What the snapshotter needs of the log's file."""

    @property
    def first_index(self) -> int: ...
    @property
    def last_index(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...
    def read_entries(self, first: int, last: int, bytes_max: int) -> list[Entry]: ...
    def set_base(self, base: LogBase) -> None: ...
    def cut(self, first_kept: int) -> None: ...


class CopiedLedger(Protocol):
    """What the snapshotter needs of the ledger."""

    @property
    def applied_index(self) -> int: ...
    @property
    def cluster(self) -> ClusterState: ...
    def write(self) -> None: ...


class Job(Thread):
    """Makes one snapshot, in a thread of its own, which waits for the process that does the work."""

    def __init__(self, maker: SnapshotMaker, kept: KeptSnapshots) -> None:
        super().__init__(name="snapshot", daemon=True)
        self._maker = maker
        self._path = kept.making
        self.made: MadeSnapshot | None = None
        self.error = ""
        self.start()

    def run(self) -> None:
        try:
            self.made = self._maker.make(self._path)
        except (NotMade, OSError) as error:
            self.error = str(error)


class Wish:
    """An operator's command to take a snapshot now; `said` is "" if one was taken up to `index`."""

    def __init__(self) -> None:
        self.over = Event()
        self.index = 0
        self.said = ""

    def end(self, index: int, said: str = "") -> None:
        self.index, self.said = index, said
        self.over.set()


class Snapshotter:
    """Only within an iteration, with no `Ready` being performed, but `take`."""

    def __init__(
        self,
        *,
        raft: CompactedCore,
        lock: Lock,
        log: CuttableLog,
        ledger: CopiedLedger,
        kept: KeptSnapshots,
        maker: SnapshotMaker,
        limit_bytes: int,
        being_fetched: Callable[[], Collection[int]],
        random: Callable[[float, float], float],
        logger: Logger,
        start_job: Callable[[SnapshotMaker, KeptSnapshots], Job] = Job,
    ) -> None:
        """`limit_bytes`: take a snapshot before the log has grown by more than this since the last one."""
        self._start_job = start_job
        self._lock = lock  # guards _raft
        self._raft = raft
        self._log = log
        self._ledger = ledger
        self._kept = kept
        self._maker = maker
        self._limit_bytes = limit_bytes
        self._being_fetched = being_fetched
        self._random = random
        self._logger = logger
        self._growth = LogGrowth(
            log.first_index, log.last_index, log.size_bytes, step_bytes=max(1, limit_bytes // 16)
        )
        self._threshold_bytes = self._next_threshold()
        self._job: Job | None = None
        self._wishes: list[Wish] = []  # any thread appends
        self._granted: list[Wish] = []  # those that the running job is for
        self._retry_in_ticks = 0
        self._ticks = 0

    # -- any thread ------------------------------------------------------------------------------------

    def take(self) -> tuple[int, str]:
        """Take a snapshot and wait for it; return up to which entry, and why there is none, or ""."""
        wish = Wish()
        self._wishes.append(wish)
        if not wish.over.wait(TAKE_S_MAX):
            return 0, f"the snapshot has not ended within {TAKE_S_MAX:g} s: look at the node's status later"
        return wish.index, wish.said

    # -- within an iteration ---------------------------------------------------------------------------

    def tick(self) -> None:
        """Begin a snapshot if one is due; take over one that was made, and cut the log behind it."""
        self._growth.note(self._log.last_index, self._log.size_bytes)
        self._ticks += 1
        self._retry_in_ticks = max(0, self._retry_in_ticks - 1)
        if self._job is not None:
            if not self._job.is_alive():
                job, self._job = self._job, None
                self._end(job)
        elif self._wishes:
            self._grant()
        elif self._is_due():
            self._ledger.write()  # the file is copied, and the level that allows it may only be decided yet
            self._job = self._start_job(self._maker, self._kept)
        if self._ticks % PRUNE_TICKS == 0 and self._kept.older:
            self._prune()

    def close(self) -> None:
        """End all waits: this node stops."""
        for wish in [*self._wishes, *self._granted]:
            wish.end(0, "the node is stopping")

    def _is_due(self) -> bool:
        grown_bytes = self._growth.bytes_after(self._kept.newest_index) - self._waiting_bytes
        if grown_bytes < self._threshold_bytes or self._retry_in_ticks or self._why_not() is not None:
            return False
        return not self._kept.older & self._in_use()

    def _why_not(self) -> str | None:
        """Return why there can be no snapshot now, or None."""
        level = self._ledger.cluster.feature_level
        if level < SNAPSHOTS_LEVEL:
            return (
                f"the cluster is at feature level {level}, and cuts no log below {SNAPSHOTS_LEVEL}: install "
                "this release on all servers (docs/upgrade.md)"
            )
        return None

    def _grant(self) -> None:
        self._granted, self._wishes = self._wishes, []
        self._ledger.write()
        why = self._why_not()
        if why is None and self._ledger.applied_index > self._kept.newest_index:
            self._job = self._start_job(self._maker, self._kept)
        else:
            self._end_granted(why or "")

    def _end_granted(self, said: str) -> None:
        for wish in self._granted:
            wish.end(self._kept.newest_index, said)
        self._granted = []

    def _end(self, job: Job) -> None:
        self._threshold_bytes = self._next_threshold()
        if job.made is None:
            self._tell_failure(job.error)
            self._end_granted(job.error)
        else:
            why = ""
            if job.made.index > self._kept.newest_index:  # else one was installed meanwhile
                try:
                    self._adopt(job.made)
                except OSError as error:
                    why = error.strerror or str(error)
                    self._tell_failure(f"a snapshot could not be kept ({why})")
            self._end_granted(why)

    def _tell_failure(self, why: str) -> None:
        self._retry_in_ticks = RETRY_TICKS
        line = f"{why}. The log is not cut, and this is tried again in a minute"
        self._logger.error("snapshot.not_taken", line)

    def _adopt(self, made: MadeSnapshot) -> None:
        """Keep the snapshot durably; only then let the core and the log forget what it holds."""
        [entry] = self._log.read_entries(made.index, made.index, 1)
        snapshot = snapshot_of(
            made, term=entry.term, time_us=entry.time_us, size_bytes=made.size_bytes, sha256=made.sha256
        )
        self._kept.adopt(snapshot, self._kept.making, installed=False)
        self._log.set_base(LogBase(entry.index, entry.term, entry.time_us))
        in_use = self._in_use()
        first_kept = self._first_kept(in_use)
        with self._lock:
            self._raft.snapshot_taken(snapshot, first_kept)
        self._log.cut(first_kept)
        self._kept.prune(in_use)
        self._logger.info(
            "snapshot.taken",
            f"took a snapshot up to entry {snapshot.index}, {snapshot.size_bytes:,} bytes; the log begins at "
            f"entry {self._log.first_index}",
            index=snapshot.index,
            size_bytes=snapshot.size_bytes,
            log_first_index=self._log.first_index,
        )

    def _first_kept(self, in_use: Collection[int]) -> int:
        """Return where the log is to begin.

        A window of `limit_bytes` stays, so that a follower that was away for a while needs no snapshot, and
        what comes after a snapshot that a follower is fetching: else it would have to fetch the next one.
        """
        behind = (index for index in self._kept.older if index in in_use)
        window = self._growth.index_before(self._limit_bytes + self._waiting_bytes)
        return 1 + min(self._kept.newest_index, window, *behind)

    @property
    def _waiting_bytes(self) -> int:
        """How much of the log is not applied yet: no snapshot can hold it, and no cut remove it.

        It counts in no limit. While more is asked for than the servers can replicate, it may be more than all
        limits together, and a follower that fetches a snapshot is needed more than ever.
        """
        return self._growth.bytes_after(self._ledger.applied_index)

    def _in_use(self) -> set[int]:
        """Return the indexes of the snapshots that a follower may be fetching, unless that takes too long."""
        if self._log.size_bytes - self._waiting_bytes > LOG_LIMITS_MAX * self._limit_bytes:
            return set()
        with self._lock:
            offered = {snapshot.index for snapshot in self._raft.offered().values()}
        return offered | set(self._being_fetched())

    def _prune(self) -> None:
        """Remove the older snapshots that nobody fetches any more."""
        in_use = self._in_use()
        if self._kept.older - in_use:
            self._kept.prune(in_use)

    def _next_threshold(self) -> int:
        return int(self._limit_bytes * self._random(SHARE_MIN, 1.0))
