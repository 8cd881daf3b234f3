"""From what is on disk to a core that can go on (scenarios 42 and 43)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from atm.ledger.commands import LOCAL, Founding
from atm.ledger.ledger import ClusterState, Ledger
from atm.raft.config import RaftConfig
from atm.raft.log import LogStart
from atm.raft.messages import NUMBER_MAX, Entry, EntryKind, HardState, Snapshot
from atm.raft.term_limit import TERM_MAX
from atm.server.group import recovery
from atm.server.group.entry_validator import EntryValidator, checked_record
from atm.server.group.log_clock import STAMP_US_MAX
from atm.server.group.recovery import (
    ClusterMismatch,
    LedgerAhead,
    LogUnusable,
    check_feature_level,
    check_one_cluster,
    recover,
)
from atm.server.group.settings import raft_config
from atm.storage.log_file import LogFile
from atm.storage.log_index import LogBase
from atm.version import FEATURE_LEVEL_MAX
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX
from atm.wire.log_entries import NewerEntry, command_data, decode_command, decode_founding
from tests.support.entries import balance_of, logged
from tests.support.server_parts import cluster_of, credit

CONFIG = RaftConfig(node_id="n1", peers=("n2", "n3"))
RANDOM = Random(1).randint


def entries(count: int) -> list[Entry]:
    return [
        Entry(
            index=index,
            term=1,
            time_us=index,
            kind=EntryKind.COMMAND,
            data=command_data(LOCAL, encode(credit(f"c{index}", 1))),
        )
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
    ledger.apply([(1, 1, logged(credit("c1", 1))), (2, 2, None)])
    with pytest.raises(LedgerAhead, match=r"applied entry 2, but the log ends at 0: .* its vote is lost"):
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
def test_an_unusable_entry_is_one_line_committed_or_not(
    log: LogFile, ledger: Ledger, commit_index: int, changes: dict[str, object], what: str
) -> None:
    last = replace(entries(6)[-1], **changes)
    log.save(HardState(term=1, commit_index=commit_index), [*entries(5), last])
    with pytest.raises(LogUnusable, match=rf"has an entry 6 that {what}.*bin/ledger repair") as raised:
        recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    assert str(raised.value).isprintable()


def test_times_become_ticks_and_elections_stay_above_heartbeats(tmp_path: Path) -> None:
    config = raft_config(cluster_of(tmp_path, "n1", "n2"), "n1", "ab" * 16)
    assert config.peers == ("n2",)
    assert (config.heartbeat_ticks, config.election_ticks_min, config.election_ticks_max) == (2, 8, 16)


ONE, OTHER = "ab" * 16, "cd" * 16


def founded(cluster_id: str) -> Entry:
    data = encode(Founding(cluster_id, ("n1", "n2")))
    return Entry(index=1, term=1, time_us=1, kind=EntryKind.BOOTSTRAP, data=data)


@pytest.mark.parametrize(("folder_id", "ledger_id"), [("", ""), (ONE, ""), ("", ONE), (ONE, ONE)])
def test_files_of_one_cluster_belong_together(log: LogFile, folder_id: str, ledger_id: str) -> None:
    log.save(HardState(term=1), [founded(ONE)])
    check_one_cluster(log, folder_id=folder_id, ledger_id=ledger_id)


@pytest.mark.parametrize(
    ("folder_id", "ledger_id"), [(OTHER, ""), ("", OTHER), (ONE, OTHER), (OTHER, ONE), (OTHER, OTHER)]
)
def test_files_of_two_clusters_are_refused(log: LogFile, folder_id: str, ledger_id: str) -> None:
    log.save(HardState(term=1), [founded(ONE)])
    with pytest.raises(ClusterMismatch, match="these files are of different clusters") as refused:
        check_one_cluster(log, folder_id=folder_id, ledger_id=ledger_id)
    assert "\n" not in str(refused.value)


def test_a_folder_that_knows_its_cluster_has_the_log_to_it(log: LogFile) -> None:
    check_one_cluster(log, folder_id="", ledger_id="")
    for folder_id, ledger_id in ((ONE, ""), ("", ONE), (ONE, ONE)):
        with pytest.raises(ClusterMismatch, match=r"the log is empty, but node\.json or the ledger names"):
            check_one_cluster(log, folder_id=folder_id, ledger_id=ledger_id)
    log.save(HardState(term=1), entries(2))
    with pytest.raises(ClusterMismatch, match="that of the log is not known"):
        check_one_cluster(log, folder_id=ONE, ledger_id="")


def snapshot_of(entry: Entry, cluster_id: str = ONE) -> Snapshot:
    return Snapshot(
        index=entry.index,
        term=entry.term,
        time_us=entry.time_us,
        size_bytes=0,
        sha256="",
        chain_hash="",
        membership=b"",
        cluster_id=cluster_id,
    )


def base_of(snapshot: Snapshot, *, installed: bool = False) -> LogBase:
    return LogBase(snapshot.index, snapshot.term, snapshot.time_us, installed=installed)


def test_a_log_that_was_cut_goes_on_from_where_it_begins(tmp_path: Path, ledger: Ledger) -> None:
    with closing(LogFile(tmp_path / "n1", segment_bytes_max=300)) as log:
        for entry in entries(20):
            log.save(HardState(term=1, commit_index=18), [entry])
        snapshot = snapshot_of(entries(12)[-1])
        log.set_base(base_of(snapshot))
        log.cut(10)
        assert 1 < log.first_index <= 10
    ledger.apply([checked_record(entry) for entry in entries(15)])
    with closing(LogFile(tmp_path / "n1", base=base_of(snapshot))) as log:
        raft = recover(
            CONFIG, log, ledger, RANDOM, EntryValidator(), snapshot=snapshot, check_invariants=True
        )
        assert raft.log.first_index == log.start.index + 1
        assert (raft.applied_index, raft.last_index, raft.snapshot) == (18, 20, snapshot)
        assert [raft.log.term_at(index) for index in (1, log.start.index, 20)] == [None, 1, 1]


def test_a_node_killed_before_it_emptied_its_log_goes_on_from_the_snapshot(
    tmp_path: Path, ledger: Ledger
) -> None:
    with closing(LogFile(tmp_path / "n1")) as log:
        log.save(HardState(term=1), entries(3))
    snapshot = snapshot_of(entries(9)[-1])
    ledger.apply([checked_record(entry) for entry in entries(9)])
    with closing(LogFile(tmp_path / "n1", base=base_of(snapshot, installed=True))) as log:
        raft = recover(
            CONFIG, log, ledger, RANDOM, EntryValidator(), snapshot=snapshot, check_invariants=True
        )
        assert (raft.applied_index, raft.last_index, raft.log.start) == (9, 9, LogStart(9, 1, 9))


def test_the_cluster_of_a_log_that_was_cut_is_that_of_its_snapshot(log: LogFile) -> None:
    snapshot = snapshot_of(entries(9)[-1])
    log.reset(base_of(snapshot, installed=True))
    check_one_cluster(log, folder_id="", ledger_id=ONE, snapshot=snapshot)
    check_one_cluster(log, folder_id=ONE, ledger_id=ONE, snapshot=snapshot)
    with pytest.raises(ClusterMismatch, match="these files are of different clusters"):
        check_one_cluster(log, folder_id="cd" * 16, ledger_id=ONE, snapshot=snapshot)


def test_a_cluster_beyond_this_release_is_refused() -> None:
    check_feature_level(ClusterState(id=ONE, voters=("n1",), feature_level=FEATURE_LEVEL_MAX))
    with pytest.raises(ClusterMismatch, match="there is no way back to it"):
        check_feature_level(ClusterState(id=ONE, voters=("n1",), feature_level=FEATURE_LEVEL_MAX + 1))


def test_a_node_that_is_the_first_to_lead_founds_its_cluster(tmp_path: Path) -> None:
    config = raft_config(cluster_of(tmp_path, "n2", "n1"), "n1", ONE)
    assert decode_founding(config.bootstrap) == Founding(ONE, ("n1", "n2"))


def test_the_longest_request_of_the_longest_actor_fits_an_entry(tmp_path: Path) -> None:
    longest = command_data("x" * 64, bytes(CLIENT_FRAME_BYTES_MAX))
    assert len(longest) <= raft_config(cluster_of(tmp_path, "n1"), "n1", ONE).entry_bytes_max


def test_an_entry_of_a_newer_release_in_the_log_stops_the_start(log: LogFile, ledger: Ledger) -> None:
    newer = Entry(index=3, term=1, time_us=3, kind=EntryKind.COMMAND, version=2, data=entries(1)[0].data)
    log.save(HardState(term=1), [*entries(2), newer])
    log.save(HardState(term=2, commit_index=3), ())
    with pytest.raises(NewerEntry, match="log entry 3 is of kind 1 and version 2"):
        recover(CONFIG, log, ledger, RANDOM, EntryValidator())
    assert ledger.applied_index == 0
