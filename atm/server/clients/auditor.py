"""A node's audit of its own ledger, in a process of its own, so that the run loop is not slowed down."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Lock, Timer

from msgspec import DecodeError
from msgspec.json import Decoder

from atm.ledger.audit.findings import Findings
from atm.wire.client_messages import ErrorReply, Verify, VerifyReply

AUDIT_S_MAX = 900.0  # while one runs, SQLite cannot checkpoint, so the write-ahead log grows

_findings: Decoder[Findings] = Decoder(Findings)


class Auditor:
    """Runs one audit at a time. Any thread may call `audit`, and blocks until it is done."""

    def __init__(self, node: str, ledger: Path, *, seconds_max: float = AUDIT_S_MAX) -> None:
        self._node = node
        self._ledger = ledger
        self._seconds_max = seconds_max
        self._lock = Lock()  # guards _running and _closed; never held while an audit runs
        self._running: subprocess.Popen[bytes] | None = None
        self._closed = False

    def audit(self, request: Verify) -> VerifyReply | ErrorReply:
        """Audit the ledger; return the findings, or why there are none."""
        with self._lock:
            if self._closed:
                return ErrorReply(id=request.id, outcome="unavailable", message="the node is stopping")
            if self._running is not None:
                message = "an audit is already running on this node: try again when it has ended"
                return ErrorReply(id=request.id, outcome="busy", message=message)
            self._running = process = self._start(request)
        try:
            output = self._output(process)
        finally:
            with self._lock:
                self._running = None
        try:
            findings = _findings.decode(output)
        except DecodeError:
            message = f"the audit ended without a result, or took longer than {self._seconds_max:g} s"
            return ErrorReply(id=request.id, outcome="unavailable", message=message)
        return VerifyReply(id=request.id, node=self._node, findings=findings)

    def interrupt(self) -> None:
        """Kill the running audit: the ledger's file is about to be replaced."""
        with self._lock:
            if self._running is not None:
                self._running.kill()

    def close(self) -> None:
        """Kill the running audit, and start no other."""
        with self._lock:
            self._closed = True
        self.interrupt()

    def _start(self, request: Verify) -> subprocess.Popen[bytes]:
        """Start a process that ends when its standard input does, so even kill -9 of the node ends it."""
        at = [f"--at={index}" for index in request.at]
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "atm.ledger.audit", str(self._ledger), "--json", "--behind", *at],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # the terminal's Ctrl-C is for the node
        )

    def _output(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        limit = Timer(self._seconds_max, process.kill)
        limit.daemon = True
        limit.start()
        try:
            with process:
                return process.stdout.read()
        finally:
            limit.cancel()
