"""Typed msgpack for everything that crosses a socket or is kept in the log.

Two dialects, both written down in docs/protocol.md: tellers speak maps, which are easy to write and to
read in any language; servers speak arrays that start with a tag, which are small and fast. Decoding
checks types and limits; anything else raises `Malformed`.
"""

from __future__ import annotations

from typing import TypeVar

from msgspec import DecodeError, Struct
from msgspec.msgpack import Decoder, Encoder

from atm.ledger.commands import Command, LogCommand, Outcome, Read, RequestId, View
from atm.ledger.findings import Findings, Indexes
from atm.raft.messages import RaftMessage

PROTOCOL_VERSION = 2

T = TypeVar("T")


class Malformed(Exception):
    """The bytes are not a message of this protocol."""


# -- tellers ---------------------------------------------------------------------------------------


class Status(Struct, frozen=True, kw_only=True, tag_field="op", tag="status", forbid_unknown_fields=True):
    """Ask one server about itself; answered by that server alone."""

    id: RequestId


class Verify(Struct, frozen=True, kw_only=True, tag_field="op", tag="verify", forbid_unknown_fields=True):
    """Let one server audit its ledger; answered by that server alone, when it is done."""

    id: RequestId
    at: Indexes = ()


class Answer(View, frozen=True, kw_only=True, omit_defaults=True):
    """A receipt or a view on its way to a teller: `leader` is the node that decided."""

    leader: str | None = None


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The request was not decided. What that means is told by `outcome`:

    - `bad_request`: not understood, certainly not done; the connection is closed if the stream is lost.
    - `busy`: too much is under way here; certainly not done by this try.
    - `unavailable`: no leader is known here; certainly not done by this try.
    - `unknown`: it was passed on or proposed and its end was not seen: it may or may not be done.
    """

    id: str
    outcome: str
    message: str = ""
    leader: str | None = None


class StatusAnswer(Struct, frozen=True, kw_only=True):
    """What a server says of itself; `matched` is, on a leader, how far each other server's log agrees."""

    id: str
    outcome: str = "ok"
    node: str
    role: str
    term: int
    leader: str | None
    commit_index: int
    applied_index: int
    last_index: int
    matched: dict[str, int]


class VerifyAnswer(Struct, frozen=True, kw_only=True):
    """What a server found in its own ledger."""

    id: str
    outcome: str = "ok"
    node: str
    findings: Findings


Passable = Command | Read  # what is decided by the leader, and passed on to it
TellerRequest = Passable | Status | Verify
TellerAnswer = Answer | Fault | StatusAnswer | VerifyAnswer

FAULT_OUTCOMES = frozenset({"bad_request", "busy", "unavailable", "unknown"})


class _AnswerKind(Struct, frozen=True):
    """As much of an answer as tells which of the four it is: answers carry no tag on the wire."""

    outcome: str
    node: str | None = None
    findings: object = None


# -- servers ---------------------------------------------------------------------------------------


class Hello(Struct, frozen=True, kw_only=True, array_like=True, tag=20):
    """The first frame on a connection between servers: who calls, and for which cluster.

    `store` names the caller's data folder: it changes when a server comes back with an empty one.
    `pepper` names the secret that PINs are sealed with, which all servers share.
    """

    version: int
    cluster: str
    node: str
    store: str
    pepper: str


class Welcome(Struct, frozen=True, kw_only=True, array_like=True, tag=21):
    """The hello was accepted; `learner` if the caller was known under another store (wiped disk)."""

    node: str
    learner: bool


class Refused(Struct, frozen=True, kw_only=True, array_like=True, tag=22):
    """The hello was refused, and why, in a line for people; the connection is then closed."""

    reason: str


class Forward(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=23):
    """Tellers' requests passed on to the leader, as (number, request payload) pairs."""

    sender: str
    requests: tuple[tuple[int, bytes], ...]


class Returned(Struct, frozen=True, kw_only=True, array_like=True, gc=False, tag=24):
    """Answers to forwarded requests, as (number, answer payload) pairs."""

    sender: str
    answers: tuple[tuple[int, bytes], ...]


PeerMessage = RaftMessage | Forward | Returned

_encoder = Encoder()
_teller_request: Decoder[TellerRequest] = Decoder(TellerRequest)
_answer_kind: Decoder[_AnswerKind] = Decoder(_AnswerKind)
_answer: Decoder[Answer] = Decoder(Answer)
_fault: Decoder[Fault] = Decoder(Fault)
_verify_answer: Decoder[VerifyAnswer] = Decoder(VerifyAnswer)
_status_answer: Decoder[StatusAnswer] = Decoder(StatusAnswer)
_passable: Decoder[Passable] = Decoder(Passable)
_command: Decoder[LogCommand] = Decoder(LogCommand)
_peer_message: Decoder[PeerMessage] = Decoder(PeerMessage)
_hello: Decoder[Hello] = Decoder(Hello)
_hello_answer: Decoder[Welcome | Refused] = Decoder(Welcome | Refused)

encode = _encoder.encode


def decode_teller_request(payload: bytes) -> TellerRequest:
    """Return what a teller asks; raise `Malformed`."""
    return _decode(_teller_request, payload)


def decode_teller_answer(payload: bytes) -> TellerAnswer:
    """Return what a server answers a teller; raise `Malformed`.

    An `Answer` with the outcome `ok` has a balance, `lines`, or what was `asked`.
    """
    kind = _decode(_answer_kind, payload)
    if kind.outcome in FAULT_OUTCOMES:
        return _decode(_fault, payload)
    if kind.findings is not None:
        return _decode(_verify_answer, payload)
    if kind.node is not None:
        return _decode(_status_answer, payload)
    answer = _decode(_answer, payload)
    if (
        answer.outcome is Outcome.OK
        and answer.balance is None
        and not (answer.asked or answer.lines is not None)
    ):
        raise Malformed("the answer says ok and has no balance")
    return answer


def decode_passable(payload: bytes) -> Passable:
    """Return a teller's request that another server passed on; raise `Malformed`."""
    return _decode(_passable, payload)


def decode_command(payload: bytes) -> LogCommand:
    """Return the command of a log entry; raise `Malformed`."""
    return _decode(_command, payload)


def decode_peer_message(payload: bytes) -> PeerMessage:
    """Return a message of another server after its hello; raise `Malformed`."""
    return _decode(_peer_message, payload)


def decode_hello(payload: bytes) -> Hello:
    """Return the first message of another server; raise `Malformed`."""
    return _decode(_hello, payload)


def decode_hello_answer(payload: bytes) -> Welcome | Refused:
    """Return the answer to our hello; raise `Malformed`."""
    return _decode(_hello_answer, payload)


def _decode(decoder: Decoder[T], payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
