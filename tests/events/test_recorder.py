"""The recorder's ring: bounded, in order, decoded with what the node knew, and without anything secret."""

from __future__ import annotations

import itertools

import msgspec

from atm.events.decoding import page_of
from atm.events.event import KINDS, Event
from atm.events.recorder import MESSAGES_MAX, REQUESTS_MAX, FlightRecorder
from atm.ledger.commands import LOCAL, Credit, LedgerReceipt, Outcome, SetPin
from atm.raft import (
    AppendEntries,
    AppendEntriesResponse,
    Cause,
    Entry,
    EntryKind,
    HardState,
    Outgoing,
    Ready,
    Rejection,
    RequestVote,
    Role,
    RoleChanged,
    Snapshot,
    Violation,
)
from atm.server.group.inbox import PendingRequest
from atm.wire.codec import encode
from atm.wire.log_entries import command_data

SECRETS = ("4711", "annabelle", "31337", "sealed")


class Nowhere:
    def reply(self, number: int, payload: bytes) -> None:
        raise AssertionError


def recorder(**limits: int) -> FlightRecorder:
    ticks = itertools.count(1_000_000, 1_000)
    return FlightRecorder("n1", lambda: next(ticks), **limits)


def arrived(*ids: str) -> list[PendingRequest]:
    requests = [Credit(id=each, account="annabelle", amount=31337) for each in ids]
    return [PendingRequest(Nowhere(), 1, each, encode(each), "local") for each in requests]


def entry(index: int, term: int = 2) -> Entry:
    data = command_data(LOCAL, encode(Credit(id=f"r{index}", account="annabelle", amount=31337)))
    return Entry(index=index, term=term, time_us=index, kind=EntryKind.COMMAND, data=data)


def receipt(index: int) -> LedgerReceipt:
    return LedgerReceipt(
        id=f"r{index}", outcome=Outcome.OK, balance=31337, available=31337, log_index=index, time_us=index
    )


def append(*entries: Entry, sender: str = "n1", commit: int = 0) -> AppendEntries:
    return AppendEntries(
        sender=sender,
        term=2,
        prev_log_index=entries[0].index - 1 if entries else 4,
        prev_log_term=1,
        entries=entries,
        leader_commit=commit,
        round=3,
    )


def accepted(sender: str, match_index: int) -> AppendEntriesResponse:
    return AppendEntriesResponse(
        sender=sender,
        term=2,
        success=True,
        match_index=match_index,
        conflict_index=0,
        conflict_term=0,
        round=3,
    )


def ready(commit: int, role: Role = Role.LEADER, **work: object) -> Ready:
    state = HardState(term=2, voted_for="n1", commit_index=commit)
    return msgspec.structs.replace(Ready(hard_state=state, role=role, leader="n1"), **work)


def leads(noted: FlightRecorder) -> None:
    noted.on_core_event(
        RoleChanged(
            before=Role.CANDIDATE,
            after=Role.LEADER,
            term_before=2,
            term=2,
            leader="n1",
            cause=Cause.ELECTION_WON,
            votes=("n1", "n2"),
        )
    )


def told(noted: FlightRecorder, after: int = 0) -> list[Event]:
    return page_of(noted, after).events


def test_a_commit_says_on_whose_disks_the_entry_is() -> None:
    noted = recorder()
    leads(noted)
    noted.on_ready(ready(4, messages=(Outgoing("n2", append(entry(5))),), entries=(entry(5),)))
    noted.on_saved(ready(4, entries=(entry(5),)))
    noted.on_messages([accepted("n2", 5), accepted("n3", 4)])
    noted.on_ready(ready(5))
    commits = [event for event in told(noted) if event.kind == "commit"]
    assert (commits[-1].index, commits[-1].last_index, commits[-1].votes) == (5, 5, ("n1", "n2"))
    assert commits[-1].role == "leader"


def test_a_page_behind_a_cursor_knows_the_role_and_the_answers_before_it() -> None:
    noted = recorder()
    leads(noted)
    noted.on_ready(ready(4))
    noted.on_messages([accepted("n2", 5), accepted("n3", 5)])
    cursor = page_of(noted).next
    noted.on_ready(ready(5))
    page = page_of(noted, cursor)
    assert [(event.kind, event.term, event.role, event.votes) for event in page.events] == [
        ("commit", 2, "leader", ("n2", "n3"))
    ]
    assert (page_of(noted, page.next).events, page.missed) == ([], 0)


def test_only_a_leader_of_the_entries_term_answers_for_them() -> None:
    for role, term, answers in ((Role.LEADER, 2, 2), (Role.FOLLOWER, 2, 0), (Role.LEADER, 1, 0)):
        noted = recorder()
        work = ready(6, role, committed=(entry(5, term), entry(6, term)))
        noted.on_applied(work, [receipt(5), receipt(6)])
        events = told(noted)
        assert (events[0].kind, events[0].index, events[0].last_index) == ("apply", 5, 6)
        assert [event.request for event in events[1:]] == ["r5", "r6"][:answers]


def test_what_is_noted_of_one_iteration_is_bounded_and_the_rest_is_counted() -> None:
    noted = recorder()
    noted.on_requests(arrived(*(f"r{number}" for number in range(100))))
    noted.on_messages([accepted("n2", 1)] * 100)
    requests = [event for event in told(noted) if event.kind == "request"]
    messages = [event for event in told(noted) if event.kind == "received"]
    assert (len(requests), requests[-1].more, requests[0].more) == (REQUESTS_MAX, 100 - REQUESTS_MAX, None)
    assert (len(messages), messages[-1].more) == (MESSAGES_MAX, 100 - MESSAGES_MAX)


def test_a_flood_of_messages_pushes_out_no_change_of_role() -> None:
    noted = recorder(rare_max=10, busy_max=20)
    leads(noted)
    for _ in range(1000):
        noted.on_messages([accepted("n2", 1)])
    page = page_of(noted)
    assert [event.kind for event in page.events] == ["role"] + ["received"] * 20
    assert page.missed == 1001 - 21
    assert len(noted.rare) + len(noted.busy) == 21


def test_a_reader_that_comes_too_late_is_told_how_much_it_missed() -> None:
    noted = recorder(busy_max=5)
    for _ in range(3):
        noted.on_messages([accepted("n2", 1)])
    cursor = page_of(noted).next
    for _ in range(12):
        noted.on_messages([accepted("n2", 1)])
    page = page_of(noted, cursor)
    assert (len(page.events), page.missed, page.next) == (5, 7, 15)


def test_pages_of_any_length_are_together_everything_once() -> None:
    noted = recorder()
    for number in range(30):
        leads(noted)
        noted.on_requests(arrived(f"r{number}", f"s{number}"))
    for limit in (1, 7, 1000):
        page = page_of(noted, 0, limit)
        events = list(page.events)
        while page.events:
            page = page_of(noted, page.next, limit)
            events += page.events
        assert events == told(noted)


def test_a_cursor_of_another_numbering_begins_anew() -> None:
    noted = recorder()
    leads(noted)
    assert page_of(noted, 99).events == told(noted)


def test_the_ring_keeps_no_entry_alive() -> None:
    noted = recorder()
    entries = tuple(entry(index) for index in range(1, 9))
    offer = append(*entries, sender="n2")
    noted.on_messages([offer])
    noted.on_requests(arrived("r1"))
    noted.on_ready(ready(0, messages=(Outgoing("n2", append(*entries)),), entries=entries))
    noted.on_saved(ready(0, entries=entries))
    noted.on_applied(ready(0, committed=entries), [receipt(each.index) for each in entries])
    held = repr((noted.rare, noted.busy))
    assert not any(secret in held for secret in SECRETS), held


def test_no_event_holds_a_pin_an_amount_or_the_name_of_an_account() -> None:
    noted = recorder()
    noted.on_started(1, 8, 8, (0, ()), None, "1.2.0")
    secret = SetPin(id="p1", account="annabelle", pin="$sealed$4711")
    noted.on_requests([PendingRequest(Nowhere(), 1, secret, encode(secret), "local"), *arrived("r1")])
    noted.on_ready(ready(0, messages=(Outgoing("n2", append(entry(1))),)))
    noted.on_applied(ready(0, committed=(entry(1),)), [receipt(1)])
    text = b"".join(map(msgspec.json.encode, told(noted))).decode()
    assert not any(secret in text for secret in SECRETS), text
    assert '"op":"set_pin","request":"p1"' in text


def test_each_kind_is_noted_and_none_that_is_not_in_the_table() -> None:
    noted = recorder()
    noted.on_started(1, 8, 8, (0, ()), None, "1.2.0")
    leads(noted)
    noted.on_peer("n2", connected=True)
    noted.on_rejection(Rejection(sender="n2", violation=Violation.TERM, what="too far"))
    taken = Snapshot(
        index=4,
        term=2,
        time_us=4,
        size_bytes=1,
        sha256="",
        chain_hash="",
        membership=b"",
        cluster_id="",
    )
    noted.on_snapshot(taken)
    noted.on_refused("r9", "unknown", "leadership was lost")
    ask = RequestVote(
        sender="n2", term=3, last_log_index=1, last_log_term=1, pre_vote=True, store="a" * 99_999
    )
    noted.on_messages([ask])
    noted.on_stopped("the disk is gone")
    kinds = {event.kind for event in told(noted)}
    assert kinds <= KINDS.keys()
    assert kinds >= {"started", "membership", "role", "peer", "rejected", "snapshot", "answer", "stopped"}
    assert "aaa" not in repr(noted.busy), "what a peer may make long is not kept"


def test_a_node_on_postgresql_leads_while_it_has_a_lane_and_follows_who_is_seen_with_it() -> None:
    noted = recorder()
    noted.on_begun(("n1", "n2"), "1.2.0")
    noted.on_lane("held", 0, 4, "n2", 70)
    noted.on_lane("taken", 0, 5, "n1", 71)
    noted.on_requests(arrived("r1"))
    noted.on_written(0, 72, 73)
    noted.on_answers([("r1", "ok")], reads=2)
    noted.on_lane("taken", 3, 9, "n1", 8)
    noted.on_lane("lost", 3, 9, "", 8)
    noted.on_engine("the database cannot be used: it is away")
    noted.on_lane("lost", 0, 5, "", 73)
    noted.on_lane("silent", 0, 6, "n2", 74)
    events = told(noted)
    assert [(each.kind, each.term, each.role) for each in events] == [
        ("started", 0, "follower"),
        ("membership", 0, "follower"),
        ("lane", 4, "follower"),
        ("lane", 5, "leader"),
        ("request", 5, "leader"),
        ("written", 5, "leader"),
        ("answer", 5, "leader"),
        ("read", 5, "leader"),
        ("lane", 9, "leader"),
        ("lane", 5, "leader"),
        ("engine", 5, "leader"),
        ("lane", 5, "follower"),
        ("lane", 6, "follower"),
    ]
    assert {event.kind for event in events} <= KINDS.keys()
    assert [each.leader for each in events if each.kind == "lane"] == ["n2", "n1", "n1", None, None, "n2"]
    later = page_of(noted, events[5].number).events
    assert [(each.kind, each.role) for each in later[:2]] == [("answer", "leader"), ("read", "leader")]


def test_on_postgresql_a_flood_of_requests_is_counted_and_pushes_out_no_lane() -> None:
    noted = recorder(rare_max=4, busy_max=2)
    noted.on_lane("taken", 0, 5, "n1", 71)
    for _ in range(3):
        noted.on_answers([(f"r{number}", "ok") for number in range(REQUESTS_MAX + 5)], reads=0)
    events = told(noted)
    assert events[0].kind == "lane"
    assert [each.more for each in events if each.more] == [5, 5]
