"""A client without a file: addresses alone, and the file that is read without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atm.client import Client, ConfigError
from atm.tls.credentials import TlsUnusable
from tests.support.both_clients import Connect
from tests.support.fake_cluster import FakeCluster


def addresses(cluster: FakeCluster) -> list[str]:
    return [f"127.0.0.1:{node.port}" for node in cluster.nodes.values()]


def test_addresses_are_enough(cluster: FakeCluster, connect: Connect) -> None:
    cluster.follow("5001")
    cluster["5000"].stop()
    with connect(addresses(cluster)) as client:
        assert client.credit("main", 5).check().balance == 5
        assert client.query("main").check().balance == 5


def test_servers_that_are_known_by_address_tell_their_names_in_their_status(
    cluster: FakeCluster, connect: Connect
) -> None:
    cluster.follow("5001")
    cluster["5002"].stop()
    given = addresses(cluster)
    with connect(given) as client:
        status = client.cluster_status()
    assert [(node.node, node.role) for node in status.nodes] == [
        ("5000", "follower"),
        ("5001", "leader"),
        (given[2], "down"),
    ]
    assert (status.available, status.leader) == (True, "5001")


def test_the_leader_is_followed_where_addresses_have_names(cluster: FakeCluster, connect: Connect) -> None:
    cluster.follow("5002")
    with connect(dict(zip(cluster.nodes, addresses(cluster), strict=True)), "5000") as client:
        client.credit("main", 5)
    with connect(dict(zip(cluster.nodes, addresses(cluster), strict=True))) as client:
        for _ in range(5):
            client.credit("main", 5)
    assert len(cluster["5002"].requests) >= 4


def test_without_an_argument_the_file_of_the_commands_is_read(
    cluster: FakeCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATM_CONFIG", str(cluster.config))
    with connect() as client:
        assert client.credit("main", 5).ok
    monkeypatch.delenv("ATM_CONFIG")
    monkeypatch.chdir(cluster.config.parent)
    with connect() as client:
        assert client.credit("main", 5).ok


@pytest.mark.parametrize(
    ("given", "options", "why"),
    [
        ([], {}, "is empty"),
        (["localhost"], {}, "is not host:port"),
        (["h1.bank:5000"], {}, "everybody on the way could read"),
        (["h1.bank:5000"], {"ca": "ca.pem"}, "TLS needs to know who is at an address"),
        (["localhost:5000"], {"cert": "a.pem", "key": "a.key"}, "has no \\[tls\\]"),
        ({"h1": "h1.bank:5000"}, {"ca": "ca.pem"}, "wants a certificate"),
        ("cluster.ini", {"insecure": True}, "a file says both itself"),
    ],
)
def test_wrong_addresses_are_told(given: Any, options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        Client(given, **options)


def test_addresses_with_names_and_a_ca_are_spoken_to_by_tls() -> None:
    with pytest.raises((ConfigError, TlsUnusable), match=r"/nowhere/ca\.pem, cannot be read"):
        Client({"h1": "h1.bank:5000"}, ca="/nowhere/ca.pem", cert="/nowhere/a.pem", key="/nowhere/a.key")


def test_plain_addresses_of_other_machines_are_used_where_that_is_allowed() -> None:
    with Client(["h1.bank:5000"], insecure=True):
        pass
