"""A node's audit of its own ledger, in a process of its own, so that the run loop is not slowed down."""

from __future__ import annotations

import subprocess
from pathlib import Path
from threading import Timer

from msgspec import DecodeError
from msgspec.json import Decoder

from atm.ledger.audit.findings import Findings
from atm.server.group.one_process import Busy, OneProcess, Stopping
from atm.wire.client_messages import ErrorReply, Verify, VerifyReply

AUDIT_S_MAX = 900.0  # while one runs, SQLite cannot checkpoint, so the write-ahead log grows
PROGRAM = ("-P", "-m", "atm.ledger.audit")

_findings: Decoder[Findings] = Decoder(Findings)


class Auditor(OneProcess):
    """Any thread may call `audit`, and blocks until it is done."""

    def __init__(self, node: str, ledger: Path, *, seconds_max: float = AUDIT_S_MAX) -> None:
        super().__init__()
        self._node = node
        self._ledger = ledger
        self._seconds_max = seconds_max

    def audit(self, request: Verify) -> VerifyReply | ErrorReply:
        """Audit the ledger; return the findings, or why there are none."""
        at = [f"--at={index}" for index in request.at]
        try:
            with self._process(*PROGRAM, str(self._ledger), "--json", "--behind", *at) as process:
                output = self._output(process)
        except Stopping:
            return ErrorReply(id=request.id, outcome="unavailable", message="the node is stopping")
        except Busy:
            message = "an audit is already running on this node: try again when it has ended"
            return ErrorReply(id=request.id, outcome="busy", message=message)
        try:
            findings = _findings.decode(output)
        except DecodeError:
            message = f"the audit ended without a result, or took longer than {self._seconds_max:g} s"
            return ErrorReply(id=request.id, outcome="unavailable", message=message)
        return VerifyReply(id=request.id, node=self._node, findings=findings)

    def _output(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        limit = Timer(self._seconds_max, process.kill)
        limit.daemon = True
        limit.start()
        try:
            output = process.stdout.read()
            process.wait()
            return output
        finally:
            limit.cancel()
