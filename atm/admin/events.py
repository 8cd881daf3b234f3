"""`bin/admin events`: what has happened in the nodes, as they tell it or as files hold it, in sentences."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from atm.admin.task import DONE, NOT_ALLOWED, NOT_AVAILABLE, REFUSED, USAGE, NotDone, Task
from atm.client.errors import ClientError, NotAllowed, Rejected
from atm.client.node_events import EventCursor, NodeEvents, events_of_each
from atm.command_line import printable
from atm.config import NodeConfig
from atm.events.event import Event
from atm.events.recording import NotEvents, Recording, lines_of, merged, read_lines
from atm.events.sentences import sentence
from atm.timestamps import format_timestamp

FOLLOW_S = 0.5
MESSAGES = frozenset({"sent", "received"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `events`."""
    parser.add_argument("nodes", nargs="*", metavar="NODE", help="whose events (default: all nodes)")
    parser.add_argument("--follow", action="store_true", help="go on with what is new, until Ctrl-C")
    parser.add_argument(
        "--messages", action="store_true", help="also what the nodes send each other (--json has it always)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write them to a new file, and print none")
    parser.add_argument(
        "--file",
        type=Path,
        nargs="+",
        dest="files",
        metavar="FILE",
        help="read files instead: a node writes one into its data folder when it fails",
    )


def run(task: Task) -> int:
    """Print the events in the order of time; 3 if no node tells them."""
    options = task.options
    if options.files and (options.nodes or options.follow):
        raise NotDone(USAGE, "--file reads files, so there is no node to ask, and nothing to follow")
    if options.out is not None and options.follow:
        raise NotDone(USAGE, "--out writes what is there, so there is nothing to follow")
    if options.files:
        _finish(task, [recording for path in options.files for recording in _read(path)])
        return DONE
    followed = _Followed(task)
    found = followed.new()
    if not found:
        raise followed.fault()
    _finish(task, found)
    try:
        while options.follow:
            time.sleep(FOLLOW_S)
            _print(task, followed.new())
    except KeyboardInterrupt:  # as it is meant to be left
        pass
    return DONE


class _Followed:
    """The nodes that are asked, and up to where each was read."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._nodes = _chosen(task)
        self._credentials = task.client.credentials
        self._cursors: dict[str, EventCursor] = {}
        self._faults: dict[str, ClientError] = {}

    def new(self) -> list[Recording]:
        """Return what is new, of each node that tells it; say once of each other one why it does not."""
        answers = events_of_each(
            self._nodes,
            self._cursors,
            answer_s=self._task.timeout_s or 2.0,
            credentials=self._credentials,
        )
        found = []
        for name, answer in answers.items():
            if isinstance(answer, NodeEvents):
                self._note(name, answer)
                found.append(answer.recording)
            elif str(self._faults.get(name)) != str(answer):
                self._faults[name] = answer
                self._task.progress(f"{name} tells no events: {answer}")
        return found

    def _note(self, name: str, answer: NodeEvents) -> None:
        if self._faults.pop(name, None) is not None:
            self._task.progress(f"{name} tells its events again")
        if answer.header.missed and name in self._cursors:
            self._task.progress(f"{name} had more events than it keeps: {answer.header.missed} are lost")
        self._cursors[name] = answer.cursor

    def fault(self) -> NotDone:
        """Return why there is nothing to print."""
        for error in self._faults.values():
            if isinstance(error, NotAllowed):
                return NotDone(NOT_ALLOWED, str(error))
        if all(isinstance(error, Rejected) for error in self._faults.values()):
            return NotDone(REFUSED, "these nodes are of a release before 1.2, which notes no events")
        return NotDone(NOT_AVAILABLE, "no node tells its events")


def _chosen(task: Task) -> dict[str, NodeConfig]:
    nodes = task.cluster.nodes
    for name in task.options.nodes:
        if name not in nodes:
            raise NotDone(USAGE, f"{task.cluster.path} has no node {name}: the nodes are {', '.join(nodes)}")
    return {name: nodes[name] for name in task.options.nodes or nodes}


def _read(path: Path) -> list[Recording]:
    try:
        with path.open("rb") as file:
            return read_lines(file)
    except NotEvents as error:
        raise NotDone(REFUSED, f"{path} is no file of events: {error}") from error


def _finish(task: Task, recordings: Sequence[Recording]) -> None:
    path: Path | None = task.options.out
    if path is None:
        _print(task, recordings)
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        for recording in recordings:
            file.writelines(lines_of(recording.header, recording.events))
    count = sum(len(recording.events) for recording in recordings)
    task.progress(f"{count} events of {len(recordings)} nodes are in {path}")


def _print(task: Task, recordings: Sequence[Recording]) -> None:
    timed = merged(recordings)
    if task.as_json:
        lines: Iterable[str] = (_json_line(wall_us, event) for wall_us, event in timed)
    else:
        messages = bool(task.options.messages)
        lines = (line_of(at, event) for at, event in timed if messages or event.kind not in MESSAGES)
    for line in lines:
        print(line)
    if task.options.follow:
        print(end="", flush=True)


def line_of(wall_us: int, event: Event) -> str:
    """Return an event as a line: its time (UTC, to the microsecond) and what happened."""
    return printable(f"{format_timestamp(wall_us)}.{wall_us % 1_000_000:06}  {sentence(event)}")


def _json_line(wall_us: int, event: Event) -> str:
    return msgspec.json.encode({"wall_us": wall_us} | msgspec.to_builtins(event)).decode()
