"""Which server to ask next, and where it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from typing import TypeGuard

from atm.config import NodeConfig

LEARN_EVERY_S = 60.0  # servers can be replaced one after the other while those that are known still answer
LEARN_AGAIN_S = 1.0  # at the earliest, when there is a reason


class Route:
    """Keeps, for all threads of a client, the servers, the one to ask first, and those that failed.

    Without a chosen server it starts at a random one and follows the leader that answers name. With one it
    stays there until that server does not answer; then it follows the leader too.

    The servers are those that the client was given, and the cluster's members as a server has told them:
    `members_are_due` says when to ask.
    """

    def __init__(
        self,
        nodes: Mapping[str, NodeConfig],
        chosen: str | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert chosen is None or chosen in nodes
        self._given = dict(nodes)
        self._clock = clock
        self._lock = Lock()  # guards the fields below
        self._nodes = self._given
        self._current = chosen or random.choice(list(nodes))
        self._follows_leader = chosen is None
        self._failures = 0
        self._last_failure = dict.fromkeys(nodes, 0)  # rank of its last failure; 0: it answered since
        self._members_index = -1  # the log entry that the members are as of
        self._learned_s = clock()
        self._has_reason_to_learn = False

    @property
    def nodes(self) -> Mapping[str, NodeConfig]:
        """The servers by their names; it is replaced, and never changed."""
        return self._nodes

    @property
    def current(self) -> NodeConfig:
        """The server to ask first."""
        with self._lock:
            return self._nodes[self._current]

    def note_answer(self, node: str, leader: str | None) -> None:
        """Note that `node` answered, and that `leader` decided."""
        with self._lock:
            if node in self._nodes:
                self._last_failure[node] = 0
            if leader is not None and leader not in self._nodes:
                self._has_reason_to_learn = True
            if self._follows_leader:
                if self._is_worth_asking(leader):
                    self._current = leader
                elif node in self._nodes:
                    self._current = node

    def note_failure(self, node: str) -> None:
        """Note that `node` gave no answer."""
        with self._lock:
            self._has_reason_to_learn = True
            if node not in self._nodes:
                return
            self._failures += 1
            self._last_failure[node] = self._failures
            if node == self._current:
                self._current = self._untried_node({node})
                self._follows_leader = True

    def next_node(self, tried: Collection[str], hint: str | None) -> NodeConfig:
        """Return an untried server: the hinted leader, else the one that failed longest ago."""
        with self._lock:
            if self._is_worth_asking(hint) and hint not in tried:
                return self._nodes[hint]
            return self._nodes[self._untried_node(tried)]

    def members_are_due(self) -> bool:
        """Return whether to ask a server for the members now; then it is not due again for a while."""
        now_s = self._clock()
        if now_s < self._learned_s + (LEARN_AGAIN_S if self._has_reason_to_learn else LEARN_EVERY_S):
            return False
        with self._lock:
            self._learned_s, self._has_reason_to_learn = now_s, False
        return True

    def note_members(self, index: int, members: Mapping[str, NodeConfig]) -> None:
        """Take the members as of a log entry, unless newer ones are known.

        A server that was given by its address alone is the member at that address. One that was given at
        another address than the log says (it has moved, or there is a tunnel or a proxy between) is asked
        where it answered; if it did not answer there, at the other one.
        """
        with self._lock:
            if not members or index < self._members_index:
                return
            self._members_index = index
            places = {node.client: name for name, node in members.items()}
            elsewhere = {name: node for name, node in self._given.items() if node.client not in places}
            here = self._nodes[self._current].client
            self._nodes = {**elsewhere, **{name: self._where(node) for name, node in members.items()}}
            self._last_failure = {name: self._last_failure.get(name, 0) for name in self._nodes}
            if self._current not in self._nodes:
                self._current = places.get(here) or self._untried_node(())

    def _where(self, member: NodeConfig) -> NodeConfig:
        """Return a member at the address, of the log or as given, at which it may answer; locked."""
        given = self._given.get(member.name)
        if given is None:
            return member
        known = self._nodes[member.name]
        if not self._last_failure[member.name]:
            return known
        return member if known.client == given.client else given

    def _is_worth_asking(self, leader: str | None) -> TypeGuard[str]:
        """Return whether to ask that leader first; the lock is held.

        Not one that was learned and did not answer: this client may see another network than the servers.
        """
        return leader in self._nodes and (leader in self._given or not self._last_failure[leader])

    def _untried_node(self, tried: Collection[str]) -> str:
        """Return the untried server that failed longest ago, of all if all were tried; the lock is held."""
        untried = [node for node in self._nodes if node not in tried] or list(self._nodes)
        return min(untried, key=lambda node: (self._last_failure[node], random.random()))
