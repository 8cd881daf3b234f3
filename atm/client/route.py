"""Which server to ask next."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from threading import Lock


class Route:
    """Keeps, for all threads of a client, the server to ask first and the servers that failed.

    Without a chosen server it starts at a random one and follows the leader that answers name. With one it
    stays there until that server does not answer; then it follows the leader too.
    """

    def __init__(self, nodes: Sequence[str], chosen: str | None) -> None:
        assert chosen is None or chosen in nodes
        self._nodes = tuple(nodes)
        self._lock = Lock()  # guards the fields below
        self._current = chosen or random.choice(self._nodes)
        self._follows_leader = chosen is None
        self._failures = 0
        self._last_failure = dict.fromkeys(self._nodes, 0)  # rank of its last failure; 0: it answered since

    @property
    def current(self) -> str:
        """The server to ask first."""
        with self._lock:
            return self._current

    def note_answer(self, node: str, leader: str | None) -> None:
        """Note that `node` answered, and that `leader` decided."""
        with self._lock:
            self._last_failure[node] = 0
            if self._follows_leader:
                self._current = leader if leader in self._last_failure else node

    def note_failure(self, node: str) -> None:
        """Note that `node` gave no answer."""
        with self._lock:
            self._failures += 1
            self._last_failure[node] = self._failures
            if node == self._current:
                self._current = self._untried_node({node})
                self._follows_leader = True

    def next_node(self, tried: Collection[str], hint: str | None) -> str:
        """Return an untried server: the hinted leader, else the one that failed longest ago."""
        with self._lock:
            if hint in self._last_failure and hint not in tried:
                return hint
            return self._untried_node(tried)

    def _untried_node(self, tried: Collection[str]) -> str:
        """Return the untried server that failed longest ago, of all if all were tried; the lock is held."""
        untried = [node for node in self._nodes if node not in tried] or list(self._nodes)
        return min(untried, key=lambda node: (self._last_failure[node], random.random()))
