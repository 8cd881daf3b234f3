"""What is asked of one server alone is recorded before it is done, or not done."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from atm.admin.main import main as admin
from atm.config import load
from atm.identity import Role
from atm.ledger.commands import LedgerReceipt, NoteDeed, Outcome
from atm.local_cluster import write_cluster_ini
from atm.permissions import needed
from atm.server.clients.deed_notes import NOT_RECORDED, DeedNotes
from atm.server.group.inbox import Inbox, PendingRequest
from atm.wire.backup_messages import BackupBegin
from atm.wire.client_messages import AdminReply, ErrorReply, Members, Reply, Status, TakeSnapshot
from atm.wire.codec import encode
from tests.server.test_permissions import Somebody
from tests.support.server_parts import RunningServer, Wire, wait_until

SNAPSHOT = TakeSnapshot(id="s1")
OK = Reply.of(LedgerReceipt(id="s1", outcome=Outcome.OK, log_index=7))
REVOKED = Reply.of(LedgerReceipt(id="s1", outcome=Outcome.NOT_ALLOWED, log_index=7))
NO_LEADER = ErrorReply(id="s1", outcome="unavailable", message="no leader is known at the moment")
UNKNOWN = ErrorReply(id="s1", outcome="unknown", message="the link to the leader was lost")


class AnsweringInbox(Inbox):
    """An inbox whose run loop answers at once, with `answer`; not at all if that is None."""

    def __init__(self, answer: Reply | ErrorReply | None) -> None:
        super().__init__(Lock())
        self.asked: list[PendingRequest] = []
        self._answer = answer

    def put(self, inputs: Any) -> None:
        self.asked += inputs.commands
        if self._answer is not None:
            for pending in inputs.commands:
                pending.channel.reply(pending.number, encode(self._answer))


def notes(inbox: Inbox, level: int = 2, applied: Callable[[], int] = lambda: 7) -> DeedNotes:
    return DeedNotes("n2", inbox, lambda: level, applied, record_s=0.05)


@pytest.mark.parametrize(("request_", "op"), [(SNAPSHOT, "snapshot"), (BackupBegin(id="s1"), "backup_begin")])
def test_who_asked_is_noted_with_what_and_of_which_server(
    request_: TakeSnapshot | BackupBegin, op: Any
) -> None:
    inbox = AnsweringInbox(OK)
    assert notes(inbox).refusal(request_, "ada", 1) is None
    [pending] = inbox.asked
    note = NoteDeed(id="s1", deed=op, target="n2")
    assert (pending.request, pending.payload, pending.actor, pending.roles) == (note, encode(note), "ada", 1)


@pytest.mark.parametrize(
    ("answer", "why"),
    [(NO_LEADER, NO_LEADER.message), (UNKNOWN, UNKNOWN.message), (None, "no answer came in time")],
)
def test_what_cannot_be_recorded_is_not_done_unless_nobody_has_a_certificate(
    answer: ErrorReply | None, why: str
) -> None:
    refusal = notes(AnsweringInbox(answer)).refusal(SNAPSHOT, "ada", 1)
    assert refusal == ErrorReply(id="s1", outcome="unavailable", message=f"{NOT_RECORDED}: {why}")
    assert notes(AnsweringInbox(answer)).refusal(SNAPSHOT, "local", 0) is None


def test_who_was_revoked_ahead_of_the_note_is_refused() -> None:
    refusal = notes(AnsweringInbox(REVOKED)).refusal(SNAPSHOT, "ada", 1)
    assert refusal == AdminReply(id="s1", outcome="not_allowed", message=needed("snapshot"), index=0)


def test_what_is_done_comes_behind_its_record_in_this_servers_ledger() -> None:
    indexes = iter((5, 6, 7, 8))
    assert notes(AnsweringInbox(OK), applied=lambda: next(indexes)).refusal(SNAPSHOT, "ada", 1) is None
    assert next(indexes) == 8
    assert notes(AnsweringInbox(OK), applied=lambda: 0).refusal(SNAPSHOT, "ada", 1) is None, "far behind"


def test_below_feature_level_2_nothing_is_noted_and_all_is_done() -> None:
    inbox = AnsweringInbox(NO_LEADER)
    assert notes(inbox, level=1).refusal(SNAPSHOT, "ada", 1) is None
    assert inbox.asked == []


# -- real servers ------------------------------------------------------------------------------------------


def test_any_server_records_snapshots_and_backups_and_none_is_taken_unseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    somebody = Somebody(monkeypatch)
    file = write_cluster_ini(tmp_path, 3)
    cluster = load(file)
    names = list(cluster.nodes)
    servers = {name: RunningServer(cluster, name) for name in names}
    config = ["--config", str(file)]

    def status(name: str) -> dict[str, Any]:
        with Wire(servers[name].client) as wire:
            return wire.ask(Status(id="s"))

    def deeds_of(name: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(cluster.data_dir / name / "ledger.db")) as ledger:
            rows = ledger.execute("select actor, roles, op, target, outcome from deed order by deed")
            return rows.fetchall()

    def do(*arguments: str) -> tuple[int, str]:
        code = admin([*config, *arguments])
        printed = capsys.readouterr()
        return code, (printed.out + printed.err).strip()

    try:
        for server in servers.values():
            server.__enter__()
        wait_until(lambda: all(status(name)["feature_level"] == 2 for name in names))
        with Wire(servers[names[0]].client) as wire:
            wait_until(lambda: all(each["peer"] for each in wire.ask(Members(id="m"))["members"]))
        somebody.is_now("ada", Role.ADMIN)
        leader = str(status(names[0])["leader"])
        follower, other = (name for name in names if name != leader)
        assert do("snapshot", follower)[0] == 0
        assert do("snapshot", leader)[0] == 0
        assert do("backup", str(tmp_path / "backup"))[0] == 0
        assert do("transfer", follower)[0] == 0
        wait_until(lambda: len({status(name)["applied_index"] for name in names}) == 1)
        for name in (leader, other):
            servers.pop(name).__exit__(None, None, None)
        wait_until(lambda: status(follower)["role"] != "leader")
        code, said = do("snapshot", follower)
        assert code == 3
        assert said.startswith(f"admin: The bank is not available: {NOT_RECORDED}: no leader is known")
        assert len(said.splitlines()) == 1
        code, said = do("backup", str(tmp_path / "another"))
        assert code == 3
        assert f"{NOT_RECORDED}: no leader is known at the moment" in said
        monkeypatch.undo()
        assert do("snapshot", follower)[0] == 0, "without certificates all goes on as before"
    finally:
        for server in servers.values():
            server.__exit__(None, None, None)
    expected = [
        ("ada", "admin", "snapshot", follower, "ok"),
        ("ada", "admin", "snapshot", leader, "ok"),
        ("ada", "admin", "backup_begin", deeds_of(leader)[2][3], "ok"),
        ("ada", "admin", "transfer_leadership", follower, "ok"),
    ]
    assert all(deeds_of(name) == expected for name in names)
