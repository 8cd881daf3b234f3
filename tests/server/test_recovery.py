"""From what is on disk to a core that can go on (scenarios 42 and 43)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from atm.ledger.ledger import Ledger
from atm.raft.config import RaftConfig
from atm.raft.messages import Entry, EntryKind, HardState
from atm.server.group import recovery
from atm.server.group.recovery import LedgerAhead, raft_config, recover
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
    raft = recover(CONFIG, log, ledger, RANDOM)
    assert (raft.term, raft.last_index, raft.applied_index) == (0, 0, 0)


def test_entries_known_to_be_committed_are_applied_piece_by_piece(
    log: LogFile, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "REPLAY_BYTES_MAX", 500)
    log.save(HardState(term=1, voted_for="n2"), entries(90))
    log.save(HardState(term=2, voted_for="n3", commit_index=80), ())
    raft = recover(CONFIG, log, ledger, RANDOM)
    assert balance_of(ledger, "main") == 80
    assert (raft.term, raft.voted_for) == (2, "n3")
    assert (raft.last_index, raft.applied_index, raft.commit_index) == (90, 80, 80)
    assert raft.log.base_index == 80
    assert raft.log.term_at(40) == 1


def test_a_log_that_is_wholly_applied_keeps_its_last_entry_in_memory(log: LogFile, ledger: Ledger) -> None:
    log.save(HardState(term=1, voted_for=None), entries(5))
    ledger.apply([(entry.index, entry.time_us, decode_command(entry.data)) for entry in entries(5)])
    raft = recover(CONFIG, log, ledger, RANDOM)
    assert (raft.last_index, raft.log.base_index, raft.applied_index) == (5, 4, 5)


def test_a_ledger_ahead_of_its_log_is_refused(log: LogFile, ledger: Ledger) -> None:
    ledger.apply([(1, 1, credit("c1", 1)), (2, 2, None)])
    with pytest.raises(LedgerAhead, match="applied entry 2, but the log ends at 0"):
        recover(CONFIG, log, ledger, RANDOM)


def test_times_become_ticks_and_elections_stay_above_heartbeats(tmp_path: Path) -> None:
    config = raft_config(cluster_of(tmp_path, "n1", "n2"), "n1")
    assert config.peers == ("n2",)
    assert (config.heartbeat_ticks, config.election_ticks_min, config.election_ticks_max) == (2, 8, 16)
