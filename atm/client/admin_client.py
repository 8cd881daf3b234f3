"""Requests of an administrator: to any node that answers, which forwards them to the leader."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Mapping
from contextlib import closing

from atm.client.connection import Lost, NotSent, NotTrusted, ServerConnection
from atm.client.each_node import ask_each, fault_of, told_by
from atm.client.errors import NotAllowed, OutcomeUnknown, Rejected, Unavailable
from atm.client.node_status import ClusterStatus, ask_all
from atm.client.receipt import new_request_id
from atm.config import Address, Cluster, NodeConfig, parse_address
from atm.tls.of_cluster import client_credentials
from atm.wire.client_messages import (
    AdminChange,
    AdminReply,
    ClientReply,
    ErrorReply,
    Members,
    MembersReply,
    TakeSnapshot,
)
from atm.wire.codec import encode

CONNECT_S = 0.5
ANSWER_S = 5.0  # the leader answers once the change is committed, or after some seconds that it is not known
PAUSE_S = (0.05, 0.1)


class AdminClient:
    """Asks for changes of the cluster; for one thread.

    Every request is tried at one node after another for `timeout_s`. None of them moves money, and asking for
    what is so already changes nothing: after an `OutcomeUnknown`, look at the members and ask again.
    """

    def __init__(self, cluster: Cluster, timeout_s: float, *, status_s: float | None = None) -> None:
        """Raise `ConfigError` if the certificate of [tls] cannot be used."""
        self.cluster = cluster
        self.credentials = client_credentials(cluster)
        self._distrust: dict[str, NotTrusted] = {}  # what nodes could not be trusted in the last request
        self._timeout_s = timeout_s
        self._status_s = status_s  # likewise for a status; None: a second
        self._nodes: dict[str, NodeConfig] = dict(cluster.nodes)
        self._index = 0  # of the newest entry that this client knows to be committed
        self._answered: set[str] = set()  # the nodes that answered last time: they are asked first

    def status(self) -> ClusterStatus:
        """Return the status of all nodes, within 2 seconds by default."""
        status = ask_all(self.cluster, self._status_s, self.credentials)
        for row in status.members:
            self._learn(row.node, row.client)
        return status

    def members(self) -> MembersReply:
        """Return the members of the newest list that a node has; raise `Unavailable` or `Rejected`.

        It is never older than a change that was acknowledged to this client, or a list that it got before.
        """
        until = time.monotonic() + self._timeout_s
        self._distrust.clear()
        while True:
            answers = ask_each(
                self._nodes.values(),
                Members(id=new_request_id()),
                min(1.0, self._timeout_s),
                self.credentials,
                self._distrust,
            )
            found = [
                answer
                for answer in answers.values()
                if isinstance(answer, MembersReply) and answer.index >= self._index
            ]
            self._answered = {name for name, answer in answers.items() if answer is not None}
            if found:
                newest = max(found, key=lambda answer: answer.index)
                self._index = newest.index
                for row in newest.members:
                    self._learn(row.node, row.client)
                return newest
            _raise_if_refused_by_all(answers)
            if time.monotonic() > until:
                raise self._fault(answers)
            time.sleep(random.uniform(*PAUSE_S))

    def change(self, request: AdminChange) -> AdminReply:
        """Return what became of it; raise `Unavailable`, `Rejected` or `OutcomeUnknown`."""
        started = time.monotonic()
        order = sorted(self._nodes, key=lambda name: (name not in self._answered, random.random()))
        answers: dict[str, ClientReply | None] = {}
        while True:
            name = order.pop(0)
            order.append(name)
            answer = answers[name] = self._ask(name, request)
            if isinstance(answer, AdminReply):
                self._index = max(self._index, answer.index)
                return answer
            if isinstance(answer, ErrorReply) and answer.leader in order and answer.leader != name:  # next
                order.insert(0, order.pop(order.index(answer.leader)))
            if len(answers) == len(self._nodes):
                _raise_if_refused_by_all(answers)
            if time.monotonic() > started + self._timeout_s:
                raise self._fault(answers)
            if len(answers) >= len(self._nodes):
                time.sleep(random.uniform(*PAUSE_S))

    def take_snapshot(self, node: str, answer_s: float) -> AdminReply:
        """Let this node take a snapshot and cut its log; raise as `change`."""
        request = TakeSnapshot(id=new_request_id())
        answer = self._ask(node, request, answer_s)
        if isinstance(answer, AdminReply):
            return answer
        if isinstance(answer, ErrorReply) and answer.outcome == "unavailable":
            raise Unavailable(answer.message)
        _raise_if_refused_by_all({node: answer})
        raise self._fault({node: answer})

    def _ask(
        self, name: str, request: AdminChange | TakeSnapshot, answer_s: float = ANSWER_S
    ) -> ClientReply | None:
        """Ask one node; return None if it certainly did not get the request. Raise `OutcomeUnknown`."""
        now = time.monotonic()
        self._distrust.pop(name, None)
        try:
            connection = ServerConnection(
                self._nodes[name].client.pair, now + CONNECT_S, credentials=self.credentials, node=name
            )
            with closing(connection):
                answer = connection.exchange(encode(request), request.id, now + answer_s)
        except NotTrusted as error:
            self._distrust[name] = error
            return None
        except NotSent:
            return None
        except Lost:
            raise OutcomeUnknown(request.id) from None
        if isinstance(answer, ErrorReply) and answer.outcome == "unknown":
            raise OutcomeUnknown(request.id)
        return answer

    def _fault(self, answers: Mapping[str, ClientReply | None]) -> NotAllowed | Unavailable:
        """Return what to raise if no node took the request: in the words of one that said why, if any did."""
        told = next(filter(None, map(told_by, answers.values())), "")
        return Unavailable(told) if told else fault_of(self._distrust)

    def _learn(self, name: str, client: str) -> None:
        """Note the address that the log has for a member, in place of that in cluster.ini."""
        with contextlib.suppress(ValueError):
            address: Address = parse_address(client)
            self._nodes[name] = NodeConfig(name, address, address)


def _raise_if_refused_by_all(answers: Mapping[str, ClientReply | None]) -> None:
    """Raise `Rejected` if no node that answers understands the request: all are of an older release."""
    given = [answer for answer in answers.values() if answer is not None]
    if given and all(isinstance(answer, ErrorReply) and answer.outcome == "bad_request" for answer in given):
        raise Rejected("its servers are of a release before 1.2; upgrade all of them (docs/upgrade.md)")
