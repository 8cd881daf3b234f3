"""One lane: one writer at a time, each batch whole or not at all, and what an error of PostgreSQL means."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from threading import Thread
from typing import Any

import psycopg
import pytest

from atm.lanes.bank import open_bank
from atm.lanes.engine import EngineConnection
from atm.lanes.faults import EngineFault, EngineRefused, Fenced, NoSpace
from atm.lanes.lane_ledger import FROZEN_S, LaneLedger
from atm.lanes.rows import FENCE, TYPES
from atm.ledger.commands import LedgerReceipt, LoggedCommand, Lookup, Query, Watch
from atm.local_postgres import LocalPostgres
from tests.support.entries import command as asked
from tests.support.entries import logged
from tests.support.postgresql import need_postgres, new_database

NOW_US = 1_700_000_000_000_000


@pytest.fixture
def url() -> str:
    """Return the address of a database with a bank of one lane."""
    found = new_database()
    with closing(EngineConnection(found)) as engine:
        open_bank(engine, 1)
    return found


@pytest.fixture
def own_server() -> Iterator[LocalPostgres]:
    """Return a PostgreSQL that the test may kill, or set up otherwise."""
    need_postgres()
    with LocalPostgres() as servers:
        yield servers


def apply(ledger: LaneLedger, *lines: str) -> list[str]:
    """Decide and write some commands as one batch; return their outcomes."""
    receipts = ledger.apply(NOW_US, [logged(asked(line)) for line in lines])
    return [str(receipt.outcome) for receipt in receipts if isinstance(receipt, LedgerReceipt)]


def one(line: str) -> LoggedCommand:
    """Return what a line stands for."""
    return logged(asked(line))


def balance(ledger: LaneLedger, account: str) -> int | None:
    """Return what a query would be told."""
    return ledger.commit([Query(id="q", account=account)])[0].balance


def cancel_waiting(server: LocalPostgres) -> None:
    """Cancel a commit that waits for a standby, once there is one."""
    waiting = "select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'"
    with psycopg.connect(server.uri(), autocommit=True) as administrator:
        deadline = time.monotonic() + 10
        while not administrator.execute(waiting.encode()).fetchall():
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_who_takes_the_lane_finds_what_was_written_and_ends_the_writer_before(url: str) -> None:
    with closing(LaneLedger(url, 0, "5000")) as first:
        assert apply(first, "c1 credit main 500") == ["ok"]
        with closing(LaneLedger(url, 0, "5001")) as second:
            assert second.epoch == first.epoch + 1
            assert balance(second, "main") == 500
            with pytest.raises(Fenced):
                apply(first, "c2 credit main 1")
            assert apply(second, "c3 credit main 20") == ["ok"]
            assert balance(second, "main") == 520


def test_a_query_is_not_answered_from_the_memory_of_a_writer_that_lost_its_lane(url: str) -> None:
    with closing(LaneLedger(url, 0, "5000")) as first:
        apply(first, "c1 credit main 500")
        assert balance(first, "main") == 500
        with closing(LaneLedger(url, 0, "5001")) as second:
            apply(second, "d1 debit main 500")
        for request in (Query(id="q", account="main"), Lookup(id="l", request_id="c1")):
            with pytest.raises(Fenced):
                first.commit([request])


def test_of_two_who_saw_the_same_epoch_one_gets_the_lane(url: str) -> None:
    with closing(LaneLedger(url, 0, "5000", seen_epoch=0)), pytest.raises(Fenced):
        LaneLedger(url, 0, "5001", seen_epoch=0)


def test_an_id_that_comes_again_has_the_same_receipt_also_from_the_next_writer(url: str) -> None:
    command = one("c1 credit main 500")
    with closing(LaneLedger(url, 0, "5000")) as first:
        receipt = first.apply(NOW_US, [command])
    with closing(LaneLedger(url, 0, "5001")) as second:
        assert second.apply(NOW_US + 1, [command]) == receipt
        assert balance(second, "main") == 500


def test_a_batch_is_written_whole_or_not_at_all(url: str) -> None:
    with closing(LaneLedger(url, 0, "5000")) as ledger:
        apply(ledger, "c1 credit main 500")
        ledger.decide([(NOW_US, one("c2 credit main 5")), (NOW_US, one("o1 open ann"))])
        with psycopg.connect(url, autocommit=True) as other:  # a row in the middle is refused
            other.execute("alter table atm.balance add constraint none check (account <> 'ann')")
        with pytest.raises(EngineFault) as fault:
            ledger.commit()
        assert not fault.value.may_be_done
    with closing(LaneLedger(url, 0, "5000")) as again:
        assert balance(again, "main") == 500
        assert again.commit([Lookup(id="l", request_id="c2")])[0].outcome == "original_not_found"


def test_accounts_are_looked_up_together_and_once_also_those_that_do_not_exist(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(LaneLedger(url, 0, "5000")) as ledger:
        asked: list[Any] = []
        execute = ledger._postgresql.execute

        def noted(*arguments: Any) -> Any:
            asked.append(arguments)
            return execute(*arguments)

        monkeypatch.setattr(ledger._postgresql, "execute", noted)
        lines = ("c1 credit main 500", "o1 open ann", "o2 open bob", "t1 transfer main carl 1")
        assert apply(ledger, *lines) == ["ok", "ok", "ok", "no_such_account"]
        assert len(asked) == 3  # receipts, accounts, and what is written
        assert apply(ledger, "t2 transfer main carl 1", "t3 transfer main bob 1") == ["no_such_account", "ok"]
        assert len(asked) == 5
        assert apply(ledger, "o3 open carl", "t4 transfer main carl 1") == ["ok", "ok"]


def test_a_writer_knows_when_the_next_hold_is_due(url: str) -> None:
    with closing(LaneLedger(url, 0, "5000")) as ledger:
        apply(ledger, "c1 credit main 500", "h1 hold main 10 1h", "h2 hold main 10 2h")
        assert ledger.next_expiry_us == NOW_US + 3_600_000_000
        apply(ledger, "h3 hold main 10 3h")
        assert ledger.next_expiry_us == NOW_US + 3_600_000_000
        apply(ledger, "p1 post h1")
        assert ledger.next_expiry_us == NOW_US + 7_200_000_000
        apply(ledger, "p2 post h2", "v3 void h3")
        assert ledger.next_expiry_us is None


def test_a_batch_for_which_there_is_no_room_is_certainly_not_done(url: str) -> None:
    full = "begin raise 'could not extend file' using errcode = '53100'; end"
    with closing(LaneLedger(url, 0, "5000")) as ledger:
        ledger.decide([(NOW_US, one("c1 credit main 5"))])
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(f"create function full_disk() returns trigger language plpgsql as $$ {full} $$")
            other.execute(
                "create trigger full_disk before insert on atm.receipt execute function full_disk()"
            )
        with pytest.raises(NoSpace, match="make room") as fault:
            ledger.commit()
        assert not fault.value.may_be_done


def test_a_server_that_ends_in_a_batch_leaves_it_unknown_and_the_next_writer_knows(
    own_server: LocalPostgres,
) -> None:
    url = own_server.uri()
    with closing(EngineConnection(url)) as engine:
        open_bank(engine, 1)
    ledger = LaneLedger(url, 0, "5000")
    apply(ledger, "c1 credit main 500")
    ledger.decide([(NOW_US, one("c2 credit main 5"))])
    own_server.kill("p1")
    with pytest.raises(EngineFault) as fault:
        ledger.commit()
    assert fault.value.may_be_done
    ledger.close()
    own_server.start("p1")
    with closing(LaneLedger(url, 0, "5000")) as again:
        assert apply(again, "c2 credit main 5") == ["ok"]
        assert balance(again, "main") == 505


def test_a_frozen_server_is_not_waited_for_for_ever(own_server: LocalPostgres) -> None:
    url = own_server.uri()
    with closing(EngineConnection(url)) as engine:
        open_bank(engine, 1)
    ledger = LaneLedger(url, 0, "5000", answer_timeout_s=0.5)
    ledger.decide([(NOW_US, one("c1 credit main 5"))])
    [(backend,)] = ledger._postgresql.execute("select pg_backend_pid()").fetchall()
    os.kill(backend, signal.SIGSTOP)
    try:
        with pytest.raises(EngineFault, match="did not answer in time") as fault:
            ledger.commit()
        assert fault.value.may_be_done
    finally:
        os.kill(backend, signal.SIGCONT)
    ledger.close()
    with closing(LaneLedger(url, 0, "5000")) as again:
        apply(again, "c1 credit main 5")
        assert balance(again, "main") == 5


def test_a_commit_whose_wait_for_the_standby_was_cancelled_is_not_acknowledged(
    own_server: LocalPostgres,
) -> None:
    url = own_server.uri()
    with closing(EngineConnection(url)) as engine:
        open_bank(engine, 1)
    ledger = LaneLedger(url, 0, "5000")
    ledger.decide([(NOW_US, one("c1 credit main 5"))])
    own_server.query("p1", "alter system set synchronous_standby_names = 'nobody'")
    own_server.query("p1", "select pg_reload_conf()")
    cancelling = Thread(
        target=cancel_waiting, args=(own_server,)
    )  # as an operator does, whose database hangs
    cancelling.start()
    with pytest.raises(EngineFault, match="canceling wait for synchronous replication") as fault:
        ledger.commit()
    cancelling.join()
    assert fault.value.may_be_done
    ledger.close()


@pytest.mark.parametrize(
    ("where", "setting", "told"),
    [
        ("database {name}", "synchronous_commit = off", "synchronous_commit = off"),
        ("database {name}", "synchronous_commit = local", "synchronous_commit = local"),
        ("role atm in database {name}", "synchronous_commit = remote_write", "remote_write"),
        ("database {name}", "statement_timeout = 30000", "statement_timeout = 30000"),
    ],
)
def test_a_database_that_would_break_promises_is_refused(where: str, setting: str, told: str) -> None:
    url = new_database()
    name = url.rpartition("/")[2]
    EngineConnection(url).close()
    with psycopg.connect(url, autocommit=True) as administrator:
        administrator.execute(f"alter {where.format(name=name)} set {setting}".encode())
    with pytest.raises(EngineRefused, match=told):
        EngineConnection(url)


@pytest.mark.parametrize(
    ("letter", "values"),
    [
        ("t", ["a", "", "two words", "NULL", "{}", "é", ","]),
        ("t", ["a", None, 'a"b', "c:\\d", '","', "{a,b}"]),
        ("t", ['","']),
        ("t", ['"', '"']),
        ("t", ["\\"]),
        ("t", []),
        ("i", [1, -(2**63), None, 2**63 - 1]),
        ("i", [7]),
        ("i", []),
        ("b", [bytes(32), bytes(range(32))]),
        ("b", [bytes(range(32))]),
    ],
)
def test_what_is_written_of_an_array_is_what_postgresql_reads(
    url: str, letter: str, values: list[object]
) -> None:
    kind, write = TYPES[letter]
    with closing(EngineConnection(url)) as engine:
        [(found,)] = engine.psycopg.execute(f"select %s::{kind}".encode(), (write(values),)).fetchall()
    assert found == values


def test_the_number_of_lanes_is_fixed_when_the_bank_is_made(url: str) -> None:
    with closing(EngineConnection(url)) as engine, pytest.raises(EngineRefused, match="lanes = 1"):
        open_bank(engine, 2)


def test_a_watcher_reads_the_chain_of_the_lane(url: str) -> None:
    with closing(LaneLedger(url, 0, "5000")) as ledger:
        apply(ledger, "c1 credit main 500", "d1 debit main 20")
        [first] = ledger.commit([Watch(id="w", limit=1)])
        assert first.postings is not None
        [rest] = ledger.commit([Watch(id="w", after=first.postings[0].posting)])
        assert rest.hash == first.postings[0].hash
        assert [posting.request_id for posting in rest.postings or ()] == ["d1"]


def test_a_writer_that_is_frozen_within_a_transaction_does_not_keep_the_lane_from_others(url: str) -> None:
    with closing(LaneLedger(url, 0, "n1")) as frozen:
        engine = frozen._engine.psycopg
        engine.execute("begin")
        after = (frozen.applied_index, frozen.time_us, frozen._journal_hash, frozen._deed_hash)
        engine.execute(FENCE, (0, frozen.epoch, frozen.applied_index, *after))
        time.sleep(FROZEN_S + 0.2)
        with closing(LaneLedger(url, 0, "n2")) as another:
            assert another.epoch == frozen.epoch + 1
            with pytest.raises(EngineFault) as fault:
                frozen.commit()
            assert not fault.value.may_be_done
