"""What all clients have in common: which cluster, for whom, and how long a request is tried."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Self

from msgspec.structs import replace

from atm.client.addresses import cluster_of
from atm.client.attempt import Retrying
from atm.client.errors import UnknownNode
from atm.client.operations import Operations
from atm.client.request_rules import check_ids_differ, check_kinds, check_request
from atm.client.route import Route
from atm.config import Cluster, NodeConfig
from atm.ledger.commands import Command, Read
from atm.tls.of_cluster import client_credentials


class ClientBase(Operations):
    """The base of `Client` and `AsyncClient`.

    Each request is tried for `timeout` seconds, at one server after another. Once it may have been done,
    it is tried for `patience` seconds in all (default: `timeout`), and `on_unknown` is called once with its
    id. A gateway's `end_user` is whom it acts for, by its own names.
    """

    def __init__(
        self,
        cluster: Cluster | str | os.PathLike[str] | Sequence[str] | Mapping[str, str] | None = None,
        node: str | None = None,
        timeout: float = 5.0,
        *,
        patience: float | None = None,
        on_unknown: Callable[[str], None] | None = None,
        ca: str | os.PathLike[str] | None = None,
        cert: str | os.PathLike[str] | None = None,
        key: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        end_user: str | None = None,
    ) -> None:
        """Raise `ConfigError` for a wrong file, `UnknownNode`, or `ValueError` for a wrong timeout.

        `cluster` is a `cluster.ini`; or a list of addresses as `host:port`, or a dictionary of them by the
        names of the servers; or None: what $ATM_CONFIG names, else `cluster.ini` in this folder, else that
        of the checkout. `cert` and `key` are files that take the place of client_cert and client_key there.
        Addresses are spoken to by TLS with a file of CAs `ca` (and names, `cert` and `key`); without it they
        are on this machine, unless `insecure` allows plain connections to others.
        """
        given = cluster_of(cluster, ca=ca, insecure=insecure)
        self._cluster = given.with_client_certificate(cert, key)
        if node is not None:
            self._node(node)
        self._end_user = end_user
        timeout_s = _checked_seconds(timeout)
        self._credentials = client_credentials(self._cluster)
        self._retrying = Retrying(
            route=Route(self._cluster.nodes, node),
            timeout_s=timeout_s,
            patience_s=max(timeout_s, 0 if patience is None else _checked_seconds(patience)),
            on_unknown=on_unknown,
        )
        self._begin()

    def _node(self, name: str) -> NodeConfig:
        """Return a node of the cluster; raise `UnknownNode`."""
        if name not in self._cluster.nodes:
            names = ", ".join(self._cluster.nodes)
            raise UnknownNode(f"{self._cluster.path} has no node {name}: the nodes are {names}")
        return self._cluster.nodes[name]

    def _begin(self) -> None:
        """Make ready to send requests."""
        raise NotImplementedError

    def on_behalf_of(self, end_user: str) -> Self:
        """Return this client as it acts for another end user; the two share their connections and `close`."""
        other = copy(self)
        other._end_user = end_user
        return other

    def _together(self, requests: Iterable[Command | Read], kinds: frozenset[type]) -> list[Command | Read]:
        """Return requests as they are sent together; raise `InvalidRequest`."""
        given = list(requests)
        check_kinds(given, kinds)
        checked = [self._checked(request) for request in given]
        check_ids_differ(checked)
        return checked

    def _checked(self, request: Command | Read) -> Command | Read:
        """Return the request as it is sent; raise `InvalidRequest` if it is malformed."""
        if request.end_user is None and self._end_user is not None:
            request = replace(request, end_user=self._end_user)
        check_request(request)
        return request


def _checked_seconds(seconds: float) -> float:
    if not 0 < seconds < math.inf:
        raise ValueError(f"A timeout is a number of seconds above 0, not {seconds}")
    return seconds
