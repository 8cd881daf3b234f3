"""What hurts a bank on PostgreSQL is told: each of it done to a real one."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from atm.lanes import diagnosis, moving
from atm.lanes.bank import open_bank
from atm.lanes.diagnosis import diagnose, wanted_standbys
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineRefused
from atm.lanes.lane_findings import LanesIn, LanesOf, lane_findings
from atm.lanes.places import Moved, Place
from atm.local_cluster import free_ports
from atm.local_postgres import LocalPostgres
from tests.support.postgresql import need_postgres, new_database
from tests.support.server_parts import wait_until

BEAT = """insert into atm.server values ('n1', 'run', now() + interval '1 hour', 'p', 'c', '');
    update atm.lane set holder = 'n1', epoch = epoch + 1"""
MEBIBYTE = 1024 * 1024


def make_bank(url: str, lanes: int = 1) -> None:
    """Make a bank whose lanes a server has that lives for an hour."""
    with closing(EngineConnection(url)) as engine:
        open_bank(engine, lanes)
    run_in(url, BEAT)


def run_in(url: str, *statements: str) -> None:
    """Run statements, each by itself, as an administrator of PostgreSQL does."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def told(url: str, about: str = "", **others: str) -> list[str]:
    """Return the sentences about something, of a bank of one lane."""
    found = list(diagnose({"home": url, **others}, 1))
    assert all(text and "\n" not in text for _, text in found)
    return [text for each, text in found if about in ("", each)]


@pytest.fixture
def url() -> str:
    """Return the address of a bank on the server that all tests share, which has no standby."""
    found = new_database()
    make_bank(found)
    return found


@pytest.fixture(scope="module")
def servers() -> Iterator[LocalPostgres]:
    """Return a primary and two standbys, of which one must have each commit, as well kept as can be."""
    need_postgres()
    settings = {
        "archive_command": "true",
        "archive_mode": "on",
        "max_connections": "100",
        "max_prepared_transactions": "2",
        "superuser_reserved_connections": "73",
    }
    with LocalPostgres(standbys=2, settings=settings) as found:
        make_bank(found.uri())
        yield found


@pytest.fixture
def kept(servers: LocalPostgres) -> Iterator[LocalPostgres]:
    """Return these servers, about which there is nothing to say before and after the test."""

    def is_well() -> bool:
        return told(servers.uri()) == []

    wait_until(is_well, within_s=30)
    yield servers
    wait_until(is_well, within_s=30)


@contextmanager
def setting(servers: LocalPostgres, name: str, value: str) -> Iterator[None]:
    """Have a setting changed while PostgreSQL runs, and take that back."""
    run_in(servers.uri(), f"alter system set {name} = '{value}'", "select pg_reload_conf()")
    try:
        yield
    finally:
        run_in(servers.uri(), f"alter system reset {name}", "select pg_reload_conf()")


def wait_for(servers: LocalPostgres, about: str, part: str) -> str:
    """Return the sentence about something, once there is one, which has this part."""
    found = list[str]()

    def came() -> bool:
        found[:] = told(servers.uri(), about)
        return len(found) == 1 and part in found[0]

    wait_until(came, within_s=30)
    return found[0]


# -- standbys ----------------------------------------------------------------------------------------------


def test_standbys_that_end_are_named_before_and_after_the_bank_stands_still(kept: LocalPostgres) -> None:
    kept.stop("p3")
    text = wait_for(kept, "standbys", "only as many follow")
    assert text.endswith("Start p3, or see their logs")
    kept.stop("p2")
    text = wait_for(kept, "standbys", "stands still, as commits wait")
    assert "ANY 1 (p2, p3) asks for 1, and 0 of these follow. Start p2, p3" in text
    kept.start("p2")
    kept.start("p3")


def test_money_on_one_disk_is_told_though_standbys_follow(kept: LocalPostgres) -> None:
    with setting(kept, "synchronous_standby_names", ""):
        assert "on one disk, and lost with it, even if standbys follow (2 here)" in wait_for(
            kept, "standbys", "is empty"
        )


def test_more_standbys_asked_for_than_there_are(kept: LocalPostgres) -> None:
    with setting(kept, "synchronous_standby_names", "FIRST 3 (p2, p3, p4)"):
        text = wait_for(kept, "standbys", "asks for 3, and 2")
        assert text.endswith("Start p4, or see their logs")
    with setting(kept, "synchronous_standby_names", "p4"):
        wait_for(kept, "standbys", "asks for 1, and 0 of these follow")  # p2 and p3 do not count


def test_a_standby_that_does_not_replay_is_named_with_how_much(
    kept: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "LAG_BYTES_MAX", MEBIBYTE)
    run_in(kept.uri("p2"), "select pg_wal_replay_pause()")
    run_in(kept.uri(), *["select pg_logical_emit_message(false, 'test', repeat('x', 1000000))"] * 3)
    assert wait_for(kept, "standbys", " MiB to replay").startswith("standby p2 has ")
    run_in(kept.uri("p2"), "select pg_wal_replay_resume()")


@pytest.mark.parametrize(
    ("setting", "needed", "named"),
    [
        ("", 1, []),
        ("p2, p3", 1, ["p2", "p3"]),
        ("*", 1, ["*"]),
        ("2 (p2, p3)", 2, ["p2", "p3"]),
        ("FIRST 1 (p2)", 1, ["p2"]),
        ('any 2 ("db-1","say ""hi""", p4)', 2, ["db-1", 'say "hi"', "p4"]),
        ("ANY 2(*)", 2, ["*"]),
    ],
)
def test_every_form_of_synchronous_standby_names_is_read(setting: str, needed: int, named: list[str]) -> None:
    assert wanted_standbys(setting) == (needed, named)


# -- what fills its disk, or ends it -----------------------------------------------------------------------


def test_a_slot_that_was_left_behind_is_named_with_what_it_holds_back(kept: LocalPostgres) -> None:
    run_in(kept.uri(), "select pg_create_physical_replication_slot('left', true)")
    run_in(kept.uri(), *["select pg_logical_emit_message(false, 'test', repeat('x', 1000000))"] * 3)
    [text] = told(kept.uri(), "slots")
    assert text.startswith("nobody uses replication slot left, which holds back ")
    assert " MiB of WAL" in text
    run_in(kept.uri(), "select pg_drop_replication_slot('left')")


def test_an_archive_that_fails_is_told(kept: LocalPostgres) -> None:
    with setting(kept, "archive_command", "false"):
        run_in(kept.uri(), "create table written (number integer)", "drop table written")
        run_in(kept.uri(), "select pg_switch_wal()")
        assert "WAL is not archived, 1 time" in wait_for(kept, "archive", "is not archived")


def test_connections_that_run_out_are_counted(kept: LocalPostgres) -> None:
    with ExitStack() as stack:
        for _ in range(25):
            stack.enter_context(psycopg.connect(kept.uri()))
        [text] = told(kept.uri(), "connections")
    assert text.startswith("26 of 27 connections are in use")


def test_a_prepared_transaction_that_nobody_ended_is_named(
    kept: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(kept.uri(), autocommit=True) as connection:
        for statement in ("begin", "create table kept (number integer)", "prepare transaction 'forgotten'"):
            connection.execute(statement.encode())
        assert told(kept.uri(), "transactions") == []
        with monkeypatch.context() as patched:
            patched.setattr(diagnosis, "TRANSACTION_S_MAX", 0)
            [text] = told(kept.uri(), "transactions")
        connection.execute("rollback prepared 'forgotten'")
    assert text.startswith("prepared transaction forgotten in the database postgres has waited for 0 minutes")


def test_a_transaction_that_is_never_ended_is_named_with_its_process(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(url, application_name="report") as connection:
        connection.execute("select 1")
        assert told(url, "transactions") == []
        monkeypatch.setattr(diagnosis, "TRANSACTION_S_MAX", 0)
        found = [text for text in told(url, "transactions") if "(report" in text]
        pid = connection.info.backend_pid
    [text] = found
    assert text.startswith(f"a transaction of atm (report, process {pid}) has been open for 0 minutes")


def test_transaction_ids_that_run_out_are_told_with_their_database(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(url, "transactions") == []
    monkeypatch.setattr(diagnosis, "TRANSACTION_IDS_MAX", 5)
    [text] = told(url, "transactions")
    assert text.startswith("the oldest transaction id in ")
    assert " behind, and at 2.1 billion PostgreSQL ends all writing" in text


# -- what a server refuses, and what cannot be asked ---------------------------------------------------------


def test_all_that_a_server_refuses_is_told_and_its_start_ends_with_the_first(url: str) -> None:
    name = url.rpartition("/")[2]
    run_in(
        url,
        f"alter database {name} set statement_timeout = 30000",
        f"alter database {name} set synchronous_commit = off",
    )
    settings = told(url, "settings")
    assert [text.partition(" for this user")[0] for text in settings] == [
        "PostgreSQL has synchronous_commit = off",
        "PostgreSQL has statement_timeout = 30000 ms",
    ]
    assert told(url, "standbys"), "the rest is told, too"
    with pytest.raises(EngineRefused) as refused:
        EngineConnection(url)
    assert settings[0].startswith(str(refused.value))


def test_a_role_that_may_not_see_standbys_is_told_what_to_grant(kept: LocalPostgres) -> None:
    address = kept.uri().partition("@")[2]
    run_in(kept.uri(), "create role bank login password 'secret'")
    run_in(
        kept.uri(), "grant usage on schema atm to bank", "grant select on all tables in schema atm to bank"
    )
    as_bank = f"postgresql://bank:secret@{address}"
    assert [text.rpartition(": ")[2] for text in told(as_bank)] == ["grant pg_monitor to bank"]
    run_in(kept.uri(), "grant pg_monitor to bank")
    assert told(as_bank) == []
    run_in(kept.uri(), "drop owned by bank", "drop role bank")


def test_what_cannot_be_asked_is_told_and_keeps_nothing_else_from_being_asked(kept: LocalPostgres) -> None:
    address = kept.uri().partition("@")[2]
    run_in(kept.uri(), "create role bank login password 'secret'", "grant pg_monitor to bank")
    as_bank = f"postgresql://bank:secret@{address}"
    try:
        run_in(kept.uri(), "select pg_create_physical_replication_slot('left', true)")
        texts = told(as_bank)
    finally:
        run_in(kept.uri(), "select pg_drop_replication_slot('left')", "drop owned by bank", "drop role bank")
    assert len(texts) == 2
    assert texts[0].startswith("its lanes cannot be looked at: permission denied for schema atm")
    assert texts[1].startswith("nobody uses replication slot left")


def test_a_question_that_is_not_answered_in_time_costs_its_connection_and_no_other_answer(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("lock table atm.lane")
        found = list(diagnose({"home": url}, 1))
    assert ("database", "its lanes cannot be looked at: PostgreSQL did not answer in time") in found
    assert [about for about, _ in found] == ["standbys", "database"]


def test_databases_that_are_away_are_told_and_the_other_is_looked_at(url: str) -> None:
    [port] = free_ports(1)
    away = f"postgresql://bank:secret@127.0.0.1:{port}/bank"
    found = list(diagnose({"home": url, "east": away}, 1))
    assert [about for about, _ in found] == ["standbys", "database", "backup"]
    assert found[0][1].startswith("home: synchronous_standby_names is empty")
    assert found[1][1].startswith("east: PostgreSQL cannot be asked: ")
    assert "secret" not in found[1][1]
    found = list(diagnose({"home": away, "east": url}, 1))
    assert found[0][1].startswith("home: PostgreSQL cannot be asked: ")


def test_a_database_without_a_bank_and_one_with_other_lanes(url: str) -> None:
    assert told(new_database(), "database") == [
        "there is no bank in this database yet: the first start of a server makes one"
    ]
    [text] = [text for about, text in diagnose({"home": url}, 2) if about == "cluster.ini"]
    assert text.startswith("the bank has lanes = 1, and cluster.ini here says 2")


@pytest.mark.parametrize(
    ("hours", "says"),
    [
        (None, "none was ever begun by"),
        (7 * 24 + 1, "the last one was begun 7 days ago by"),
        (7 * 24 - 1, None),
    ],
)
def test_a_bank_without_a_backup_and_without_an_archive_is_told(
    url: str, hours: int | None, says: str | None
) -> None:
    if hours is not None:
        deed = f"""insert into atm.deed select 0, %s, (extract(epoch from now()) * 1e6)::bigint
            - {hours * 3_600_000_000}, 'ada', 'admin', %s, 'n1', null, %s, 'r', '' """
        run_in(url, deed % (1, "'backup_begin'", "'ok'"), deed % (2, "'backup_begin'", "'not_allowed'"))
    found = told(url, "backup")
    assert [says in text for text in found if says] == [True] * (says is not None)
    assert all(text.endswith("admin backup FOLDER --verify, from cron") for text in found)


def test_where_wal_is_kept_elsewhere_nothing_is_said_of_backups(tmp_path: Path) -> None:
    with LocalPostgres() as own:
        make_bank(own.uri())
        assert len(told(own.uri(), "backup")) == 1
        receiver = own.programs.command("pg_receivewal", "--dbname", own.uri(), "--directory", tmp_path)
        with subprocess.Popen(receiver, stderr=subprocess.DEVNULL) as keeping:
            wait_until(lambda: told(own.uri(), "backup") == [])
            keeping.terminate()


# -- lanes -------------------------------------------------------------------------------------------------


def test_lanes_without_a_living_server_are_told(url: str) -> None:
    assert told(url, "lanes") == []
    run_in(url, "update atm.server set seen = now() - interval '4 seconds'")
    [text] = told(url, "lanes")
    assert text.startswith("no living server has lane 0: ")
    run_in(url, "update atm.server set seen = now()", "update atm.lane set holder = ''")
    assert told(url, "lanes") == [text]


@pytest.mark.parametrize("step", ["_copy_whole", "_seal", "_give_away", "_wait_until_taken"])
def test_a_move_that_was_cut_off_is_told_until_it_is_done(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    urls = {"home": new_database(), "east": new_database()}
    make_bank(urls["home"], 2)

    def about(*words: str) -> list[str]:
        found = [text for each, text in diagnose(urls, 2) if each in words]
        for url in urls.values():  # the mover has taken the lane, and a server would take it again
            run_in(url, "update atm.lane set holder = 'n1'")
        return found

    def cut_off(*_: Any) -> None:
        assert about("moves") == [], "it is under way"
        raise KeyboardInterrupt

    def move() -> None:
        with moving.mover(urls, lambda _: None) as mover:
            mover.complete()
            mover.move(1, "east")

    monkeypatch.setattr(moving, "LEASE_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(moving._Move, step, cut_off)
        with pytest.raises(KeyboardInterrupt):
            move()
    about()
    decided = step == "_wait_until_taken"
    [text] = about("moves", "lanes")
    if decided:
        assert text.startswith("lane 1 was moved to east, and rows of it are left in home: ")
        assert text.endswith("admin lanes complete")
        with moving.mover(urls, lambda _: None) as mover:
            mover.complete()
    else:
        assert text.startswith("a move of lane 1 to east was cut off, and it lies in home as before: ")
        monkeypatch.setattr(moving, "TAKEN_S", 0.0)
        move()
    about()
    assert about("moves", "lanes") == []


HOME = LanesIn("bank", {0: "n1"})
AT_EAST = (Place(0), Place(1, "east", 5))


@pytest.mark.parametrize(
    ("places", "urls", "lanes_in", "says"),
    [
        (AT_EAST, ("home",), {}, "lane 1 lies in the database east, and cluster.ini here has no url.east"),
        (AT_EAST, ("home", "east"), {}, None),  # it is told that east cannot be asked
        (AT_EAST, ("home", "east"), {"east": LanesIn("bank", {1: "n1"})}, None),
        (
            AT_EAST,
            ("home", "east"),
            {"east": LanesIn("bank", {})},
            "lane 1 is not in the database east",
        ),
        (
            (Place(0),),
            ("home", "east"),
            {"east": LanesIn("other", {0: "n9", 7: "n9"}, (Moved(9, 1, "x"),), (3,))},
            "the database east has lanes of another bank, other: correct url.east",
        ),
        (
            (Place(0), Place(1)),
            ("home", "east"),
            {
                "home": LanesIn("bank", {0: "n1"}, (Moved(1, 5, "east"),)),
                "east": LanesIn("bank", {1: "n1"}),
            },
            "lane 1 was moved to east, and rows of it are left in home",
        ),
        (
            (Place(0, is_moving=True),),
            ("home",),
            {"home": LanesIn("bank", {0: "moving:1234"})},
            None,
        ),
        (
            (Place(0),),
            ("home",),
            {"home": LanesIn("bank", {0: "moving:1234"})},
            "no living server has lane 0",
        ),
    ],
)
def test_what_is_wrong_with_lanes(
    places: tuple[Place, ...], urls: tuple[str, ...], lanes_in: dict[str, LanesIn], says: str | None
) -> None:
    known = LanesOf(places, ["n1"], is_moving=False)
    found = list(lane_findings(dict.fromkeys(urls, ""), known, {"home": HOME, **lanes_in}))
    assert len(found) == (says is not None)
    assert all(text.startswith(says or "") for _, text in found)
