"""bin/admin events: of nodes that answer and of files, merged in time, a sentence a line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from atm.admin.main import main
from atm.events.event import Event, Header
from atm.events.recording import lines_of
from tests.admin.fake_membership import FakeMembership
from tests.support.fake_node import FakeNode, Map, Step
from tests.support.running import Run

HOUR_US = 3_600_000_000


def events(node: str) -> list[Event]:
    """Return three events of `node`, the second of which is a message."""
    at_us = 1_000_000 + int(node[-1])
    known = {"node": node, "term": 3, "role": "follower"}
    return [
        msgspec.convert(known | fields, Event)
        for fields in (
            {"number": 1, "at_us": at_us, "kind": "leader", "leader": "5001"},
            {"number": 2, "at_us": at_us + 10, "kind": "received", "peer": "5001", "message": "heartbeat"},
            {"number": 3, "at_us": at_us + 20, "kind": "peer", "peer": "\x1b[2J", "what": "lost"},
        )
    ]


def header(node: str, recorder: int = 5) -> Header:
    return Header(node=node, wall_us=HOUR_US, monotonic_us=1_000_100, recorder=recorder, version="1.2.0")


def tells(node: FakeNode) -> Step:
    """Return what `node` does when it is asked for its events, however often."""
    usual = node.always
    assert usual is not None

    def answer(request: Map) -> bytes | None:
        if request["op"] != "events":
            return usual(request)
        later = [each for each in events(node.name) if each.number > request.get("after", 0)]
        reply = {"outcome": "ok", "header": header(node.name), "next": 3, "events": later}
        return node._frame({"id": request["id"]} | msgspec.to_builtins(reply))

    return answer


@pytest.fixture
def telling(bank: FakeMembership) -> FakeMembership:
    for node in bank.cluster.nodes.values():
        node.always = tells(node)
    return bank


def test_all_nodes_are_merged_in_time_and_messages_are_left_out(run: Run, telling: FakeMembership) -> None:
    ran = run("events")
    assert ran.code == 0
    assert [line.split()[2] for line in ran.out] == ["5000", "5001", "5002"] * 2
    assert ran.out[0] == "1970-01-01 00:59:59.999900  5000 follows 5001, the leader of term 3"
    assert "\x1b" not in "".join(ran.out), "what a false node tells does not reach the terminal"


def test_one_node_with_its_messages(run: Run, telling: FakeMembership) -> None:
    ran = run("events", "5002", "--messages")
    assert [line.split()[2] for line in ran.out] == ["5002"] * 3


def test_json_is_an_event_a_line_with_its_wall_time(run: Run, telling: FakeMembership) -> None:
    found = [json.loads(line) for line in run("--json", "events").out]
    assert len(found) == 9
    assert found[0] == {
        "wall_us": HOUR_US - 100, "number": 1, "at_us": 1_000_000, "node": "5000", "kind": "leader",
        "term": 3, "role": "follower", "leader": "5001",
    }  # fmt: skip


def test_a_file_that_was_written_is_read_without_a_bank(
    run: Run, telling: FakeMembership, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.jsonl"
    ran = run("events", "--out", str(path))
    assert (ran.code, ran.out, path.stat().st_mode & 0o077) == (0, [], 0)
    told = run("events").out
    telling.stop()
    assert main(["events", "--config", "/nowhere", "--file", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == told
    assert run("events", "--out", str(path)).code in (2, 3), "it overwrites nothing"
    assert len(path.read_bytes().splitlines()) == 3 + 9


def test_files_of_several_nodes_are_merged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = []
    for node in ("5001", "5000"):
        paths.append(tmp_path / node)
        paths[-1].write_bytes(b"".join(lines_of(header(node), events(node))))
    assert main(["events", "--file", *map(str, paths)]) == 0
    assert [line.split()[2] for line in capsys.readouterr().out.splitlines()] == ["5000", "5001"] * 2


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 100, b"[1]\n"])
def test_what_is_no_file_of_events_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    assert main(["events", "--file", str(path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_nodes_that_are_too_old_or_down_are_named_and_the_others_tell(
    run: Run, telling: FakeMembership
) -> None:
    telling.cluster["5000"].stop()
    old = telling.cluster["5001"]
    old.always = lambda request: old._frame({"id": request["id"], "outcome": "bad_request", "message": "?"})
    ran = run("events")
    assert ran.code == 0
    assert {line.split()[2] for line in ran.out} == {"5002"}
    assert ["does not answer" in line for line in ran.err] == [True, False]
    assert "5001 tells no events" in ran.err[1]
    telling.stop()
    assert run("events").code == 3


def test_nobody_tells_is_exit_code_3_and_a_wrong_name_2(run: Run, telling: FakeMembership) -> None:
    assert run("events", "5009").code == 2
    assert run("events", "--follow", "--file", "x").code == 2
    telling.stop()
    assert run("events").code == 3


def test_following_prints_only_what_is_new_and_ends_by_ctrl_c(
    run: Run, telling: FakeMembership, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = iter([None, None])

    def pause(seconds: float) -> None:
        if next(pauses, 1) is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", pause)
    ran = run("events", "5002", "--follow")
    assert (ran.code, len(ran.out)) == (0, 2)
