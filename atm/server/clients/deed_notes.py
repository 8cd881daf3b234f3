"""Has what an administrator asks of this server alone recorded in the log before the server does it.

A change of the members, and handing leadership over, are recorded by the leader that does them. A snapshot
and a backup are taken by any server, which asks the leader, as for any command, to log a `NoteDeed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import cast

from atm.ledger.commands import OK, NoteDeed, NotedOp
from atm.permissions import needed
from atm.raft import NodeId
from atm.server.group.inbox import Inbox, Inputs, PendingRequest
from atm.wire.backup_messages import BackupBegin
from atm.wire.client_messages import AdminReply, ErrorReply, Reply, TakeSnapshot, decode_client_reply
from atm.wire.codec import encode

RECORD_S = 5.0  # longer than a forwarded request waits for the leader
POLL_S = 0.005
NOT_RECORDED = "it cannot be recorded who asked for this"


class DeedNotes:
    """Records deeds; any thread may call it, and waits."""

    def __init__(
        self,
        node: NodeId,
        inbox: Inbox,
        feature_level: Callable[[], int],
        applied_index: Callable[[], int],
        record_s: float = RECORD_S,
    ) -> None:
        """`feature_level` returns the cluster's, `applied_index` up to where this server's file is."""
        self._node = node
        self._inbox = inbox
        self._feature_level = feature_level
        self._applied_index = applied_index
        self._record_s = record_s

    def refusal(
        self, request: BackupBegin | TakeSnapshot, actor: str, roles: int
    ) -> ErrorReply | AdminReply | None:
        """Record the request; return None if it may be done now, else the reply that refuses it.

        `roles` are those of the actor's certificate; 0: there is none, and then what cannot be recorded is
        done all the same. Below the feature level that knows deeds nothing is recorded. What is recorded is
        in this server's ledger by then, unless it is far behind: a backup holds the record of itself.
        """
        refusal = self.not_recorded(request, actor, roles)
        return None if isinstance(refusal, ErrorReply) and not roles else refusal

    def not_recorded(
        self, request: BackupBegin | TakeSnapshot, actor: str, roles: int
    ) -> ErrorReply | AdminReply | None:
        """Record the request, as `refusal` does; return the reply that says why it is not, None if it is."""
        if self._feature_level() < NoteDeed.level:
            return None
        reply = self._record(note_of(request, self._node), actor, roles)
        if isinstance(reply, Reply):
            if reply.outcome is OK:
                self._wait_until_applied(reply.log_index)
                return None
            message = needed(str(request.__struct_config__.tag))
            return AdminReply(id=request.id, outcome="not_allowed", message=message, index=0)
        return ErrorReply(
            id=request.id,
            outcome="unavailable",
            message=f"{NOT_RECORDED}: {reply.message}",
            leader=reply.leader,
        )

    def _record(self, note: NoteDeed, actor: str, roles: int) -> Reply | ErrorReply:
        answer, inputs = _Answer(), Inputs()
        inputs.add_request(PendingRequest(answer, 0, note, encode(note), actor, roles=roles))
        self._inbox.put(inputs)
        if not answer.came.wait(self._record_s):
            return ErrorReply(id=note.id, outcome="unknown", message="no answer came in time")
        reply = decode_client_reply(answer.payload)
        assert isinstance(reply, Reply | ErrorReply), f"a note got {type(reply).__name__}"
        return reply

    def _wait_until_applied(self, log_index: int) -> None:
        deadline_s = time.monotonic() + self._record_s
        while self._applied_index() < log_index and time.monotonic() < deadline_s:
            time.sleep(POLL_S)


def note_of(request: BackupBegin | TakeSnapshot, node: NodeId) -> NoteDeed:
    """Return what the log says of a request to `node`."""
    return NoteDeed(id=request.id, deed=cast(NotedOp, request.__struct_config__.tag), target=node)


class _Answer:
    """The `ReplyChannel` of one note."""

    def __init__(self) -> None:
        self.came = Event()
        self.payload = b""

    def reply(self, number: int, payload: bytes) -> None:
        """Keep the reply. Only within an iteration."""
        self.payload = payload
        self.came.set()
