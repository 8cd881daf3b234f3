"""Changes the pepper of a bank on PostgreSQL: lane 0 says which is current, each lane carries its PINs over.

The writer of a lane does that, in small steps among its customers' commands; the next one begins anew. Until
a lane's writer knows of the newer pepper, PINs are set there for the older one, and its pass comes behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atm.lanes.lane_ledger import LaneLedger
from atm.ledger.commands import OK, Reseal, RotatePepper
from atm.permissions import needed
from atm.server.group import pepper_keeper
from atm.server.group.inbox import PendingRequest
from atm.server.group.pepper_keeper import KnownPeppers, Pass, next_reseal
from atm.wire.client_messages import AdminReply, Reply, decode_client_reply
from atm.wire.codec import encode


class CarryingOver:
    """What one lane's writer does after a change; of the worker's thread."""

    def __init__(self, own: Callable[[], KnownPeppers], clock: Callable[[], float]) -> None:
        """`own` are the peppers in this server's file."""
        self._own, self._clock = own, clock
        self._pass = Pass(0, 0)
        self._not_before_s = 0.0

    def is_under_way(self, ledger: LaneLedger) -> bool:
        """Return whether something is sealed for an older pepper, and this server can carry it over."""
        return ledger.pepper.carried_index is None and self._own().knows(ledger.pepper)

    def is_due(self, ledger: LaneLedger) -> bool:
        """Return whether the next step is to be done now."""
        return self._clock() >= self._not_before_s and self.is_under_way(ledger)

    def next(self, ledger: LaneLedger) -> Reseal | None:
        """Return what is to be decided now, if anything; raise `EngineFault`."""
        if not self.is_due(ledger):
            return None
        self._not_before_s = self._clock() + pepper_keeper.PAUSE_S
        if (self._pass.term, self._pass.generation) != (ledger.epoch, ledger.pepper.generation):
            self._pass = Pass(ledger.epoch, ledger.pepper.generation)
        return next_reseal(self._pass, ledger, self._own())


@dataclass(frozen=True)
class RotationReply:
    """The `ReplyChannel` of a rotation in lane 0; passes on what an administrator is told."""

    pending: PendingRequest
    request: RotatePepper

    def reply(self, number: int, payload: bytes) -> None:
        """Pass it on. Only within an iteration."""
        told = decode_client_reply(payload)
        if isinstance(told, Reply):
            is_done = told.outcome is OK
            done = f"pepper {self.request.pepper} is current: the stored PINs are being carried over"
            payload = encode(
                AdminReply(
                    id=told.id,
                    outcome="ok" if is_done else "not_allowed",
                    message=done if is_done else needed("rotate_pepper"),
                    index=told.log_index if is_done else 0,
                )
            )
        self.pending.channel.reply(self.pending.number, payload)
