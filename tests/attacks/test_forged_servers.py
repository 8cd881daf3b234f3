"""C1, C2, C3 against a bank with TLS: whoever is no server of it cannot speak as one at a servers' port.

Each was first seen to succeed on this tree in plain mode, where a hello is all it takes: the first test here.
The terms that no election can follow, with which C1 stopped release 1.1.0 (e233312) for good, are refused in
plain mode, too: `tests/hostile/test_forged.py`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator

import pytest

from atm.client import Client
from atm.raft.messages import AppendEntries
from atm.tls.tls_socket import TlsSocket
from atm.wire.client_messages import StatusReply
from atm.wire.codec import encode
from atm.wire.framing import frame
from atm.wire.log_entries import command_data
from atm.wire.peer_messages import Hello
from tests.support.certificates import Authority
from tests.support.server_parts import credit, wait_until
from tests.support.welcomed import FAULTY_PEER, NODES, OTHER_FAULTY_PEER, Bank, entry

FORGED = 10_000_000_000_000
TERMS_AHEAD = 2**20  # more than there are elections in a test
WITHIN_S = 10.0


def forged_term(status: StatusReply) -> AppendEntries:
    """C1: a leader of a term that the bank then has to follow."""
    return AppendEntries(
        sender=FAULTY_PEER,
        term=status.term + TERMS_AHEAD,
        prev_log_index=0,
        prev_log_term=0,
        entries=(),
        leader_commit=0,
        round=0,
    )


def forged_money(status: StatusReply) -> AppendEntries:
    """C2: an entry with money out of nothing, and word that it is committed."""
    command = command_data("local", encode(credit("forged", FORGED)))
    return AppendEntries(
        sender=FAULTY_PEER,
        term=status.term + 5,
        prev_log_index=status.last_index,
        prev_log_term=status.term,
        entries=(entry(status.last_index + 1, status.term + 5, command),),
        leader_commit=status.last_index + 1,
        round=0,
    )


def balance(bank: Bank) -> int:
    with Client(bank.cluster.cluster, timeout=WITHIN_S) as client:
        found = client.query("main").balance
    assert found is not None
    return found


def test_without_tls_whoever_reaches_the_servers_port_is_believed() -> None:
    """So the attacks below are attacks: this is what plain mode means."""
    with Bank() as bank:
        bank.wait_until_all_have_met()

        def forge_until(message: Callable[[StatusReply], object], is_done: Callable[[], bool]) -> None:
            def is_done_now() -> bool:
                leader, _ = bank.roles()
                forged = message(bank.status(leader))
                for name in NODES:
                    bank.send_as_peer(name, forged)
                return is_done()

            wait_until(is_done_now, 3 * WITHIN_S)  # an election may come between

        forge_until(forged_money, lambda: balance(bank) >= FORGED)
        forge_until(forged_term, lambda: all(bank.status(name).term > TERMS_AHEAD for name in NODES))
        bank.cluster.stop("n3")

        def is_demoted() -> bool:
            connection, answer = bank.greet("n1", bank.hello("n3", store="of the impostor"))
            connection.close()
            return getattr(answer, "learner", False)

        wait_until(is_demoted, WITHIN_S)


# -- with TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def bank(authority: Authority) -> Iterator[Bank]:
    with Bank(authority) as bank:
        bank.wait_until_all_have_met()
        yield bank
        bank.restart()  # what was saved is right, too


def context_of(bank: Bank, who: str) -> ssl.SSLContext | None:
    """Return the context of an attacker who does not look whom he talks to, None if he speaks plainly."""
    if who == "plain":
        return None
    folder = bank.cluster.cluster.path.parent
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if who == "another CA's server":
        (folder / "eve").mkdir(exist_ok=True)
        context.load_cert_chain(*Authority("eve's").node(folder / "eve", FAULTY_PEER))
    elif who != "no certificate":
        name = {"a teller": "ann", "another server": OTHER_FAULTY_PEER}[who]
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def send_as(bank: Bank, who: str, to: str, hello: Hello, *messages: object) -> bytes:
    """Say hello to a node and send messages, whatever it answers; return what it said until it closed."""
    context, said = context_of(bank, who), bytearray()
    with socket.create_connection(bank.cluster.cluster.nodes[to].peer.pair, timeout=WITHIN_S) as sock:
        stream: socket.socket | TlsSocket = sock
        with contextlib.suppress(OSError):  # the node may close in the middle
            if context is not None:
                stream = tls = TlsSocket(sock, context, server_side=False)
                tls.handshake(time.monotonic() + WITHIN_S)
            stream.sendall(frame(encode(hello)))
            said += stream.recv(65536)
            stream.sendall(b"".join(frame(encode(message)) for message in messages))
            while piece := stream.recv(65536):
                said += piece
    return bytes(said)


REFUSALS = {
    "a teller": b"this is the servers' port, and the certificate is that of ann, no server",
    "another server": b"its certificate is that of node n5",
    "no certificate": b"",  # the handshake ends with an alert
    "another CA's server": b"",
    "plain": b"this port speaks TLS only",
}


@pytest.mark.parametrize("who", REFUSALS)
def test_with_tls_nobody_speaks_for_a_server_but_itself(bank: Bank, who: str) -> None:
    bank.assert_serves()
    before = balance(bank)
    for to in NODES:
        status = bank.status(to)
        for message in (forged_term(status), forged_money(status)):  # C1, C2
            assert REFUSALS[who] in send_as(bank, who, to, bank.hello(), message)
        for name in NODES:  # C3
            if name != to:
                said = send_as(bank, who, to, bank.hello(name, store="of the impostor"))
                assert REFUSALS[who] in said
    bank.assert_serves()
    assert balance(bank) == before + 1, "the credit by which it was seen to serve"
    assert all(bank.status(name).term < TERMS_AHEAD for name in NODES)
    for lines in bank.said().values():
        assert not any("vote is not counted" in line for line in lines), "nobody was demoted"
