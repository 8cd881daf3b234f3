"""A restored bank is what the old one was at some log entry, and is another cluster that says so."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from atm.admin.backup_restore import Books, CutOff, CutRequest, CutSums, Restored, lines_about
from atm.config import load
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import Lookup
from atm.ledger.ledger import Ledger
from atm.local_cluster import write_cluster_ini_for
from atm.server.group.entry_validator import EntryValidator
from atm.server.group.recovery import check_one_cluster, recover
from atm.server.group.settings import raft_config
from atm.storage.data_folder import DataFolder
from atm.storage.entry_file import Position
from atm.storage.log_file import LogFile
from atm.storage.snapshots import SnapshotStore, wrong_with
from tests.support.backups import CLUSTER, StoryNode, admin, replayed, story_entries
from tests.support.entries import time_us
from tests.support.ledgers import Rows, tables

STORY = story_entries()
LAST = len(STORY)


@pytest.fixture(scope="module")
def backup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of the story in two pieces."""
    folder = tmp_path_factory.mktemp("story")
    with StoryNode(folder / "bank", STORY[:25]) as node:
        assert admin("backup", folder / "b", "--config", node.config) == 0
        node.append(STORY[25:])
        assert admin("backup", folder / "b", "--config", node.config, "--verify") == 0
    return folder / "b"


@pytest.fixture
def new_ini(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return write_cluster_ini_for(tmp_path / "new", ["a", "b", "c"])


def restore(backup: Path, ini: Path, *words: str) -> int:
    return admin("restore", backup, "--config", ini, *words)


def of_the_bank(rows: dict[str, Rows]) -> dict[str, Rows]:
    """Return the tables without what a restore changes."""
    kept = {name: table for name, table in rows.items() if name != "cluster"}
    kept["receipt"] = [row for row in rows["receipt"] if row.op != "restored"]
    return kept


@pytest.mark.parametrize("index", range(1, LAST + 1))
def test_a_restore_to_an_index_is_a_replay_to_that_index(
    backup: Path, new_ini: Path, tmp_path: Path, index: int
) -> None:
    assert restore(backup, new_ini, "--to-index", str(index)) == 0
    expected = tables(replayed(STORY[:index], tmp_path / "replayed.db"))
    for name in ("a", "b", "c"):
        found = tables(new_ini.parent / "data" / name / "ledger.db")
        assert of_the_bank(found) == of_the_bank(expected)
        assert audit(new_ini.parent / "data" / name / "ledger.db").problems == ()


def test_a_restored_folder_is_one_that_a_node_recovers_from(backup: Path, new_ini: Path) -> None:
    assert restore(backup, new_ini, "--to-index", "30") == 0
    cluster, seen = load(new_ini), set()
    for name in cluster.nodes:
        with closing(DataFolder(cluster, name)) as folder:
            store = SnapshotStore(folder.path / "snapshot")
            snapshot = store.newest
            assert snapshot is not None
            assert wrong_with(snapshot, store.path(snapshot)) is None
            with (
                closing(LogFile(folder.path, base=store.base)) as log,
                closing(Ledger(folder.path / "ledger.db")) as ledger,
            ):
                ids = {folder.cluster_id, ledger.cluster.id, snapshot.cluster_id}
                check_one_cluster(
                    log, folder_id=folder.cluster_id, ledger_id=ledger.cluster.id, snapshot=snapshot
                )
                assert (log.first_index, log.last_index, log.hard_state.voted_for) == (31, 30, None)
                assert (log.hard_state.term, log.start.term) == (3, 3)
                assert log.start.time_us == time_us(30)
                raft = recover(
                    raft_config(cluster, name, "e" * 32),
                    log,
                    ledger,
                    lambda low, high: low,
                    EntryValidator(),
                    snapshot=snapshot,
                )
                assert (raft.commit_index, raft.last_index) == (30, 30)
                assert ledger.cluster.voters == ("a", "b", "c")
            seen |= ids
    assert len(seen) == 1, "all have one cluster id"
    assert CLUSTER not in seen, "and it is a new one"


def test_the_books_say_where_they_were_restored(backup: Path, new_ini: Path) -> None:
    assert restore(backup, new_ini, "--to-index", "30") == 0
    with closing(Ledger(new_ini.parent / "data" / "b" / "ledger.db")) as ledger:
        marker = f"restored-{ledger.cluster.id}"
        found = ledger.view(Lookup(id="q", request_id=marker))
    assert found.asked is not None
    assert found.asked.op == "restored"
    assert json.loads(found.asked.details or "") == {"from": CLUSTER, "at": 30}
    assert found.log_index == 30


def test_a_restore_to_a_time_takes_all_up_to_it(
    backup: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Entry 30 is stamped 22:13:20.030: one at the very time is in, one a moment later is not.
    assert restore(backup, new_ini, "--to-time", "2023-11-14T22:13:20.030", "--preview") == 0
    assert "as of entry 30, 2023-11-14 22:13:20 UTC" in capsys.readouterr().out
    assert restore(backup, new_ini, "--to-time", "2023-11-14T23:13:20.029999+01:00", "--preview") == 0
    assert "as of entry 29, " in capsys.readouterr().out
    assert restore(backup, new_ini, "--to-time", "2030-01-01", "--preview") == 0
    assert f"as of entry {LAST}, " in capsys.readouterr().out
    assert restore(backup, new_ini, "--to-time", "2023-11-14T22:13:20", "--preview") == 1
    assert "nothing from before" in capsys.readouterr().err


def test_a_preview_writes_nothing(backup: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in backup.iterdir()}
    assert restore(backup, new_ini, "--to-index", "30", "--preview") == 0
    assert "This was a preview: nothing was written" in capsys.readouterr().out
    assert sorted(new_ini.parent.iterdir()) == [new_ini]
    assert {path: path.read_bytes() for path in backup.iterdir()} == before


def test_what_was_cut_off_is_said_in_count_sums_and_ids(
    backup: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(backup, new_ini, "--to-index", "23") == 0
    said = capsys.readouterr().out
    full = tables(replayed(STORY, new_ini.parent / "full.db"))
    cut = [row for row in full["receipt"] if row.log_index > 23 and row.op != "tombstone"]
    cut.sort(key=lambda row: row.log_index)
    postings = [row for row in full["journal"] if row.log_index > 23]
    paid_out = sum(row.amount for row in postings if row.credit_account == "cash")
    assert (
        f"Cut off: {len(cut)} requests behind it, {sum(row.outcome == 'ok' for row in cut)} of them done"
        in said
    )
    assert f"{paid_out / 100:.2f} paid out" in said
    assert "CASH MAY HAVE LEFT" in said
    assert "p-late, d3, p-overdrawn" in said
    (listing,) = (new_ini.parent / "data").glob("cut-off-*.jsonl")
    listed = [msgspec.json.decode(line) for line in listing.read_bytes().splitlines()]
    assert [row["request_id"] for row in listed] == [row.request_id for row in cut]
    assert sum(-row["cash"] for row in listed if row["cash"] < 0) == paid_out


def test_a_folder_that_is_not_empty_is_not_replaced(
    backup: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = new_ini.parent / "data" / "b"
    folder.mkdir(parents=True)
    (folder / "precious").write_text("kept")
    assert restore(backup, new_ini) == 1
    assert "is not empty: a restore replaces nothing" in capsys.readouterr().err
    assert sorted(path.name for path in folder.parent.iterdir()) == ["b"]
    assert (folder / "precious").read_text() == "kept"


def test_the_nodes_of_another_machine_get_the_same_id(
    backup: Path, new_ini: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(backup, new_ini, "--node", "a", "--node", "b") == 0
    said = capsys.readouterr().out
    first = load(new_ini)
    with closing(DataFolder(first, "a")) as folder:
        cluster_id = folder.cluster_id
    assert f"Restore c on their machines with --cluster-id {cluster_id}" in said
    assert restore(backup, new_ini, "--node", "c", "--cluster-id", cluster_id) == 0
    same = [tables(first.data_dir / name / "ledger.db") for name in first.nodes]
    assert same[0] == same[1] == same[2]


@pytest.mark.parametrize("index", ["0", str(LAST + 1)])
def test_an_index_that_the_backup_does_not_cover_is_refused(
    backup: Path, new_ini: Path, capsys: pytest.CaptureFixture[str], index: str
) -> None:
    assert restore(backup, new_ini, "--to-index", index) == 1
    assert f"cannot restore entry {index}. It covers log entries 1 to {LAST}" in capsys.readouterr().err


def test_what_was_cut_off_is_told_in_each_currency() -> None:
    sums = (CutSums(5_00, 1_50, 0), CutSums(1250, 20, 7, "JPY"))
    request = CutRequest(
        request_id="c", op="credit", account="jo", amount=1, outcome="ok", log_index=9, time_us=0, cash=1
    )
    end = Position(index=8, term=1, time_us=0)
    restored = Restored(
        cluster="f" * 32,
        end=end,
        books=(Books(2, 145_05), Books(1, 50, "JPY")),
        cut_off=CutOff(requests=(request,), sums=sums),
    )
    said = "\n".join(lines_about(restored, end))
    assert "3 accounts of customers with 145.05 and 50 JPY in all" in said
    assert (
        "5 paid in, 1.50 paid out, 0 moved between accounts; 1250 JPY paid in, 20 JPY paid out, 7 JPY" in said
    )
