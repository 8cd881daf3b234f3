"""A changed pepper file is read again by a server that runs; what is in use never goes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from atm.ledger.peppers import PepperState
from atm.server.group.pepper_watch import PepperWatch, lack_of
from atm.server.security.peppers import Peppers, add_pepper, new_peppers, read_peppers
from atm.server.security.pins import PinSealer
from tests.support.collecting import collecting
from tests.support.server_parts import wait_until


class Story:
    """A watch over a file with one pepper; the test looks."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pepper.key"
        self.sealer = PinSealer(read_peppers(self.path))
        self.current = PepperState()
        self.said: list[str] = []
        self.watch = PepperWatch(
            self.path, self.sealer, lambda: self.current, collecting(self.said, level=logging.INFO)
        )

    def look(self) -> list[str]:
        """Return what is said."""
        self.said.clear()
        self.watch.look(asked=False)
        return list(self.said)

    @property
    def names(self) -> tuple[str, ...]:
        return self.sealer.peppers.names

    def put(self, peppers: Peppers) -> None:
        self.path.write_bytes(peppers.contents() + b"\n")  # another size

    def rotate(self) -> None:
        self.current = PepperState(len(self.names), self.names[-1], 7, None)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


def test_a_pepper_that_was_added_is_read_once(story: Story) -> None:
    assert story.look() == []
    added = add_pepper(story.path)
    (line,) = story.look()
    assert line == f"the pepper file was read again: it has 2 lines, the last is pepper {added.names[-1]}"
    assert story.names == added.names
    assert story.look() == []


def test_a_file_that_does_not_begin_with_what_is_in_use_is_one_line_and_nothing_changes(
    story: Story,
) -> None:
    first = story.sealer.peppers
    story.put(new_peppers().with_new())
    (line,) = story.look()
    assert line == (
        f"the pepper {story.path} was changed and does not begin with those in use. "
        "What was read before stays in use"
    )
    assert story.look() == [], "once for each change"
    assert story.sealer.peppers is first
    second = first.with_new()
    story.put(second)
    story.look()
    story.rotate()
    for wrong in (first, first.with_new(), new_peppers()):
        story.put(wrong)
        assert "does not begin with those in use" in story.look()[0]
        assert story.names == second.names


def test_what_is_not_in_use_yet_may_be_replaced(story: Story) -> None:
    """Two machines had each added one: the file of one is copied to the other."""
    first = story.sealer.peppers
    for lines in (first.with_new(), first.with_new().with_new(), first):
        story.put(lines)
        assert len(story.look()) == 1
        assert story.names == lines.names


def test_a_file_that_cannot_be_used_is_one_line(story: Story) -> None:
    names = story.names
    story.path.chmod(0o644)
    story.path.write_bytes(story.path.read_bytes() + b"\n")
    assert "other users can read" in story.look()[0]
    story.path.write_text("damaged")
    assert "other users can read" in story.look()[0]
    story.path.chmod(0o600)
    story.path.write_text("damaged, too")
    assert "is damaged" in story.look()[0]
    story.path.unlink()
    assert "there is no pepper" in story.look()[0]
    assert not story.path.exists(), "a lost one is not replaced"
    assert story.names == names


def test_a_server_that_lacks_the_current_pepper_says_so_once_until_the_file_is_there(story: Story) -> None:
    right = story.sealer.peppers.with_new()
    story.current = PepperState(2, right.names[-1], 7, None)
    (line,) = story.look()
    assert line == lack_of(story.path, story.sealer.peppers, story.current)
    assert f"lacks the current one, {right.names[-1]}" in line
    assert story.look() == []
    story.put(right)
    assert len(story.look()) == 1
    assert lack_of(story.path, story.sealer.peppers, story.current) == ""
    assert story.look() == []


def test_the_thread_looks_by_itself_and_when_it_is_asked_to(story: Story) -> None:
    watch = PepperWatch(
        story.path, story.sealer, lambda: story.current, collecting(story.said), look_every_s=3600
    )
    watch.start()
    try:
        added = add_pepper(story.path)
        watch.read_again()
        wait_until(lambda: story.names == added.names)
    finally:
        watch.close()
