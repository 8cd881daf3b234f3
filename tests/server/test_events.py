"""A node's events on request: its own, a page at a time, to who may ask; and written down when it fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from atm.client import Client, EventCursor, Rejected, Unavailable, UnknownNode
from atm.client.node_events import events_of
from atm.config import load
from atm.events.decoding import page_of
from atm.events.event import Event, Header
from atm.events.recorder import FlightRecorder
from atm.events.recording import read_lines
from atm.local_cluster import write_cluster_ini
from atm.raft import LeaderLearned
from atm.server import main
from atm.server.clients.event_source import EventSource
from atm.server.server import Server
from atm.wire.client_messages import EVENTS_BYTES_MAX, Events, EventsReply, decode_client_reply
from tests.support.fake_cluster import FakeCluster
from tests.support.server_parts import RunningServer, Wire, wait_until

SECRETS = ("4711", "annabelle", "31337")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_cluster_ini(tmp_path, 1)


def kinds(events: Any) -> list[str]:
    return [event.kind for event in events]


def test_a_node_tells_how_it_was_elected_and_what_it_answered_and_no_secret(file: Path) -> None:
    with RunningServer(load(file), "n1") as server, Client(file) as client:
        server.wait_for_leader()
        client.open("annabelle")
        client.set_pin("annabelle", "4711")
        done = client.credit("annabelle", 31337)
        client.debit("annabelle", 1, pin="0000")
        client.query("annabelle")
        found = client.node_events("n1")
        assert found.header.node == "n1"
        assert found.header.cluster == server.server.events_header().cluster
        assert found.header.cluster
        assert kinds(found.events)[:2] == ["started", "membership"]
        leads = next(event for event in found.events if event.kind == "role" and event.role == "leader")
        assert (leads.cause, leads.votes) == ("election-won", ("n1",))
        answer = next(event for event in found.events if event.request == done.request_id and event.outcome)
        assert (answer.kind, answer.outcome, answer.term) == ("answer", "ok", leads.term)
        assert any(event.op == "credit" and event.request == done.request_id for event in found.events)
        text = msgspec.json.encode(found.events).decode()
        assert not any(secret in text for secret in SECRETS)
        again = client.node_events("n1", found.cursor)
        assert [event.number for event in again.events if event.number <= found.cursor.after] == []
        assert again.header.missed == 0


def test_a_cursor_of_before_a_restart_gives_everything_since_the_start(file: Path) -> None:
    with RunningServer(load(file), "n1") as server, Client(file) as client:
        server.wait_for_leader()
        cursor = client.node_events("n1").cursor
    with RunningServer(load(file), "n1") as server, Client(file) as client:
        server.wait_for_leader()
        found = client.node_events("n1", EventCursor(cursor.recorder, 1))
        assert kinds(found.events)[0] == "started"


def test_a_reply_is_bounded_and_the_pages_are_everything_once() -> None:
    recorder = FlightRecorder("n1", lambda: 7_000)
    for term in range(1000):
        recorder.on_core_event(LeaderLearned(term=term, leader="n" * 32))
    source = EventSource(recorder, lambda: Header(node="n1", recorder=recorder.name))
    found: list[Event] = []
    cursor = 0
    while True:
        payload = source.reply(Events(id="e", after=cursor))
        assert len(payload) < EVENTS_BYTES_MAX + 1024
        reply = decode_client_reply(payload)
        assert isinstance(reply, EventsReply)
        if not reply.events:
            break
        found += reply.events
        cursor = reply.next
    assert found == page_of(recorder).events


@pytest.mark.parametrize("limit", [0, 1001, "all"])
def test_a_limit_out_of_bounds_is_no_request(file: Path, limit: object) -> None:
    with RunningServer(load(file), "n1") as server, Wire(server.client) as wire:
        answer = wire.ask({"id": "e", "op": "events", "limit": limit})
        assert answer["outcome"] == "bad_request"


def test_a_node_of_an_older_release_is_told_from_one_that_does_not_answer(tmp_path: Path) -> None:
    cluster = FakeCluster(tmp_path, 1)
    [node] = cluster.nodes.values()
    node.always = lambda request: node._frame({"id": request["id"], "outcome": "bad_request", "message": "?"})
    try:
        with Client(cluster.config) as client:
            with pytest.raises(Rejected, match=r"release before 1\.2"):
                client.node_events(node.name)
            with pytest.raises(UnknownNode):
                client.node_events("nobody")
    finally:
        cluster.stop()
    with pytest.raises(Unavailable, match="does not answer"):
        events_of(load(cluster.config).nodes[node.name], answer_s=0.2)


def test_a_node_that_fails_writes_what_happened_and_still_says_why_it_failed(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(server: Server) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(Server, "run", fails)
    monkeypatch.setattr(main, "forbid_core_dumps", lambda **options: None)
    monkeypatch.setattr(main, "_stop_on_signals", lambda *handlers: None)
    assert main.main(["n1", "--config", str(file)]) == 1
    folder = load(file).data_dir / "n1"
    [path] = folder.glob("flight-*.jsonl")
    said = capfd.readouterr().err.splitlines()
    assert f"what happened in it before is in {path}" in said[-2]
    assert "internal error: ZeroDivisionError: of the test" in said[-1]
    [recording] = read_lines(path.read_bytes().splitlines())
    assert recording.header.reason == "ZeroDivisionError: of the test"
    assert (recording.events[0].kind, recording.events[-1].kind) == ("started", "stopped")
    assert path.stat().st_mode & 0o077 == 0


def test_a_dump_that_fails_does_not_hide_the_failure(
    file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(server: Server) -> None:
        os.rename(load(file).data_dir / "n1", load(file).data_dir / "gone")
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr(Server, "run", fails)
    monkeypatch.setattr(main, "forbid_core_dumps", lambda **options: None)
    monkeypatch.setattr(main, "_stop_on_signals", lambda *handlers: None)
    assert main.main(["n1", "--config", str(file)]) == 1
    said = capfd.readouterr().err.splitlines()
    assert "could not be written" in said[-2]
    assert "ZeroDivisionError: of the test" in said[-1]


def test_a_node_that_is_stopped_writes_no_file(file: Path) -> None:
    with RunningServer(load(file), "n1") as server:
        server.wait_for_leader()
        wait_until(lambda: len(server.server.recorder.rare) > 0)
    assert list((load(file).data_dir / "n1").glob("flight-*")) == []
