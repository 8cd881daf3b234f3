"""How far a long command is, as a person and as a file see it."""

from __future__ import annotations

import io

import pytest

from atm.office.progress import CLEAR, ELSEWHERE_S, TERMINAL_S, Progress


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "every_s", "expected"),
    [
        (Screen(), TERMINAL_S, f"{CLEAR}at 1{CLEAR}at 2{CLEAR}"),
        (io.StringIO(), ELSEWHERE_S, "at 1\nat 2\n"),
    ],
)
def test_a_line_is_shown_when_one_is_due_and_taken_away_at_a_terminal(
    out: io.StringIO, every_s: float, expected: str
) -> None:
    now_s = 0.0
    progress = Progress(out, lambda: now_s)
    for turn in range(5):
        now_s = turn * every_s / 2
        progress.show(lambda turn=turn: f"at {turn // 2}")  # type: ignore[misc]
    progress.end()
    assert out.getvalue() == expected


def test_a_short_command_shows_nothing() -> None:
    screen = Screen()
    progress = Progress(screen, lambda: 0.0)
    progress.show(lambda: "at once")
    progress.end()
    assert not screen.getvalue()
