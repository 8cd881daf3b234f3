"""The programs as people start them: damage ends in one line and an exit code, never in a traceback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.client import Client
from atm.config import LEDGER_FILE
from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.storage.data_folder import NODE_FILE, PEERS_FILE
from tests.hostile.mutations import corpus

ROOT = Path(__file__).parents[2]
ENDS_WITHIN_S = 20.0


def started(module: str, *arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=ROOT, input=typed, capture_output=True, timeout=ENDS_WITHIN_S, check=False
    )


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with LocalCluster(write_cluster_ini(tmp_path_factory.mktemp("bank"), 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        yield bank


@pytest.fixture(scope="module")
def worked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a node that has worked and was stopped."""
    folder = tmp_path_factory.mktemp("worked")
    with LocalCluster(write_cluster_ini(folder, 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with Client(bank.cluster) as client:
            for _ in range(20):
                client.credit("main", 100)
    return folder


@pytest.fixture
def stopped(worked: Path, tmp_path: Path) -> Path:
    """Return the config of a node of our own to damage; its files are in `data/n1` beside it."""
    return Path(shutil.copytree(worked, tmp_path / "copy")) / "cluster.ini"


def assert_refuses(config: Path, exit_code: int = 1) -> None:
    done = started("atm.server.main", "n1", "--config", str(config))
    assert done.returncode == exit_code
    (line,) = done.stderr.decode().splitlines()
    assert line.isprintable()
    assert len(line) < 1000
    assert b"an error of its own" not in done.stderr


@pytest.mark.parametrize("junk", [b"", b"\x00" * 500, b"[" * 100_000, b'{"node": "\xff"}', b"5"])
@pytest.mark.parametrize("name", [NODE_FILE, PEERS_FILE])
def test_a_node_with_junk_for_its_papers_refuses_to_start(stopped: Path, name: str, junk: bytes) -> None:
    (stopped.parent / "data" / "n1" / name).write_bytes(junk)
    assert_refuses(stopped)


def test_a_node_with_a_rotten_log_refuses_to_start(stopped: Path) -> None:
    path = stopped.parent / "data" / "n1" / "raft.log.000001"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    assert_refuses(stopped)


@pytest.mark.parametrize(
    "junk", [b"SQLite format 3\x00" + b"\xff" * 4000, b"no database at all" * 300], ids=["rot", "text"]
)
def test_a_node_with_junk_for_a_ledger_keeps_it_aside_and_makes_another(stopped: Path, junk: bytes) -> None:
    folder = stopped.parent / "data" / "n1"
    for path in folder.glob(f"{LEDGER_FILE}*"):
        path.unlink()
    (folder / LEDGER_FILE).write_bytes(junk)
    with LocalCluster(stopped) as cluster:
        cluster.start_all()
        assert cluster.wait_for_leader() == "n1"
        (line,) = (line for line in cluster.output("n1").splitlines() if LEDGER_FILE in line)
        assert cluster.stop("n1") == 0
    assert line.isprintable()
    assert len(line) < 1000
    assert (folder / f"{LEDGER_FILE}.wrong-1").read_bytes() == junk


@pytest.mark.parametrize("junk", [b"[cluster]\n" + b"=\x00\xff\n", b"x\n" * 500_000], ids=["bytes", "long"])
def test_a_node_with_junk_for_its_config_refuses_to_start(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / "cluster.ini").write_bytes(junk)
    assert_refuses(tmp_path / "cluster.ini", exit_code=2)


def test_whatever_is_piped_into_a_teller_each_line_has_its_answer(
    bank: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    typed = b"\n".join(content.replace(b"quit\n", b"") for content in corpus("lines"))
    done = started("atm.teller", "--json", "--config", str(bank.cluster.path), typed=typed)
    assert b"Traceback" not in done.stderr + done.stdout
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == sum(bool(line.strip(b" \t\r")) for line in typed.split(b"\n"))
    assert done.stdout.decode().replace("\n", "").isprintable()
