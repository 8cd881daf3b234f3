"""The figures of the paper, played on the core: what each text says is what happens."""

from __future__ import annotations

import pytest

from lessons.frames import Event, Frame
from lessons.stories import STORIES, ScenePlayed, play


class Played:
    def __init__(self, name: str) -> None:
        self.frames: list[Frame] = []
        self.scenes: list[ScenePlayed] = play(name, self.frames.append)

    def events(self, scene: int | None = None) -> list[Event]:
        begin_us, end_us = 0, self.scenes[-1].end_us
        if scene is not None:
            begin_us, end_us = self.scenes[scene].begin_us, self.scenes[scene].end_us
        return [e for frame in self.frames if begin_us <= frame.time_us <= end_us for e in frame.events]

    def log(self, node: str) -> list[int]:
        """Return the terms of the entries that a server has in the end."""
        entries: list[tuple[int, str]] = []
        for frame in self.frames:
            change = frame.nodes.get(node, {}).get("log")
            if change is not None:
                entries = [*entries[: change["keep"]], *change["add"]]
        return [term for term, _ in entries]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_scenes_follow_each_other_and_each_frame_is_in_one(story: object) -> None:
    played = Played(story.name)  # type: ignore[attr-defined]
    for scene, following in zip(played.scenes, played.scenes[1:], strict=False):
        assert scene.begin_us <= scene.end_us < following.begin_us
    for frame in played.frames:
        assert any(scene.begin_us <= frame.time_us <= scene.end_us for scene in played.scenes)


def test_figure_2_ends_with_all_logs_equal() -> None:
    played = Played("figure_2")
    assert {tuple(played.log(name)) for name in ("S1", "S2", "S3", "S4", "S5")} == {(1, 1, 2)}
    assert [event.node for event in played.events() if event.kind == "elected"] == ["S1", "S2"]


def test_figure_7_ends_with_the_logs_of_the_leader() -> None:
    played = Played("figure_7")
    assert {tuple(played.log(name)) for name in ("S1", *"abcdef")} == {(1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 8)}
    refused = [event.node for event in played.events(1) if event.kind == "refusal"]
    assert refused == ["c", "d"]


def test_in_figure_8_the_entry_is_on_a_majority_and_is_not_committed() -> None:
    played = Played("figure_8")
    assert [event for event in played.events(3) if event.kind == "commit"] == []
    assert {event.node for event in played.events(5) if event.kind == "conflict"} == {"S2", "S3"}
    assert {tuple(played.log(name)) for name in ("S2", "S3", "S4", "S5")} == {(1, 3, 5)}


def test_a_split_vote_elects_nobody_until_the_next_term() -> None:
    played = Played("split_vote")
    elected = [event for event in played.events() if event.kind == "elected"]
    assert [(event.node, event.text) for event in elected] == [("S2", "S2 leads term 2")]
    assert len([event for event in played.events(4) if event.kind == "refusal"]) == 4
