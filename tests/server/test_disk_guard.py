"""The room on a disk: when a node says that there is too little, and when that ends."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from atm.server.group.disk_guard import MIB, START_BYTES_MIN, DiskGuard, NoRoom, Room, check_room, room_in
from tests.support.collecting import collecting

LARGE = 1_000_000 * MIB


class Story:
    def __init__(self, reserve_mib: int = 256) -> None:
        self.free, self.size = LARGE, LARGE
        self.said: list[str] = []
        self.guard = DiskGuard(
            lambda: Room(self.free, self.size), reserve_mib * MIB, collecting(self.said, level=logging.INFO)
        )

    def look_at(self, free: int, size: int = LARGE) -> bool:
        self.free, self.size = free, size
        self.guard.look()
        return self.guard.is_low


@pytest.mark.parametrize(
    ("size_mib", "reserve_mib"), [(1_000_000, 256), (5_120, 256), (5_000, 250), (100, 5)]
)
def test_the_reserve_is_that_of_cluster_ini_or_a_share_of_a_small_disk(
    size_mib: int, reserve_mib: int
) -> None:
    story = Story()
    assert not story.look_at(reserve_mib * MIB, size_mib * MIB)
    assert story.look_at(reserve_mib * MIB - 1, size_mib * MIB)


def test_the_alarm_says_how_much_is_left_and_ends_with_some_room_more_than_the_reserve() -> None:
    story = Story()
    assert story.guard.alarms == []
    assert story.look_at(200 * MIB)
    assert story.look_at(199 * MIB)
    [alarm] = story.guard.alarms
    assert alarm.startswith("the disk is nearly full: 199 MiB are free")
    assert story.look_at(257 * MIB), "a file less does not end it"
    assert not story.look_at(282 * MIB)
    assert story.guard.alarms == []
    assert [line.partition(":")[0] for line in story.said] == [
        "the disk is nearly full",
        "there is room on the disk again",
    ]


def test_a_reserve_of_nothing_never_raises_the_alarm() -> None:
    assert not Story(reserve_mib=0).look_at(0)


def test_a_start_takes_some_room(tmp_path: Path) -> None:
    check_room(tmp_path, lambda folder: Room(START_BYTES_MIN, LARGE))
    with pytest.raises(NoRoom, match="1023 KiB are free, and a start takes 1024 at least"):
        check_room(tmp_path, lambda folder: Room(START_BYTES_MIN - 1, LARGE))


def test_the_room_of_a_folder_that_does_not_exist_yet_is_that_of_the_one_above_it(tmp_path: Path) -> None:
    free, size = room_in(tmp_path / "data" / "n1")
    assert 0 < free <= size
    assert room_in(tmp_path).size == size
