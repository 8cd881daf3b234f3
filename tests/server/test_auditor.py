"""A node audits its own ledger: one audit at a time, bounded, ended with the node; others do not wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from threading import Semaphore, Thread

import apsw
import pytest

from atm.ledger.audit.findings import Findings
from atm.ledger.ledger import Ledger
from atm.server.clients import auditor as auditor_module
from atm.server.clients.auditor import Auditor
from atm.wire.client_messages import ErrorReply, Verify, VerifyReply
from tests.support.server_parts import DEADLINE_S, RunningServer, Wire, cluster_of, credit, wait_until
from tests.support.story import RECORDS, write_ledger

ASKED = Verify(id="v", at=(1, len(RECORDS)))


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return write_ledger(tmp_path / "ledger.db")


@pytest.fixture
def locked(ledger: Path) -> Iterator[Path]:
    """A ledger that its reader waits for: another connection has locked it."""
    with closing(apsw.Connection(str(ledger))) as connection:
        connection.pragma("locking_mode", "exclusive")
        connection.execute("begin exclusive; update applied set log_index = log_index; commit")
        yield ledger


def in_background(auditor: Auditor, answers: list[VerifyReply | ErrorReply]) -> Thread:
    thread = Thread(target=lambda: answers.append(auditor.audit(ASKED, "local")))
    thread.start()
    wait_until(lambda: auditor._running is not None)
    return thread


def test_a_node_returns_its_findings(ledger: Path) -> None:
    with closing(Ledger(ledger)):
        answer = Auditor("n1", ledger).audit(ASKED, "local")
    assert isinstance(answer, VerifyReply)
    assert (answer.node, answer.findings.applied_index, answer.findings.problems) == ("n1", len(RECORDS), ())
    assert [index for index, _ in answer.findings.chain] == [1, len(RECORDS)]


class SlowAuditor(Auditor):
    """Its audits take until they are released, and a second each by its clock."""

    def __init__(self) -> None:
        super().__init__("n1", Path("ledger.db"), clock=lambda: self.now_s)
        self.now_s = 1000.0
        self.audited: list[Sequence[int]] = []
        self.may_end = Semaphore(0)

    def _result(self, at: Sequence[int]) -> Findings:
        self.audited.append(at)
        assert self.may_end.acquire(timeout=DEADLINE_S)
        self.now_s += self.takes_s
        return Findings(
            applied_index=9,
            postings=0,
            chain=tuple((index, f"hash {index}") for index in at),
            digests={},
            problems=(),
            more_problems=0,
            seconds=1.0,
        )

    takes_s = 1.0


class Asking:
    """Callers of an auditor, each in a thread."""

    def __init__(self, auditor: SlowAuditor) -> None:
        self.auditor = auditor
        self.answers: dict[str, VerifyReply | ErrorReply] = {}
        self._threads: list[Thread] = []

    def ask(self, name: str, *at: int, actor: str = "local") -> None:
        """Return once the caller waits for an audit, or it has begun."""
        before = self._asked()

        def audit() -> None:
            self.answers[name] = self.auditor.audit(Verify(id=name, at=at), actor)

        self._threads.append(Thread(target=audit, daemon=True))
        self._threads[-1].start()
        wait_until(lambda: self._asked() > before)

    def _asked(self) -> int:
        with self.auditor._changed:
            waiting = sum(len(each.at) for each in self.auditor._waiting)
            return waiting + sum(map(len, self.auditor.audited))

    def end(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def chain(self, name: str) -> list[int]:
        answer = self.answers[name]
        assert isinstance(answer, VerifyReply)
        assert answer.id == name
        return [index for index, _ in answer.findings.chain]


def test_all_who_ask_while_an_audit_runs_share_the_next_one() -> None:
    auditor = SlowAuditor()
    asking = Asking(auditor)
    asking.ask("first", 1)
    for number in range(2, 6):
        asking.ask(f"v{number}", number)
    auditor.may_end.release(2)
    asking.end()
    assert auditor.audited == [[1], [2, 3, 4, 5]]
    assert asking.chain("first") == [1]
    assert [asking.chain(f"v{number}") for number in range(2, 6)] == [[2], [3], [4], [5]]


def test_who_asks_during_an_audit_does_not_get_its_findings() -> None:
    """They may be older than what the caller has seen."""
    auditor = SlowAuditor()
    asking = Asking(auditor)
    asking.ask("first", 1)
    asking.ask("second", 2)
    auditor.may_end.release()
    wait_until(lambda: "first" in asking.answers and len(auditor.audited) == 2)
    assert "second" not in asking.answers
    auditor.may_end.release()
    asking.end()


def test_an_audit_is_shared_by_as_many_as_its_arguments_have_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auditor_module, "SHARED_INDEXES_MAX", 2)
    auditor = SlowAuditor()
    asking = Asking(auditor)
    for number in range(1, 5):
        asking.ask(f"v{number}", number)
    auditor.may_end.release(3)
    asking.end()
    assert auditor.audited == [[1], [2, 3], [4]]


def test_who_floods_audits_is_made_to_pause_and_nobody_else() -> None:
    auditor = SlowAuditor()
    auditor.takes_s = 25.0
    asking = Asking(auditor)
    auditor.may_end.release()
    asking.ask("first", 1)
    asking.end()
    asking.ask("flood", 1)
    assert len(auditor.audited) == 1, "a pause of 75 s is asked of him, and 60 are given"
    asking.ask("operator", 2, actor="olga")
    wait_until(lambda: len(auditor.audited) == 2)
    auditor.may_end.release()
    asking.end()
    assert auditor.audited[1] == [1, 2], "and gains by hers"


def test_an_audit_that_takes_too_long_is_ended(locked: Path) -> None:
    answer = Auditor("n1", locked, seconds_max=0.01).audit(ASKED, "local")
    assert isinstance(answer, ErrorReply)
    assert (answer.outcome, "took longer than 0.01 s" in answer.message) == ("unavailable", True)


def test_an_audit_ends_with_its_node(locked: Path) -> None:
    auditor, answers = Auditor("n1", locked), list[VerifyReply | ErrorReply]()
    thread = in_background(auditor, answers)
    running = auditor._running
    assert running is not None
    assert os.getpgid(running.pid) == running.pid  # Ctrl-C does not reach it by itself
    auditor.close()
    thread.join(DEADLINE_S)
    assert running.poll() is not None
    assert [answer.outcome for answer in answers] == ["unavailable"]
    assert auditor.audit(ASKED, "local").outcome == "unavailable"


def test_not_even_a_killed_node_leaves_an_audit_behind(locked: Path) -> None:
    """What the kernel does for a killed process is to close its end of the pipe."""
    command = [sys.executable, "-P", "-m", "atm.ledger.audit", str(locked), "--json", "--behind"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    assert process.wait(DEADLINE_S) == 1
    assert process.stdout.read() == b""
    process.stdout.close()


def test_a_client_gets_the_findings_over_the_wire_and_others_are_served_meanwhile(tmp_path: Path) -> None:
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as server, Wire(server.client) as wire:
        server.wait_for_leader()
        assert wire.ask(credit("a", 500))["outcome"] == "ok"
        with Wire(server.client) as other:
            wire.send(Verify(id="v"))
            for number in range(20):
                assert other.ask(credit(f"b{number}"))["outcome"] == "ok"
        answer = wire.answer()
        assert answer is not None
        assert (answer["id"], answer["outcome"], answer["node"]) == ("v", "ok", "n1")
        assert answer["findings"]["problems"] == []
        assert answer["findings"]["postings"] >= 1
        assert wire.ask(credit("c", 1))["outcome"] == "ok"
        assert server.reported == []


def test_what_came_before_an_audit_on_the_same_connection_does_not_wait_for_it(tmp_path: Path) -> None:
    with RunningServer(cluster_of(tmp_path, "n1"), "n1") as server, Wire(server.client) as wire:
        server.wait_for_leader()
        for message in (credit("a", 500), Verify(id="v"), credit("b", 500)):
            wire.send(message)
        answers = [wire.answer() for _ in range(3)]
        assert [answer["id"] for answer in answers if answer] == ["a", "v", "b"]
