"""Servers that no majority waits for, and answers that nobody waits for."""

from __future__ import annotations

import pytest

from atm.raft.messages import AppendEntries, NodeId, Outgoing
from tests.raft.network import HEARTBEAT_TICKS, Network
from tests.raft.single import Single, acknowledge, appends, reject


def told(sent: list[Outgoing]) -> dict[NodeId, list[int]]:
    """Return to whom entries went, and which."""
    found: dict[NodeId, list[int]] = {}
    for out in sent:
        if isinstance(out.message, AppendEntries) and out.message.entries:
            found.setdefault(out.to, []).extend(entry.index for entry in out.message.entries)
    return found


def leader_with_spares() -> Single:
    """Return the leader of five for whom `c` and `e` were the quick ones."""
    a = Single("abcde", spare_ticks=1)
    a.lead()
    a.receive(*(acknowledge(name, 1, 1) for name in "cebd"))
    return a


def test_only_the_quickest_majority_is_sent_a_new_entry_at_once() -> None:
    a = leader_with_spares()
    assert told(a.propose(b"x")) == {"c": [2], "e": [2]}
    assert told(a.propose(b"y")) == {"c": [3], "e": [3]}


def test_all_others_are_sent_what_is_new_in_one_piece_with_the_next_tick() -> None:
    a = leader_with_spares()
    a.propose(b"x")
    a.propose(b"y")
    a.receive(acknowledge("c", 1, 3), acknowledge("e", 1, 3))
    sent = a.tick()
    assert told(sent) == {"b": [2, 3], "d": [2, 3]}
    assert len(appends(sent, to="b")) == 1


def test_servers_at_one_place_are_sent_one_message_and_those_elsewhere_another() -> None:
    a = leader_with_spares()
    a.propose(b"x")
    for _ in range(HEARTBEAT_TICKS):
        a.raft.tick()
    sent = a.propose(b"y")
    assert told(sent) == {"b": [2, 3], "d": [2, 3], "c": [3], "e": [3]}
    b, c, d, e = (appends(sent, to=name)[-1] for name in "bcde")
    assert b is d
    assert c is e


def test_without_spare_ticks_all_are_sent_everything_at_once() -> None:
    a = Single("abcde")
    a.lead()
    a.receive(*(acknowledge(name, 1, 1) for name in "cebd"))
    assert set(told(a.propose(b"x"))) == set("bcde")


def test_until_a_majority_has_answered_something_new_all_are_sent_everything() -> None:
    a = Single("abcde", spare_ticks=1)
    a.lead()
    a.receive(acknowledge("b", 1, 1), acknowledge("b", 1, 1))
    a.receive(*(acknowledge(name, 1, 0) for name in "cde"))
    assert set(told(a.propose(b"x"))) == set("bcde")


def test_quick_ones_that_are_late_are_no_longer_waited_for() -> None:
    a = leader_with_spares()
    a.propose(b"x")
    assert set(told(a.tick())) == {"b", "d"}
    a.receive(acknowledge("b", 1, 2))
    a.tick()
    assert set(told(a.propose(b"y"))) >= {"b", "d"}, "it is a race again"
    a.receive(acknowledge("d", 1, 3), acknowledge("b", 1, 3))
    assert a.raft.commit_index == 3
    assert set(told(a.propose(b"z"))) == {"b", "d"}, "who won it is waited for now"


def test_each_heartbeat_begins_a_race_that_another_may_win() -> None:
    a = leader_with_spares()
    a.tick(HEARTBEAT_TICKS)
    a.receive(*(acknowledge(name, 1, 1) for name in "bcde"))
    assert set(told(a.propose(b"x"))) == set("bcde"), "an answer to what was there before wins no race"
    a.receive(acknowledge("b", 1, 2), acknowledge("d", 1, 2))
    assert set(told(a.propose(b"y"))) == {"b", "d"}


def test_a_round_for_reads_goes_to_the_quick_ones_first_too() -> None:
    a = leader_with_spares()
    a.raft.read(7)
    sent = a.receive()
    assert {out.to for out in sent} == {"c", "e"}
    round = appends(sent)[0].round
    a.receive(acknowledge("c", 1, 1, round), acknowledge("e", 1, 1, round))
    assert [read.read_id for read in a.server.reads] == [7]
    assert {out.to for out in a.tick()} >= {"b", "d"}


def test_a_round_for_reads_alone_can_win_a_race() -> None:
    a = leader_with_spares()
    a.tick(HEARTBEAT_TICKS)
    a.raft.read(7)
    round = appends(a.receive())[0].round
    a.receive(acknowledge("b", 1, 1, round), acknowledge("d", 1, 1, round))
    assert set(told(a.propose(b"x"))) == {"b", "d"}


def test_a_server_with_a_wiped_disk_is_never_one_of_the_quick() -> None:
    a = Single("abcde", spare_ticks=1)
    a.lead()
    a.raft.demote("b")
    a.receive(acknowledge("b", 1, 1), *(acknowledge(name, 1, 0) for name in "de"), acknowledge("c", 1, 1))
    assert set(told(a.propose(b"x"))) >= {"c", "d", "e"}, "with b it would be a majority"


@pytest.mark.parametrize("dead", ["b", "bc", "de"])
def test_whoever_dies_an_entry_is_committed_within_three_ticks(dead: str) -> None:
    network = Network("abcde", spare_ticks=1)
    network.elect("a")
    network.submit("a", b"before")
    network.deliver()
    for name in dead:
        network.crash(name)
    network.submit("a", b"after")
    network.deliver()
    ticks = network.pass_time(3, until=lambda: network.servers["a"].commands[-1:] == [b"after"])
    assert ticks < 3
    assert network.servers["a"].commands[-1] == b"after"


def test_spares_catch_up_and_all_logs_are_the_same_in_the_end() -> None:
    network = Network("abcde", spare_ticks=3, batch_entries_max=2, window_batches=1)
    network.elect("a")
    for number in range(40):
        network.submit("a", b"%d" % number)
        network.deliver()
        network.pass_time(1)
    network.pass_time(4 * HEARTBEAT_TICKS)
    assert network.converged()


# -- which answers are worth a look ---------------------------------------------------------------------


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


def test_what_is_kept_from_spares_on_purpose_does_not_make_answers_count() -> None:
    a = leader_with_spares()
    a.propose(b"x")
    assert a.raft.acknowledgements_wanted() == 2


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
