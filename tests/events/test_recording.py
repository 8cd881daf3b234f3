"""Files of events: what is written is read again, what is broken is refused, nodes lie side by side."""

from __future__ import annotations

import pytest

from atm.events.event import Event, Header
from atm.events.recording import NotEvents, lines_of, merged, read_lines


def event(node: str, number: int, at_us: int) -> Event:
    return Event(number=number, at_us=at_us, node=node, kind="leader", term=3, role="follower", leader="n9")


def header(node: str, *, wall_us: int, monotonic_us: int) -> Header:
    return Header(node=node, cluster="c", version="1.2.0", wall_us=wall_us, monotonic_us=monotonic_us)


ONE = list(
    lines_of(header("n1", wall_us=10_000, monotonic_us=500), [event("n1", 1, 100), event("n1", 2, 400)])
)
OTHER = list(lines_of(header("n2", wall_us=10_100, monotonic_us=90_000), [event("n2", 1, 89_700)]))


def test_what_is_written_is_read_again() -> None:
    [one, other] = read_lines(ONE + OTHER)
    assert list(lines_of(one.header, one.events)) == ONE
    assert list(lines_of(other.header, other.events)) == OTHER


def test_nodes_are_merged_by_their_wall_clocks() -> None:
    timed = merged(read_lines(OTHER + ONE))
    assert [(wall_us, event.node, event.number) for wall_us, event in timed] == [
        (9_600, "n1", 1),
        (9_800, "n2", 1),
        (9_900, "n1", 2),
    ]


def test_a_last_line_that_was_cut_off_is_left_out() -> None:
    [recording] = read_lines([*ONE[:-1], ONE[-1][:20]])
    assert [event.number for event in recording.events] == [1]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "it is empty"),
        ([b"\x7fELF\n"], "line 1 is not the header"),
        ([ONE[1]], "line 1 is not the header"),
        (
            [b'{"format":2,"node":"n1"}\n'],
            "it has format 2, which this release does not read: use a newer one",
        ),
        ([ONE[0], b"{broken\n", ONE[1]], "line 2 is no event"),
    ],
)
def test_what_is_no_file_of_events_is_refused_with_the_reason(lines: list[bytes], why: str) -> None:
    with pytest.raises(NotEvents, match=why):
        read_lines(lines)


def test_what_a_newer_release_adds_is_no_obstacle() -> None:
    newer = b'{"number":3,"at_us":9,"node":"n1","kind":"a new kind","colour":"red"}\n'
    [recording] = read_lines([ONE[0], newer])
    assert recording.events[0].kind == "a new kind"
