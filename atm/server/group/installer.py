"""Installs a snapshot that the leader offers: fetches and verifies it, and swaps the ledger (section 7).

The file is fetched, verified and copied by a thread of its own, however long that takes. Offers that are
repeated meanwhile change nothing. Then, within one iteration:

1. The file becomes this node's newest snapshot, durably. A crash before leaves the old state; after it,
   recovery completes what follows from that file (recovery.py).
2. The ledger goes on with the copy.
3. The core learns of it, and has the log emptied unless that goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Protocol

from atm.raft import Log, NodeId, Snapshot
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.group.settings import TICK_MS
from atm.server.logger.logger import Logger
from atm.storage.log_index import LogBase

RETRY_TICKS = 2_000 // TICK_MS  # from a failure until the leader's next offer counts


class InstallFailed(Exception):
    """The snapshot was not fetched, or is not what was offered; `str()` of it is one line for people."""


class Abandoned(Exception):
    """Another snapshot is wanted, or none any more."""


class InstallingCore(Protocol):
    """What the installer needs of `Raft`."""

    @property
    def log(self) -> Log: ...
    @property
    def commit_index(self) -> int: ...
    @property
    def installing(self) -> Snapshot | None: ...
    def installed(self, snapshot: Snapshot) -> None: ...
    def install_failed(self, snapshot: Snapshot) -> None: ...


class ReplacedLedger(Protocol):
    """What the installer needs of the ledger."""

    def replace_file(self, prepared: Path) -> None:
        """Go on with another file, in place of the present one."""


class RebasedLog(Protocol):
    """What the installer needs of the log's file."""

    def set_base(self, base: LogBase) -> None: ...


Prepare = Callable[[Snapshot, NodeId, Path, Event], Path]


class Job(Thread):
    """Fetches and prepares one snapshot, in a thread of its own."""

    def __init__(
        self, prepare: Prepare, snapshot: Snapshot, leader: NodeId, part: Path, before: Job | None
    ) -> None:
        super().__init__(name=f"install {snapshot.index}", daemon=True)
        self._prepare = prepare
        self.snapshot = snapshot
        self.leader = leader
        self.part = part
        self._before = before
        self.stop = Event()
        self.prepared: Path | None = None  # the copy for the ledger
        self.error = ""
        self.start()

    def run(self) -> None:
        if self._before is not None:
            self._before.join()
            self._before = None
        try:
            self.prepared = self._prepare(self.snapshot, self.leader, self.part, self.stop)
        except Abandoned:
            pass
        except (InstallFailed, OSError) as error:
            self.error = str(error)
        except Exception as error:  # never leave the core waiting for a thread that has died
            self.error = f"internal error: {type(error).__name__}: {error}"


class Installer:
    """Only within an iteration, with no `Ready` being performed."""

    def __init__(
        self,
        *,
        raft: InstallingCore,
        lock: Lock,
        log: RebasedLog,
        ledger: ReplacedLedger,
        kept: KeptSnapshots,
        prepare: Prepare,
        before_swap: Callable[[], None],
        logger: Logger,
        start_job: Callable[[Prepare, Snapshot, NodeId, Path, Job | None], Job] = Job,
    ) -> None:
        """`before_swap` ends whatever else reads the ledger's file."""
        self._start_job = start_job
        self._lock = lock  # guards _raft
        self._raft = raft
        self._log = log
        self._ledger = ledger
        self._kept = kept
        self._prepare = prepare
        self._before_swap = before_swap
        self._logger = logger
        self._told = ""  # why the last one is not installed
        self._job: Job | None = None
        self._retry_in_ticks = 0

    def begin(self, snapshot: Snapshot, leader: NodeId) -> None:
        """Begin to fetch this snapshot from `leader`, in place of any other."""
        before = self._job
        if before is not None:
            before.stop.set()
        part = self._kept.part(snapshot)
        if before is None or before.snapshot != snapshot:
            line = f"fetching the snapshot of node {leader} up to entry {snapshot.index}"
            size = f", {snapshot.size_bytes:,} bytes"
            self._logger.info("snapshot.fetching", line + size, peer=leader, index=snapshot.index)
        self._job = self._start_job(self._prepare, snapshot, leader, part, before)

    def tick(self) -> None:
        """Install what is prepared once the core allows it; let a failed one begin anew after a while."""
        job = self._job
        if job is None:
            return
        with self._lock:
            installing, is_past = self._raft.installing, self._raft.commit_index >= job.snapshot.index
        if is_past:
            job.stop.set()
        if job.is_alive():
            return
        if is_past:
            self._drop(job)
        elif job.prepared is None:
            self._retry(job)
        elif installing == job.snapshot:
            self._install(job, job.prepared)

    def close(self) -> None:
        """Stop fetching: this node stops."""
        if self._job is not None:
            self._job.stop.set()

    def _install(self, job: Job, prepared: Path) -> None:
        snapshot = job.snapshot
        self._before_swap()
        try:
            self._kept.adopt(snapshot, job.part, installed=True)
        except OSError as error:
            job.prepared, job.error = None, f"{error.strerror or error}: make room, or check the disk"
            return
        self._ledger.replace_file(prepared)
        with self._lock:
            log_goes_on = self._raft.log.agrees(snapshot.index, snapshot.term)
            self._raft.installed(snapshot)
        if log_goes_on:
            self._log.set_base(LogBase(snapshot.index, snapshot.term, snapshot.time_us, installed=True))
        self._kept.prune(())
        self._kept.part(snapshot)  # one that was given up as it began may have left its part
        self._job, self._told = None, ""
        line = f"installed the snapshot of node {job.leader} up to entry {snapshot.index}"
        self._logger.info("snapshot.installed", line, peer=job.leader, index=snapshot.index)

    def _drop(self, job: Job) -> None:
        """The leader has sent the entries instead."""
        for path in (job.part, job.prepared):
            if path is not None:
                path.unlink(missing_ok=True)
        self._job = None

    def _retry(self, job: Job) -> None:
        if not self._retry_in_ticks:
            self._retry_in_ticks = RETRY_TICKS
            if job.error and job.error != self._told:
                self._told = job.error
                line = f"the snapshot of node {job.leader} is not installed yet: {job.error}"
                self._logger.warning("snapshot.not_installed", line, peer=job.leader, why=job.error)
        self._retry_in_ticks -= 1
        if not self._retry_in_ticks:
            self._job = None
            with self._lock:
                self._raft.install_failed(job.snapshot)
