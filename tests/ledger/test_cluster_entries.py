"""Actors, and entries about the cluster itself: both are in the ledger, the same on every node."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from atm.ledger.audit.auditing import audit
from atm.ledger.commands import (
    Expire,
    Founding,
    LevelRaise,
    LoggedCommand,
    LoggedDeed,
    Member,
    MembershipChange,
    NoteDeed,
)
from atm.ledger.database import LEVEL_2_TABLES
from atm.ledger.ledger import ClusterState, Ledger, LedgerFault, Record
from tests.support.entries import command, logged, time_us

ONE, OTHER = "ab" * 16, "cd" * 16
NEW = ClusterState(id="", voters=(), feature_level=1)
FOUNDED = ClusterState(id=ONE, voters=("n1", "n2"), feature_level=1)

Entry = Founding | LevelRaise | MembershipChange | None


def member(node: str, *, voter: bool = True, peer: str = "", store: str = "", since: int = 0) -> Member:
    return Member(node=node, voter=voter, peer=peer, client="", store=store, since=since)


def log_records(*entries: tuple[str, str] | Entry) -> list[Record]:
    """Return records of commands, given as (actor, line), and of entries about the cluster."""
    said = [logged(command(each[1]), each[0]) if isinstance(each, tuple) else each for each in entries]
    return [(index, time_us(index), each) for index, each in enumerate(said, 1)]


def actors(ledger: Ledger) -> dict[str, str]:
    rows = ledger._cursor.execute("select request_id, actor from receipt").fetchall()
    return {str(request_id): str(actor) for request_id, actor in rows}


def test_a_receipt_keeps_the_actor() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(
        log_records(("ann@n1", "c1 credit main 5"), ("bob@n2", "d1 debit main 9"), ("eve", "d2 debit gone 1"))
    )
    assert actors(ledger) == {"c1": "ann@n1", "d1": "bob@n2", "d2": "eve"}


def test_a_repeated_id_gets_the_first_receipt_and_keeps_the_first_actor() -> None:
    ledger = Ledger(":memory:")
    first, *again = ledger.apply(log_records(*[(name, "c1 credit main 5") for name in ("ann", "bob", "ann")]))
    assert again == [first, first]
    assert actors(ledger) == {"c1": "ann"}
    reused = ledger.apply([(4, time_us(4), logged(command("c1 credit main 6"), "eve"))])[0]
    assert reused is not None
    assert reused.outcome == "id_reused"
    assert actors(ledger) == {"c1": "ann"}


def test_a_tombstone_has_the_actor_of_the_reversal() -> None:
    ledger = Ledger(":memory:")
    ledger.apply(log_records(("ann", "r1 reverse c1"), ("bob", "c1 credit main 5")))
    assert actors(ledger) == {"r1": "ann", "c1": "ann"}


def test_the_end_of_a_hold_leaves_no_receipt() -> None:
    ledger = Ledger(":memory:")
    ledger.apply([(1, 1, LoggedCommand("bank", Expire()))])
    assert actors(ledger) == {}


def test_the_actor_is_part_of_the_digest() -> None:
    digests = set()
    for actor in ("ann", "bob"):
        ledger = Ledger(":memory:")
        ledger.apply(log_records((actor, "c1 credit main 5")))
        digests.add(ledger.digest())
    assert len(digests) == 2


def test_the_first_entry_names_the_cluster_and_no_later_one_does() -> None:
    ledger = Ledger(":memory:")
    assert ledger.cluster == NEW
    ledger.apply(log_records(Founding(ONE, ("n1", "n2")), Founding(OTHER, ("n3",))))
    assert ledger.cluster == FOUNDED


def test_a_feature_level_rises_and_never_falls() -> None:
    ledger = Ledger(":memory:")
    levels = []
    for index, level in enumerate((2, 5, 3, 5, 1, 6), 1):
        ledger.apply([(index, index, LevelRaise(level))])
        levels.append(ledger.cluster.feature_level)
    assert levels == [2, 5, 5, 5, 5, 6]


def test_the_cluster_state_is_known_once_decided_and_kept_once_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    founding = log_records(Founding(ONE, ("n1", "n2")), LevelRaise(2), None, ("ann", "c1 credit main 5"))
    founders = (member("n1"), member("n2"))
    expected = ClusterState(id=ONE, voters=("n1", "n2"), feature_level=2, members=founders)
    with closing(Ledger(path)) as ledger:
        ledger.decide(founding)
        assert ledger.cluster == expected
    with closing(Ledger(path)) as ledger:
        assert (ledger.cluster, ledger.applied_index) == (NEW, 0)
        ledger.apply(founding)
    with closing(Ledger(path)) as ledger:
        assert (ledger.cluster, ledger.applied_index) == (expected, 4)
    assert audit(path).problems == ()


def test_the_cluster_state_does_not_depend_on_batches() -> None:
    lines: list[tuple[str, str] | Entry] = [Founding(ONE, ("n1",)), LevelRaise(2)]
    lines += [("ann", f"c{number} credit main {number}") for number in range(1, 5)]
    digests = set()
    for size in (1, 2, 6):
        ledger, records = Ledger(":memory:"), log_records(*lines)
        for start in range(0, len(records), size):
            ledger.apply(records[start : start + size])
        digests.add(ledger.digest())
    assert len(digests) == 1


# -- members: schema 4 -------------------------------------------------------------------------------

DEED = LoggedDeed("ada", NoteDeed(id="m", deed="move_member", target="n1"), 1)
CHANGES: tuple[Entry, ...] = (
    Founding(ONE, ("n1", "n2")),
    LevelRaise(2),
    MembershipChange((member("n2"), member("n1", peer="h:1", since=3), member("n3", voter=False)), DEED),
    MembershipChange((member("n3", store="s"), member("n1", peer="h:1", since=3), member("n2")), DEED),
    MembershipChange((member("n3", store="s"), member("n1", peer="h:1", since=3)), DEED),
    MembershipChange((member("n2"), member("n3", store="s"), member("n1", peer="h:1", since=3)), DEED),
)


def shape(path: Path) -> tuple[object, list[str]]:
    """Return what the file says of its version, and all definitions in it."""
    with closing(sqlite3.connect(path)) as file:
        [(version,)] = file.execute("select schema_version from applied")
        return version, [str(sql) for (sql,) in file.execute("select sql from sqlite_schema order by name")]


def test_below_feature_level_2_a_ledger_is_that_of_release_1_1(tmp_path: Path) -> None:
    new, used, raised = tmp_path / "new", tmp_path / "used", tmp_path / "raised"
    Ledger(new).close()
    with closing(Ledger(used)) as ledger:
        ledger.apply(log_records(CHANGES[0], LevelRaise(1), MembershipChange((member("n9"),))))
        assert ledger.cluster == FOUNDED
    assert shape(new) == shape(used)
    assert shape(new)[0] == 3
    with closing(Ledger(raised)) as ledger:
        ledger.apply(log_records(*CHANGES[:2]))
    version, definitions = shape(raised)
    assert version == 4
    assert len(definitions) == len(shape(new)[1]) + LEVEL_2_TABLES.count("\nCREATE ")
    for path in (new, used, raised):
        assert audit(path).problems == ()


def test_the_newest_entry_says_who_is_a_member_and_who_was_one() -> None:
    ledger, seen = Ledger(":memory:"), []
    for record in log_records(*CHANGES):
        ledger.apply([record])
        state = ledger.cluster
        members = [f"{each.node}{'' if each.voter else ' learns'}" for each in state.members]
        seen.append((members, dict(state.removed), state.voters))
    assert seen == [
        ([], {}, ("n1", "n2")),
        (["n1", "n2"], {}, ("n1", "n2")),
        (["n1", "n2", "n3 learns"], {}, ("n1", "n2")),
        (["n1", "n2", "n3"], {}, ("n1", "n2", "n3")),
        (["n1", "n3"], {"n2": 5}, ("n1", "n3")),
        (["n1", "n2", "n3"], {}, ("n1", "n2", "n3")),
    ]
    assert ledger.cluster.members[0] == member("n1", peer="h:1", since=3)


def test_the_members_are_the_same_however_the_log_is_cut_and_after_each_restart(tmp_path: Path) -> None:
    digests, states = set(), set()
    for size in (1, 2, 5, 6):
        path, records = tmp_path / str(size), log_records(*CHANGES[:5], ("ann", "c1 credit main 5"))
        for start in range(0, len(records), size):
            with closing(Ledger(path)) as ledger:
                ledger.apply(records[start : start + size])
        with closing(Ledger(path)) as ledger:
            digests.add(ledger.digest())
            states.add(ledger.cluster)
        assert audit(path).problems == ()
    assert len(digests) == len(states) == 1


def test_the_tables_come_with_the_raise_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(Ledger(path)) as ledger:
        ledger.apply(log_records(CHANGES[0]))
        ledger.decide(log_records(*CHANGES[:2])[1:])  # and the power fails
    assert shape(path)[0] == 3
    with closing(Ledger(path)) as ledger:
        assert (ledger.cluster, ledger.applied_index) == (FOUNDED, 1)
        ledger.apply(log_records(*CHANGES[:2])[1:])
        ledger.apply([(3, time_us(3), logged(command("c1 credit main 5"), "ann"))])
    assert shape(path)[0] == 4


def test_a_table_of_members_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(Ledger(path)) as ledger:
        ledger.apply(log_records(*CHANGES))
    with closing(sqlite3.connect(path)) as file:
        file.execute("update member set node = '' where node = 'n1'")
        file.commit()
    with pytest.raises(LedgerFault, match="has a cluster that cannot be read"):
        Ledger(path)
