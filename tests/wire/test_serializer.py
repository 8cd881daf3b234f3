from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from atm import raft
from atm.ledger.audit.findings import INDEXES_MAX, Findings
from atm.ledger.commands import (
    AMOUNT_MINOR_MAX,
    Command,
    Credit,
    Debit,
    Founding,
    LevelRaise,
    LoggedDeed,
    Member,
    MembershipChange,
    NoteDeed,
    Open,
    Query,
)
from atm.ledger.state_hash import ROWS_MAX, RowsFrom
from atm.raft.membership import encode_configuration
from atm.raft.messages import (
    NUMBER_MAX,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    InstallSnapshot,
    InstallSnapshotResponse,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
    Snapshot,
    TimeoutNow,
)
from atm.wire.client_messages import (
    AdminReply,
    ClientReply,
    MembersReply,
    MemberView,
    Status,
    StatusReply,
    Verify,
    VerifyReply,
    decode_client_reply,
)
from atm.wire.codec import Malformed, encode
from atm.wire.log_entries import (
    COMMAND_BYTES_MAX,
    NewerEntry,
    check_known,
    command_data,
    decode_command,
    decode_entry,
    decode_founding,
    deed_data,
)
from atm.wire.peer_messages import (
    CheckLedger,
    Forward,
    ForwardReply,
    Hello,
    LedgerHash,
    NodeReport,
    PeerMessage,
    Refused,
    Welcome,
    decode_hello,
    decode_hello_reply,
    decode_peer_message,
)
from atm.wire.request_decoding import decode_client_request, decode_forwardable

GOOD = {"op": "credit", "id": "a1", "account": "main", "amount": 1}

REQUESTS = [
    Open(id="1", account="alice"),
    Credit(id="2", account="main", amount=AMOUNT_MINOR_MAX),
    Debit(id="3", account="A.b-c_9", amount=1),
    Query(id="4", account="cash"),
    Status(id="5"),
    Verify(id="6", at=(0, 7)),
]

PEER_MESSAGES = [
    RequestVote(sender="a", term=3, last_log_index=2, last_log_term=1, pre_vote=True),
    RequestVote(sender="a", term=3, last_log_index=2, last_log_term=1, pre_vote=False, transfer=True),
    RequestVote(
        sender="a", term=3, last_log_index=2, last_log_term=1, pre_vote=False, store="ab12", store_since=2
    ),
    RequestVoteResponse(sender="a", term=3, granted=True, pre_vote=False),
    AppendEntries(
        sender="a",
        term=3,
        prev_log_index=1,
        prev_log_term=1,
        entries=(
            Entry(index=2, term=3, time_us=9, kind=EntryKind.COMMAND, data=b"\n\x00"),
            Entry(index=3, term=3, time_us=10, kind=EntryKind.NOOP, data=b""),
        ),
        leader_commit=1,
        round=4,
    ),
    AppendEntriesResponse(
        sender="a", term=3, success=False, match_index=1, conflict_index=1, conflict_term=1, round=4
    ),
    InstallSnapshot(
        sender="a",
        term=3,
        snapshot=Snapshot(
            index=7,
            term=2,
            time_us=9,
            size_bytes=2**40,
            sha256="0f" * 32,
            chain_hash="a1" * 32,
            membership=b"\x00",
            cluster_id="bank",
        ),
        round=4,
    ),
    InstallSnapshotResponse(sender="a", term=3, index=7, installed=True, round=4),
    TimeoutNow(sender="a", term=3),
    Forward(sender="a", requests=((1, "local", b"x"), (2**62, "eve@bank", b"y"))),
    ForwardReply(sender="a", answers=((1, b"x"),)),
    NodeReport(sender="a", time_us=NUMBER_MAX, is_low=True, free_bytes=0, applied_index=3),
    CheckLedger(sender="a", index=7, rows_from=RowsFrom("journal", 448), rows_max=2000),
    LedgerHash(
        sender="a",
        index=7,
        journal=bytes(32),
        decided_from=0,
        decisions=bytes(32),
        rows_from=RowsFrom("receipt", "c1"),
        rows_max=1,
        rows=b"x" * 32,
    ),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_clients_request_survives_the_wire(request_: Command | Query | Status | Verify) -> None:
    assert decode_client_request(encode(request_)) == request_


def test_an_audit_is_asked_for_a_bounded_number_of_indexes() -> None:
    most = Verify(id="v", at=tuple(range(INDEXES_MAX)))
    assert decode_client_request(encode(most)) == most
    with pytest.raises(Malformed):
        decode_client_request(encode(Verify(id="v", at=tuple(range(INDEXES_MAX + 1)))))


@pytest.mark.parametrize("message", PEER_MESSAGES, ids=lambda message: type(message).__name__)
def test_a_servers_message_survives_the_wire(message: PeerMessage) -> None:
    assert decode_peer_message(encode(message)) == message


@pytest.mark.parametrize(
    "change",
    [
        {"journal": b"x" * 31},
        {"rows": b"x" * 33},
        {"rows_max": 0},
        {"rows_max": ROWS_MAX + 1},
        {"index": -1},
        {"rows_from": RowsFrom("t" * 65)},
        {"rows_from": RowsFrom("receipt", "k" * 65)},
    ],
    ids=str,
)
def test_hashes_of_a_ledger_are_bounded(change: dict[str, object]) -> None:
    [told] = [message for message in PEER_MESSAGES if isinstance(message, LedgerHash)]
    with pytest.raises(Malformed):
        decode_peer_message(encode(replace(told, **change)))


def test_elements_that_a_newer_release_adds_to_a_message_are_ignored() -> None:
    hello = [
        20,
        4,
        "c",
        "n",
        "s",
        "p",
        3,
        "1.2.0",
        2,
        "digest",
        "h:1",
        "h:2",
        7,
        8,
        "fetch",
        5,
        [6],
        ["q"],
        {"more": 1},
    ]
    assert decode_hello(encode(hello)).purpose == "fetch"
    welcome = decode_hello_reply(encode([21, "n", False, 3, True, "more"]))
    assert welcome == Welcome(node="n", learner=False, protocol=3, stale=True)
    assert decode_hello_reply(encode([22, "why", 5, "more"])) == Refused(reason="why", removed_at=5)
    for message in PEER_MESSAGES:
        longer = [*msgspec.msgpack.decode(encode(message)), "more"]
        assert decode_peer_message(encode(longer)) == message
    assert decode_command(encode(["local", GOOD, 0, "more"])) == decode_command(encode(["local", GOOD]))


def test_a_vote_request_of_a_release_without_transfers_is_of_none() -> None:
    assert decode_peer_message(encode([1, "a", 3, 2, 1, True])) == PEER_MESSAGES[0]


def test_the_hello_of_release_1_0_shows_what_it_speaks() -> None:
    hello = decode_hello(encode([20, 2, "digest", "n", "s", "p"]))
    assert (hello.protocol_min, hello.protocol_max, hello.release) == (0, 2, "1.0")


def test_the_handshake_of_release_1_1_is_understood() -> None:
    hello = decode_hello(encode([20, 3, "c", "n", "s", "p", 3, "1.1.0", 1, "digest"]))
    assert (hello.peer_address, hello.incarnation, hello.last_index, hello.purpose) == ("", 0, 0, "")
    assert (hello.member_at, hello.earlier) == (0, ())
    assert decode_hello_reply(encode([21, "n", True, 3])) == Welcome(node="n", learner=True, protocol=3)
    assert decode_hello_reply(encode([22, "why"])) == Refused(reason="why")


def test_a_hello_and_its_answers_survive_the_wire() -> None:
    hello = Hello(
        protocol_max=4,
        cluster="c",
        node="n",
        store="s",
        pepper="p",
        protocol_min=3,
        release="1.2.0",
        feature_level=2,
        config="digest",
        peer_address="h:6000",
        client_address="h:5000",
        incarnation=3,
        last_index=99,
        purpose="fetch",
        member_at=98,
        earlier=(1, 2),
        further_peppers=("q", "r"),
    )
    assert decode_hello(encode(hello)) == hello
    for answer in (Welcome(node="n", learner=True, protocol=3), Refused(reason="another cluster")):
        assert decode_hello_reply(encode(answer)) == answer


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": -1},
        {"amount": AMOUNT_MINOR_MAX + 1},
        {"amount": 2**64 - 1},
        {"amount": 1.0},
        {"amount": True},
        {"amount": "1"},
        {"amount": None},
        {"id": ""},
        {"id": "x" * 65},
        {"id": "two words"},
        {"id": "new\nline"},
        {"id": "ends\n"},
        {"id": "é"},
        {"id": 7},
        {"account": ""},
        {"account": "x" * 65},
        {"account": "-x"},
        {"account": "a/b"},
        {"account": "main\n"},
        {"account": "'; drop table balance; --"},
        {"op": "rob"},
        {"op": 1},
        {"more": 1},
    ],
    ids=str,
)
def test_a_request_with_a_wrong_field_is_malformed(change: dict[str, object]) -> None:
    assert decode_client_request(encode(GOOD)) == Credit(id="a1", account="main", amount=1)
    with pytest.raises(Malformed):
        decode_client_request(encode(GOOD | change))


@pytest.mark.parametrize("missing", GOOD)
def test_a_request_that_lacks_a_field_is_malformed(missing: str) -> None:
    with pytest.raises(Malformed):
        decode_client_request(encode({key: value for key, value in GOOD.items() if key != missing}))


def test_a_query_is_no_command_for_the_log() -> None:
    with pytest.raises(Malformed):
        decode_command(command_data("local", encode(Query(id="1", account="main"))))


def test_bytes_behind_a_message_make_it_malformed() -> None:
    with pytest.raises(Malformed):
        decode_client_request(encode(GOOD) + b"\xc0")


@pytest.mark.parametrize("nested", [b"\x91", b"\x81\xa2op"], ids=["arrays", "maps"])
def test_deep_nesting_is_malformed_and_not_a_crash(nested: bytes) -> None:
    for decode in (decode_client_request, decode_peer_message, decode_hello, decode_hello_reply):
        with pytest.raises(Malformed):
            decode(nested * 20_000)


@given(payload=st.binary(max_size=200))
def test_random_bytes_are_a_message_or_malformed_and_nothing_else(payload: bytes) -> None:
    for decode in (
        decode_client_request,
        decode_command,
        decode_peer_message,
        decode_hello,
        decode_hello_reply,
    ):
        with contextlib.suppress(Malformed):
            decode(payload)


@given(data=st.data())
def test_a_message_with_one_changed_byte_is_a_message_or_malformed(data: st.DataObject) -> None:
    payload = bytearray(encode(data.draw(st.sampled_from(PEER_MESSAGES))))
    position = data.draw(st.integers(0, len(payload) - 1))
    payload[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(Malformed):
        decode_peer_message(bytes(payload))


@pytest.mark.parametrize("number", [-(2**63), -1, NUMBER_MAX + 1, 2**64 - 1])
@pytest.mark.parametrize("message", [m for m in PEER_MESSAGES if isinstance(m, RaftMessage)], ids=repr)
def test_no_number_of_raft_is_negative_or_near_the_end_of_64_bits(message: RaftMessage, number: int) -> None:
    """Otherwise a term that cannot be raised, or an index before the first, would stop the server."""
    fields = [name for name, kind in type(message).__annotations__.items() if kind == "Number"] + ["term"]
    for name in fields:
        largest = replace(message, **{name: NUMBER_MAX})
        assert decode_peer_message(encode(largest)) == largest
        with pytest.raises(Malformed):
            decode_peer_message(encode(replace(message, **{name: number})))


def test_any_msgpack_library_can_write_a_request() -> None:
    """Keys in any order, and integers in any width that msgpack has."""
    shuffled = (
        b"\x84\xa6amount\xcf"
        + (5).to_bytes(8, "big")
        + b"\xa2id\xd9\x02a1\xa2op\xa6credit\xa7account\xa4main"
    )
    assert decode_client_request(shuffled) == Credit(id="a1", account="main", amount=5)
    assert msgspec.msgpack.decode(shuffled) == {"amount": 5, "id": "a1", "op": "credit", "account": "main"}


STATUS = StatusReply(
    id="s",
    outcome="ok",
    node="n1",
    role="follower",
    term=3,
    leader=None,
    commit_index=2,
    applied_index=2,
    last_index=2,
    matched={},
    version="1.2.0",
    feature_level=2,
)
MEMBERS = (MemberView(node="n1", voter=True, peer="h:1", client="h:2", since=0),)


@pytest.mark.parametrize(
    "answer",
    [
        STATUS,
        replace(STATUS, voter=False, members=MEMBERS, uptime_s=0.5, snapshot_index=0, alarms=("full",)),
        MembersReply(id="m", outcome="ok", index=0, members=MEMBERS),
        AdminReply(id="a", outcome="refused", message="it is behind", index=0),
    ],
    ids=lambda answer: type(answer).__name__,
)
def test_each_kind_of_reply_is_told_from_the_others(answer: ClientReply) -> None:
    assert decode_client_reply(encode(answer)) == answer


def test_a_status_says_nothing_of_what_it_does_not_know_but_always_its_outcome() -> None:
    said = msgspec.msgpack.decode(encode(STATUS))
    assert said["outcome"] == "ok"
    assert said.keys() == {
        "id",
        "outcome",
        "node",
        "role",
        "term",
        "leader",
        "commit_index",
        "applied_index",
        "last_index",
        "matched",
        "version",
        "feature_level",
    }


def test_a_verify_reply_is_told_apart_from_a_status_reply() -> None:
    findings = Findings(
        applied_index=9,
        postings=2,
        chain=((4, "aa"), (9, "bb")),
        digests={"balance": "cc"},
        problems=("something",),
        more_problems=3,
        seconds=0.5,
    )
    answer = VerifyReply(id="v", node="n1", findings=findings)
    assert decode_client_reply(encode(answer)) == answer


def entry_of(kind: int, data: bytes = b"", version: int = 1) -> Entry:
    return Entry(index=7, term=1, time_us=1, kind=kind, version=version, data=data)


def test_an_entry_is_an_array_of_index_term_time_kind_version_and_data() -> None:
    entry = Entry(index=2, term=3, time_us=9, kind=EntryKind.COMMAND, data=b"x")
    assert msgspec.msgpack.decode(encode(entry)) == [2, 3, 9, 1, 1, b"x"]


def test_a_commands_data_are_the_actor_and_the_clients_bytes_as_they_came() -> None:
    request = msgspec.msgpack.encode(dict(reversed(GOOD.items())))
    data = command_data("eve@bank", request)
    assert data == b"\x92\xa8eve@bank" + request
    logged = decode_command(data)
    assert (logged.actor, logged.command) == ("eve@bank", Credit(id="a1", account="main", amount=1))


@pytest.mark.parametrize("actor", ["", "two words", "new\nline", "ends\n", "x" * 65, "é"])
def test_a_forwarded_command_without_a_valid_actor_is_refused(actor: str) -> None:
    with pytest.raises(Malformed):
        decode_peer_message(encode(Forward(sender="a", requests=((1, actor, b"x"),))))


@pytest.mark.parametrize("actor", ["", "x" * 65])
def test_an_entry_with_an_empty_or_overlong_actor_is_refused(actor: str) -> None:
    with pytest.raises(Malformed):
        decode_command(command_data(actor, encode(GOOD)))


def test_the_longest_actor_fits_what_is_added_to_a_request() -> None:
    assert len(command_data("x" * 64, b"", 31)) == COMMAND_BYTES_MAX


def test_each_kind_of_entry_is_decoded_by_its_kind() -> None:
    command = command_data("local", encode(GOOD))
    assert decode_entry(entry_of(EntryKind.NOOP)) is None
    assert decode_entry(entry_of(EntryKind.COMMAND, command)) == decode_command(command)
    founding = Founding("0f" * 16, ("n1", "n2"))
    assert decode_entry(entry_of(EntryKind.BOOTSTRAP, encode(founding))) == founding
    assert decode_entry(entry_of(EntryKind.FEATURE_LEVEL, encode([2]))) == LevelRaise(2)
    member = Member(node="n1", voter=True, peer="h:1", client="h:2", store="s")
    named = ["n1", True, "h:1", "h:2", "s", 0, "more"]
    said = encode([[named]])
    assert decode_entry(entry_of(EntryKind.MEMBERSHIP, said)) == MembershipChange((member,))
    note = {"op": "note_deed", "id": "m1", "deed": "add_member", "target": "n1"}
    said = encode([[named], ["ada", note, 1, "more"], "more"])
    deed = LoggedDeed("ada", NoteDeed(id="m1", deed="add_member", target="n1"), 1)
    assert decode_entry(entry_of(EntryKind.MEMBERSHIP, said)) == MembershipChange((member,), deed)
    reason = deed_data("ada", 1, "m1", "add_member", "n1")
    written = encode_configuration((raft.Member("n1", True, "h:1", "h:2", "s", 0),), reason)
    assert written == encode([[named[:-1]], ["ada", note, 1]])


@pytest.mark.parametrize(
    "wrong",
    [
        {"deed": "credit"},
        {"deed": "deeds"},
        {"target": ""},
        {"target": "x" * 65},
        {"id": "two words"},
        {"more": 1},
    ],
)
def test_a_deed_that_is_none_is_refused(wrong: dict[str, object]) -> None:
    note = {"op": "note_deed", "id": "m1", "deed": "add_member", "target": "n1"} | wrong
    for kind, said in (
        (EntryKind.COMMAND, ["ada", note, 1]),
        (EntryKind.MEMBERSHIP, [[["n1", True, "", ""]], ["ada", note, 1]]),
    ):
        with pytest.raises(Malformed):
            decode_entry(entry_of(kind, encode(said)))


def test_a_client_cannot_have_a_deed_noted() -> None:
    note = encode(NoteDeed(id="m1", deed="snapshot", target="n1"))
    assert decode_forwardable(note) == NoteDeed(id="m1", deed="snapshot", target="n1")
    with pytest.raises(Malformed):
        decode_client_request(note)


@pytest.mark.parametrize(
    "members",
    [[], [["n1", False, "", ""]], [["n1", True, "", ""], ["n1", False, "", ""]], [["", True, "", ""]]],
)
def test_members_without_a_voter_or_with_one_name_twice_are_no_cluster(members: list[list[object]]) -> None:
    with pytest.raises(Malformed):
        decode_entry(entry_of(EntryKind.MEMBERSHIP, encode([members])))


@pytest.mark.parametrize(
    ("kind", "version"),
    [(EntryKind.MEMBERSHIP, 2), (5, 1), (255, 1), (EntryKind.COMMAND, 2), (EntryKind.NOOP, 2), (1, 0)],
)
def test_an_entry_that_a_newer_release_wrote_is_neither_applied_nor_skipped(kind: int, version: int) -> None:
    entry = entry_of(kind, command_data("local", encode(GOOD)), version)
    for look in (check_known, decode_entry):
        with pytest.raises(NewerEntry) as refused:
            look(entry)
        assert str(refused.value) == (
            f"log entry 7 is of kind {int(kind)} and version {version}, written by a newer release: "
            "install that one"
        )


def test_an_id_of_a_cluster_is_32_hexadecimal_digits() -> None:
    for wrong in ("", "0F" * 16, "0f" * 15, "0f" * 17):
        with pytest.raises(Malformed):
            decode_founding(encode([wrong, ["n1"]]))
