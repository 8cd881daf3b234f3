"""An audit finds what is wrong with a ledger: each kind of damage is planted, and must be reported."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from atm.ledger.audit import auditing, read_only
from atm.ledger.audit.auditing import audit
from atm.ledger.audit.read_only import NoLedger, open_read_only
from atm.ledger.commands import Credit
from atm.ledger.journal_hash import row_hash
from atm.ledger.ledger import Ledger
from atm.ledger.posting import NO_HASH
from tests.support.entries import logged, time_us
from tests.support.story import RECORDS, write_ledger

DAMAGES = {
    "a changed amount": (
        "update journal set amount = amount + 1 where request_id = 't1'",
        [
            "posting 704 (log entry 11): its hash does not fit its contents and the posting before it",
            "posting 704 (log entry 11): alice had 9000, was changed by -501, and the row says 8500",
            "balance of bob: it is 2055, and its postings add up to 2056",
            "posting 704 (log entry 11): it differs from the receipt of its request t1",
        ],
    ),
    "a changed time": (
        "update journal set time_us = time_us - 5000 where request_id = 't1'",
        [
            "posting 704 (log entry 11): its hash does not fit",
            "posting 704 (log entry 11): its time is before that of the posting before it",
        ],
    ),
    "a changed running balance": (
        "update journal set credit_balance = 1 where request_id = 't1'",
        [
            "posting 704 (log entry 11): bob had 5005, was changed by 500, and the row says 1",
            "its hash does not fit",
        ],
    ),
    "a deleted row": (
        "delete from journal where request_id = 't1'",
        [
            "posting 768 (log entry 12): its hash does not fit",
            "posting 768 (log entry 12): alice had 9000, was changed by -100, and the row says 8400",
            "receipt of t1: its transfer is ok, but the journal has no such posting",
            "balance of alice:",
        ],
    ),
    "a deleted last row": (
        "delete from journal where request_id = 'c4'",
        ["balance of Carol_x.y-z: it is 1800, and its postings add up to -200", "receipt of c4: its credit"],
    ),
    "a row missing from a batch": (
        "delete from journal where posting = 768",
        ["posting 769 (log entry 12): the posting before it in its entry is missing"],
    ),
    "two rows swapped": (
        """update journal set posting = -1 where request_id = 'c1';
        update journal set posting = 384 where request_id = 'c2';
        update journal set posting = 448 where posting = -1""",
        [
            "posting 384 (log entry 6): its hash does not fit",
            "posting 448 (log entry 7): its hash does not fit",
            "posting 384 (log entry 6): it differs from the receipt of its request c2",
        ],
    ),
    "another payer": (
        "update journal set debit_account = 'bob' where request_id = 'd1'",
        ["posting 576 (log entry 9): its hash does not fit", "bob had 5005, was changed by -1000"],
    ),
    "a broken hash": (
        "update journal set hash = zeroblob(32) where request_id = 't1'",
        [
            "posting 704 (log entry 11): its hash does not fit",
            "posting 768 (log entry 12): its hash does not fit",
        ],
    ),
    "a balance off": (
        "update balance set amount = amount + 100 where account = 'alice'",
        [
            "all balances add up to 100, not to 0",
            "balance of alice: it is 8800, and its postings add up to 8700",
        ],
    ),
    "two balances off": (
        """update balance set amount = amount + 100 where account = 'alice';
        update balance set amount = amount - 100 where account = 'bob'""",
        ["balance of alice: it is 8800", "balance of bob: it is 1955"],
    ),
    "a lost balance": (
        "delete from balance where account = 'alice'",
        [
            "balance of alice: there is none, and its postings add up to 8700",
            "journal: 7 of its rows refer to no balance",
            "account: 1 of its rows refer to no balance",
        ],
    ),
    "a lost account": (
        "delete from account where account = 'bob'",
        [
            "account bob: it has a balance and is neither the bank's own nor known",
            "hold: 2 of its rows refer to no account",
        ],
    ),
    "what is held is off": (
        "update account set held = 1 where account = 'alice'",
        ["account alice: 1 is held, but its active holds add up to 700"],
    ),
    "a lost hold": (
        "delete from hold where request_id = 'h-active'",
        ["account alice: 700 is held, but its active holds add up to 0"],
    ),
    "a changed hold": (
        "update hold set amount = 800 where request_id = 'h-voided'",
        ["hold h-voided: its receipt says hold ok of 100"],
    ),
    "a hold overpaid": (
        "update hold set posted = 601 where request_id = 'h-posted'",
        ["hold h-posted: it is posted, its amount is 600, and 601 is recorded as paid out"],
    ),
    "a closed account with money": (
        "update account set state = 'closed' where account = 'alice'",
        ["account alice: it is closed with a balance of 8700 and 700 held"],
    ),
    "a lost receipt": (
        "delete from receipt where request_id = 't1'",
        [
            "journal: 1 of its rows refer to no receipt",
            "reversal: 1 of its rows refer to no receipt",
        ],
    ),
    "a receipt of nothing": (
        "update receipt set outcome = 'ok' where request_id = 'd2'",
        ["receipt of d2: its debit is ok, but the journal has no such posting in log entry 10"],
    ),
    "a changed receipt": (
        "update receipt set amount = 1 where request_id = 'c1'",
        ["posting 384 (log entry 6): it differs from the receipt of its request c1"],
    ),
    "a lost reversal": (
        "delete from reversal where original = 'd1'",
        ["receipt of r1: its reversal of"],
    ),
    "a reversal of another": (
        "update reversal set original = 'c1' where original = 'd1'",
        ["reversal of c1: the receipt of r1 says reverse of"],
    ),
    "a reversed hold that stands": (
        """update hold set state = 'active' where request_id = 'h-reversed';
        update account set held = 100 where account = 'Carol_x.y-z'""",
        ["hold h-reversed: it was reversed by r6, and is active"],
    ),
    "a lost reversal of a hold": (
        "delete from reversal where original = 'h-reversed'",
        ["receipt of r6: its reversal of", "receipt of r6: its reverse is ok, but"],
    ),
    "money moved by the reversal of a hold": (
        "update journal set request_id = 'r6' where request_id = 'r3'",
        ["moves money for r6, which released the hold h-reversed"],
    ),
    "an exception of nothing": (
        "insert into exception values (12345, 'late')",
        ["exception: 1 of its rows refer to no journal"],
    ),
    "an applied index that is behind": (
        "update applied set log_index = 30",
        ["the journal: it refers to log entry 41, but the last applied one is 30", "receipt of r3:"],
    ),
    "no applied index": (
        "delete from applied",
        ["the applied index cannot be read"],
    ),
    "an amount out of range": (
        "update journal set amount = 0 where request_id = 't1'",
        ["posting 704: its value breaks a constraint of the schema: 0 from alice to bob"],
    ),
    "a balance out of range": (
        "update balance set amount = 9007199254740992 where account = 'bob'",
        ["balance of bob: its value breaks a constraint of the schema: 9007199254740992"],
    ),
    "an unknown state": (
        "update account set state = 'asleep' where account = 'bob'",
        ["account bob: its value breaks a constraint of the schema: asleep and 0 held"],
    ),
    "a hold of nothing": (
        "update hold set amount = 0, state = 'lost' where request_id = 'h-active'",
        ["hold h-active: its value breaks a constraint of the schema: lost and 0"],
    ),
    "an exception of an unknown kind": (
        "update exception set kind = 'odd' where kind = 'late'",
        ["its value breaks a constraint of the schema: odd"],
    ),
    "text in place of a number": (
        """pragma writable_schema = on;
        update sqlite_schema set sql = replace(sql, ') STRICT', ')') where name = 'journal';
        pragma writable_schema = reset;
        update journal set amount = 'much' where request_id = 't1';
        pragma writable_schema = on;
        update sqlite_schema set sql = sql || ' STRICT' where name = 'journal';""",
        [
            "the file is damaged: non-INTEGER value in journal.amount",
            "the journal cannot be read after posting 576",
            "the ledger cannot be read everywhere: a value of the wrong type",
        ],
    ),
    "another table": (
        "create table stowaway (x)",
        ["its schema is not that of this release"],
    ),
    "a lost index": (
        "drop index journal_debit",
        ["its schema is not that of this release"],
    ),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_ledger(tmp_path / "ledger.db")


def damage(path: Path, script: str) -> None:
    """Change the ledger's file as no node does."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"pragma ignore_check_constraints = 1; pragma foreign_keys = 0; {script}")


def test_a_sound_ledger_has_no_problem(path: Path) -> None:
    found = audit(path)
    assert found.problems == ()
    assert (found.applied_index, found.postings, found.more_problems) == (len(RECORDS), 19, 0)
    assert audit(path).digests == found.digests


def test_a_new_ledger_has_no_problem(tmp_path: Path) -> None:
    Ledger(tmp_path / "new.db").close()
    found = audit(tmp_path / "new.db", [0, 1])
    assert found.problems == ()
    assert found.chain == ((0, NO_HASH.hex()),)


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_reported(path: Path, name: str) -> None:
    script, expected = DAMAGES[name]
    damage(path, script)
    found = audit(path)
    for line in expected:
        assert any(line in problem for problem in found.problems), (line, found.problems)


def test_each_wrong_row_is_reported_once_and_no_row_after_it(path: Path) -> None:
    damage(path, "update journal set amount = amount + 1 where request_id = 'c1'")
    hashes = [line for line in audit(path).problems if "hash" in line]
    assert hashes == [
        "posting 384 (log entry 6): its hash does not fit its contents and the posting before it",
    ]


def test_an_overdraft_that_no_exception_explains_is_reported(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        ledger.apply(RECORDS[:26])
    damage(tmp_path / "ledger.db", "delete from exception where kind = 'overdrawn'")
    assert audit(tmp_path / "ledger.db").problems == (
        "account Carol_x.y-z: its balance is -200, and no exception explains it",
    )


def test_a_journal_forged_with_its_hashes_and_balances_differs_from_an_honest_one(path: Path) -> None:
    """A writer of the whole file can make it consistent; it then differs from the other nodes."""
    honest = audit(path, [len(RECORDS)])
    with closing(sqlite3.connect(path)) as connection:
        last = NO_HASH
        columns = "posting, time_us, debit_account, credit_account, amount, debit_balance, credit_balance"
        rows = connection.execute(f"select {columns}, request_id from journal order by posting").fetchall()
        for number, time, *others in rows:
            forged_us = time + 1 if number == rows[-1][0] else time
            last = row_hash(last, number, forged_us, *others)
            values = (forged_us, last, number)
            connection.execute("update journal set time_us = ?, hash = ? where posting = ?", values)
        connection.execute("update receipt set time_us = time_us + 1 where request_id = 'c4'")
        connection.commit()
    forged = audit(path, [len(RECORDS)])
    assert forged.problems == ()
    assert forged.chain != honest.chain
    differing = {table for table in honest.digests if forged.digests[table] != honest.digests[table]}
    assert differing == {"journal", "receipt"}


def test_a_bit_that_rots_is_a_problem_or_another_digest(path: Path) -> None:
    sound, whole, rows = audit(path), path.read_bytes(), contents(path)
    chance, seen = random.Random(4), 0
    for _ in range(300):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        rotten = bytearray(whole)
        rotten[place] ^= bit
        path.write_bytes(rotten)
        found = audit(path)
        assert found.problems or found.digests != sound.digests or contents(path) == rows, place
        seen += bool(found.problems)
    assert seen > 30


def contents(path: Path) -> list[tuple[object, ...]]:
    """Return what a shell shows of all tables."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        ]
        return [row for name in names for row in connection.execute(f'select * from "{name}"')]


def test_a_lost_page_is_reported(path: Path) -> None:
    whole = path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        sql = "select rootpage from sqlite_master where name = 'journal'"
        (page,) = connection.execute(sql).fetchone()
    path.write_bytes(whole[: (page - 1) * 2048] + bytes(2048) + whole[page * 2048 :])
    problems = audit(path).problems
    assert any(line.startswith("the file is damaged: ") for line in problems)
    assert "the ledger cannot be read everywhere: database disk image is malformed" in problems
    path.write_bytes(whole[:-2048])
    assert audit(path).problems


def test_a_file_that_is_no_ledger_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"not a database" * 1000)
    (tmp_path / "empty").touch()
    assert "file is not a database" in " ".join(audit(tmp_path / "text").problems)
    assert "its schema is not that of this release" in " ".join(audit(tmp_path / "empty").problems)
    for nothing in ("none", "."):
        with pytest.raises(NoLedger, match="there is no ledger that can be read"):
            audit(tmp_path / nothing)


def test_a_locked_ledger_is_reported_in_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_only, "BUSY_TIMEOUT_MS", 10)
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("locking_mode", "exclusive")
        connection.execute("update applied set log_index = log_index")
        assert audit(path).problems == (f"{path}: the ledger cannot be read: database is locked",)


def test_the_number_of_problems_is_bounded(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        rows = [(100_000 + 64 * n, n, bytes(32)) for n in range(5000)]
        connection.executemany(
            "insert into journal values (?, ?, 'cash', 'main', 1, 0, 0, 'x y' || char(10), ?)", rows
        )
        connection.commit()
    found = audit(path)
    assert len(found.problems) <= auditing.PROBLEMS_MAX
    assert found.more_problems > 5000
    assert all(line.isprintable() and len(line) <= 250 for line in found.problems)


def test_problems_beyond_the_bound_are_only_counted() -> None:
    with closing(apsw.Connection(":memory:")) as connection:
        found = auditing._Audit(connection.cursor())
        report = found._of_one_check()
        for number in range(auditing.OF_ONE_CHECK_MAX + 2):
            report(f"problem {number}")
        assert (len(found._problems), found._more_problems) == (auditing.OF_ONE_CHECK_MAX, 2)
        for number in range(auditing.PROBLEMS_MAX - auditing.OF_ONE_CHECK_MAX + 3):
            found._report(f"another problem {number}")
    assert (len(found._problems), found._more_problems) == (auditing.PROBLEMS_MAX, 5)


def test_an_audit_neither_sees_nor_blocks_concurrent_writes(path: Path) -> None:
    index = len(RECORDS) + 1
    with open_read_only(path) as cursor:
        before = auditing._applied_index(cursor)
        with closing(Ledger(path)) as ledger:
            ledger.apply([(index, time_us(index), logged(Credit(id="z", account="main", amount=5)))])
            found = auditing._Audit(cursor).run_checks([index - 1, index])
            assert (found.applied_index, before) == (index - 1, index - 1)
            assert [asked for asked, _ in found.chain] == [index - 1]
            assert found.problems == ()
            assert audit(path, [index]).problems == ()
            ledger.apply([(index + 1, time_us(index + 1), None)])


def test_the_chain_is_returned_at_every_index_asked_for(path: Path) -> None:
    asked = list(range(len(RECORDS) + 2))
    whole = dict(audit(path, asked).chain)
    assert sorted(whole) == asked[:-1]
    other = path.with_name("other.db")
    with closing(Ledger(other)) as ledger:
        for record in RECORDS:
            ledger.apply([record])
            assert dict(audit(other, [record[0]]).chain)[record[0]] == whole[record[0]]
