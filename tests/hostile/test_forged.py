"""No frame of a peer that breaks the protocol may stop the bank for good: after each, service is required.

Servers trust each other as far as Raft needs it: a faulty peer can cost an election, and worse (README,
"What is not"). But a number that no election can follow, or an entry that no server can apply, is refused by
the first server that receives it, before it is saved, and reported.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from atm.raft.messages import (
    NUMBER_MAX,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
)
from atm.storage.data_folder import PEERS_FILE
from atm.version import FEATURE_LEVEL_MAX
from atm.wire.codec import encode
from atm.wire.log_entries import command_data
from atm.wire.peer_messages import Refused
from tests.support.server_parts import credit
from tests.support.welcomed import FAULTY_PEER, NODES, OTHER_FAULTY_PEER, Bank, entry


@pytest.fixture
def bank() -> Iterator[Bank]:
    with Bank() as bank:
        yield bank


def append(
    bank: Bank, to: str, *entries: Entry, term: int | None = None, commit_index: int | None = None
) -> AppendEntries:
    """Return an append behind the last entry of `to`, of a later term unless it says otherwise."""
    status = bank.status(to)
    return AppendEntries(
        sender=FAULTY_PEER,
        term=status.term + 1 if term is None else term,
        prev_log_index=status.last_index,
        prev_log_term=status.term,
        entries=entries,
        leader_commit=status.last_index + len(entries) if commit_index is None else commit_index,
        round=0,
    )


def acknowledgement(term: int, match_index: int = 0, round: int = 0) -> AppendEntriesResponse:
    return AppendEntriesResponse(
        sender=FAULTY_PEER,
        term=term,
        success=True,
        match_index=match_index,
        conflict_index=0,
        conflict_term=0,
        round=round,
    )


def vote(term: int, *, pre_vote: bool = False) -> RequestVote:
    return RequestVote(sender=FAULTY_PEER, term=term, last_log_index=0, last_log_term=0, pre_vote=pre_vote)


def grant(term: int, *, granted: bool, pre_vote: bool = False) -> RequestVoteResponse:
    return RequestVoteResponse(sender=FAULTY_PEER, term=term, granted=granted, pre_vote=pre_vote)


def heartbeat(term: int) -> AppendEntries:
    return AppendEntries(
        sender=FAULTY_PEER, term=term, prev_log_index=0, prev_log_term=0, entries=(), leader_commit=0, round=0
    )


FAR = NUMBER_MAX
FAR_TERMS: dict[str, RaftMessage] = {
    "vote asked for": vote(FAR),
    "vote asked for, with room for one campaign": vote(FAR - 1),
    "vote granted": grant(FAR, granted=True),
    "vote refused": grant(FAR, granted=False),
    "pre-vote asked for": vote(FAR, pre_vote=True),
    "pre-vote granted": grant(FAR, granted=True, pre_vote=True),
    "pre-vote refused": grant(FAR, granted=False, pre_vote=True),
    "heartbeat": heartbeat(FAR),
    "acknowledgement": acknowledgement(FAR),
}


@pytest.mark.parametrize("violation", FAR_TERMS.values(), ids=FAR_TERMS.keys())
def test_a_term_that_no_election_can_follow_is_refused_and_reported(
    bank: Bank, violation: RaftMessage
) -> None:
    terms = [bank.status(name).term for name in NODES]
    for name in NODES:
        bank.send_as_peer(name, violation)
    bank.assert_serves()
    bank.wait_until_said(f"dropped a message of node {FAULTY_PEER}: its term")
    assert [bank.status(name).term for name in NODES] == terms
    bank.restart()


def test_terms_that_rise_as_far_as_is_allowed_again_and_again_leave_the_bank_serving(bank: Bank) -> None:
    """On one node alone, too: the others must be able to follow it."""
    _, follower = bank.roles()
    for step in range(1, 60):
        bank.send_as_peer(follower, *(vote(step * 2**32 + low * 2**28) for low in range(16)))
    bank.assert_serves()
    bank.restart()


@pytest.mark.parametrize(
    ("command", "time_us", "said"),
    [
        (b"", FAR, "stamped"),
        (b"", FAR - 5, "stamped"),
        (b"garbage", 0, "no command"),
        (command_data("local", encode(credit("a" * 65))), 0, "no command"),
        (command_data("local", encode({"op": "query", "id": "q", "account": "main"})), 0, "no command"),
        (b"x" * 70_000, 0, "over the limit"),
    ],
    ids=["stamp", "stamp with little room", "garbage", "id too long", "a query", "too large"],
)
def test_an_entry_that_no_server_can_apply_is_refused_before_it_is_in_the_log(
    bank: Bank, command: bytes, time_us: int, said: str
) -> None:
    for name in NODES:
        while not bank.has_said(said, name):  # an election may come between
            status = bank.status(name)
            bank.send_as_peer(
                name, append(bank, name, entry(status.last_index + 1, status.term, command, time_us))
            )
            bank.assert_serves()
    bank.restart()


def test_indexes_and_rounds_that_no_log_has_stop_nothing(bank: Bank) -> None:
    leader, follower = bank.roles()
    term = bank.status(leader).term
    bank.send_as_peer(follower, append(bank, follower, term=term + 1, commit_index=FAR))
    bank.assert_serves()
    leader, follower = bank.roles()
    term = bank.status(leader).term
    bank.send_as_peer(leader, acknowledgement(term, match_index=FAR), acknowledgement(term, round=FAR))
    bank.assert_serves()
    bank.wait_until_said("never", leader)
    bank.restart()


@pytest.mark.parametrize("to", ["the leader", "a follower of another"])
def test_an_append_of_a_second_leader_of_the_term_is_noise_and_no_exit(bank: Bank, to: str) -> None:
    leader, follower = bank.roles()
    name, term = leader if to == "the leader" else follower, bank.status(leader).term
    for _ in range(20):
        bank.send_as_peer(name, heartbeat(term))
    bank.assert_serves()
    bank.wait_until_said(f"dropped a message of node {FAULTY_PEER}: it says it leads term {term}", name)
    assert sum("says it leads" in line for line in bank.said()[name]) == 1
    assert bank.status(leader).term == term


def test_an_append_that_would_replace_a_committed_entry_is_noise_and_no_exit(bank: Bank) -> None:
    for name in NODES:
        while not bank.has_said("conflicts with a committed entry", name):
            term = bank.status(name).term + 1
            violation = replace(heartbeat(term), entries=(entry(1, term),), leader_commit=1)
            bank.send_as_peer(name, violation)
            bank.assert_serves()
    bank.restart()


def test_hellos_under_other_stores_are_no_demotions_while_the_true_peers_are_there(bank: Bank) -> None:
    """Three of five run, so a single demotion would end the service."""
    bank.wait_until_all_have_met()
    for to in NODES:
        for name in (*NODES, FAULTY_PEER, OTHER_FAULTY_PEER):
            if name != to:
                connection, answer = bank.greet(to, bank.hello(name, store="another"))
                connection.close()
                assert isinstance(answer, Refused) == (name in NODES)
    bank.assert_serves()
    for to in NODES:
        bank.wait_until_said("another data folder", to)
    bank.restart()


def test_the_first_store_in_a_peers_name_is_taken_for_it_until_its_entry_is_removed(bank: Bank) -> None:
    """The true peer is let in, but as one that catches up; docs/repair.md tells the way back."""
    bank.send_as_peer("n1")
    connection, answer = bank.greet("n1", bank.hello(FAULTY_PEER, store="the true one"))
    connection.close()
    assert getattr(answer, "learner", None) is True
    bank.cluster.stop("n1")
    (bank.cluster.cluster.data_dir / "n1" / PEERS_FILE).unlink()
    bank.cluster.start("n1")
    bank.assert_serves()
    connection, answer = bank.greet("n1", bank.hello(FAULTY_PEER, store="the true one"))
    connection.close()
    assert getattr(answer, "learner", None) is False


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (9, b"", "of kind 9 and version 1, written by a newer release"),
        (EntryKind.MEMBERSHIP, b"", "is no list of members"),
        (EntryKind.FEATURE_LEVEL, encode([FEATURE_LEVEL_MAX + 1]), "raises the feature level to"),
        (EntryKind.FEATURE_LEVEL, encode([10**6]), "raises the feature level to"),
    ],
)
def test_an_entry_that_ends_older_releases_is_refused_by_them_before_it_is_in_the_log(
    bank: Bank, kind: int, data: bytes, said: str
) -> None:
    for name in NODES:
        while not bank.has_said(said, name):
            status = bank.status(name)
            forged = replace(entry(status.last_index + 1, status.term), kind=kind, data=data)
            bank.send_as_peer(name, append(bank, name, forged))
            bank.assert_serves()
    bank.restart()
