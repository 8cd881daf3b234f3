"""Both ports of running nodes: bytes of every kind, at once or in halves, from one stranger or from many.

What is *not* tried here, because it may cost an election: a peer that breaks the protocol (it says it
leads, or campaigns for a later term). See `believed`, and welcomed_peer.py, which does that.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections import deque
from itertools import cycle
from types import TracebackType
from typing import Self

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from atm.config import Address
from atm.raft.messages import AppendEntries, RequestVote, RequestVoteResponse
from atm.server.security.peppers import read_peppers
from atm.tls.credentials import Credentials
from atm.tls.of_cluster import client_credentials, node_credentials
from atm.tls.tls_socket import TlsSocket, connect_tls
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.client_messages import decode_client_reply
from atm.wire.codec import Malformed, encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX, FrameReader, FrameTooLarge, frame
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
from atm.wire.request_decoding import decode_client_request
from tests.hostile.attacked import CHANGING_STRANGER, STRANGER, Attacked
from tests.hostile.mutations import corpus, mutated
from tests.support.certificates import Authority

ANSWERED_WITHIN_S = 5.0
HELD_OPEN = 40  # connections that sent half of something and stay
FLOOD = 300
STAYS = 7  # of ten: a dice that says so leaves its connection open
LOOK_EVERY = 200  # inputs

_numbers = st.sampled_from(
    [-(2**63), -1, 0, 1, 2, 3, 2**31, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
) | st.integers(-3, 40)
_scalars = _numbers | st.text(max_size=8) | st.binary(max_size=8) | st.none() | st.booleans() | st.floats()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def _framed(value: object) -> bytes:
    return frame(msgspec.msgpack.encode(value))


# -- clients ---------------------------------------------------------------------------------------

_requests = st.fixed_dictionaries(
    {"op": st.sampled_from(["open", "credit", "debit", "query", "status", "transfer", ""]) | _values},
    optional={
        "id": st.text(max_size=70) | _values,
        "account": st.sampled_from(["main", "cash", "alice", "é"]) | _values,
        "amount": _numbers | _values,
        "pin": _values,
    },
)
_good_requests = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["credit", "debit"]),
        "id": st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=3),
        "account": st.sampled_from(["main", "cash", "nobody"]),
        "amount": st.integers(1, 10**14 - 1),
    }
)
_teller_bytes = (
    st.lists(_good_requests.map(_framed), min_size=1, max_size=3).map(b"".join)
    | st.binary(max_size=300)
    | mutated(corpus("clients"))
    | mutated([saved[4:] for saved in corpus("clients")]).map(frame)
    | st.lists(_requests.map(_framed), min_size=1, max_size=5).map(b"".join)
)


def requests_in(data: bytes) -> tuple[int, bool]:
    """Return how many requests the stream has, and whether something follows that is none.

    Half a frame at its end is neither.
    """
    requests = 0
    try:
        for payload in FrameReader(CLIENT_FRAME_BYTES_MAX).feed(data):
            decode_client_request(payload)
            requests += 1
    except (FrameTooLarge, Malformed):
        return requests, True
    return requests, False


# -- servers ---------------------------------------------------------------------------------------

_small = st.integers(0, 5) | st.integers(-1, 300)
_entries = st.lists(
    st.tuples(_numbers, _numbers, _numbers, _small, _small, st.binary(max_size=30)), max_size=3
)
_messages = st.one_of(
    st.tuples(st.just(1), st.just(STRANGER), _numbers, _numbers, _numbers, st.booleans()),
    st.tuples(st.just(2), st.just(STRANGER), _numbers, st.booleans(), st.booleans()),
    st.tuples(st.just(3), st.just(STRANGER), _numbers, _numbers, _numbers, _entries, _numbers, _numbers),
    st.tuples(
        *(st.just(4), st.just(STRANGER), _numbers, st.booleans(), _numbers, _numbers, _numbers, _numbers)
    ),
    st.tuples(
        st.just(23),
        st.just(STRANGER),
        st.lists(st.tuples(_numbers, st.sampled_from(["local", ""]), st.binary(max_size=60))),
    ),
    st.tuples(st.just(24), st.just(STRANGER), st.lists(st.tuples(_numbers, st.binary(max_size=60)))),
    st.lists(_values, max_size=8),
)
_peer_bytes = (
    st.binary(max_size=300)
    | mutated(corpus("servers"))
    | mutated([saved[4:] for saved in corpus("servers")]).map(frame)
    | st.lists(_messages.map(_framed), min_size=1, max_size=5).map(b"".join)
)


def believed(message: PeerMessage, term: int) -> bool:
    """Return whether a welcomed server would be believed that there is another leader, or a later term."""
    match message:
        case Forward() | ForwardReply() | LedgerHash() | NodeReport() | CheckLedger():
            return False
        case RequestVote(pre_vote=True) | RequestVoteResponse(pre_vote=True, granted=True):
            return False
        case AppendEntries():
            return message.term >= term
        case _:
            return message.term > term


def tame(data: bytes, term: int) -> bytes:
    """Return the stream up to the first message that would be believed."""
    position = 0
    try:
        for payload in FrameReader(PEER_FRAME_BYTES_MAX).feed(data):
            if believed(decode_peer_message(payload), term):
                return data[:position]
            position += len(frame(payload))
    except (FrameTooLarge, Malformed):
        pass
    return data


# -- the attacks -----------------------------------------------------------------------------------


class Encrypted:
    """An encrypted connection, used as a socket is."""

    def __init__(self, tls: TlsSocket) -> None:
        self._tls = tls
        self.recv, self.sendall, self.close = tls.recv, tls.sendall, tls.close

    def shutdown(self, how: int) -> None:
        self._tls.sock.shutdown(how)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


Wire = socket.socket | Encrypted


class _Port:
    """What the attacks on both ports have in common."""

    name: str

    def __init__(self, *, tls: bool = False) -> None:
        """With `tls`, strangers have a certificate, and all is tried on encrypted connections."""
        self._tls = tls

    def __enter__(self) -> Self:
        self.bank = Attacked(Authority() if self._tls else None).__enter__()
        self._credentials = self._own_credentials() if self._tls else None
        self._held_open: deque[Wire] = deque()
        self._names = cycle(self.bank.names)
        self._attempts = 0
        self._flood()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for held in self._held_open:
            held.close()
        self.bank.__exit__(kind, error, trace)

    def finish(self) -> None:
        """Drop what is held open and assert that the nodes are what they were."""
        self._flood()
        while self._held_open:
            self._held_open.popleft().close()
        self.bank.assert_as_before()

    def _address(self, name: str) -> Address:
        raise NotImplementedError

    def _say(self, data: bytes, *, stay: bool, answers: int = 0, greeting: bytes = b"") -> list[bytes] | None:
        """Send a greeting and wait for its answer, send `data`, wait for so many answers and end our side.

        Return all that came until the node closed its side; None if we `stay` instead.
        """
        self._attempts += 1
        if self._attempts % LOOK_EVERY == 0:
            self.bank.assert_served()
        connection = self._connect(next(self._names))
        if stay:
            self._held_open.append(connection)
            if len(self._held_open) > HELD_OPEN:
                self._held_open.popleft().close()
            self._greet(connection, greeting)
            _send(connection, data)
            return None
        with connection:
            said = self._greet(connection, greeting)
            _send(connection, data)
            said += _frames(connection, answers)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)
            return said + _frames(connection, sys.maxsize)

    def _connect(self, name: str) -> Wire:
        sock = socket.create_connection(self._address(name).pair, timeout=ANSWERED_WITHIN_S)
        if self._credentials is None:
            return sock
        until_s = time.monotonic() + ANSWERED_WITHIN_S
        return Encrypted(connect_tls(sock, self._credentials.for_dialling(), name, until_s))

    def _own_credentials(self) -> Credentials:
        """Return the certificate of who attacks."""
        raise NotImplementedError

    def _greet(self, connection: Wire, greeting: bytes) -> list[bytes]:
        _send(connection, greeting)
        return _frames(connection, 1) if greeting else []

    def _flood(self) -> None:
        """Open many connections at once, leave half a frame on each, and go."""
        for address in map(self._address, self.bank.names):
            many = [socket.create_connection(address.pair, timeout=ANSWERED_WITHIN_S) for _ in range(FLOOD)]
            for connection in many:
                connection.setblocking(False)
                try:
                    connection.send(b"\x00\x00\x00\x10half")
                except OSError:
                    continue  # refused already
            for connection in many:
                connection.close()
        self.bank.assert_served()


class ClientsPort(_Port):
    """The clients' port."""

    name = "clients' port"
    inputs: SearchStrategy[tuple[bytes, int]] = st.tuples(_teller_bytes, st.integers(0, 9))

    def saved(self) -> list[tuple[bytes, int]]:
        return [(data, stay) for data in corpus("clients") for stay in (STAYS, 1)]

    def attempt(self, given: tuple[bytes, int]) -> str:
        data, dice = given
        requests, refused = requests_in(data)
        said = self._say(data, stay=dice == STAYS, answers=0 if refused else requests)
        if said is None:
            return "left hanging"
        answers = [decode_client_reply(payload) for payload in said]
        refusals = [answer for answer in answers if answer.outcome == "bad_request"]
        assert len(refusals) == refused, f"{data!r} was answered by {answers}"
        assert refused or len(answers) == requests, f"{data!r} was answered by {answers}"
        return "bad_request" if refusals else "answered" if answers else "closed"

    def _address(self, name: str) -> Address:
        return self.bank.cluster.cluster.nodes[name].client

    def _own_credentials(self) -> Credentials:
        credentials = client_credentials(self.bank.cluster.cluster)
        assert credentials is not None
        return credentials


class ServersPort(_Port):
    """The port for servers: no hello, wrong ones, and all that may come behind a right one."""

    name = "servers' port"
    # Whether a right hello comes first, the bytes, what to change in a hello, and whether to stay.
    inputs: SearchStrategy[tuple[bool, bytes, dict[str, object], int]] = st.tuples(
        st.booleans(),
        _peer_bytes,
        st.dictionaries(
            st.sampled_from(
                ["protocol_max", "cluster", "node", "store", "protocol_min", "release", "config"]
            ),
            _values,
            max_size=2,
        ),
        st.integers(0, 9),
    )

    def saved(self) -> list[tuple[bool, bytes, dict[str, object], int]]:
        return [(greets, data, {}, 1) for data in corpus("servers") for greets in (True, False)]

    def attempt(self, given: tuple[bool, bytes, dict[str, object], int]) -> str:
        greets, data, changes, dice = given
        if greets:
            hello = self._hello(STRANGER)
            said = self._say(tame(data, self.bank.term), stay=dice == STAYS, greeting=frame(encode(hello)))
        elif changes:
            hello = self._hello(CHANGING_STRANGER)
            fields = {**msgspec.structs.asdict(hello), **changes}
            said = self._say(_framed([20, *fields.values()]), stay=dice == STAYS)
        else:
            said = self._say(data, stay=dice == STAYS)
        if said is None:
            return "left hanging"
        answers = [decode_hello_reply(payload) for payload in said]
        match answers:
            case [Welcome()]:
                assert greets or changes, data
                return "welcomed, then closed"
            case [Refused(reason=reason)]:
                assert not greets, reason
                assert reason.isprintable(), reason
                return "refused"
            case []:
                assert not greets
                assert not _is_hello(data), data
                return "closed"
            case _:
                raise AssertionError(f"{given} was answered by {answers}")

    def _address(self, name: str) -> Address:
        return self.bank.cluster.cluster.nodes[name].peer

    def _own_credentials(self) -> Credentials:
        credentials = node_credentials(self.bank.cluster.cluster, STRANGER)
        assert credentials is not None
        return credentials

    def _hello(self, node: str) -> Hello:
        cluster = self.bank.cluster.cluster.identity()
        pepper = read_peppers(self.bank.cluster.cluster.pepper_file).names[0]
        return Hello(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            release=RELEASE,
            feature_level=FEATURE_LEVEL_MAX,
            cluster="",
            config=cluster,
            node=node,
            store="theirs",
            pepper=pepper,
        )


def _is_hello(data: bytes) -> bool:
    try:
        return any(decode_hello(payload) for payload in FrameReader(2**20).feed(data))
    except (FrameTooLarge, Malformed):
        return False


def _send(connection: Wire, data: bytes) -> None:
    """Send it all, or what the node takes before it closes."""
    with contextlib.suppress(ConnectionError):
        connection.sendall(data)


def _frames(connection: Wire, count: int) -> list[bytes]:
    """Return the next `count` frames, or those until the end; no end in time is a TimeoutError."""
    reader, frames = FrameReader(2**20), list[bytes]()
    with contextlib.suppress(ConnectionError):
        while len(frames) < count and (piece := connection.recv(65536)):
            frames.extend(reader.feed(piece))
    return frames
