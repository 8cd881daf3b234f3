"""Installing an offered snapshot: in which order, when, and what becomes of one that is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Lock

import pytest

from atm.raft import Log, LogStart, NodeId, Snapshot
from atm.server.group.installer import RETRY_TICKS, Abandoned, Installer, InstallFailed
from atm.server.group.kept_snapshots import KeptSnapshots
from atm.server.logger.logger import Collected, Logger
from atm.storage.log_index import LogBase
from atm.storage.snapshots import SnapshotStore
from tests.support.server_parts import DEADLINE_S, wait_until

SIZE_BYTES = 100


def snapshot(index: int, sha256: str = "ab") -> Snapshot:
    return Snapshot(
        index=index,
        term=2,
        time_us=index,
        size_bytes=SIZE_BYTES,
        sha256=sha256,
        chain_hash="cd",
        membership=b"",
        cluster_id="c",
    )


class Story:
    """A follower's core, log and ledger, which write down what happens to them; the fetching is scripted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept = KeptSnapshots(SnapshotStore(folder / "snapshot"))
        self.events: list[str] = []
        self.told: list[tuple[str, str]] = []
        self.lock = Lock()
        self.log = Log()
        self.commit_index = 0
        self.installing: Snapshot | None = None
        self.fetched: list[tuple[int, NodeId]] = []
        self.fault: Exception | None = None
        self.may_end = Event()
        self.may_end.set()
        self.installer = Installer(
            raft=self,
            lock=self.lock,
            log=self,
            ledger=self,
            kept=self.kept,
            prepare=self.prepare,
            before_swap=lambda: self.events.append("end readers"),
            logger=Logger(Collected(lambda record: self.told.append((record.event, record.msg)))),
        )

    # the core

    def installed(self, snapshot: Snapshot) -> None:
        assert self.lock.locked()
        assert self.installing == snapshot
        self.events.append(f"installed {snapshot.index}")
        self.installing, self.commit_index = None, snapshot.index

    def install_failed(self, snapshot: Snapshot) -> None:
        assert self.lock.locked()
        self.events.append(f"failed {snapshot.index}")

    # ledger and log

    def replace_file(self, prepared: Path) -> None:
        newest = self.kept._store.newest
        assert newest is not None, "a crash must find the file from here on"
        self.events.append(f"swap for {prepared.read_bytes().decode()}, kept {newest.index}")
        prepared.unlink()

    def set_base(self, base: LogBase) -> None:
        self.events.append(f"base {base.index} {base.installed}")

    # the thread

    def prepare(self, snapshot: Snapshot, leader: NodeId, part: Path, stop: Event) -> Path:
        self.fetched.append((snapshot.index, leader))
        part.write_bytes(b"?" * SIZE_BYTES)
        while not self.may_end.wait(0.005):
            if stop.is_set():
                raise Abandoned
        if self.fault is not None:
            raise self.fault
        copy = self.folder / f"copy of {snapshot.index}"
        copy.write_bytes(copy.name.encode())
        return copy

    # what happens

    def offer(self, offered: Snapshot, leader: NodeId = "n1") -> None:
        self.installing = offered
        self.installer.begin(offered, leader)

    def end_thread(self) -> None:
        job = self.installer._job
        assert job is not None
        job.join(DEADLINE_S)
        assert not job.is_alive()


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path)
    yield story
    story.installer.close()
    story.may_end.set()


def test_the_file_is_kept_before_the_ledger_goes_and_the_core_hears_last(story: Story) -> None:
    story.offer(snapshot(7))
    story.end_thread()
    assert story.events == []
    story.installer.tick()
    assert story.events == ["end readers", "swap for copy of 7, kept 7", "installed 7"]
    assert story.told[-1] == ("snapshot.installed", "installed the snapshot of node n1 up to entry 7")
    story.installer.tick()
    assert len(story.events) == 3


def test_a_log_that_goes_on_from_there_stays_and_may_be_cut(story: Story) -> None:
    story.log = Log(start=LogStart(7, 2, 7))
    story.offer(snapshot(7))
    story.end_thread()
    story.installer.tick()
    assert story.events[-1] == "base 7 True"


def test_it_takes_as_long_as_it_takes(story: Story) -> None:
    """The complaint of others: an install that was well done is thrown away because it took long."""
    story.may_end.clear()
    story.offer(snapshot(7))
    for _ in range(100_000):  # a quarter of an hour
        story.installer.tick()
    assert story.events == []
    story.may_end.set()
    story.end_thread()
    story.installer.tick()
    assert story.events[-1] == "installed 7"
    assert story.fetched == [(7, "n1")]


def test_one_that_is_ready_waits_until_the_core_wants_it(story: Story) -> None:
    """Entries that are not saved yet are decided first."""
    story.offer(snapshot(7))
    story.end_thread()
    story.installing = None
    story.installer.tick()
    assert story.events == []
    story.installing = snapshot(7)
    story.installer.tick()
    assert story.events[-1] == "installed 7"


def test_another_offer_takes_the_place_of_the_first(story: Story) -> None:
    story.may_end.clear()
    story.offer(snapshot(7), "n1")
    wait_until(lambda: story.fetched == [(7, "n1")])
    story.offer(snapshot(9), "n3")
    wait_until(lambda: story.fetched == [(7, "n1"), (9, "n3")])
    story.may_end.set()
    story.end_thread()
    story.installer.tick()
    assert story.events[-1] == "installed 9"
    assert sorted(path.suffix for path in (story.folder / "snapshot").iterdir()) == [".db", ".json"]


def test_what_has_come_by_entries_is_not_fetched_to_its_end(story: Story) -> None:
    story.may_end.clear()
    story.offer(snapshot(7))
    wait_until(lambda: bool(story.fetched))
    story.commit_index = 7
    story.installing = None
    story.installer.tick()
    story.end_thread()
    story.installer.tick()
    assert story.events == []
    assert list((story.folder / "snapshot").iterdir()) == []


def test_what_has_come_by_entries_is_not_installed_over_them(story: Story) -> None:
    """Else the ledger would go back."""
    story.offer(snapshot(7))
    story.end_thread()
    story.commit_index, story.installing = 8, None
    story.installer.tick()
    assert story.events == []
    assert [path.name for path in story.folder.iterdir()] == ["snapshot"]


@pytest.mark.parametrize("fault", [InstallFailed("no"), OSError("no"), KeyError("no")])
def test_a_failure_is_said_once_and_tried_again_after_a_while(story: Story, fault: Exception) -> None:
    story.fault = fault
    for failures in range(1, 3):
        story.offer(snapshot(7))
        story.end_thread()
        for _ in range(RETRY_TICKS - 1):
            story.installer.tick()
        assert story.events.count("failed 7") == failures - 1
        story.installer.tick()
        assert story.events.count("failed 7") == failures
    [(_, line)] = [told for told in story.told if told[0] == "snapshot.not_installed"]
    assert line.startswith("the snapshot of node n1 is not installed yet: ")
    assert "no" in line
    story.fault = None
    story.offer(snapshot(7))
    story.end_thread()
    story.installer.tick()
    assert story.events[-1] == "installed 7"


def test_a_disk_that_does_not_take_the_file_is_a_failure_like_others(
    story: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(SnapshotStore, "adopt", full)
    story.offer(snapshot(7))
    story.end_thread()
    for _ in range(RETRY_TICKS + 1):
        story.installer.tick()
    assert story.events == ["end readers", "failed 7"]
    assert "no space" in story.told[-1][1]
    monkeypatch.undo()
    story.offer(snapshot(7))
    story.end_thread()
    story.installer.tick()
    assert story.events[-1] == "installed 7"


def test_a_node_that_stops_does_not_wait_for_a_fetch(story: Story) -> None:
    story.may_end.clear()
    story.offer(snapshot(7))
    story.installer.close()
    story.end_thread()
