"""Planted defects of TLS: whom a connection belongs to, and who is let in."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

SOCKET_TESTS = "tests/tls/test_tls_socket.py::"
FILE_TESTS = "tests/tls/test_credentials.py::"
PORT_TESTS = "tests/server/test_tls_ports.py::"
CONFIG_TESTS = "tests/test_config.py::"

TLS = (
    Mutant(
        name="any node will do",
        what="a client tells its PIN to whatever server of the bank has the port of the one that it means",
        edits=(
            Edit("connect_tls", "not identity_.is_node or identity_.name != node_", "not identity_.is_node"),
        ),
        caught_by=SOCKET_TESTS + "test_a_server_of_another_name_is_told_nothing",
    ),
    Mutant(
        name="anyone is a node",
        what="who has a person's certificate with a server's name is that server to a client",
        edits=(
            Edit(
                "connect_tls", "not identity_.is_node or identity_.name != node_", "identity_.name != node_"
            ),
        ),
        caught_by=SOCKET_TESTS + "test_a_person_is_no_server",
    ),
    Mutant(
        name="certificate optional",
        what="who shows no certificate is let in",
        edits=(Edit("_context", "ssl.CERT_REQUIRED", "ssl.CERT_NONE"),),
        caught_by=SOCKET_TESTS + "test_each_wrong_certificate_gets_one_line_at_both_ends",
    ),
    Mutant(
        name="older TLS",
        what="TLS 1.2 is spoken with who does not know better",
        edits=(Edit("_context", "context_.minimum_version = ssl.TLSVersion.TLSv1_3", "pass"),),
        caught_by=SOCKET_TESTS + "test_an_older_tls_is_refused_on_both_sides",
    ),
    Mutant(
        name="teller among servers",
        what="a teller's certificate opens the servers' port",
        edits=(Edit("peer_server:_reason_to_refuse", "not identity_.is_node", "False"),),
        caught_by=PORT_TESTS + "test_a_tellers_certificate_opens_no_peers_port",
    ),
    Mutant(
        name="server among tellers",
        what="a server's certificate opens the clients' port",
        edits=(Edit("client_server:_reason_to_refuse", "identity_.is_node", "False"),),
        caught_by=PORT_TESTS + "test_a_nodes_certificate_opens_no_clients_port",
    ),
    Mutant(
        name="hello of another",
        what="a server says hello in the name of another, and is believed",
        edits=(Edit("of_another", "connection_.tls.identity.name == hello_.node", "True"),),
        caught_by=PORT_TESTS + "test_a_node_cannot_speak_for_another",
    ),
    Mutant(
        name="half open without end",
        what="silent strangers keep all others out of a port",
        edits=(Edit("HalfOpen.holding", "len(of_host_) >= self._by_host_max", "False"),),
        caught_by=PORT_TESTS + "test_many_of_one_host_make_room_among_themselves",
    ),
    Mutant(
        name="honest one makes room",
        what="a newcomer pushes out one whose handshake is under way, and the silent ones stay",
        edits=(Edit("HalfOpen._drop_one", "silent_ is None", "True"),),
        caught_by=PORT_TESTS + "test_the_silent_one_makes_room_for_a_newcomer",
    ),
    Mutant(
        name="key for all",
        what="a key that others read is used",
        edits=(Edit("_check_key", "mode_ & KEY_MODE_FORBIDDEN", "False"),),
        caught_by=FILE_TESTS + "test_whatever_is_wrong_is_one_line",
    ),
    Mutant(
        name="broken file taken",
        what="a certificate file that was replaced is never read again",
        edits=(Edit("Credentials.refresh", "stamp_ == self._stamp and not at_once_", "not at_once_"),),
        caught_by=FILE_TESTS + "test_changed_files_are_used_and_wrong_ones_are_not",
    ),
    Mutant(
        name="plain to the world",
        what="a server that other machines reach starts without encryption, unasked",
        edits=(Edit("Cluster.check_secure", "not is_loopback(address_.host)", "False"),),
        caught_by=CONFIG_TESTS + "test_plain_connections_of_other_machines_are_only_for_who_says_so",
    ),
)
