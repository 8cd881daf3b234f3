"""The journal of unanswered requests, which outlives the teller."""

from __future__ import annotations

import fcntl
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from atm.client import Client, new_request_id
from atm.config import load
from atm.ledger.commands import Command, Credit, Debit, Reverse
from atm.teller.request_journal import RequestJournal
from tests.support.fake_cluster import FakeCluster
from tests.support.running import NOT_AVAILABLE, WELCOME, Run, start_teller, wait_until
from tests.support.synced import Synced
from tests.teller.ledger_bank import LedgerBank


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


DAY_S = 86_400


def age(entry: Path, seconds: float) -> None:
    """Let the entry be as old as that."""
    then = time.time() - seconds
    os.utime(entry, (then, then))


def test_a_request_of_another_day_that_never_arrived_is_cancelled_and_not_carried_out(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    """Trial 4: the customer left a month ago and got no cash."""
    run("-c", "credit 100")
    command = Debit(id="a", account="main", amount=100_00)
    age(leave_behind(cluster, state_folder, command), 30 * DAY_S)
    ran = run("-c", "query")
    assert ran.out == ["Your current account balance is: 100"]
    assert ran.err == [
        "Settled from last time: not debited 100 from main (reference a): it never reached the bank, "
        "is more than a day old, and is cancelled"
    ]
    assert list(state_folder.glob("*.json")) == []
    with Client(cluster.config) as client:  # should it still be on its way
        assert client.ask(command).outcome == "already_reversed"


def test_a_request_of_another_day_that_was_done_is_told_and_stays_done(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    command = Credit(id="a", account="main", amount=5_00)
    with Client(cluster.config) as client:
        client.ask(command)
    age(leave_behind(cluster, state_folder, command), 30 * DAY_S)
    ran = run("-c", "query")
    assert ran.err == ["Settled from last time: credited 5 to main (reference a)"]
    assert ran.out == ["Your current account balance is: 5"]
    assert "reverse" not in [request["op"] for request in bank.requests]


def test_a_request_of_another_day_that_arrives_between_the_two_questions_is_taken_back(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    command = Credit(id="a", account="main", amount=5_00)
    age(leave_behind(cluster, state_folder, command), 30 * DAY_S)
    bank.before["reverse"] = lambda: bank.decide(
        {"op": "credit", "id": "a", "account": "main", "amount": 5_00}
    )
    ran = run("-c", "query")
    (reversal,) = (request["id"] for request in bank.requests if request["op"] == "reverse")
    assert ran.err == [
        f"Settled: credited 5 to main (reference a), and reversed since (reference {reversal})"
    ]
    assert ran.out == ["Your current account balance is: 0"]


def test_a_request_of_today_is_carried_out(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    command = Credit(id="a", account="main", amount=5_00)
    age(leave_behind(cluster, state_folder, command), DAY_S - 60)
    assert run("-c", "query").out == ["Your current account balance is: 5"]
    assert [request["op"] for request in bank.requests] == ["lookup", "credit", "query"]


def test_a_request_of_today_is_looked_up_before_it_is_asked_again(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    """Whoever reversed it since is told nothing else."""
    command = Credit(id="a", account="main", amount=5_00)
    with Client(cluster.config) as client:
        client.ask(command)
        client.reverse("a", request_id="b")
    leave_behind(cluster, state_folder, command)
    bank.requests.clear()
    ran = run("-c", "query")
    assert ran.err == ["Settled: credited 5 to main (reference a), and reversed since (reference b)"]
    assert [request["op"] for request in bank.requests] == ["lookup", "query"]


def test_a_request_of_today_that_was_reversed_before_it_arrived_stays_undone(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    with Client(cluster.config) as client:
        client.reverse("a")
    leave_behind(cluster, state_folder, Credit(id="a", account="main", amount=5_00))
    ran = run("-c", "query")
    assert ran.err == [
        "Settled from last time: not credited 5 to main (reference a): "
        "a was reversed before it reached the bank: it is not done, and never will be"
    ]
    assert ran.out == ["Your current account balance is: 0"]


def test_settle_settles_and_says_what_became_of_each(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    leave_behind(cluster, state_folder, Credit(id="a", account="main", amount=5_00))
    age(leave_behind(cluster, state_folder, Debit(id="b", account="main", amount=1_00)), 2 * DAY_S)
    ran = run("--json", "-c", "settle")
    (report,) = map(json.loads, ran.out)
    assert (report["outcome"], ran.code, ran.err) == ("ok", 0, [])
    assert [(each["request_id"], each["outcome"]) for each in report["settled"]] == [
        ("a", "ok"),
        ("b", "cancelled"),
    ]
    assert list(state_folder.glob("*.json")) == []
    again = run("-c", "settle")
    assert again.out == ["There is nothing to settle: the outcome of every request is known"]


def test_settle_says_what_stays_unknown(run: Run, cluster: FakeCluster, state_folder: Path) -> None:
    entry = leave_behind(cluster, state_folder, Credit(id="a", account="main", amount=5_00))
    for node in cluster.nodes.values():
        node.always = node.fault("unavailable")
    ran = run("-c", "settle")
    assert (ran.code, ran.err) == (5, [])
    assert ran.out == [
        "Outcome unknown, reference a: do not repeat the request; "
        "the teller asks again before the next command, or when it starts again"
    ]
    assert entry.exists()


@pytest.mark.parametrize("request_id", ["order-17", "../../escape", "a/b", ".", "~%"])
def test_the_same_id_again_is_the_same_request_and_is_done_once(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path, request_id: str
) -> None:
    """Trial 5: a script repeats its command after an unknown outcome."""
    for node in cluster.nodes.values():
        node.always = node.apply_and_close
    assert run("-c", "credit 5", "--id", request_id).code == 5
    (entry,) = state_folder.iterdir()
    for node in cluster.nodes.values():
        node.always = None
    for _ in range(2):
        ran = run("-c", "credit 5", "--id", request_id)
        assert (ran.out, ran.err, ran.code) == (["Successfully credited 5 to your account"], [], 0)
    assert not entry.exists()
    assert run("-c", "query").out == ["Your current account balance is: 5"]
    assert run("-c", "credit 6", "--id", request_id).code == 1


def test_the_same_id_again_after_a_month_is_carried_out_as_somebody_wants_it_now(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    age(leave_behind(cluster, state_folder, Credit(id="a", account="main", amount=5_00)), 30 * DAY_S)
    assert run("-c", "credit 5", "--id", "a").out == ["Successfully credited 5 to your account"]
    assert list(state_folder.glob("*.json")) == []


def test_a_reversal_that_was_sent_before_is_sent_again_without_a_look(
    run: Run, cluster: FakeCluster, bank: LedgerBank, state_folder: Path
) -> None:
    """Somebody confirmed then that it may leave a tombstone."""
    leave_behind(cluster, state_folder, Reverse(id="b", original="a"))
    ran = run("-c", "reverse a", "--id", "b")
    assert (ran.out, ran.err) == (["Nothing was moved under a, and nothing will be: check the reference"], [])
    assert [request["op"] for request in bank.requests] == ["reverse"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--id", "a"], 2),
        (["--id", "a", "-c", "credit 5", "-c", "credit 5"], 2),
        (["--id", "a b", "-c", "credit 5"], 2),
        (["--id", "a", "-c", "query"], 2),
        (["--id", "a", "-c", "reverse a"], 2),
        (["--id", "a", "-c", "hold 5"], 0),
        (["--id", "b", "-c", "confirm a"], 0),
    ],
)
def test_an_id_is_for_one_command_that_changes_something(
    run: Run, bank: LedgerBank, arguments: list[str], code: int
) -> None:
    run("-c", "credit 5")
    run("-c", "hold 5", "--id", "a")
    assert run(*arguments).code == code


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
