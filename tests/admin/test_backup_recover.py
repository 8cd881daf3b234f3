"""After a majority was lost for good, what is left becomes a new cluster, with the newest log there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from atm.config import Cluster, load
from atm.ledger.ledger import Ledger
from atm.local_cluster import write_cluster_ini
from atm.raft.messages import Entry, HardState
from atm.server.group.entry_validator import checked_record
from atm.storage.data_folder import DataFolder
from atm.storage.log_file import LogFile
from tests.support.backups import CLUSTER, admin, replayed, story_entries
from tests.support.ledgers import Rows, tables

FIVE = ("n1", "n2", "n3", "n4", "n5")
STORY = story_entries(voters=FIVE)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return load(write_cluster_ini(tmp_path, 5))


def write_node(cluster: Cluster, name: str, entries: list[Entry], *, applied: int, term: int = 0) -> None:
    """Make the folder of a node that has stopped with this log, of which it had applied the beginning."""
    with closing(DataFolder(cluster, name)) as folder:
        folder.join(CLUSTER)
        folder.check_pepper("the-pepper", log_is_empty=True)
        with (
            closing(LogFile(folder.path, segment_bytes_max=400)) as log,
            closing(Ledger(folder.path / "ledger.db")) as ledger,
        ):
            for entry in entries:
                log.save(HardState(term=entry.term, commit_index=min(entry.index - 1, applied)), [entry])
            ledger.apply([checked_record(entry) for entry in entries[:applied]])
            log.save(HardState(term=term or entries[-1].term, voted_for=name, commit_index=applied), [])


def of_the_bank(rows: dict[str, Rows]) -> dict[str, Rows]:
    kept = {name: table for name, table in rows.items() if name != "cluster"}
    kept["receipt"] = [row for row in rows["receipt"] if row.op != "recovered"]
    return kept


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files but those that SQLite needs for reading."""
    files = (
        path for path in folder.rglob("*") if path.is_file() and path.suffix not in {".db-shm", ".db-wal"}
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_newest_log_is_taken_whole_on_all_that_are_left(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_node(cluster, "n2", STORY[:30], applied=25)
    write_node(cluster, "n4", STORY[:28], applied=28, term=9)  # a later term, but an older log
    assert admin("recover", "n4", "n2", "--config", cluster.path, "--yes") == 0
    said = capsys.readouterr().out
    assert "The newest log is that of node n2: the books go on from entry 30" in said
    assert "Entries 29 to 30 are not known to be acknowledged: they are carried out" in said
    assert "by the lost nodes alone (n1, n3, n5; 3 of 5 were enough)" in said
    expected = of_the_bank(tables(replayed(STORY[:30], tmp_path / "replayed.db")))
    ids = set()
    for name in ("n2", "n4"):
        assert of_the_bank(tables(cluster.data_dir / name / "ledger.db")) == expected
        with (
            closing(DataFolder(cluster, name)) as folder,
            closing(Ledger(folder.path / "ledger.db")) as ledger,
        ):
            assert ledger.cluster.voters == ("n4", "n2")
            assert folder.owner.pepper == "the-pepper"
            ids |= {folder.cluster_id, ledger.cluster.id}
        assert (cluster.data_dir / f"{name}.before-recovery-1" / "node.json").exists()
    assert len(ids) == 1
    assert CLUSTER not in ids


def test_a_later_term_is_a_newer_log_even_if_it_is_shorter(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    older = [entry for entry in STORY[:24] if entry.term == 1]
    longer = [*older, *(e for e in story_entries(voters=FIVE)[len(older) : 24])]
    stale = [Entry(index=e.index, term=1, time_us=e.time_us, kind=e.kind, data=e.data) for e in longer]
    write_node(cluster, "n1", stale, applied=10)
    write_node(cluster, "n5", STORY[:21], applied=21)
    admin("recover", "n1", "n5", "--config", cluster.path)
    assert "The newest log is that of node n5: the books go on from entry 21" in capsys.readouterr().out


def test_without_yes_nothing_is_changed(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    write_node(cluster, "n1", STORY[:30], applied=30)
    before = contents(cluster.data_dir)
    assert admin("recover", "n1", "--config", cluster.path) == 1
    assert "MAY BE LOST" in capsys.readouterr().out
    assert contents(cluster.data_dir) == before


def test_a_majority_is_not_recovered_but_started(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("n1", "n2", "n3"):
        write_node(cluster, name, STORY[:30], applied=30)
    before = contents(cluster.data_dir)
    assert admin("recover", "n1", "n2", "n3", "--config", cluster.path, "--yes") == 1
    assert "n1, n2, n3 are a majority of 5: start them" in capsys.readouterr().err
    assert contents(cluster.data_dir) == before


def test_folders_of_two_clusters_are_not_mixed(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    write_node(cluster, "n1", STORY[:30], applied=30)
    write_node(cluster, "n2", STORY[:30], applied=30)
    node_json = cluster.data_dir / "n2" / "node.json"
    node_json.write_text(node_json.read_text().replace(CLUSTER, "d" * 32))
    assert admin("recover", "n1", "n2", "--config", cluster.path, "--yes") == 1
    assert "these folders are not of one cluster" in capsys.readouterr().err


def test_a_node_that_runs_or_is_not_here_is_not_recovered(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    write_node(cluster, "n1", STORY[:30], applied=30)
    with closing(DataFolder(cluster, "n1")):
        assert admin("recover", "n1", "--config", cluster.path, "--yes") == 1
        assert "already running" in capsys.readouterr().err
    assert admin("recover", "n1", "n2", "--config", cluster.path, "--yes") == 1
    assert "copy the folders of all nodes that are left" in capsys.readouterr().err
    assert admin("recover", "n9", "--config", cluster.path, "--yes") == 2


def test_a_log_that_is_damaged_is_left_out(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    write_node(cluster, "n1", STORY[:30], applied=30)
    (segment, *_) = sorted((cluster.data_dir / "n1").glob("raft.log.*"))
    content = bytearray(segment.read_bytes())
    content[60] ^= 1
    segment.write_bytes(content)
    assert admin("recover", "n1", "--config", cluster.path, "--yes") == 1
    assert "cannot be read" in capsys.readouterr().err
