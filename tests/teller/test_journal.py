"""The journal of unanswered requests, which outlives the teller."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from atm.client import new_request_id
from atm.config import load
from atm.ledger.commands import Command, Credit, Debit
from atm.teller.request_journal import RequestJournal
from tests.support.fake_cluster import FakeCluster
from tests.support.running import NOT_AVAILABLE, WELCOME, Run, start_teller, wait_until
from tests.support.synced import Synced


def leave_behind(cluster: FakeCluster, folder: Path, command: Command) -> Path:
    """Leave an entry in the journal as a killed teller does."""
    RequestJournal(folder, load(cluster.config).identity()).write(command).release()
    return folder / f"{command.id}.json"


def test_a_teller_that_was_killed_is_settled_at_the_next_start(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    cluster["5000"].script.append(cluster["5000"].silence)
    with start_teller(cluster, "5000", "-c", "credit 50") as teller:
        wait_until(lambda: len(cluster["5000"].requests) == 1)
        assert run("-c", "query").out == ["Your current account balance is: 0"], "the other one still lives"
        teller.kill()
    (request,) = [r for node in cluster.nodes.values() for r in node.requests if r["op"] == "credit"]
    ran = run()
    assert ran.out[:3] == [
        WELCOME,
        f"Settled from last time: credited 50 to main (reference {request['id']})",
        "Your starting balance is 50",
    ]
    assert list(state_folder.glob("*.json")) == []
    assert run().out[1] == "Your starting balance is 50"


def test_settling_repeats_the_id_and_so_changes_nothing_that_was_done(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    run("-c", "credit 5")
    (request_id,) = cluster.bank.receipts
    leave_behind(cluster, state_folder, Credit(id=request_id, account="main", amount=5_00))
    ran = run("-c", "query")
    assert ran.out == ["Your current account balance is: 5"]
    assert ran.err == [f"Settled from last time: credited 5 to main (reference {request_id})"]


def test_requests_are_settled_oldest_first_and_refusals_are_told(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    ids = sorted(new_request_id() for _ in range(2))
    leave_behind(cluster, state_folder, Credit(id=ids[1], account="main", amount=5_00))
    leave_behind(cluster, state_folder, Debit(id=ids[0], account="main", amount=4_00))
    assert run("-c", "query").err == [
        f"Settled from last time: not debited 4 from main (reference {ids[0]}): Insufficient account balance",
        f"Settled from last time: credited 5 to main (reference {ids[1]})",
    ]


def test_what_cannot_be_settled_yet_stays_in_the_journal(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    entry = leave_behind(cluster, state_folder, Credit(id="a", account="main", amount=5_00))
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    ran = run(typed="")
    assert ran.out[1:3] == [
        "Outcome unknown, reference a: do not repeat the request; "
        "the teller asks again before the next command, or when it starts again",
        NOT_AVAILABLE,
    ]
    assert entry.exists()


def test_a_request_for_another_cluster_is_left_alone(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    RequestJournal(state_folder, "another").write(Credit(id="a", account="main", amount=5_00)).release()
    assert run("-c", "query").err == []
    assert (state_folder / "a.json").exists()
    assert cluster.bank.receipts == {}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff" * 5000,
        b"[]",
        b'{"cluster": "x", "command": {"op": "credit", "id": "x", "amount": 1}}',
    ],
)
def test_a_damaged_entry_is_moved_aside_with_one_line(run: Run, state_folder: Path, content: bytes) -> None:
    run("-c", "query")
    (state_folder / "x.json").write_bytes(content)
    ran = run("-c", "query")
    assert ran.out == ["Your current account balance is: 0"]
    assert ran.err == [
        f"A stored request cannot be read and was moved aside; its outcome stays unknown: "
        f"{state_folder / 'x.json.damaged'}"
    ]
    assert run("-c", "query").err == []


def test_what_is_no_file_does_not_stop_the_teller(run: Run, state_folder: Path) -> None:
    run("-c", "query")
    os.mkfifo(state_folder / "a.json")
    (state_folder / "b.json").mkdir()
    (state_folder / "c.json").symlink_to("/dev/zero")
    ran = run("-c", "query")
    assert (ran.code, len(ran.err)) == (0, 3)


def test_an_unfinished_entry_was_never_sent_and_is_removed(run: Run, state_folder: Path) -> None:
    run("-c", "query")
    (state_folder / "x.new").write_bytes(b'{"cl')
    assert run("-c", "query").err == []
    assert list(state_folder.iterdir()) == []


def test_the_journal_is_for_its_user_only(run: Run, cluster: FakeCluster, state_folder: Path) -> None:
    state_folder.mkdir(parents=True, mode=0o755)
    for node in cluster.nodes.values():
        node.always = node.close
    run("-c", "credit 5")
    (entry,) = state_folder.iterdir()
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600


def test_the_request_is_in_the_journal_before_it_is_sent(
    run: Run, cluster: FakeCluster, state_folder: Path
) -> None:
    stored: list[bool] = []

    def look(request: dict[str, Any]) -> bytes:
        stored.append((state_folder / f"{request['id']}.json").exists())
        return cluster["5000"].answer(request)

    cluster["5000"].always = look
    run("5000", "-c", "credit 5", "-c", "open bob")
    assert stored == [True, True]
    assert list(state_folder.iterdir()) == []


def test_the_request_survives_a_power_cut_of_the_tellers_machine_before_it_is_sent(
    run: Run, cluster: FakeCluster, state_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = Synced(monkeypatch)
    survived: list[bool] = []

    def look(request: dict[str, Any]) -> bytes:
        survived.append(synced.survives(state_folder / f"{request['id']}.json", tmp_path))
        return cluster["5000"].answer(request)

    cluster["5000"].always = look
    run("5000", "-c", "credit 5")
    assert survived == [True]
    assert synced.named_too_early == []


def test_without_a_journal_the_teller_warns_and_goes_on(run: Run, state_folder: Path) -> None:
    state_folder.parent.write_text("in the way")
    ran = run("-c", "credit 5")
    assert (ran.code, ran.out) == (0, ["Successfully credited 5 to your account"])
    (line,) = ran.err
    assert line.startswith("Requests cannot be stored")


def test_a_full_disk_only_costs_the_journal(
    run: Run, monkeypatch: pytest.MonkeyPatch, state_folder: Path
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    run("-c", "query")  # makes the folder
    with monkeypatch.context() as patch:
        patch.setattr("atm.teller.request_journal.os.fsync", full)
        ran = run(typed="credit 5\ncredit 5\n")
    assert ran.results == ["Successfully credited 5 to your account"] * 2
    assert len(ran.err) == 1
    assert list(state_folder.iterdir()) == [], "what was begun takes no room"
    assert list(state_folder.iterdir()) == []


def test_what_could_not_be_printed_stays_in_the_journal(
    run: Run, cluster: FakeCluster, state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("atm.teller.main.forget_stdout", lambda: None)
        patch.setattr("atm.teller.output.Output.report", full)
        assert run("-c", "credit 5").code == 5
    (request_id,) = cluster.bank.receipts
    assert (state_folder / f"{request_id}.json").exists()


def test_a_request_for_another_cluster_is_not_kept_from_its_tellers(state_folder: Path) -> None:
    warnings: list[str] = []
    RequestJournal(state_folder, "another").write(Credit(id="a", account="main", amount=5_00)).release()
    assert RequestJournal(state_folder, "this").leftovers(warnings.append) == []
    (unanswered,) = RequestJournal(state_folder, "another").leftovers(warnings.append)
    unanswered.settle()
    assert warnings == []


def test_a_request_that_another_teller_settles_meanwhile_is_not_sent_again(
    state_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = RequestJournal(state_folder, "this")
    journal.write(Credit(id="a", account="main", amount=5_00)).release()
    lock = fcntl.flock

    def settled_before(descriptor: int, operation: int) -> None:
        (state_folder / "a.json").unlink()
        lock(descriptor, operation)

    monkeypatch.setattr("atm.teller.request_journal.fcntl.flock", settled_before)
    assert journal.leftovers(lambda line: None) == []
