"""PINs on five real nodes: three wrong ones lock, wherever they were tried and whatever died in between."""

from __future__ import annotations

import pytest

from atm.client import Client, OutcomeUnknown, Unavailable
from atm.local_cluster import LocalCluster
from atm.wire.client_messages import ClientReply, StatusReply
from tests.cluster.go_between import Doings, go_between
from tests.cluster.tellers import tellers
from tests.support.ledgers import right_ledger
from tests.support.server_parts import wait_until

PIN, WRONG = "4821", "1111"


@pytest.fixture
def alice(cluster: LocalCluster) -> LocalCluster:
    """The cluster with an account `alice` that has 500.00 and a PIN."""
    with Client(cluster.cluster) as client:
        client.open("alice")
        client.credit("alice", 50_000)
        assert client.set_pin("alice", PIN).outcome == "ok"
    return cluster


def test_three_wrong_pins_at_three_nodes_lock_the_account_everywhere_though_the_leader_died_in_between(
    alice: LocalCluster,
) -> None:
    leader = alice.wait_for_leader()
    here, there, elsewhere, *_ = (name for name in alice.running() if name != leader)
    with tellers(alice) as at:
        assert at[here].login("alice", WRONG).outcome == "wrong_pin"
        assert at[there].debit("alice", 100, pin=WRONG).outcome == "wrong_pin"
        alice.kill(leader)
        assert at[elsewhere].hold("alice", 100, pin=WRONG).outcome == "wrong_pin"
    alice.wait_for_leader()
    alice.start(leader)
    alice.wait_for_leader()
    with tellers(alice) as at:
        for teller in at.values():
            assert teller.query("alice").pin == "locked"
            assert teller.login("alice", PIN).outcome == "locked"
            assert teller.debit("alice", 100, pin=PIN).outcome == "locked"
            assert teller.transfer("alice", "main", 100, pin=PIN).outcome == "locked"
            assert teller.credit("alice", 1).outcome == "ok"
        assert at[here].unlock("alice").outcome == "ok"
        for name, teller in at.items():
            assert teller.login("alice", PIN).outcome == "ok", name
        assert at[leader].debit("alice", 100, pin=PIN).balance == 50_000 + 5 - 100
    right_ledger(alice)


def test_each_leader_is_killed_as_soon_as_it_told_that_a_pin_is_wrong_and_no_guess_is_free(
    alice: LocalCluster,
) -> None:
    """If killing a server made it forget a wrong PIN, all ten thousand could be tried."""
    for _ in range(3):
        leader = alice.wait_for_leader()
        with Client(alice.cluster, node=leader, timeout=15.0) as client:
            guess = client.debit("alice", 100, pin=WRONG)
            alice.kill(leader)
            assert guess.outcome == "wrong_pin"
        alice.wait_for_leader()
        alice.start(leader)
    with Client(alice.cluster, timeout=15.0) as client:
        assert client.debit("alice", 100, pin=PIN).outcome == "locked"
    right_ledger(alice)


def test_a_leader_that_cannot_commit_tells_nobody_whether_a_pin_is_right(alice: LocalCluster) -> None:
    """It must not look the PIN up before the guess is in the log of a majority: it may be killed then."""
    leader = alice.wait_for_leader()
    others = [name for name in alice.running() if name != leader]
    answers: list[ClientReply] = []

    def note(answer: ClientReply) -> bool:
        answers.append(answer)
        return True

    with (
        go_between(alice.cluster, leader, Doings(passes_answer=note)) as through,
        Client(through, node=leader, timeout=1.5) as client,
    ):
        for name in others:
            alice.pause(name)
        for pin in (PIN, WRONG):
            with pytest.raises((OutcomeUnknown, Unavailable)):
                client.debit("alice", 100, pin=pin)
        alice.kill(leader)
        for name in others:
            alice.resume(name)
    told = {
        answer.outcome for answer in answers if not isinstance(answer, StatusReply)
    }  # who the members are
    assert told <= {"unknown", "unavailable"}


def test_a_guess_whose_answer_was_lost_and_that_is_repeated_counts_once(alice: LocalCluster) -> None:
    leader = alice.wait_for_leader()

    def kill_the_leader(_: ClientReply) -> bool:
        alice.kill(leader)
        return False

    with (
        go_between(alice.cluster, leader, Doings(passes_answer=kill_the_leader)) as through,
        Client(through, node=leader, timeout=15.0) as client,
    ):
        guess = client.debit("alice", 100, pin=WRONG)
    assert guess.outcome == "wrong_pin"
    with tellers(alice) as at:
        for teller in at.values():
            assert teller.debit("alice", 100, pin=WRONG, request_id=guess.request_id) == guess
            assert teller.debit("alice", 100, pin=PIN, request_id=guess.request_id) == guess
    with Client(alice.cluster) as client:
        assert client.login("alice", WRONG).outcome == "wrong_pin"
        assert client.query("alice").pin == "set"
        assert client.login("alice", WRONG).outcome == "wrong_pin"
        assert client.query("alice").pin == "locked"


def test_the_check_of_a_pin_and_the_debit_are_one_log_entry(alice: LocalCluster) -> None:
    """Between two entries a crash could fall, and one would be there without the other."""
    with Client(alice.cluster, timeout=15.0) as client:

        def nothing_is_between() -> bool:
            before = client.credit("alice", 1)
            wrong = client.debit("alice", 100, pin=WRONG)
            right = client.debit("alice", 100, pin=PIN)
            after = client.credit("alice", 1)
            assert [wrong.outcome, right.outcome] == ["wrong_pin", "ok"]
            indices = [receipt.log_index for receipt in (before, wrong, right, after)]
            return indices == list(range(before.log_index, before.log_index + 4))

        wait_until(nothing_is_between)  # once: on a busy machine a new leader's entry may come in between
