"""How many connections a process may have that has so few descriptors."""

from __future__ import annotations

import resource
from dataclasses import dataclass

from atm.server.clients import client_server
from atm.server.peers import peer_server

OTHER_FILES = (
    100  # files and sockets besides the connections of clients, and of strangers at the servers' port
)
CONNECTIONS_MIN = 8  # of each of these two, however few files the system allows


@dataclass(frozen=True)
class Limits:
    """How many connections there may be."""

    clients: int
    strangers: int  # at the servers' port


def connection_limits() -> Limits:
    """Raise the limit of open files as needed and allowed; return how many connections fit."""
    wanted = client_server.CONNECTIONS_MAX + peer_server.PLACES_MAX + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        strangers = max(CONNECTIONS_MIN, min(peer_server.PLACES_MAX, soft // 8))
        return Limits(max(CONNECTIONS_MIN, soft - OTHER_FILES - strangers), strangers)
    return Limits(client_server.CONNECTIONS_MAX, peer_server.PLACES_MAX)
