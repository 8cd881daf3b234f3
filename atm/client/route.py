"""Which server to ask next."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from threading import Lock


class Route:
    """Remembers, for all threads of a client, which server answers and which ones did not.

    Without a chosen server it starts at a random one and follows the leader: it moves to whatever node
    the answers name. With one it starts there and stays until that one does not answer; from then on it
    follows the leader too.
    """

    def __init__(self, nodes: Sequence[str], chosen: str | None) -> None:
        assert chosen is None or chosen in nodes
        self._nodes = tuple(nodes)
        self._lock = Lock()  # guards the fields below
        self._current = chosen or random.choice(self._nodes)
        self._follows_leader = chosen is None
        self._failures = 0
        self._last_failure = dict.fromkeys(self._nodes, 0)  # by order of failing; 0 when it answered since

    @property
    def current(self) -> str:
        """The server with which the next request starts."""
        with self._lock:
            return self._current

    def answered(self, node: str, leader: str | None) -> None:
        """Note that `node` answered, and that `leader` decided."""
        with self._lock:
            self._last_failure[node] = 0
            if self._follows_leader:
                self._current = leader if leader in self._last_failure else node

    def failed(self, node: str) -> None:
        """Note that `node` gave no answer."""
        with self._lock:
            self._failures += 1
            self._last_failure[node] = self._failures
            if node == self._current:
                self._current = self._other({node})
                self._follows_leader = True

    def other(self, tried: Collection[str], hint: str | None) -> str:
        """Return a server that was not tried: the hinted leader, else the one that failed longest ago."""
        with self._lock:
            if hint in self._last_failure and hint not in tried:
                return hint
            return self._other(tried)

    def _other(self, tried: Collection[str]) -> str:
        """Return any server when all were tried; the lock must be held."""
        untried = [node for node in self._nodes if node not in tried] or list(self._nodes)
        return min(untried, key=lambda node: (self._last_failure[node], random.random()))
