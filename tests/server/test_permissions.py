"""Who may do what: each request, from each role, at the server that reads it; a refused one goes nowhere."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast, get_args

import msgspec
import pytest
from msgspec.structs import replace

from atm.admin.main import main as admin
from atm.config import load
from atm.identity import LOCAL_IDENTITY, Identity, Role
from atm.ledger.commands import Command, Credit, Debit, Freeze, Lookup, Outcome, Query, Read
from atm.local_cluster import write_cluster_ini
from atm.office.main import main as office
from atm.permissions import PERMITTED, needed
from atm.server.clients.client_connection import ClientConnection
from atm.server.clients.client_server import ClientServer
from atm.server.group.inbox import PendingRequest
from atm.teller.main import main as teller
from atm.wire.backup_messages import BackupBegin, BackupChunk, BackupEntries
from atm.wire.client_messages import (
    AddMember,
    ClientRequest,
    Events,
    Members,
    MoveMember,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    Status,
    TakeSnapshot,
    TransferLeadership,
    Verify,
)
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame
from tests.server.test_client_connection import FakeOwner
from tests.support.entries import command
from tests.support.server_parts import DEADLINE_S, RunningServer, Wire, cluster_of, wait_until

PLACE = "127.0.0.1:7000"
REQUESTS: list[ClientRequest] = [
    *(
        command(f"x {line}")
        for line in (
            *("credit ann 5", "debit ann 5", "transfer ann bob 5", "batch ann bob 5", "hold ann 5 60s"),
            *("raise_hold ann h1 5", "post h1 5", "void h1", "reverse c1 5", "write_off ann 5", "open ann"),
            *("freeze ann", "unfreeze ann", "close ann", "unlock ann", "reset_pin ann", "set_limit ann 5"),
            "set_pin ann 4711",
            "login ann 4711",
            *("grant_role ann teller", "revoke_role ann *", f"rotate_pepper 2 {'0' * 16}"),
            *("set_approval_limit write_off 5", "approve w1", "set_ceiling ann 5"),
        )
    ),
    Query(id="x", account="ann"),
    msgspec.convert({"id": "x", "op": "statement", "account": "ann"}, Read),
    Lookup(id="x", request_id="c1"),
    msgspec.convert({"id": "x", "op": "exceptions"}, Read),
    msgspec.convert({"id": "x", "op": "find", "code": 7}, Read),
    msgspec.convert({"id": "x", "op": "accounts"}, Read),
    msgspec.convert({"id": "x", "op": "holds", "account": "main"}, Read),
    msgspec.convert({"id": "x", "op": "roles"}, Read),
    msgspec.convert({"id": "x", "op": "deeds"}, Read),
    msgspec.convert({"id": "x", "op": "approvals"}, Read),
    msgspec.convert({"id": "x", "op": "pepper"}, Read),
    msgspec.convert({"id": "x", "op": "watch"}, Read),
    Status(id="x"),
    Verify(id="x"),
    Members(id="x"),
    Events(id="x"),
    AddMember(id="x", node="n4", peer=PLACE, client=PLACE),
    PromoteMember(id="x", node="n4"),
    RemoveMember(id="x", node="n4"),
    MoveMember(id="x", node="n4", peer=PLACE, client=PLACE),
    ReplaceMember(id="x", node="n4"),
    TransferLeadership(id="x"),
    TakeSnapshot(id="x"),
    BackupBegin(id="x"),
    BackupEntries(id="x", first=1, last=2),
    BackupChunk(id="x", index=1, sha256="0" * 64, offset=0),
]

# The table of the interfaces, written out once more.
A_TELLERS = """credit debit transfer batch hold raise_hold post void reverse query statement holds login
    set_pin lookup open status"""
AN_OPERATORS = f"""{A_TELLERS} freeze unfreeze unlock reset_pin set_limit set_ceiling write_off close
    exceptions find accounts deeds approvals approve events"""
ALL_READS = """query statement holds lookup exceptions find accounts members verify status roles deeds
    approvals pepper watch events"""
AN_ADMINS = """members add_member promote_member remove_member move_member replace_member transfer_leadership
    snapshot backup_begin backup_entries backup_chunk status grant_role revoke_role roles deeds
    set_approval_limit approvals rotate_pepper pepper events"""
MAY = {
    Role.TELLER: set(A_TELLERS.split()),
    Role.OPERATOR: set(AN_OPERATORS.split()),
    Role.AUDITOR: set(ALL_READS.split()),
    Role.GATEWAY: set(A_TELLERS.split()),
    Role.ADMIN: set(AN_ADMINS.split()),
    Role.NODE: {"status"},
}


def op_of(request: ClientRequest) -> str:
    return str(request.__struct_config__.tag)


class Caller:
    """A connection that belongs to somebody, without a server behind it."""

    def __init__(self, *roles: Role, identity: Identity | None = None) -> None:
        here, self.socket = socket.socketpair()
        self.socket.settimeout(DEADLINE_S)
        self.owner = FakeOwner()
        self.connection = ClientConnection(here, self.owner)
        self.connection.identity = identity or Identity("ann", frozenset(roles))

    def send(self, request: ClientRequest) -> None:
        assert self.connection.receive(frame(encode(request)))

    @property
    def went_on(self) -> list[PendingRequest]:
        """What was taken to be decided by somebody, or given to the connection's own thread."""
        gathered = self.owner.inbox.gathered
        waiting = [*gathered.commands, *gathered.queries, *gathered.changes, *gathered.statuses]
        jobs = self.connection._jobs
        return waiting + [cast(Any, jobs.get()).args[1] for _ in range(jobs.qsize())]

    def answer(self) -> dict[str, Any]:
        [payload] = FrameReader(CLIENT_FRAME_BYTES_MAX).feed(self.socket.recv(65536))
        return msgspec.msgpack.decode(payload, type=dict[str, Any])

    def close(self) -> None:
        self.socket.close()
        self.connection.close()


@pytest.fixture
def called() -> Iterator[list[Caller]]:
    callers: list[Caller] = []
    yield callers
    for caller in callers:
        caller.close()


def test_every_request_has_a_row_and_is_tried_here() -> None:
    kinds = {kind for part in get_args(ClientRequest) for kind in (get_args(part) or (part,))}
    assert {type(request) for request in REQUESTS} == kinds
    assert {op_of(request) for request in REQUESTS} <= PERMITTED.keys()


@pytest.mark.parametrize("request_", REQUESTS, ids=op_of)
@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_do_what_the_table_says_and_nothing_else(
    called: list[Caller], role: Role, request_: ClientRequest
) -> None:
    if role is Role.GATEWAY and not isinstance(request_, Status):
        request_ = replace(request_, end_user="eve")
    caller = Caller(role)
    called.append(caller)
    caller.send(request_)
    went_on = caller.went_on
    if op_of(request_) in MAY[role]:
        assert len(went_on) == 1
        return
    assert went_on == []
    answer = caller.answer()
    assert (answer["id"], answer["outcome"]) == ("x", "not_allowed")
    if not isinstance(request_, Command | Read):
        assert (answer["message"], answer["index"]) == (needed(op_of(request_)), 0)


@pytest.mark.parametrize("request_", REQUESTS, ids=op_of)
def test_without_certificates_everybody_may_do_all(called: list[Caller], request_: ClientRequest) -> None:
    caller = Caller(identity=LOCAL_IDENTITY)
    called.append(caller)
    caller.send(request_)
    assert len(caller.went_on) == 1


def test_who_has_several_roles_may_do_what_any_of_them_may(called: list[Caller]) -> None:
    caller = Caller(Role.TELLER, Role.ADMIN)
    called.append(caller)
    caller.send(TakeSnapshot(id="s"))
    caller.send(Credit(id="c", account="ann", amount=1))
    assert len(caller.went_on) == 2
    caller.send(Freeze(id="f", account="ann"))
    assert caller.answer()["outcome"] == "not_allowed"


def test_the_line_for_people_names_the_roles() -> None:
    assert needed("freeze") == "Not allowed: freeze needs the role operator"
    assert needed("credit") == (
        "Not allowed: credit needs the role teller, operator or gateway (for a named end user)"
    )


# -- gateways --------------------------------------------------------------------------------------------


def test_a_gateway_names_its_end_user_who_becomes_part_of_the_actor(called: list[Caller]) -> None:
    caller = Caller(Role.GATEWAY)
    called.append(caller)
    plain = Credit(id="c", account="ann", amount=1)
    caller.send(replace(plain, end_user="eve"))
    [pending] = caller.went_on
    assert (pending.actor, pending.request, pending.payload) == ("ann/eve", plain, encode(plain))


@pytest.mark.parametrize(
    ("role", "end_user"), [(Role.GATEWAY, None), (Role.TELLER, "eve"), (Role.OPERATOR, "eve")]
)
def test_only_a_gateway_may_name_an_end_user_and_it_must(
    called: list[Caller], role: Role, end_user: str | None
) -> None:
    caller = Caller(role)
    called.append(caller)
    caller.send(Credit(id="c", account="ann", amount=1, end_user=end_user))
    assert (caller.went_on, caller.answer()["outcome"]) == ([], "not_allowed")


def test_the_longest_names_make_an_actor_that_a_log_entry_holds(called: list[Caller]) -> None:
    caller = Caller(identity=Identity("g" * 32, frozenset({Role.GATEWAY})))
    called.append(caller)
    caller.send(Credit(id="c", account="ann", amount=1, end_user="e" * 31))
    [pending] = caller.went_on
    assert len(pending.actor) == 64


# -- in a running server ---------------------------------------------------------------------------------


class Somebody:
    """Whose connections those are that a server accepts from now on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.identity = LOCAL_IDENTITY
        connect = ClientServer.connect

        def connect_as(server: ClientServer, sock: socket.socket) -> ClientConnection:
            connection = connect(server, sock)
            connection.identity = self.identity
            return connection

        monkeypatch.setattr(ClientServer, "connect", connect_as)

    def is_now(self, name: str, *roles: Role) -> None:
        self.identity = Identity(name, frozenset(roles))


def test_what_a_role_does_not_allow_is_not_logged_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = Somebody(monkeypatch)
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as server:
        server.wait_for_leader()
        somebody.is_now("tim", Role.TELLER)
        with Wire(server.client) as teller:
            assert teller.ask(Credit(id="c1", account="main", amount=500))["outcome"] == "ok"
            before = teller.ask(Status(id="s"))["last_index"]
            assert teller.ask(Freeze(id="f", account="main")) == {"id": "f", "outcome": "not_allowed"}
            refused = teller.ask(TakeSnapshot(id="t"))
            assert (refused["outcome"], refused["index"]) == ("not_allowed", 0)
            assert teller.ask(Debit(id="d1", account="main", amount=100))["balance"] == 400
            assert teller.ask(Status(id="s"))["last_index"] == before + 1
        somebody.is_now("max", Role.GATEWAY)
        with Wire(server.client) as gateway:
            named = Credit(id="c2", account="main", amount=1, end_user="eve")
            assert gateway.ask(named)["balance"] == 401
            assert gateway.ask(named)["balance"] == 401
        somebody.is_now("ada", Role.AUDITOR)
        with Wire(server.client) as auditor:
            assert auditor.ask(Query(id="q", account="main"))["balance"] == 401
            assert auditor.ask(Credit(id="c3", account="main", amount=1))["outcome"] == Outcome.NOT_ALLOWED
            found = auditor.ask(Lookup(id="l", request_id="f"))
            assert found["outcome"] == "original_not_found"
    assert server.reported == []


def test_people_are_told_which_role_it_needs_and_scripts_get_the_code_4(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    somebody = Somebody(monkeypatch)
    file = write_cluster_ini(tmp_path, 1)
    export = tmp_path / "books.jsonl"
    export.write_text(
        '{"posting": 128, "time_us": 1, "request_id": "a", "op": "credit", "debit_account": "cash", '
        '"credit_account": "main", "amount": 5, "debit_balance": -5, "credit_balance": 5, '
        '"reverses": null, "exception": null, "hash": ""}\n'
    )
    runs: list[tuple[Role, Callable[[list[str]], int], list[str], str]] = [
        (Role.TELLER, teller, ["--operator", "-c", "freeze main"], needed("freeze")),
        (Role.TELLER, admin, ["members"], needed("members")),
        (Role.TELLER, office, ["verify"], needed("verify")),
        (Role.AUDITOR, teller, ["-c", "credit 5"], needed("credit")),
        (Role.AUDITOR, admin, ["transfer"], needed("transfer_leadership")),
        (Role.AUDITOR, admin, ["backup", str(tmp_path / "backup")], needed("backup_begin")),
        (Role.AUDITOR, office, ["import", str(export)], needed("credit")),
        (Role.ADMIN, teller, ["-c", "query"], needed("query")),
    ]
    with RunningServer(load(file), "n1") as server:
        server.wait_for_leader()
        for role, main, arguments, line in runs:
            somebody.is_now("ann", role)
            assert main(["--config", str(file), *arguments]) == 4, arguments
            printed = capsys.readouterr()
            said = (printed.out + printed.err).strip().splitlines()
            assert line in said[-1] if main is not office else line in "\n".join(said), (arguments, said)
            assert "Traceback" not in printed.err
        somebody.is_now("ann", Role.AUDITOR)
        assert teller(["--config", str(file), "-c", "query", "-c", "status"]) == 0
        assert admin(["--config", str(file), "members"]) == 0
        assert office(["--config", str(file), "verify"]) == 0


def test_an_administrator_revokes_and_grants_while_connections_are_open_and_the_record_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    somebody = Somebody(monkeypatch)
    file = write_cluster_ini(tmp_path, 1)
    config = ["--config", str(file)]

    def administered(*arguments: str) -> tuple[int, str]:
        somebody.is_now("ada", Role.ADMIN)
        code = admin([*config, "roles", *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    with RunningServer(load(file), "n1") as server:
        server.wait_for_leader()
        with Wire(server.client) as anybody:
            wait_until(lambda: anybody.ask(Status(id="s"))["feature_level"] == 2)
        somebody.is_now("tim", Role.TELLER)
        with Wire(server.client) as teller:
            assert teller.ask(Credit(id="c1", account="main", amount=5))["outcome"] == "ok"
            monkeypatch.setattr("atm.admin.roles._own_name", lambda task: "ada")
            assert administered("revoke", "ada")[0] == 1, "she might be the last administrator"
            assert teller.ask(Credit(id="c2", account="main", amount=5))["outcome"] == "ok"
            code, said = administered("revoke", "tim", "teller")
            assert (code, "has lost the role teller" in said) == (0, True)
            assert teller.ask(Credit(id="c3", account="main", amount=5))["outcome"] == "not_allowed"
            assert administered("grant", "tim", "operator")[0] == 0
            assert teller.ask(Freeze(id="f1", account="main"))["outcome"] == "ok"
        assert administered("revoke", "local", "teller")[0] == 2
        assert administered("grant", "tim")[0] == 2
        code, said = administered("list")
        assert said.split()[-4:] == ["tim", "operator", "teller", said.split()[-1]]
        somebody.is_now("tim", Role.TELLER)
        assert admin([*config, "roles", "grant", "tim", "teller"]) == 4
        somebody.is_now("audrey", Role.AUDITOR)
        capsys.readouterr()
        assert office(["deeds", *config]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[3:7] for line in lines[2:]] == [
            ["tim", "operator", "freeze", "main"],
            ["ada", "admin", "grant_role", "tim/operator"],
            ["ada", "admin", "revoke_role", "tim/teller"],
        ]
        assert office(["verify", *config]) == 0


def test_above_a_limit_a_second_person_approves_and_each_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    somebody = Somebody(monkeypatch)
    config = ["--config", str(write_cluster_ini(tmp_path, 1))]

    def told(name: str, role: Role, main: Callable[[list[str]], int], *arguments: str) -> tuple[int, str]:
        somebody.is_now(name, role)
        options = ["--operator"] if main is teller else []
        code = main([*config, *options, *arguments])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    with RunningServer(load(Path(config[1])), "n1") as server:
        server.wait_for_leader()
        with Wire(server.client) as anybody:
            wait_until(lambda: anybody.ask(Status(id="s"))["feature_level"] == 2)
        assert told("ada", Role.ADMIN, admin, "approvals") == (
            0,
            "Nothing needs a second person: no limit is set\n",
        )
        code, said = told("ada", Role.ADMIN, admin, "approval-limit", "write_off", "5")
        assert (code, said.startswith("write_off above 5 needs a second person, from log")) == (0, True)
        assert told("otto", Role.OPERATOR, admin, "approval-limit", "write_off", "none")[0] == 4
        for wrong in (["write_off", "-5"], ["credit", "5"], ["write_off"]):
            with pytest.raises(SystemExit, match="2"):
                told("ada", Role.ADMIN, admin, "approval-limit", *wrong)
        capsys.readouterr()
        assert told("otto", Role.OPERATOR, teller, "-c", "writeoff main 5")[0] == 0
        code, said = told("otto", Role.OPERATOR, teller, "-c", "writeoff main 6")
        assert (code, "nothing was changed: within a day another operator can" in said) == (1, True)
        reference = said.split()[-1]
        code, said = told("otto", Role.OPERATOR, teller, "-c", f"approve {reference}")
        assert (code, "somebody else has to approve it" in said) == (4, True)
        code, said = told("olga", Role.OPERATOR, teller, "-c", "approvals")
        assert (code, said.split()[-1], "writeoff main" in said) == (0, reference, True)
        code, said = told("ada", Role.ADMIN, admin, "approvals")
        assert (code, said.split()[-2:]) == (0, ["otto", reference])
        code, said = told("olga", Role.OPERATOR, teller, "-c", f"approve {reference}")
        assert (code, f"Successfully approved and carried out {reference}\nReference " in said) == (0, True)
        approval = said.split()[-1]
        code, said = told("olga", Role.OPERATOR, teller, "-c", f"approve {reference}")
        assert (code, "was approved already, and carried out" in said) == (1, True)
        code, said = told("olga", Role.OPERATOR, teller, "-c", "approve nothing")
        assert (code, "nothing needs no approval" in said) == (1, True)
        code, said = told("otto", Role.OPERATOR, teller, "-c", f"receipt {reference}")
        assert (code, said.split()[-1]) == (0, approval)
        code, said = told("otto", Role.OPERATOR, teller, "-c", "statement")
        assert [line.split()[2] for line in said.splitlines()[2:]] == ["writeoff", "writeoff"]
        assert told("ada", Role.ADMIN, admin, "approval-limit", "write_off", "none")[0] == 0
        code, said = told("ada", Role.ADMIN, admin, "approvals")
        assert (code, said) == (0, "Nothing needs a second person: no limit is set\n")
        assert told("audrey", Role.AUDITOR, office, "verify")[0] == 0
