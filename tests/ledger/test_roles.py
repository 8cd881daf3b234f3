"""Roles that the log grants and revokes, who may not do what at an entry, and the record of deeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from atm.identity import Role
from atm.ledger.audit.auditing import audit
from atm.ledger.commands import (
    Deeds,
    LevelRaise,
    LogCommand,
    LoggedDeed,
    Lookup,
    Member,
    MembershipChange,
    NoteDeed,
    NotedOp,
    Outcome,
    Roles,
)
from atm.ledger.ledger import Ledger, Record
from atm.permissions import bits_of
from tests.support.entries import command, logged, records, time_us

T, OP, A, G = Role.TELLER, Role.OPERATOR, Role.ADMIN, Role.GATEWAY


class Books:
    """A ledger at feature level 2, and its next entry."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.ledger = Ledger(path)
        self.waited_us = 0  # of log time, besides the milliseconds between entries
        self.ledger.apply([(1, time_us(1), LevelRaise(2)), *records(["c0 credit main 500"], first_index=2)])

    def do(self, line: str, actor: str = "local", *roles: Role) -> str:
        index = self.ledger.applied_index + 1
        entry = logged(command(line), actor, *roles)
        [receipt] = self.ledger.apply([(index, time_us(index) + self.waited_us, entry)])
        assert receipt is not None
        return str(receipt.outcome)

    def note(self, deed: NotedOp, target: str, actor: str = "local", *roles: Role, id: str = "n") -> str:
        """Note what is asked of the servers; return the outcome."""
        index = self.ledger.applied_index + 1
        note = NoteDeed(id=id, deed=deed, target=target)
        [receipt] = self.ledger.apply([(index, time_us(index), logged(note, actor, *roles))])
        assert receipt is not None
        assert (receipt.id, receipt.log_index, receipt.balance) == (id, index, None)
        return str(receipt.outcome)

    def change(self, deed: NotedOp | None, *nodes: str) -> None:
        """Make these the members, as ada asks; `deed` is about the last of them."""
        index = self.ledger.applied_index + 1
        self.ledger.apply([(index, time_us(index), changed_to(deed, index, *nodes))])

    def deeds(self) -> list[tuple[object, ...]]:
        found = self.ledger.view(Deeds(id="d")).deeds
        assert found is not None
        return [(deed.actor, deed.roles, deed.op, deed.target, deed.amount, deed.outcome) for deed in found]


def changed_to(deed: NotedOp | None, index: int, *nodes: str) -> MembershipChange:
    """Return the entry that makes these the members, as ada asks; `deed` is about the last, which is new."""
    members = tuple(
        Member(node, True, "h:1", "h:2", since=index if node == nodes[-1] else 0) for node in nodes
    )
    if deed is None:
        return MembershipChange(members)
    note = NoteDeed(id=f"m{index}", deed=deed, target=nodes[-1])
    return MembershipChange(members, LoggedDeed("ada", note, bits_of(frozenset({A}))))


@pytest.fixture
def books() -> Iterator[Books]:
    found = Books()
    yield found
    found.ledger.close()


# -- who may -----------------------------------------------------------------------------------------------


def test_a_revoked_role_counts_from_its_entry_on_and_a_grant_undoes_it(books: Books) -> None:
    assert books.do("c1 credit main 5", "tim", T) == "ok"
    assert books.do("r1 revoke_role tim teller", "ada", A) == "ok"
    assert books.do("c2 credit main 5", "tim", T) == "not_allowed"
    assert books.do("c3 credit main 5", "tim", T, OP) == "ok", "an operator may, too"
    assert books.do("c4 credit main 5", "tom", T) == "ok"
    assert books.do("g1 grant_role tim teller", "ada", A) == "ok"
    assert books.do("c5 credit main 5", "tim", T) == "ok"
    assert books.do("c2 credit main 5", "tim", T) == "not_allowed", "the first receipt stays"


def test_without_any_role_a_certificate_is_worthless(books: Books) -> None:
    assert books.do("r1 revoke_role tim *") == "ok"
    for line in ("c1 credit main 5", "f1 freeze main", "g1 grant_role tim teller"):
        assert books.do(line, "tim", T, OP, A) == "not_allowed"


def test_a_grant_gives_more_than_the_certificate_says(books: Books) -> None:
    assert books.do("f1 freeze main", "tim", T) == "not_allowed"
    assert books.do("g1 grant_role tim operator") == "ok"
    assert books.do("f2 freeze main", "tim", T) == "ok"


def test_a_gateway_that_is_revoked_acts_for_nobody(books: Books) -> None:
    assert books.do("c1 credit main 5", "shop/eve", G) == "ok"
    assert books.do("r1 revoke_role shop gateway") == "ok"
    assert books.do("c2 credit main 5", "shop/eve", G) == "not_allowed"
    assert books.do("c3 credit main 5", "eve", T) == "ok"


def test_no_certificate_no_judgement(books: Books) -> None:
    assert books.do("r1 revoke_role teller *") == "ok"
    assert books.do("f1 freeze main", "local") == "ok"


def test_below_level_2_no_role_can_be_changed_and_no_deed_is_recorded() -> None:
    with closing(Ledger(":memory:")) as ledger:
        for index, line in enumerate(("g1 grant_role ann teller", "f1 freeze main"), 1):
            [receipt] = ledger.apply([(index, time_us(index), logged(command(line)))])
            assert receipt is not None
            assert receipt.outcome is (Outcome.NOT_ALLOWED if index == 1 else Outcome.OK)
        note = NoteDeed(id="n", deed="snapshot", target="h1")
        [receipt, _] = ledger.apply(
            [(3, time_us(3), logged(note)), (4, time_us(4), changed_to("add_member", 4, "h1"))]
        )
        assert receipt is not None
        assert receipt.outcome is Outcome.NOT_ALLOWED, "there is no table for it"
        assert ledger.view(Deeds(id="d")).deeds == ()
        assert ledger.view(Roles(id="r")).roles == ()


def test_the_list_of_changed_roles_has_pages(books: Books) -> None:
    for number, name in enumerate(("_x", "ann", "bob")):
        books.do(f"g{number} grant_role {name} operator")
    books.do("r9 revoke_role bob teller")
    first = books.ledger.view(Roles(id="r", limit=2))
    second = books.ledger.view(Roles(id="r", limit=2, after_name=str(first.next)))
    rows = [(row.name, row.granted, row.revoked) for row in (*(first.roles or ()), *(second.roles or ()))]
    assert rows == [("_x", "operator", ""), ("ann", "operator", ""), ("bob", "operator", "teller")]
    assert second.next is None


# -- deeds -------------------------------------------------------------------------------------------------


def test_each_deed_is_recorded_with_who_did_it_and_what_came_of_it(books: Books) -> None:
    books.do("c1 credit main 5", "tim", T)
    books.do("w1 write_off main 7", "otto", OP, T)
    books.do("w1 write_off main 7", "otto", OP, T)
    books.do("w1 write_off main 8", "otto", OP, T)
    books.do("f1 freeze nobody", "otto", OP)
    books.do("f2 freeze main", "tim", T)
    books.do("u1 unlock main")
    books.do("r1 revoke_role tim *", "ada", A)
    assert books.deeds() == [
        ("ada", "admin", "revoke_role", "tim/*", None, "ok"),
        ("local", "", "unlock", "main", None, "ok"),
        ("tim", "teller", "freeze", "main", None, "not_allowed"),
        ("otto", "operator", "freeze", "nobody", None, "no_such_account"),
        ("otto", "operator,teller", "write_off", "main", 8, "id_reused"),
        ("otto", "operator,teller", "write_off", "main", 7, "ok"),
    ]
    page = books.ledger.view(Deeds(id="d", limit=2))
    assert [deed.op for deed in page.deeds or ()] == ["revoke_role", "unlock"]
    following = books.ledger.view(Deeds(id="d", limit=1, before=int(page.next or 0)))
    assert [deed.actor for deed in following.deeds or ()] == ["tim"]


def test_a_deed_says_the_roles_that_let_it_through_and_not_those_that_it_gave(books: Books) -> None:
    books.do("g1 grant_role ada auditor", "ada", A)
    books.do("r1 revoke_role ada *", "ada", A)
    books.do("g2 grant_role ada admin", "ada", A)
    assert [(roles, outcome) for _, roles, _, _, _, outcome in books.deeds()] == [
        ("", "not_allowed"),
        ("admin,auditor", "ok"),
        ("admin", "ok"),
    ]


def test_the_last_backup_that_was_begun_is_known_and_after_a_restart_too(tmp_path: Path) -> None:
    books = Books(tmp_path / "ledger.db")
    books.note("snapshot", "h1", "ada", A, id="s1")
    assert books.note("backup_begin", "h2", "otto", OP, id="b1") == "not_allowed"
    assert books.ledger.last_backup_us is None
    assert books.note("backup_begin", "h2", "ada", A, id="b2") == "ok"
    begun_us = time_us(books.ledger.applied_index)
    books.do("c1 credit main 5")
    books.note("backup_begin", "h2", "otto", OP, id="b3")
    assert books.ledger.last_backup_us == begun_us
    books.ledger.close()
    books.ledger = Ledger(tmp_path / "ledger.db")
    assert books.ledger.last_backup_us == begun_us
    books.note("backup_begin", "h1", "ada", A, id="b4")
    assert books.ledger.last_backup_us == time_us(books.ledger.applied_index) > begun_us


def test_what_is_asked_of_the_servers_is_a_deed_without_a_receipt(books: Books) -> None:
    assert books.note("snapshot", "h1", "ada", A, id="s1") == "ok"
    assert books.note("snapshot", "h1", "ada", A, id="s1") == "ok", "asked again, it is done again"
    assert books.note("backup_begin", "h2", "otto", OP, id="b1") == "not_allowed"
    assert books.note("transfer_leadership", "h3", id="t1") == "ok"
    books.do("r1 revoke_role ada admin")
    assert books.note("snapshot", "h1", "ada", A, id="s2") == "not_allowed"
    assert books.deeds()[:1] + books.deeds()[2:] == [
        ("ada", "", "snapshot", "h1", None, "not_allowed"),
        ("local", "", "transfer_leadership", "h3", None, "ok"),
        ("otto", "operator", "backup_begin", "h2", None, "not_allowed"),
        ("ada", "admin", "snapshot", "h1", None, "ok"),
        ("ada", "admin", "snapshot", "h1", None, "ok"),
    ]
    first = (books.ledger.view(Deeds(id="d", limit=1)).deeds or ())[0]
    assert first.request_id == "s2"
    assert books.ledger.view(Lookup(id="l", request_id="s1")).outcome is Outcome.ORIGINAL_NOT_FOUND
    assert books.do("s1 credit main 5") == "ok", "its id is not taken"


def test_a_change_of_the_members_is_a_deed_by_its_own_entry(books: Books) -> None:
    books.change(None, "h1")
    books.change("add_member", "h1", "h2")
    books.do("r1 revoke_role ada *")
    books.change("promote_member", "h1", "h2")
    assert books.deeds()[:1] + books.deeds()[2:] == [
        ("ada", "", "promote_member", "h2", None, "ok"),
        ("ada", "admin", "add_member", "h2", None, "ok"),
    ]
    assert [deed.deed for deed in books.ledger.view(Deeds(id="d")).deeds or ()] == [6, 5, 4]


def test_what_was_decided_in_one_batch_is_what_is_decided_one_by_one(tmp_path: Path) -> None:
    lines: list[tuple[str, str, tuple[Role, ...]]] = [
        ("r1 revoke_role tim teller", "ada", (A,)),
        ("c1 credit main 5", "tim", (T,)),
        ("w1 write_off main 5", "otto", (OP,)),
        ("g1 grant_role tim teller", "ada", (A,)),
        ("c2 credit main 5", "tim", (T,)),
    ]
    one_by_one, at_once, reopened = Books(), Books(), Books(tmp_path / "ledger.db")
    log: list[tuple[int, int, LogCommand]] = []
    change = changed_to("add_member", len(lines) + 4, "h1", "h2")
    note = NoteDeed(id="n", deed="snapshot", target="h1")
    for line, actor, roles in lines:
        one_by_one.do(line, actor, *roles)
        reopened.do(line, actor, *roles)
        reopened.ledger.close()
        reopened.ledger = Ledger(tmp_path / "ledger.db")
        index = len(log) + 3
        log.append((index, time_us(index), command(line)))
    last: list[Record] = [
        (len(log) + 3, time_us(len(log) + 3), logged(note, "ada", A)),
        (len(log) + 4, time_us(len(log) + 4), change),
    ]
    for books in (one_by_one, reopened):
        for record in last:
            books.ledger.apply([record])
    at_once.ledger.apply(
        [
            *(
                (index, us, logged(asked, actor, *roles))
                for (index, us, asked), (_, actor, roles) in zip(log, lines, strict=True)
            ),
            *last,
        ]
    )
    digests = {books.ledger.digest() for books in (one_by_one, at_once, reopened)}
    assert len(digests) == 1
    assert at_once.ledger.view(Lookup(id="l", request_id="c1")).outcome is Outcome.NOT_ALLOWED
    for books in (one_by_one, at_once, reopened):
        books.ledger.close()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("update deed set actor = 'tim' where deed = 4", "deed 4: its hash does not fit"),
        ("delete from deed where deed = 4", "deed 5: its hash does not fit"),
        ("delete from deed where deed = 5", "receipt of f1: its freeze is no deed"),
        ("update receipt set actor = 'tim' where request_id = 'w1'", "deed 3: its receipt says"),
        ("delete from receipt where request_id = 'f1'", "deed 5: there is no receipt of its freeze"),
        ("delete from deed where deed = 8", "node h3: log entry 8 made a voter of it, and is no deed"),
        ("delete from deed where deed = 8", "node h2: log entry 8 removed it, and is no deed"),
    ],
)
def test_an_audit_finds_a_deed_that_was_changed_or_is_missing(tmp_path: Path, damage: str, said: str) -> None:
    path = tmp_path / "ledger.db"
    books = Books(path)
    for line in ("w1 write_off main 7", "w2 write_off main 8", "f1 freeze main"):
        books.do(line, "otto", OP)
    books.note("snapshot", "h1")
    books.change("add_member", "h1", "h2")
    books.change("remove_member", "h1", "h3")
    books.ledger.close()
    assert audit(path).problems == ()
    connection = apsw.Connection(str(path))
    connection.execute(damage)
    connection.close()
    assert any(line.startswith(said) for line in audit(path).problems), audit(path).problems
