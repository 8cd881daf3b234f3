"""The cluster that a client is told of: by a file, or by addresses alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from atm.config import (
    Cluster,
    ConfigError,
    NodeConfig,
    TlsConfig,
    default_config,
    is_loopback,
    is_node_name,
    load,
    parse_address,
)

ClusterLike = Cluster | str | os.PathLike[str] | Sequence[str] | Mapping[str, str] | None

NO_FILE = Path("the list of addresses")  # in place of a cluster.ini in messages


def cluster_of(
    given: ClusterLike, *, ca: str | os.PathLike[str] | None = None, insecure: bool = False
) -> Cluster:
    """Return the cluster of a file, of `host:port` addresses (by the servers' names, or without), or of the
    file that is read without any; raise `ConfigError`.

    A server without a name is called by its address. `ca` and `insecure` are for addresses only.
    """
    if given is None or isinstance(given, Cluster | str | os.PathLike):
        if ca is not None or insecure:
            raise ConfigError("ca and insecure belong to a list of addresses: a file says both itself")
        if isinstance(given, Cluster):
            return given
        return load(default_config() if given is None else Path(given))
    named = given if isinstance(given, Mapping) else {address: address for address in given}
    if not named:
        raise ConfigError("the list of addresses is empty")
    nodes = {name: _node(name, address) for name, address in named.items()}
    if ca is not None and not all(map(is_node_name, nodes)):
        raise ConfigError('TLS needs to know who is at an address: give them as {"h1": "h1.bank:5000", …}')
    for node in nodes.values():
        if ca is None and not insecure and not is_loopback(node.client.host):
            raise ConfigError(
                f"{node.client} is on another machine, and without a ca everybody on the way could read and "
                "forge all messages: give ca, cert and key, or insecure=True on a network that is trusted"
            )
    return Cluster(
        path=NO_FILE,
        data_dir=Path(),
        pepper_file=Path(),
        heartbeat_ms=50,
        election_timeout_ms=(300, 600),
        nodes=nodes,
        tls=None if ca is None else TlsConfig(NO_FILE, Path(ca).absolute()),
    )


def _node(name: str, text: str) -> NodeConfig:
    try:
        address = parse_address(text)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return NodeConfig(name, address, address)
