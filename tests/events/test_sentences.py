"""Every event is a sentence with its reason, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields

from atm.events.event import KINDS, Event
from atm.events.sentences import CAUSES, sentence
from atm.raft import Cause, Role, VoteRefusal

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text()


def event(kind: str, **more: object) -> Event:
    known = {"number": 1, "at_us": 2, "node": "5002", "kind": kind, "term": 4, "role": "follower"}
    return Event(**(known | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            event("vote", candidate="5001", campaign_term=4, granted=False, why="log-behind", last_index=17,
                  last_term=2, own_last_index=19, own_last_term=2),
            "5002 refuses 5001 its vote in term 4: the candidate's log ends at entry 17 of term 2, "
            "its own at entry 19 of term 2",
        ),
        (
            event("vote", candidate="5001", campaign_term=4, granted=False, why="already-voted",
                  voted_for="5003"),
            "5002 refuses 5001 its vote in term 4: it has voted for 5003 in this term",
        ),
        (
            event("vote", candidate="5001", campaign_term=5, pre_vote=True, granted=False,
                  why="leader-active", leader="5000"),
            "5002 would not vote for 5001 in term 5: it hears its leader 5000",
        ),
        (
            event("role", role="leader", before="candidate", cause="election-won",
                  votes=("5000", "5002", "5003")),
            "5002 becomes the leader of term 4: it was elected by 5000, 5002 and 5003",
        ),
        (
            event("role", before="leader", cause="no-majority"),
            "5002 steps down and is a follower in term 4: it had no answers of a majority for an election "
            "timeout",
        ),
        (
            event("role", before="follower", cause="higher-term", by="5001"),
            "5002 goes to term 4: it has seen a message of 5001 with the higher term 4",
        ),
        (
            event("role", role="pre-candidate", before="follower", cause="election-timeout", by="5000"),
            "5002 becomes a pre-candidate in term 4: it heard no leader (5000 was the last) for an election "
            "timeout",
        ),
        (
            event("commit", index=5, last_index=7, votes=("5000", "5001", "5002")),
            "5002 knows that entries 5 to 7 are committed: they are on the disks of 5000, 5001 and 5002",
        ),
        (
            event("request", op="credit", request="r1", more=92),
            "5002 gets the request r1 (credit) (and 92 more like it)",
        ),
        (
            event("started", what="postgresql", version="1.2.0"),
            "5002 starts with release 1.2.0, and finds the books in PostgreSQL",
        ),
        (
            event("lane", what="taken", lane=0, leader="5002", index=70),
            f"5002 takes lane 0 in epoch {event('lane').term}, after command 70",
        ),
        (event("lane", what="lost", lane=0), "5002 has lane 0 no more"),
        (event("lane", what="free", lane=0), "5002 sees that lane 0 was given back"),
        (
            event("lane", what="silent", lane=0, leader="5001"),
            "5002 sees that 5001, which has lane 0, gives no sign of life",
        ),
        (
            event("lane", what="held", lane=0, leader="5001"),
            f"5002 sees that 5001 has lane 0 in epoch {event('lane').term}",
        ),
        (event("written", lane=0, index=5, last_index=7), "5002 has written commands 5 to 7 of lane 0"),
        (event("written", lane=0, index=5, last_index=5), "5002 has written command 5 of lane 0"),
        (event("engine", text="it is away"), "5002 says of PostgreSQL: it is away"),
        (
            event("read", count=2),
            "5002 answers 2 that only read: the database has confirmed who writes",
        ),
        (event("of a newer release"), "5002 notes 'of a newer release'"),
    ],
)  # fmt: skip
def test_an_event_is_told_with_its_reason(told: Event, expected: str) -> None:
    assert sentence(told) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_without_its_fields_is_still_told(kind: str) -> None:
    assert sentence(event(kind)).startswith("5002 ")
    assert sentence(event(kind, cause="{evil}", why="{evil}", message="{evil}", what="x")).startswith("5002 ")


@pytest.mark.parametrize("cause", Cause)
def test_each_cause_of_the_core_has_words_for_each_role(cause: Cause) -> None:
    assert cause.value in CAUSES
    for before in Role:
        for after in Role:
            text = sentence(event("role", before=before.value, role=after.value, cause=cause.value, by="n9"))
            assert "{" not in text
            assert cause.value not in text


@pytest.mark.parametrize("why", VoteRefusal)
def test_each_refusal_of_a_vote_has_words(why: VoteRefusal) -> None:
    told = event("vote", candidate="5001", campaign_term=4, granted=False, why=why.value)
    assert why.value not in sentence(told)


def test_the_page_names_every_kind_every_field_every_cause_and_every_refusal() -> None:
    named = {
        *KINDS,
        *(field.name for field in fields(Event)),
        *(each.value for each in [*Cause, *VoteRefusal]),
    }
    assert [name for name in named if f"`{name}`" not in PAGE] == []
