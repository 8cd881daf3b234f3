"""PostgreSQL's ledger and the connection to it: once by an id, only with funds, and conserved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="PostgreSQL's driver is in the extra 'test'")


from bench.systems.postgresql import PostgreSQL, Serializable
from bench.systems.postgresql_connection import PostgreSQLConnection
from bench.work import ACCOUNTS, FUNDS_MINOR, HOT_ACCOUNT, LEGS, WORKS, Kind, Request, account

SUM = "select sum(balance) from account"
LINES = "select count(*) from journal"


@pytest.fixture(scope="module")
def bank() -> Iterator[PostgreSQL]:
    if why := PostgreSQL.missing():
        pytest.skip(why)
    with tempfile.TemporaryDirectory() as folder:
        bank = PostgreSQL(3)
        try:
            bank.start(Path(folder))
            bank.open_accounts()
            yield bank
        finally:
            bank.stop()


def told(bank: PostgreSQL, sql: str) -> str:
    assert bank._servers is not None
    return bank._servers.query("p1", sql)


def ask(connection: PostgreSQLConnection, *requests: Request) -> list[int]:
    """Send these, and return the numbers that were acknowledged once all are answered."""
    connection.send(requests)
    done: list[int] = []
    while len(done) + len(connection.refused) < len(requests):
        done += connection.receive()
    return done


def test_each_kind_of_request_moves_what_it_says_and_books_both_sides(bank: PostgreSQL) -> None:
    before = int(told(bank, SUM)), int(told(bank, LINES))
    ann, bob = account(7), account(7 + ACCOUNTS // 2)
    with closing(bank.connect()()) as connection:
        assert isinstance(connection, PostgreSQLConnection)
        requests = [
            (Kind.CREDIT, HOT_ACCOUNT),
            (Kind.TRANSFER, ann),
            (Kind.BULK, account(0)),
            (Kind.QUERY, bob),
        ]
        assert ask(connection, *requests) == [0, 1, 2, 3]
        assert not connection.refused
    balance = "select balance from account where id = "
    assert told(bank, f"{balance}'{HOT_ACCOUNT}'") == "1"
    assert told(bank, f"{balance}'{ann}'") == str(FUNDS_MINOR - 2)  # by itself, and in bulk
    assert told(bank, f"{balance}'{bob}'") == str(FUNDS_MINOR + 2)
    assert int(told(bank, LINES)) == before[1] + 1 + 1 + LEGS
    assert int(told(bank, SUM)) == before[0], "what one account gave, another has"


def test_an_id_that_comes_again_is_answered_alike_and_moves_nothing(bank: PostgreSQL) -> None:
    once = "select move('the-same', 'cash', 'customer-1', 5, 'customer-1')"
    before = int(told(bank, LINES))
    assert [told(bank, once), told(bank, once)] == ["ok", "ok"]
    in_bulk = "select move_all('the-same-bulk', array['customer-1'], array['customer-2'])"
    assert [told(bank, in_bulk), told(bank, in_bulk)] == ["ok", "ok"]
    assert int(told(bank, LINES)) == before + 2


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("move('poor', 'main', 'customer-3', 10000, 'main')", "insufficient_funds"),
        ("move('poor', 'customer-3', 'main', 10000000000, 'main')", "insufficient_funds"),
        ("move('poor', 'customer-3', 'nobody', 1, 'nobody')", "no_such_account"),
        ("move('poor', 'a-nobody', 'customer-3', 1, 'nobody')", "no_such_account"),
        ("move_all('poor', array['customer-3','nobody'], array['customer-4','customer-5'])", "insufficient"),
        (
            "move_all('poor', array_fill('main'::text, '{999}'), array_fill('cash'::text, '{999}'))",
            "insuffic",
        ),
    ],
)
def test_without_funds_or_account_nothing_is_moved(bank: PostgreSQL, call: str, why: str) -> None:
    state = "select md5(string_agg(id || balance, ',' order by id)) from account"
    before = told(bank, state), told(bank, LINES)
    with pytest.raises(Exception, match="returned non-zero") as refused:
        told(bank, f"select {call}")
    assert why in str(getattr(refused.value, "stderr", ""))
    assert (told(bank, state), told(bank, LINES)) == before
    assert told(bank, "select count(*) from receipt where id = 'poor'") == "0"


def test_what_is_refused_is_told_in_the_servers_words(bank: PostgreSQL) -> None:
    with closing(bank.connect()()) as connection:
        assert isinstance(connection, PostgreSQLConnection)
        assert ask(
            connection, (Kind.CREDIT, "nobody"), (Kind.QUERY, "nobody"), (Kind.QUERY, HOT_ACCOUNT)
        ) == [2]
        assert "no_such_account" in connection.refused[0]
        assert connection.refused[1] == "no_such_account"


def test_nothing_is_acknowledged_before_it_is_committed(bank: PostgreSQL) -> None:
    """A deferred constraint fails at the commit, behind the function's own answer."""
    told(
        bank,
        "create function never() returns trigger language plpgsql as "
        "$$ begin raise 'not at the commit'; end $$;"
        "create constraint trigger late after insert on receipt deferrable initially deferred for each row "
        "execute function never()",
    )
    try:
        with closing(bank.connect()()) as connection:
            assert isinstance(connection, PostgreSQLConnection)
            assert ask(connection, (Kind.TRANSFER, account(9))) == []
            assert "not at the commit" in connection.refused[0]
    finally:
        told(bank, "drop trigger late on receipt")


def test_what_cannot_be_serialized_is_sent_again_until_it_is_done_and_counted(bank: PostgreSQL) -> None:
    assert bank._servers is not None
    uri = bank._servers.uri()
    before = int(told(bank, "select balance from account where id = 'main'"))
    connections = [PostgreSQLConnection(uri, Serializable.isolation) for _ in range(8)]
    done = 0
    for connection in connections:
        connection.send([(Kind.CREDIT, HOT_ACCOUNT)] * 20)
    while done < 160:
        for connection in connections:
            done += len(connection.receive())
            assert not connection.refused
    assert sum(connection.retried for connection in connections) > 0
    for connection in connections:
        connection.close()
    assert int(told(bank, "select balance from account where id = 'main'")) == before + 160


def test_the_isolation_is_that_of_the_name(bank: PostgreSQL) -> None:
    assert bank._servers is not None
    for kind in (PostgreSQL, Serializable):
        with closing(PostgreSQLConnection(bank._servers.uri(), kind.isolation)) as connection:
            connection._server.exit_pipeline_mode()
            shown = connection._server.exec_(b"show transaction_isolation")
            assert shown.get_value(0, 0) == kind.isolation.encode()


def test_a_server_that_ends_is_an_error_of_the_connection(bank: PostgreSQL) -> None:
    with closing(bank.connect()()) as connection:
        told(bank, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() "
             "and backend_type = 'client backend'")  # fmt: skip
        with pytest.raises(OSError, match="closed the connection"):
            ask(connection, (Kind.QUERY, HOT_ACCOUNT))  # type: ignore[arg-type]


def test_the_primary_and_two_of_five_commit_together() -> None:
    assert "'ANY 2 (…)'" in PostgreSQL(5).settings()
    assert "'ANY 1 (…)'" in PostgreSQL(3).settings()
    assert "serializable" in Serializable(3).settings()
    assert {work.name for work in Serializable.works} == {"credits", "transfers"}
    assert PostgreSQL.works == WORKS
