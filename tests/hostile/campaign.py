"""All targets, and how many of the inputs each gets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.hostile.core import Core
from tests.hostile.ledger_files import LedgerFiles
from tests.hostile.log_files import CutLogFiles, LogFiles
from tests.hostile.ports import ClientsPort, ServersPort
from tests.hostile.target import Target
from tests.hostile.texts import ConfigFiles, TypedLines
from tests.hostile.welcomed_peer import WelcomedPeer

# The shares add up to 100: the ports are the targets that any machine on the network can reach.
TARGETS: dict[str, tuple[Callable[[], Target], int]] = {
    "clients": (ClientsPort, 25),
    "servers": (ServersPort, 17),
    "peer": (WelcomedPeer, 3),
    "core": (Core, 15),
    "log": (LogFiles, 8),
    "cut-log": (CutLogFiles, 7),
    "ledger": (LedgerFiles, 10),
    "config": (ConfigFiles, 8),
    "lines": (TypedLines, 7),
}

assert sum(share for _, share in TARGETS.values()) == 100

# `--tls`: the same from strangers who have a certificate, on encrypted connections; all else is as without.
TLS_TARGETS: dict[str, tuple[Callable[[], Target], int]] = {
    "clients": (partial(ClientsPort, tls=True), 60),
    "servers": (partial(ServersPort, tls=True), 40),
}
