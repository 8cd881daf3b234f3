"""A line an event: its two forms, how many there are, and that writing one waits for nobody."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.config import Cluster, load
from atm.server.logger.formats import CLIPPED, LINE_BYTES_MAX, JsonFormatter, TextFormatter
from atm.server.logger.line_writer import QUEUED_MAX, Descriptor, LineWriter, RotatedFile
from atm.server.logger.logger import RESERVED, EventRecord, Field, Logger
from atm.server.logger.node_log import NodeLog, NoLogFile
from atm.server.logger.rate_limit import LINES_MAX, WINDOW_S, RateLimit
from tests.support.collecting import collecting
from tests.support.server_parts import wait_until

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
WILD = st.text(st.characters(), max_size=50) | st.just("\n\udc80é" * 3000)  # with surrogates; very long


def record(message: str, /, *, event: str = "a.b", level: int = logging.INFO, **fields: Field) -> EventRecord:
    return EventRecord(level, event, message, fields, "", 0)


# -- forms ----------------------------------------------------------------------------------------------


def test_a_line_of_text_has_time_level_node_and_message() -> None:
    made = record("voted for node n1 in term 4", term=4)
    made.created = 1795000212.0456
    assert TextFormatter("n2").format(made) == "2026-11-18T11:10:12.045Z INFO n2 voted for node n1 in term 4"


def test_a_line_of_json_has_the_same_and_the_event_with_its_fields() -> None:
    made = record("lost", event="peer.lost", level=logging.WARNING, peer="n1", away_s=1.5, address=None)
    told = json.loads(JsonFormatter("n2").format(made))
    assert re.fullmatch(STAMP, told.pop("time"))
    assert told == {
        "level": "warning",
        "node": "n2",
        "event": "peer.lost",
        "message": "lost",
        "peer": "n1",
        "away_s": 1.5,
        "address": None,
    }


@given(message=WILD, field=WILD)
def test_whatever_a_stranger_sends_is_one_line_of_bounded_length(message: str, field: str) -> None:
    for formatter in (TextFormatter("n1"), JsonFormatter("n1")):
        line = formatter.format(record(message, why=field, other=field))
        assert len(line.encode()) < LINE_BYTES_MAX
        assert line.isprintable(), "no newline, no escape sequence, nothing that moves a cursor"
    assert {"time", "level", "node", "event", "message", "why"} <= json.loads(line).keys()


def test_a_stranger_cannot_forge_a_line() -> None:
    forged = "x'\n2026-11-30T06:10:12.345Z INFO n1 all is well\r\x1b[2J\u2028\x9b"
    text = TextFormatter("n1").format(record(f"refused node '{forged}"))
    assert text.endswith(r"'x'\n2026-11-30T06:10:12.345Z INFO n1 all is well\r\x1b[2J\u2028\x9b")
    assert json.loads(JsonFormatter("n1").format(record("refused", peer=forged)))["peer"] == forged


def test_what_is_too_long_is_cut_and_says_so() -> None:
    told = json.loads(JsonFormatter("n1").format(record("é" * 5000, why="w" * 5000)))
    assert told["message"].endswith(CLIPPED)
    assert told["why"].endswith(CLIPPED)


def test_a_number_that_json_has_not_is_told_as_text() -> None:
    assert json.loads(JsonFormatter("n1").format(record("x", took_s=float("inf"))))["took_s"] == "inf"


def test_a_level_below_the_one_asked_for_costs_no_record() -> None:
    lines: list[str] = []
    logger = collecting(lines)
    logger.debug("a.b", "debug")
    logger.info("a.b", "info")
    logger.warning("a.b", "warning")
    logger.error("a.b", "error")
    assert lines == ["warning", "error"]


def test_a_field_cannot_stand_for_what_each_line_has() -> None:
    for name in RESERVED - {"event", "message"}:
        fields: dict[str, Any] = {name: "x"}
        with pytest.raises(AssertionError, match=r"a\.b"):
            collecting([]).error("a.b", "x", **fields)


# -- how many -------------------------------------------------------------------------------------------


class Limited:
    """A rate limit with a clock, and what it passed on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.lines: list[str] = []
        self.limit = RateLimit(lambda: self.now_s)

        class Handler(logging.Handler):
            def emit(_self, record: logging.LogRecord) -> None:
                assert isinstance(record, EventRecord)
                self.lines += [each.msg for each in self.limit.admit(record)]

        self.logger = Logger(Handler())


def test_an_event_has_so_many_lines_a_minute_and_hides_no_other() -> None:
    limited = Limited()
    for number in range(LINES_MAX + 35):
        limited.logger.warning("peer.lost", f"{number}")
    limited.logger.error("disk.low", "the disk is nearly full")
    assert limited.lines == [*(f"{number}" for number in range(LINES_MAX)), "the disk is nearly full"]
    assert limited.limit.over() == []
    limited.now_s = WINDOW_S
    [told] = limited.limit.over()
    assert told.msg == f"35 more lines of this kind within a minute, left out; the last: {LINES_MAX + 34}"
    assert (told.event, told.levelno) == ("lines.left_out", logging.WARNING)
    assert told.fields == {"of": "peer.lost", "about": "", "count": 35}
    assert limited.limit.over() == []


def test_lines_that_others_cause_are_told_once_a_minute_and_so_many_about_each() -> None:
    limited = Limited()
    n2, n3 = limited.logger.about("n2", 2), limited.logger.about("n3", 2)
    for line in ("a", "a", "b", "c", "d", "a"):
        n2.warning("peer.refused", line)
    n3.warning("peer.refused", "a")
    assert limited.lines == ["a", "b", "a"]
    limited.now_s = WINDOW_S + 1
    n2.warning("peer.refused", "e")
    left_out = "4 more lines of this kind within a minute, left out; the last: a"
    assert limited.lines == ["a", "b", "a", left_out, "e"]
    assert limited.limit.rest() == []


def test_what_is_left_out_when_the_node_ends_is_counted_too() -> None:
    limited = Limited()
    n2 = limited.logger.about("n2", 1)
    n2.warning("peer.refused", "a")
    assert limited.limit.over_in_s() is None
    n2.warning("peer.refused", "a")
    assert limited.limit.over_in_s() == WINDOW_S
    assert [told.msg[:11] for told in limited.limit.rest()] == ["1 more line"]


# -- the writer -----------------------------------------------------------------------------------------


def lost(count: int) -> bytes:
    return b"%d lost\n" % count


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_no_line_is_torn_however_many_threads_write(pipe: tuple[int, int]) -> None:
    """Trial 10."""
    read, write = pipe
    writer = LineWriter(Descriptor(write), lost_line=lost)

    def say(name: int) -> None:
        for number in range(50):
            writer.put(b"%d says %d %s\n" % (name, number, b"x" * 1000))

    threads = [threading.Thread(target=say, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    found = b""
    while found.count(b"\n") < 400:
        found += os.read(read, 65536)
    for thread in threads:
        thread.join()
    writer.close()
    lines = found.decode().splitlines()
    assert all(re.fullmatch(r"\d says \d+ x{1000}", line) for line in lines)
    assert len(set(lines)) == 400


def test_a_pipe_that_nobody_reads_makes_nobody_wait_and_what_is_lost_is_counted(
    pipe: tuple[int, int],
) -> None:
    read, write = pipe
    writer = LineWriter(Descriptor(write), lost_line=lost, queued_max=100)
    line = b"y" * 999 + b"\n"
    for _ in range(1000):
        writer.put(line)
    writer.close(within_s=0.05)  # nor does the end wait
    found = b""
    while b"lost\n" not in found:
        found += os.read(read, 65536)
    [told] = re.findall(rb"^(\d+) lost$", found, re.MULTILINE)
    while found.count(line) + int(told) < 1000:
        found += os.read(read, 65536)
    assert found.count(line) + int(told) == 1000
    assert found.replace(line, b"") == told + b" lost\n"


def test_a_reader_that_has_gone_ends_nothing(pipe: tuple[int, int]) -> None:
    read, write = pipe
    gone = os.dup(write)
    os.close(os.dup(read))
    writer = LineWriter(Descriptor(gone), lost_line=lost)
    os.close(gone)
    writer.put(b"to nobody\n")
    writer.close()
    assert not writer._thread.is_alive()


def test_without_any_stderr_lines_go_nowhere() -> None:
    writer = LineWriter(Descriptor(None), lost_line=lost)
    writer.put(b"to nobody\n")
    writer.close()


# -- the file of [log] ----------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.ini"
    path.write_text("[log]\nfile = {node}.log\n[node n1]\nclient = localhost:5000\npeer = localhost:6000\n")
    return path


def cluster_with(config: Path, **changes: str) -> Cluster:
    lines = "\n".join(f"{key} = {value}" for key, value in changes.items())
    config.write_text(f"[log]\n{lines}\n[node n1]\nclient = localhost:5000\npeer = localhost:6000\n")
    return load(config)


def messages(path: Path) -> list[str]:
    """Return the messages in a file; it may not be there yet."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split(" ", 3)[3] for line in lines]


def waits_for(path: Path, *expected: str) -> Callable[[], bool]:
    return lambda: messages(path)[-len(expected) :] == list(expected)


def test_the_file_is_its_owners_alone_and_named_by_the_node(config: Path) -> None:
    path = config.parent / "n1.log"
    with closing(NodeLog(load(config), "n1")) as log:
        log.logger.info("a.b", "one")
        wait_until(waits_for(path, "one"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_renamed_or_cut_is_written_to_all_the_same(config: Path) -> None:
    path = config.parent / "n1.log"
    with closing(NodeLog(load(config), "n1")) as log:
        log.logger.info("a.b", "one")
        wait_until(waits_for(path, "one"))
        moved = path.rename(config.parent / "n1.log.1")
        log.logger.info("a.b", "two")
        wait_until(waits_for(path, "two"))
        os.truncate(path, 0)  # copytruncate
        log.logger.info("a.b", "three")
        wait_until(waits_for(path, "three"))
        path.unlink()
        log.logger.info("a.b", "four")
        wait_until(waits_for(path, "four"))
    assert messages(moved) == ["one"]


def test_a_file_that_cannot_be_opened_again_leaves_the_old_one_in_use(config: Path) -> None:
    path = config.parent / "n1.log"
    with closing(NodeLog(load(config), "n1")) as log:
        log.logger.info("a.b", "one")
        wait_until(waits_for(path, "one"))
        moved = path.rename(config.parent / "n1.log.1")
        path.mkdir()
        log.logger.info("a.b", "two")
        wait_until(lambda: len(messages(moved)) == 3)
        path.rmdir()
        log.logger.info("a.b", "three")
        wait_until(waits_for(path, "three"))
    one, two, told = messages(moved)
    assert (one, two) == ("one", "two")
    assert "cannot be opened again: Is a directory" in told


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_a_file_that_cannot_be_opened_is_told_in_a_line(config: Path, make: Callable[[Path], None]) -> None:
    make(config.parent / "n1.log")
    with pytest.raises(NoLogFile, match=r"n1\.log of \[log\] cannot be opened: "):
        NodeLog(load(config), "n1")


def test_level_format_and_file_change_while_it_runs_and_a_wrong_file_changes_nothing(config: Path) -> None:
    first, second = config.parent / "n1.log", config.parent / "second.log"
    with closing(NodeLog(load(config), "n1")) as log:
        log.logger.debug("a.b", "not told")
        cluster_with(config, file="{node}.log", level="debug")
        log.read_again()
        wait_until(waits_for(first, "cluster.ini was read again for [log]: level debug, format text"))
        log.logger.debug("a.b", "told")
        config.write_text("nonsense")
        log.read_again()
        wait_until(lambda: "The log goes on as before" in messages(first)[-1])
        cluster_with(config, file="second.log", format="json")
        log.read_again()
        wait_until(lambda: second.exists() and second.read_text().endswith("\n"))
        log.logger.debug("a.b", "not told")
    assert "told" in messages(first)
    assert "not told" not in messages(first)
    told = [json.loads(line) for line in second.read_text().splitlines()]
    assert [(line["event"], line.get("log_format")) for line in told] == [("log.settings_read", "json")]


def test_a_full_disk_loses_lines_and_says_how_many_once_there_is_room() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    read, write = os.pipe()
    with os.fdopen(full, "wb"), os.fdopen(read, "rb") as found:
        writer = LineWriter(Descriptor(full), lost_line=lost)
        for _ in range(3):
            writer.put(b"a\n")
        writer.write_to(Descriptor(write))
        writer.put(b"b\n")
        writer.close()
        os.close(write)
        assert found.read() == b"3 lost\nb\n"


def test_a_line_that_was_written_in_part_does_not_spoil_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, room = tmp_path / "x.log", [2, 0, 100, 100]
    real = os.write

    def write(descriptor: int, piece: bytes) -> int:
        if not (size := room.pop(0)):
            raise OSError("no space")
        return real(descriptor, piece[:size])

    file = RotatedFile(path, lambda error: None)
    monkeypatch.setattr(os, "write", write)
    assert not file.write(b"abcdef\n")
    assert file.write(b"ghi\n")
    monkeypatch.undo()
    file.close()
    assert path.read_bytes() == b"ab\nghi\n"


def test_what_waits_is_bounded() -> None:
    assert QUEUED_MAX * LINE_BYTES_MAX <= 8 * 1024 * 1024
