"""Commands in bulk at five real servers: each is done once, whoever is killed meanwhile."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from threading import Thread

import pytest

from atm.client import Client
from atm.ledger.commands import Command, Credit, Debit, Open
from atm.local_cluster import LocalCluster
from atm.office.main import main
from tests.support.journals import write_journal
from tests.support.ledgers import right_ledger
from tests.support.server_parts import wait_until

ACCOUNTS = [f"a{number}" for number in range(100)]
TOO_MUCH = 10**12
POSTINGS = 4_000
PATIENT_S = 60.0


def test_a_leader_that_is_killed_under_bulk_costs_no_command_and_doubles_none(cluster: LocalCluster) -> None:
    commands = list(paid_in(5_000))
    with Client(cluster.cluster, timeout=PATIENT_S) as client:
        opened = client.submit([Open(id=f"open-{account}", account=account) for account in ACCOUNTS])
        assert {receipt.outcome for receipt in opened} == {"ok"}
        outcomes: dict[str, str] = {}

        def submit_all() -> None:
            waiting = iter(commands)
            while some := list(islice(waiting, 500)):
                outcomes.update({receipt.request_id: receipt.outcome for receipt in client.submit(some)})

        thread = Thread(target=submit_all)
        thread.start()
        for _ in range(2):
            had = len(outcomes)
            wait_until(lambda had=had: len(outcomes) > had)  # type: ignore[misc]
            leader = cluster.wait_for_leader()
            cluster.kill(leader)
            wait_until(lambda had=had: len(outcomes) > had + 500 or not thread.is_alive())  # type: ignore[misc]
            cluster.start(leader)
        thread.join()
        again = client.submit(commands[:1_000])
    assert outcomes == {command.id: expected(command) for command in commands}
    assert {receipt.request_id: receipt.outcome for receipt in again}.items() <= outcomes.items()
    ledger = right_ledger(cluster)
    balances = {row.account: row.amount for row in ledger["balance"]}
    done = [command for command in commands if isinstance(command, Credit)]
    for account in ACCOUNTS:
        assert balances[account] == sum(each.amount for each in done if each.account == account)
    assert sorted(row.request_id for row in ledger["journal"]) == sorted(each.id for each in done)


def test_an_import_that_is_killed_goes_on_and_books_each_posting_once(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "books.jsonl"
    write_journal(journal, accounts=200, postings=POSTINGS)
    arguments = ["import", str(journal), "--config", str(cluster.cluster.path)]
    killed = subprocess.Popen([sys.executable, "-m", "atm.office", *arguments])
    with Client(cluster.cluster, timeout=PATIENT_S) as client:
        wait_until(lambda: client.lookup("posting-000000000500").outcome == "ok")
        killed.kill()
        killed.wait()
    for again in (False, True):
        assert main(arguments) == 0
        booked, before, compared = counted(capsys.readouterr().out.splitlines())
        assert booked + before == POSTINGS
        assert before > 0
        assert bool(booked) is not again, "it was killed before its end"
        assert compared == "Compared: all 201 accounts have the balance of the file"
    ledger = right_ledger(cluster)
    assert sorted(row.request_id for row in ledger["journal"]) == [
        f"posting-{n:012}" for n in range(POSTINGS)
    ]


def test_an_import_without_a_bank_says_nothing_of_postings_that_are_booked(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("atm.office.import_command.TIMEOUT_S", 0.5)
    journal = tmp_path / "books.jsonl"
    write_journal(journal, accounts=2, postings=3)
    cluster.stop_all()
    assert main(["import", str(journal), "--config", str(cluster.cluster.path)]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "The bank is not available" in printed.err
    assert "booked, " not in printed.err


def test_a_list_of_accounts_is_opened_once(
    cluster: LocalCluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["main", *(f"customer-{number}" for number in range(2_000))]) + "\n\n")
    arguments = ["open", str(names), "--config", str(cluster.cluster.path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out == "2,000 accounts opened, 1 was open before\n"
    assert main(arguments) == 0
    assert "0 accounts opened, 2,001 were open before" in capsys.readouterr().out
    names.write_text("ann\nno name\n")
    assert main(arguments) == 2
    assert "line 2: name is no currency" in capsys.readouterr().err


def paid_in(count: int) -> Iterator[Command]:
    """Credits to all accounts by turns, and now and then a debit of what nobody has."""
    for number in range(count):
        account = ACCOUNTS[number % len(ACCOUNTS)]
        if number % 50 == 7:
            yield Debit(id=f"c{number:05}", account=account, amount=TOO_MUCH)
        else:
            yield Credit(id=f"c{number:05}", account=account, amount=1 + number)


def expected(command: Command) -> str:
    return "insufficient_funds" if isinstance(command, Debit) else "ok"


def counted(printed: Sequence[str]) -> tuple[int, int, str]:
    """Return how many postings were booked, and before, and the last line."""
    words = printed[0].replace(",", "").split()
    return int(words[0]), int(words[3]), printed[-1]
