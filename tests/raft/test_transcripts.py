"""The transcripts show what happens; see tests/raft/transcripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.raft.transcripts.__main__ import FOLDER, difference
from tests.raft.transcripts.script import NoSuchCommand, regenerated

FILES = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_transcript_tells_what_happens(path: Path) -> None:
    """If this is meant to have changed: `python -m tests.raft.transcripts --rewrite`, and read `git diff`."""
    assert not difference(path), difference(path)


def test_each_part_of_the_protocol_has_a_transcript() -> None:
    elections = "election pre_vote split_vote step_down transfer"
    logs = "conflict crash figure_8 membership pipelining read_index snapshot"
    expected = sorted(f"{elections} {logs}".split())
    assert [path.stem for path in FILES] == expected


def test_a_transcript_that_is_wrong_is_shown_as_a_diff(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    text = regenerated("# A remark.\n\n> start n1\n> tick n1 until leader\n")
    path.write_text(text.replace("appends 1@1 noop", "appends nothing"))
    assert "-    n1: follower -> leader; term 0 -> 1; votes for n1; appends nothing" in difference(path)
    path.write_text(text)
    assert difference(path) == ""


def test_a_comment_stays_where_it_is_and_a_second_run_gives_the_same() -> None:
    text = FILES[0].read_text(encoding="utf-8")
    assert regenerated(regenerated(text)) == text
    assert text.startswith("# Figure 7")


def test_an_unknown_command_of_a_transcript_is_refused() -> None:
    with pytest.raises(NoSuchCommand, match="'sing' is none of log, start"):
        regenerated("> sing\n")
    with pytest.raises(NoSuchCommand, match="the first command is `start`"):
        regenerated("> heal\n")
    with pytest.raises(NoSuchCommand, match="'leader' has not come"):
        regenerated("> start n1 n2\n> tick n1 until leader\n")
