"""How many answers to appends it takes until one changes anything."""

from __future__ import annotations

from tests.raft.single import Single, acknowledge, appends, reject


def test_one_answer_is_nothing_while_two_are_missing() -> None:
    a = Single("abcde")
    a.lead()
    assert a.raft.acknowledgements_wanted() == 2
    a.receive(acknowledge("b", 1, 1))
    assert a.raft.acknowledgements_wanted() == 1


def test_after_the_commit_no_answer_is_waited_for() -> None:
    a = Single("abcde")
    a.lead()
    a.receive(acknowledge("b", 1, 1), acknowledge("c", 1, 1))
    assert a.raft.acknowledgements_wanted() > 4


def test_what_a_full_window_holds_back_makes_every_answer_count() -> None:
    a = Single("abcde", batch_entries_max=1, window_batches=1)
    a.lead()
    a.receive(*(acknowledge(name, 1, 1) for name in "bcde"))
    a.propose(b"x", b"y")
    assert a.raft.acknowledgements_wanted() == 1


def test_a_round_for_reads_waits_for_a_majority_too() -> None:
    a = Single("abcde")
    a.lead()
    a.receive(acknowledge("b", 1, 1), acknowledge("c", 1, 1))
    a.raft.read(7)
    round = appends(a.receive())[0].round
    assert a.raft.acknowledgements_wanted() == 2
    a.receive(acknowledge("b", 1, 1, round))
    assert a.raft.acknowledgements_wanted() == 1


def test_a_server_with_a_wiped_disk_is_not_counted_among_those_who_answered() -> None:
    a = Single("abcde")
    a.lead()
    a.raft.demote("b")
    a.receive(acknowledge("b", 1, 1))
    assert a.raft.acknowledgements_wanted() == 2


def test_a_follower_looks_at_everything() -> None:
    a = Single("abcde")
    assert a.raft.acknowledgements_wanted() == 1
    a.receive(reject("b", 1, 1))
    assert a.raft.acknowledgements_wanted() == 1
