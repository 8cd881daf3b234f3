"""The credentials of a cluster's [tls]. Only with one is `ssl` loaded, which takes longer than a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atm.config import Cluster

if TYPE_CHECKING:
    from atm.tls.credentials import Credentials


def node_credentials(cluster: Cluster, name: str) -> Credentials | None:
    """Return those of a server, None if the cluster has no [tls]; raise `TlsUnusable`."""
    if cluster.tls is None:
        return None
    from atm.tls.credentials import Credentials  # noqa: PLC0415 - see the top

    return Credentials(cluster.tls.of_node(name), node=name)


def client_credentials(cluster: Cluster) -> Credentials | None:
    """Return those of a client, None if the cluster has no [tls]; raise `TlsUnusable`."""
    if cluster.tls is None:
        return None
    from atm.tls.credentials import Credentials  # noqa: PLC0415 - see the top

    return Credentials(cluster.tls.of_client())
