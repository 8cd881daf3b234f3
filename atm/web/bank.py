"""The bank as the web server reaches it: who it is there, and a bounded number of requests at once."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from atm.client import AsyncClient, ClusterStatus, EventCursor, NodeEvents, Receipt
from atm.client.cluster_health import Health, judge
from atm.client.node_events import events_of
from atm.config import NodeConfig, load, parse_address
from atm.identity import LOCAL_IDENTITY, Identity, Role
from atm.ledger.commands import Command, Read
from atm.permissions import PERMITTED, may
from atm.tls.of_cluster import client_credentials

TIMEOUT_S = 5.0
PATIENCE_S = 8.0  # for what may have been done
UNDER_WAY_MAX = 48  # below the client's own limit, so that no request waits there without a deadline
EVENTS_WITHIN_S = 2.0
ALL_EVENTS_WITHIN_S = 10.0  # some thousand, of a server that has much else to do
STATUS_AGE_S = 0.5  # all who ask within it are told the same
SOMEBODY = "web"  # for whom a gateway acts if nobody says


class Busy(Exception):
    """So many requests are under way that this one was not sent."""


class Bank:
    """A cluster, as one identity; for the tasks of one event loop. `close` it at the end."""

    def __init__(
        self, config: str | Path, *, cert: Path | None = None, key: Path | None = None, user_header: str = ""
    ) -> None:
        """Raise `ConfigError`. `user_header` is the header that says for which end user a request is."""
        cluster = load(config).with_client_certificate(cert, key)
        credentials = client_credentials(cluster)
        self.identity: Identity = LOCAL_IDENTITY if credentials is None else credentials.loaded.identity
        self.is_plain = credentials is None
        self.user_header = user_header
        self.nodes = cluster.nodes  # and the members that it does not name, once a status has told them
        self._credentials = credentials
        self._client = AsyncClient(config, timeout=TIMEOUT_S, patience=PATIENCE_S, cert=cert, key=key)
        # Of its own, so that what hangs there takes no place of a customer's request.
        self.feed = AsyncClient(config, timeout=TIMEOUT_S, cert=cert, key=key)
        self._under_way = 0
        self._status: asyncio.Task[ClusterStatus] | None = None
        self._status_at_s = 0.0

    @property
    def for_end_users(self) -> bool:
        """Whether each request names whom it is for."""
        return bool(self.user_header) or self.identity.roles == {Role.GATEWAY}

    def permitted(self) -> list[str]:
        """Return each `op` that the certificate's roles allow; the bank may have revoked some."""
        return [op for op in PERMITTED if may(self.identity.roles, op, for_end_user=self.for_end_users)]

    async def ask(self, request: Command | Read, end_user: str | None = None) -> Receipt:
        """Return the bank's answer; raise a `ClientError` within 8 seconds, `InvalidRequest`, or `Busy`."""
        if self._under_way >= UNDER_WAY_MAX:
            raise Busy
        if end_user is None and self.for_end_users:
            end_user = SOMEBODY
        client = self._client if end_user is None else self._client.on_behalf_of(end_user)
        self._under_way += 1
        try:
            return await client.ask(request)
        finally:
            self._under_way -= 1

    async def status(self) -> ClusterStatus:
        """Return the status of all nodes, at most half a second old; raise `Unavailable` or `NotAllowed`."""
        if self._status is None or (self._status.done() and self._is_old()):
            self._status = asyncio.create_task(self.feed.cluster_status())
            self._status.add_done_callback(self._note_status)
        return await asyncio.shield(self._status)

    def judge(self, status: ClusterStatus) -> Health:
        """Return the verdict on a status; the certificate of this web server counts, too."""
        return judge(status, self._credentials)

    async def node_events(self, node: str, after: EventCursor | None = None) -> NodeEvents:
        """Return what has happened in a node of `nodes`, behind a cursor; raise a `ClientError`."""
        answer_s = EVENTS_WITHIN_S if after is not None else ALL_EVENTS_WITHIN_S
        return await asyncio.to_thread(
            events_of, self.nodes[node], after, answer_s=answer_s, credentials=self._credentials
        )

    def _is_old(self) -> bool:
        return time.monotonic() - self._status_at_s > STATUS_AGE_S

    def _note_status(self, task: asyncio.Task[ClusterStatus]) -> None:
        self._status_at_s = time.monotonic()
        if not task.cancelled() and task.exception() is None:  # else, whoever asked was told it
            addresses = {node.node: node.address for node in task.result().nodes}
            places = {name: parse_address(address) for name, address in addresses.items() if address}
            self.nodes = {name: NodeConfig(name, place, place) for name, place in places.items()}

    def close(self) -> None:
        """Close all connections; what is under way ends at once."""
        for client in (self._client, self.feed):
            client.end()
