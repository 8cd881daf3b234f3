"""Why a listener cannot listen, in a line that says what to do."""

from __future__ import annotations

import socket

import pytest

from atm.config import Address, NodeConfig
from atm.server.net import listener
from atm.server.net.connection import Connection
from atm.server.net.listener import AddressUnavailable, Listener, check_reachable


@pytest.mark.parametrize(
    ("host", "line"),
    [
        ("192.0.2.7", "cannot listen on 192.0.2.7:5000: this machine does not have that address"),
        ("no-such-host.invalid", r"cannot listen on no-such-host.invalid:5000: .*Check the address"),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_not_called_a_taken_port(host: str, line: str) -> None:
    with pytest.raises(AddressUnavailable, match=line):
        Listener[Connection](Address(host, 5000), connections_max=1, report=print, verbose=False)


# -- whether other machines can reach it -----------------------------------------------------------------

NAMES = {"h1.bank": "127.0.1.1", "h2.bank": "10.0.0.2", "h3.bank": "10.0.0.3"}


def resolve_by_names(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    if host == "unknown.bank":
        raise OSError("no such name")
    return socket.AF_INET, (NAMES.get(host, host), port)


def node_at(host: str, listen: str | None = None) -> NodeConfig:
    peer = Address(host, 6000)
    return NodeConfig("n", Address(host, 5000), peer, listen_peer=Address(listen, 6000) if listen else None)


def test_a_name_that_means_the_loopback_here_is_refused_where_others_are_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "resolve", resolve_by_names)
    others = [node_at("h2.bank"), node_at("h3.bank")]
    with pytest.raises(
        AddressUnavailable, match=r"h1\.bank means 127\.0\.1\.1 on this machine.*/etc/hosts.*listen_peer"
    ):
        check_reachable(node_at("h1.bank"), others)
    with pytest.raises(AddressUnavailable, match="where no other machine can connect"):
        check_reachable(node_at("h2.bank", listen="h1.bank"), others)


@pytest.mark.parametrize(
    ("node", "others"),
    [
        (node_at("h2.bank"), [node_at("h3.bank")]),
        (node_at("h1.bank", listen="0.0.0.0"), [node_at("h2.bank")]),
        (node_at("h1.bank"), [node_at("h1.bank")]),  # all on this machine
        (node_at("h1.bank"), [node_at("localhost")]),
        (node_at("h1.bank"), []),
        (node_at("127.0.0.1"), [node_at("h2.bank")]),  # as written: whoever writes that means it
        (node_at("unknown.bank"), [node_at("h2.bank")]),  # the listener says so
    ],
)
def test_other_addresses_are_left_alone(
    node: NodeConfig, others: list[NodeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "resolve", resolve_by_names)
    check_reachable(node, others)
