"""Lets Patroni replace a primary whose machine is lost without waiting for the end of its lease (20 s).

    python release_lost_primary.py /etc/patroni/patroni.yml

Runs beside each Patroni, with its file and in its Python environment. It acts on the machine of the
synchronous standby alone: no other can be promoted, and without that one the primary acknowledges nothing.
When the primary's Patroni has not answered for `SILENT_S` and this standby gets no log from the primary any
more, it removes the primary's name from the store that Patroni uses (etcd, Consul). All else Patroni does as
ever, and it asks the old primary once more first. Only with `synchronous_mode_strict: true`.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import urllib3
from patroni.config import Config
from patroni.dcs import Cluster, Leader, Member, get_dcs
from patroni.request import PatroniRequest

SILENT_S = 5.0
ASK_EVERY_S = 1.0
ANSWER_TIMEOUT_S = 1.0
STORE_TIMEOUT_S = 3  # so that one member of the store that is lost too takes a second

logger = logging.getLogger("release_lost_primary")


class Watch:
    """Looks once a second; `look` raises what the store or the network raises."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = {**config, "patronictl": True, "retry_timeout": STORE_TIMEOUT_S}
        self._name: str = config["name"]
        self._store = get_dcs(self._config)
        self._request = PatroniRequest(config)
        self._silent_since: tuple[str, float] | None = None  # the primary's name, and the time

    def look(self) -> None:
        """Ask the primary's Patroni, and release its name if it has been silent for too long."""
        cluster = self._store.get_cluster()
        leader = cluster.leader
        if leader is None or not cluster.sync.matches(self._name) or self._answers(leader.member):
            self._silent_since = None
            return
        name, now_s = leader.name, time.monotonic()
        if self._silent_since is None or self._silent_since[0] != name:
            self._silent_since = name, now_s
        elif now_s - self._silent_since[1] >= SILENT_S and not self._streams(cluster):
            self._silent_since = None
            self._release(leader)

    def _answers(self, member: Member) -> bool:
        try:
            return bool(self._ask(member, "liveness").status == 200)
        except urllib3.exceptions.HTTPError:
            return False

    def _streams(self, cluster: Cluster) -> bool:
        """Return whether this machine's PostgreSQL gets the primary's log."""
        own = cluster.get_member(self._name, fallback_to_leader=False)
        return own is not None and self._ask(own, "patroni").json().get("replication_state") == "streaming"

    def _ask(self, member: Member, path: str) -> Any:
        return self._request(member, "GET", path, timeout=ANSWER_TIMEOUT_S, retries=False)

    def _release(self, leader: Leader) -> None:
        """Remove the primary's name if it is still there: in its name, as Patroni's stores want it."""
        logger.warning("%s has been silent for %g s: another may become the primary", leader.name, SILENT_S)
        get_dcs({**self._config, "name": leader.name}).delete_leader(leader)


def main() -> None:
    """Watch until this process is ended."""
    logging.basicConfig(format="%(asctime)s %(levelname)s: %(message)s", level=logging.INFO)
    watch = Watch(Config(sys.argv[1]).copy())
    while True:
        try:
            watch.look()
        except Exception as error:  # whatever store it is: go on as soon as it answers again
            logger.warning("cannot look: %s", error)
        time.sleep(ASK_EVERY_S)


if __name__ == "__main__":
    main()
