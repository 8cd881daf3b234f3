"""A node audits its own ledger: one audit at a time, bounded, ended with the node; others do not wait."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import apsw
import pytest

from atm.ledger.ledger import Ledger
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
    thread = Thread(target=lambda: answers.append(auditor.audit(ASKED)))
    thread.start()
    wait_until(lambda: auditor._running is not None)
    return thread


def test_a_node_returns_its_findings(ledger: Path) -> None:
    with closing(Ledger(ledger)):
        answer = Auditor("n1", ledger).audit(ASKED)
    assert isinstance(answer, VerifyReply)
    assert (answer.node, answer.findings.applied_index, answer.findings.problems) == ("n1", len(RECORDS), ())
    assert [index for index, _ in answer.findings.chain] == [1, len(RECORDS)]


def test_a_second_audit_at_once_is_refused_and_the_next_one_is_not(locked: Path) -> None:
    auditor, answers = Auditor("n1", locked), list[VerifyReply | ErrorReply]()
    thread = in_background(auditor, answers)
    refused = auditor.audit(ASKED)
    assert isinstance(refused, ErrorReply)
    assert refused.outcome == "busy"
    assert auditor._running is not None
    auditor._running.kill()
    thread.join(DEADLINE_S)
    assert auditor._running is None


def test_an_audit_that_takes_too_long_is_ended(locked: Path) -> None:
    answer = Auditor("n1", locked, seconds_max=0.01).audit(ASKED)
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
    assert auditor.audit(ASKED).outcome == "unavailable"


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
