"""Logs for tests: what is saved, the simulated disk, and what a log should hold afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from random import Random

from atm.raft.messages import Entry, EntryKind, HardState
from atm.storage.log_file import LogFile
from atm.storage.log_format import SEGMENT_HEADER_BYTES
from tests.support.sim_disk import SimDisk

FOLDER = Path("/data/5000")
FIRST, SECOND, THIRD = (FOLDER / f"raft.log.00000{number}" for number in (1, 2, 3))

Saved = tuple[HardState, tuple[Entry, ...]]


def entries(first: int, count: int, term: int = 1, command: bytes = b"credit") -> tuple[Entry, ...]:
    return tuple(
        Entry(
            index=index,
            term=term,
            time_us=1_000_000 + index,
            kind=EntryKind.COMMAND,
            data=b"%s %d.%d" % (command, index, term),
        )
        for index in range(first, first + count)
    )


def state(term: int, voted_for: str | None = None, commit_index: int = 0) -> HardState:
    return HardState(term=term, voted_for=voted_for, commit_index=commit_index)


def new_disk(seed: int = 0) -> SimDisk:
    return SimDisk(Random(seed))


def open_log(disk: SimDisk, segment_bytes_max: int = 1 << 20) -> LogFile:
    return LogFile(FOLDER, disk=disk, segment_bytes_max=segment_bytes_max)


def saved_in(log: LogFile) -> Saved:
    return log.hard_state, tuple(log.tail(1))


def after_save(saved: Saved, hard_state: HardState, new: Sequence[Entry]) -> Saved:
    """Return what a log should hold after one more save."""
    kept = saved[1][: new[0].index - 1] if new else saved[1]
    return hard_state, (*kept, *new)


def runs_of(log_entries: Sequence[Entry]) -> list[tuple[int, int]]:
    terms = [0, *(entry.term for entry in log_entries)]
    return [(index, new) for index, (old, new) in enumerate(pairwise(terms), 1) if new != old]


def random_save(random: Random, saved: Saved) -> Saved:
    """Return arguments for a save that may follow: a new term, a vote, entries, a replaced suffix."""
    term, vote, last = saved[0].term, saved[0].voted_for, len(saved[1])
    commit_index = saved[0].commit_index
    if random.random() < 0.4:
        term, vote = term + random.randint(1, 3), None
    if vote is None and random.random() < 0.5:
        term, vote = max(term, 1), random.choice(("5000", "5001", "fünf"))
    first = random.randint(commit_index + 1, last + 1) if random.random() < 0.3 else last + 1
    count = random.choice((0, 1, 1, 2, 9))
    lowest = saved[1][first - 2].term if first > 1 else 1
    term = max(term, lowest)
    new_terms = sorted(random.randint(lowest, term) for _ in range(count))
    new = tuple(
        Entry(
            index=index,
            term=of_term,
            time_us=index,
            kind=EntryKind.COMMAND,
            data=random.randbytes(random.choice((0, 5, 40, 700))),
        )
        for index, of_term in enumerate(new_terms, first)
    )
    if new and random.random() < 0.5:
        commit_index = random.randint(commit_index, new[-1].index)
    return state(term, vote if term == saved[0].term or vote else None, commit_index), new


def three_batches_and_two_more(disk: SimDisk) -> list[tuple[Path, int, int, Saved]]:
    """Write three batches in one segment and two in the next.

    Return for each its place (path, start, stop) and the contents of the log once it was saved.
    """
    saves = [
        (state(1, "5000"), ()),
        (state(1, "5000"), entries(1, 3)),
        (state(2), entries(3, 2, term=2, command=b"\n\x00\xff line\n")),
        (state(2, "5003"), entries(5, 4, term=2)),
        (state(3, None, 5), entries(9, 1, term=3)),
    ]
    log = open_log(disk, segment_bytes_max=430)
    batches = []
    saved: Saved = (HardState(), ())
    for hard_state, new in saves:
        before = {path: len(disk.contents(path)) for path in disk.paths()}
        log.save(hard_state, new)
        path = disk.paths()[-1]
        saved = after_save(saved, hard_state, new)
        start = before.get(path, SEGMENT_HEADER_BYTES)
        batches.append((path, start, len(disk.contents(path)), saved))
    log.close()
    assert [path for path, *_ in batches] == [FIRST, FIRST, FIRST, SECOND, SECOND]
    return batches
