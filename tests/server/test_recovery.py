"""From what is on disk to a core that can go on (scenarios 42 and 43)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from atm.ledger.ledger import Ledger
from atm.raft.config import RaftConfig
from atm.raft.messages import NUMBER_MAX, Entry, EntryKind, HardState
from atm.raft.term_limit import TERM_MAX
from atm.server.group import recovery
from atm.server.group.entry_validator import EntryValidator
from atm.server.group.log_clock import STAMP_US_MAX
from atm.server.group.recovery import LedgerAhead, LogUnusable, recover
from atm.server.group.settings import raft_config
from atm.storage.log_file import LogFile
from atm.wire.codec import encode
from atm.wire.log_entries import decode_command
from tests.support.entries import balance_of
from tests.support.server_parts import cluster_of, credit

CONFIG = RaftConfig(node_id="n1", peers=("n2", "n3"))
RANDOM = Random(1).randint


def entries(count: int) -> list[Entry]:
    return [
        Entry(index=index, term=1, time_us=index, kind=EntryKind.COMMAND, data=encode(credit(f"c{index}", 1)))
        for index in range(1, count + 1)
    ]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogFile]:
    with closing(LogFile(tmp_path / "n1")) as log:
        yield log


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with closing(Ledger(":memory:")) as ledger:
        yield ledger


def test_an_empty_folder_starts_at_nothing(log: LogFile, ledger: Ledger) -> None:
    raft = recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    assert (raft.term, raft.last_index, raft.applied_index) == (0, 0, 0)


def test_entries_known_to_be_committed_are_applied_piece_by_piece(
    log: LogFile, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REPLAY_BYTES_MAX", 500)
    log.save(HardState(term=1, voted_for="n2"), entries(90))
    log.save(HardState(term=2, voted_for="n3", commit_index=80), ())
    raft = recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    assert balance_of(ledger, "main") == 80
    assert (raft.term, raft.voted_for) == (2, "n3")
    assert (raft.last_index, raft.applied_index, raft.commit_index) == (90, 80, 80)
    assert raft.log.base_index == 80
    assert raft.log.term_at(40) == 1


def test_a_log_that_is_wholly_applied_keeps_its_last_entry_in_memory(log: LogFile, ledger: Ledger) -> None:
    log.save(HardState(term=1, voted_for=None), entries(5))
    ledger.apply([(entry.index, entry.time_us, decode_command(entry.data)) for entry in entries(5)])
    raft = recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    assert (raft.last_index, raft.log.base_index, raft.applied_index) == (5, 4, 5)


def test_a_ledger_ahead_of_its_log_is_refused(log: LogFile, ledger: Ledger) -> None:
    ledger.apply([(1, 1, credit("c1", 1)), (2, 2, None)])
    with pytest.raises(LedgerAhead, match="applied entry 2, but the log ends at 0"):
        recover(CONFIG, log, ledger, RANDOM, EntryValidator())


def test_a_term_without_room_for_elections_is_one_line_with_the_way_out(log: LogFile, ledger: Ledger) -> None:
    log.save(HardState(term=TERM_MAX, voted_for="n2"), ())
    recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    log.save(HardState(term=TERM_MAX + 1, voted_for="n2"), ())
    with pytest.raises(LogUnusable, match=rf"is in term {TERM_MAX + 1}: .*bin/ledger repair"):
        recover(CONFIG, log, ledger, RANDOM, EntryValidator())


@pytest.mark.parametrize("commit_index", [0, 6])
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"data": b"garbage"}, "is no command of this release"),
        ({"time_us": STAMP_US_MAX + 1}, f"is stamped {STAMP_US_MAX + 1} us after 1970"),
        ({"time_us": NUMBER_MAX + 7}, f"is stamped {NUMBER_MAX + 7} us after 1970"),
    ],
    ids=["garbage", "stamp", "stamp that does not decode"],
)
def test_an_entry_that_nobody_can_use_is_one_line_committed_or_not(
    log: LogFile, ledger: Ledger, commit_index: int, changes: dict[str, object], what: str
) -> None:
    last = replace(entries(6)[-1], **changes)
    log.save(HardState(term=1, commit_index=commit_index), [*entries(5), last])
    with pytest.raises(LogUnusable, match=rf"has an entry 6 that {what}.*bin/ledger repair") as raised:
        recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    assert str(raised.value).isprintable()


def test_times_become_ticks_and_elections_stay_above_heartbeats(tmp_path: Path) -> None:
    config = raft_config(cluster_of(tmp_path, "n1", "n2"), "n1")
    assert config.peers == ("n2",)
    assert (config.heartbeat_ticks, config.election_ticks_min, config.election_ticks_max) == (2, 8, 16)
