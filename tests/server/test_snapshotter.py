"""When a node takes a snapshot, in which order the log is cut behind it, and what stays."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock, Thread

import pytest

from atm.ledger.commands import Member, MembershipChange
from atm.ledger.ledger import ClusterState
from atm.ledger.snapshot import MadeSnapshot, NotMade
from atm.raft import Entry, EntryKind, HardState, Log, NodeId, Snapshot
from atm.server.group import snapshotter
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.group.snapshotter import LOG_LIMITS_MAX, RETRY_TICKS, SNAPSHOTS_LEVEL, Snapshotter
from atm.storage.log_file import LogFile
from atm.storage.snapshots import SnapshotStore
from atm.wire.codec import encode
from tests.support.collecting import collecting
from tests.support.server_parts import DEADLINE_S, wait_until

LIMIT_BYTES = 10_000
MEMBERS = (Member("n1", True, "", ""),)


class Story:
    """A node's log, snapshots and ledger, and the core as the test wants it."""

    def __init__(self, folder: Path, **cluster: int) -> None:
        self.folder = folder
        self.log_file = LogFile(folder / "log", segment_bytes_max=LIMIT_BYTES // 20)
        self.kept = KeptSnapshots(SnapshotStore(folder / "snapshot"))
        self.events: list[str] = []
        self.reported: list[str] = []
        self.fetched: set[int] = set()
        self.offers: dict[NodeId, Snapshot] = {}
        self.taken: list[tuple[Snapshot, int]] = []
        self.level = SNAPSHOTS_LEVEL
        self.share = 1.0
        self.made_index: int | None = None  # what the maker says; None: what is applied
        self.applied: int | None = None  # None: the whole log
        self.fault: BaseException | None = None
        self.may_end = Event()
        self.may_end.set()
        self.lock = Lock()
        self.snapshotter = self._snapshotter()

    def _snapshotter(self) -> Snapshotter:
        return Snapshotter(
            raft=self,
            lock=self.lock,
            log=self,  # type: ignore[arg-type]
            ledger=self,
            kept=self.kept,
            maker=self,  # type: ignore[arg-type]
            limit_bytes=LIMIT_BYTES,
            being_fetched=lambda: self.fetched,
            random=lambda low, high: self.share,
            logger=collecting(self.reported),
        )

    # the core

    log = Log()

    @property
    def applied_index(self) -> int:
        return self.log_file.last_index if self.applied is None else self.applied

    def offered(self) -> dict[NodeId, Snapshot]:
        assert self.lock.locked()
        return self.offers

    def snapshot_taken(self, snapshot: Snapshot, first_index: int) -> None:
        assert self.lock.locked()
        assert self.kept.newest_index == snapshot.index, "it is durable before the core hears of it"
        self.events.append(f"core from {first_index}")
        self.taken.append((snapshot, first_index))

    # the log

    def __getattr__(self, name: str) -> object:
        return getattr(self.log_file, name)

    def cut(self, first_kept: int) -> None:
        self.events.append(f"cut before {first_kept}")
        self.log_file.cut(first_kept)

    # the ledger

    @property
    def cluster(self) -> ClusterState:
        return ClusterState(id="c", voters=(), feature_level=self.level)

    def write(self) -> None:
        self.events.append("write")

    # the maker

    def make(self, path: Path) -> MadeSnapshot:
        assert self.may_end.wait(DEADLINE_S)
        if self.fault is not None:
            raise self.fault
        path.write_bytes(b"a ledger")
        self.events.append("made")
        return MadeSnapshot(
            index=self.applied_index if self.made_index is None else self.made_index,
            cluster_id="c",
            feature_level=SNAPSHOTS_LEVEL,
            members=MEMBERS,
            chain_hash="ab",
            size_bytes=8,
            sha256=hashlib.sha256(b"a ledger").hexdigest(),
            seconds=0.0,
        )

    # what happens

    def grow(self, size_bytes: int) -> None:
        """Append entries of so many bytes, and tick after each."""
        grown_bytes = 0
        while grown_bytes < size_bytes:
            grown_bytes += self._append()
            self.snapshotter.tick()

    def _append(self) -> int:
        before_bytes, index = self.log_file.size_bytes, self.log_file.last_index + 1
        entry = Entry(index=index, term=3, time_us=index * 7, kind=EntryKind.COMMAND, data=b"x" * 150)
        self.log_file.save(HardState(term=3, voted_for="n1", commit_index=index), [entry])
        return self.log_file.size_bytes - before_bytes

    def grow_until_one_is_made(self) -> None:
        grown_bytes = 0
        while self.snapshotter._job is None:
            assert grown_bytes < 2 * LIMIT_BYTES
            grown_bytes += self._append()
            self.snapshotter.tick()

    def end_job(self) -> None:
        """Let the snapshot that is being made come to its end."""
        job = self.snapshotter._job
        assert job is not None
        job.join(DEADLINE_S)
        self.snapshotter.tick()

    def wait_for_taken(self, count: int) -> None:
        def taken() -> bool:
            self.snapshotter.tick()
            return len(self.taken) >= count

        wait_until(taken)

    def take(self) -> Snapshot:
        self.grow_until_one_is_made()
        self.end_job()
        return self.taken[-1][0]


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path)
    yield story
    story.log_file.close()


def test_a_snapshot_is_taken_once_the_log_has_grown_by_the_limit(story: Story) -> None:
    story.grow(LIMIT_BYTES // 2)
    assert story.snapshotter._job is None
    first = story.take()
    assert first.index <= story.log_file.last_index
    assert (first.term, first.time_us) == (3, first.index * 7)
    assert (first.membership, first.cluster_id) == (encode(MembershipChange(MEMBERS)), "c")
    story.grow(LIMIT_BYTES // 2)
    assert story.snapshotter._job is None, "it counts from the last one"
    assert story.take().index > first.index


def test_it_is_durable_before_the_core_knows_and_the_core_knows_before_the_log_is_cut(story: Story) -> None:
    story.take()
    story.events.clear()
    story.take()
    kept_from = story.taken[-1][1]
    assert story.events == ["write", "made", f"core from {kept_from}", f"cut before {kept_from}"]


def test_a_snapshot_that_is_due_holds_what_was_decided_and_so_the_level_that_allows_it(story: Story) -> None:
    """The level is raised by a decision in memory; a file without it has no members for the snapshot."""
    story.grow_until_one_is_made()
    story.end_job()
    assert story.events[:2] == ["write", "made"]


def test_a_window_of_the_limit_stays_behind_a_snapshot_and_no_more(story: Story) -> None:
    for _ in range(4):
        snapshot = story.take()
        assert story.log_file.size_bytes < 1.3 * LIMIT_BYTES
    kept_bytes = story.snapshotter._growth.bytes_after(story.taken[-1][1])
    assert 0.9 * LIMIT_BYTES < kept_bytes <= LIMIT_BYTES
    assert story.taken[-1][1] <= snapshot.index
    assert story.log_file.first_index <= story.taken[-1][1]


def test_nothing_is_cut_behind_the_end_of_the_snapshot(story: Story) -> None:
    story.made_index = 5
    story.grow_until_one_is_made()
    story.end_job()
    assert story.taken[-1][0].index == 5
    assert story.taken[-1][1] <= 6


def test_below_the_level_nothing_is_taken_and_nothing_cut(story: Story) -> None:
    """Else a release that knows no snapshots could not read its log any more."""
    story.level = SNAPSHOTS_LEVEL - 1
    story.grow(2 * LIMIT_BYTES)
    assert story.snapshotter._job is None
    story.level = SNAPSHOTS_LEVEL
    story.snapshotter.tick()
    assert story.snapshotter._job is not None


def test_servers_do_not_all_take_theirs_at_once(story: Story) -> None:
    story.share = 0.75
    story.snapshotter = story._snapshotter()
    story.take()
    assert 0.75 * LIMIT_BYTES < story.log_file.size_bytes < 0.8 * LIMIT_BYTES


def test_what_an_offer_goes_on_from_stays_until_it_is_over(story: Story) -> None:
    first = story.take()
    story.offers = {"n2": first}
    second = story.take()
    assert story.taken[-1][1] <= first.index + 1
    assert {path.name for path in (story.folder / "snapshot").glob("*.db")} == {
        f"{first.index}.db",
        f"{second.index}.db",
    }
    opened = story.kept.open(first.index, first.sha256)
    assert opened is not None
    os.close(opened)
    story.offers = {}
    story.fetched = {first.index}
    story.grow(2 * LIMIT_BYTES)
    assert (story.snapshotter._job, len(story.taken)) == (None, 2), (
        "a third would leave nothing to go on from"
    )
    assert (story.folder / "snapshot" / f"{first.index}.db").exists()
    story.fetched = set()
    for _ in range(snapshotter.PRUNE_TICKS):
        story.snapshotter.tick()
    assert not (story.folder / "snapshot" / f"{first.index}.db").exists()
    assert story.kept.open(first.index, first.sha256) is None
    story.wait_for_taken(3)


def test_a_fetch_without_an_end_does_not_fill_the_disk(story: Story) -> None:
    first = story.take()
    story.fetched = {first.index}
    story.take()
    story.grow((LOG_LIMITS_MAX + 1) * LIMIT_BYTES)
    story.wait_for_taken(3)
    assert story.log_file.size_bytes < 2 * LIMIT_BYTES


def test_what_is_not_applied_yet_makes_no_snapshot_due(story: Story) -> None:
    """One would hold nothing new, and the next would be due at once."""
    story.take()
    story.applied = story.log_file.last_index
    story.events.clear()
    story.grow(2 * LIMIT_BYTES)
    assert story.events == []
    story.applied = None
    story.wait_for_taken(2)


def test_what_is_not_applied_yet_ends_no_fetch(story: Story) -> None:
    """A cut would not make the log smaller, and the follower would begin anew for ever. Seed 40265."""
    first = story.take()
    story.fetched = {first.index}
    second = story.take()
    story.applied = story.log_file.last_index
    story.grow((LOG_LIMITS_MAX + 6) * LIMIT_BYTES)
    for _ in range(snapshotter.PRUNE_TICKS):
        story.snapshotter.tick()
    assert (story.kept.older, story.kept.newest_index) == ({first.index}, second.index)
    assert story.log_file.first_index <= first.index + 1


def test_the_window_behind_a_snapshot_is_of_what_is_applied(story: Story) -> None:
    """Else a follower that misses a few entries while many wait has to fetch the whole ledger."""
    story.take()
    story.applied = story.log_file.last_index
    story.grow(3 * LIMIT_BYTES)
    story.applied = story.snapshotter._growth.index_before(3 * LIMIT_BYTES // 2)
    story.wait_for_taken(2)
    snapshot, first_kept = story.taken[-1]
    assert snapshot.index == story.applied
    bytes_after = story.snapshotter._growth.bytes_after
    kept_bytes = bytes_after(first_kept) - bytes_after(snapshot.index)
    assert 0.9 * LIMIT_BYTES < kept_bytes <= LIMIT_BYTES


def test_after_a_failure_it_waits_a_minute_and_nothing_was_cut(story: Story) -> None:
    story.fault = NotMade("no room")
    story.grow_until_one_is_made()
    story.end_job()
    assert story.reported == ["no room. The log is not cut, and this is tried again in a minute"]
    assert (story.taken, story.log_file.first_index) == ([], 1)
    for _ in range(RETRY_TICKS - 1):
        story.snapshotter.tick()
    assert story.snapshotter._job is None
    story.fault = None
    story.snapshotter.tick()
    story.end_job()
    assert story.taken


def test_one_that_was_overtaken_by_an_install_is_dropped(story: Story) -> None:
    story.may_end.clear()
    story.grow_until_one_is_made()
    part = story.folder / "snapshot" / "x.part"
    part.write_bytes(b"?")
    installed = Snapshot(
        index=10**6, term=3, time_us=1, size_bytes=1, sha256="", chain_hash="", membership=b"", cluster_id="c"
    )
    story.kept.adopt(installed, part, installed=True)
    story.may_end.set()
    story.end_job()
    assert story.taken == []
    assert story.kept.newest_index == 10**6


def test_an_operator_gets_one_at_once_and_waits_for_it(story: Story) -> None:
    story.grow(LIMIT_BYTES // 2)
    said: list[tuple[int, str]] = []
    asking = [Thread(target=lambda: said.append(story.snapshotter.take()), daemon=True) for _ in range(2)]
    for thread in asking:
        thread.start()
    wait_until(lambda: len(story.snapshotter._wishes) == 2)
    story.snapshotter.tick()
    story.end_job()
    for thread in asking:
        thread.join(DEADLINE_S)
    assert said == [(story.log_file.last_index, "")] * 2
    assert story.events[:2] == ["write", "made"], "what was decided is in it"


@pytest.mark.parametrize("level", [SNAPSHOTS_LEVEL - 1, SNAPSHOTS_LEVEL])
def test_an_operator_is_told_why_there_is_none(story: Story, level: int) -> None:
    story.grow(LIMIT_BYTES // 2)
    story.level = level
    story.fault = NotMade("no room")
    said: list[tuple[int, str]] = []
    asking = Thread(target=lambda: said.append(story.snapshotter.take()), daemon=True)
    asking.start()
    wait_until(lambda: bool(story.snapshotter._wishes))
    story.snapshotter.tick()
    if level == SNAPSHOTS_LEVEL:
        story.end_job()
    asking.join(DEADLINE_S)
    [(index, why)] = said
    assert index == 0
    assert why.startswith("no room" if level == SNAPSHOTS_LEVEL else "the cluster is at feature level 1")


def test_a_snapshot_of_what_there_is_already_is_no_work(story: Story) -> None:
    snapshot = story.take()
    story.made_index = None
    while story.kept.newest_index < story.log_file.last_index:
        story.snapshotter._wishes.append(snapshotter.Wish())
        story.snapshotter.tick()
        if story.snapshotter._job is not None:
            story.end_job()
    events = len(story.events)
    wish = snapshotter.Wish()
    story.snapshotter._wishes.append(wish)
    story.snapshotter.tick()
    assert wish.over.is_set()
    assert (wish.index, wish.said) == (story.kept.newest_index, "")
    assert story.events[events:] == ["write"]
    assert wish.index >= snapshot.index


def test_who_waits_is_told_that_the_node_stops(story: Story) -> None:
    wish = snapshotter.Wish()
    story.snapshotter._wishes.append(wish)
    story.snapshotter.close()
    assert wish.said == "the node is stopping"
