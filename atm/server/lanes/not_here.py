"""What a server of a bank on PostgreSQL says to requests for what is done in the database there."""

from __future__ import annotations

from collections.abc import Callable

from atm.checkout import command_here
from atm.server.clients.deed_notes import DeedNotes
from atm.wire.backup_messages import BackupBegin, BackupRequest
from atm.wire.client_messages import AdminReply, ErrorReply, TakeSnapshot, Verify, VerifyReply
from atm.wire.codec import encode

NO_BACKUPS = "this bank is kept by PostgreSQL: a backup of it is read from the database"
RECORDED = f"it is recorded who takes a backup; {NO_BACKUPS}"
NO_SNAPSHOTS = "this bank is kept by PostgreSQL: there is no log to cut, and no snapshot to take"
NO_CHANGES = (
    "this bank is kept by PostgreSQL: its servers are those of cluster.ini, and there is no member or "
    "leader to change"
)


class NoBackups:
    """Has it recorded that a backup begins, and gives none; in place of a `BackupSource`."""

    def reply(
        self,
        owner: object,
        request: BackupRequest,
        record: Callable[[BackupBegin], ErrorReply | AdminReply | None],
    ) -> bytes:
        """Return the encoded reply: `ok` once it is recorded, else a refusal."""
        if isinstance(request, BackupBegin):
            refusal = record(request)
            return encode(refusal or AdminReply(id=request.id, outcome="ok", message=RECORDED, index=0))
        return encode(ErrorReply(id=request.id, outcome="unavailable", message=NO_BACKUPS))

    def release(self, owner: object) -> None:
        """Do nothing: there is no backup."""


class BackupNotes(DeedNotes):
    """Records backups, and says if it cannot, whoever asks. A snapshot is refused in any case."""

    def refusal(
        self, request: BackupBegin | TakeSnapshot, actor: str, roles: int
    ) -> ErrorReply | AdminReply | None:
        """Record a backup; see `DeedNotes`."""
        return None if isinstance(request, TakeSnapshot) else self.not_recorded(request, actor, roles)


class NoAudits:
    """Refuses every audit; in place of an `Auditor`."""

    def audit(self, request: Verify, actor: str) -> VerifyReply | ErrorReply:
        """Return the refusal."""
        where = f"the books of this bank are in PostgreSQL: {command_here('ledger')} verify reads them there"
        return ErrorReply(id=request.id, outcome="unavailable", message=where)
