"""A node's audits of its own ledger, in a process of its own, so that the run loop is not slowed down."""

from __future__ import annotations

import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Condition, Timer

from msgspec import DecodeError
from msgspec.json import Decoder
from msgspec.structs import replace

from atm.ledger.audit.findings import Findings
from atm.server.group.one_process import OneProcess, Stopping
from atm.wire.client_messages import ErrorReply, Verify, VerifyReply

AUDIT_S_MAX = 900.0  # while one runs, SQLite cannot checkpoint, so the write-ahead log grows
PROGRAM = ("-P", "-m", "atm.ledger.audit")
SHARED_INDEXES_MAX = 4096  # of all who share an audit
# A caller's audits take at most a quarter of the time, but for the first 20 s of them, and no pause is longer
# than a minute.
PAUSE = 3.0  # after an audit, in its own length
UNPAUSED_S, PAUSE_S_MAX = 60.0, 60.0

_findings: Decoder[Findings] = Decoder(Findings)


class _Round:
    """One audit, for all who asked before it began."""

    def __init__(self) -> None:
        self.at: set[int] = set()
        self.actors: set[str] = set()
        self.result: Findings | str | None = None  # why there is none; None: it has not ended


class Auditor(OneProcess):
    """Audits one after the other; whoever asks while one runs shares the next with all others who wait.

    Not the running one: its findings may be older than what the caller has seen. Any thread may call `audit`,
    and blocks until it is done.
    """

    def __init__(
        self,
        node: str,
        ledger: Path,
        *,
        seconds_max: float = AUDIT_S_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._node = node
        self._ledger = ledger
        self._seconds_max = seconds_max
        self._clock = clock
        self._changed = Condition()  # guards what follows; never held while an audit runs
        self._waiting: deque[_Round] = deque()
        self._is_busy = False
        self._paused_until_s: dict[str, float] = {}  # by actor; less `UNPAUSED_S`

    def audit(self, request: Verify, actor: str) -> VerifyReply | ErrorReply:
        """Audit the ledger; return the findings, or why there are none."""
        with self._changed:
            mine = self._join(set(request.at), actor)
            while mine.result is None and not self._may_begin(mine):
                self._changed.wait(self._pause_s(mine))
            if mine.result is None:
                self._waiting.popleft()
                self._is_busy = True
        if mine.result is None:
            self._run(mine)
        if isinstance(mine.result, Findings):
            chain = [(index, hash_) for index, hash_ in mine.result.chain if index in request.at]
            findings = replace(mine.result, chain=tuple(chain))
            return VerifyReply(id=request.id, node=self._node, findings=findings)
        return ErrorReply(id=request.id, outcome="unavailable", message=mine.result or "")

    def close(self) -> None:
        """Kill the running process, and start no other: all who wait get an answer."""
        super().close()
        with self._changed:
            self._changed.notify_all()

    # -- the lock `_changed` is held ---------------------------------------------------------------------

    def _join(self, at: set[int], actor: str) -> _Round:
        """Return the audit that is to come next and still has room."""
        if not self._waiting or len(self._waiting[-1].at | at) > SHARED_INDEXES_MAX:
            self._waiting.append(_Round())
        joined = self._waiting[-1]
        joined.at |= at
        joined.actors.add(actor)
        return joined

    def _may_begin(self, mine: _Round) -> bool:
        if self._is_busy or mine is not self._waiting[0]:
            return False
        return self._closed or self._pause_s(mine) == 0

    def _pause_s(self, mine: _Round) -> float | None:
        """Return how long this audit has to wait even if no other runs; None: until something changes."""
        if self._is_busy or mine is not self._waiting[0]:
            return None
        now_s = self._clock()
        pauses_s = (self._paused_until_s.get(actor, 0.0) - UNPAUSED_S - now_s for actor in mine.actors)
        return max(0.0, min(pauses_s))

    # -- one thread at a time ----------------------------------------------------------------------------

    def _run(self, mine: _Round) -> None:
        """Audit, and give the result to all who share it."""
        began_s = self._clock()
        result: Findings | str = "the audit ended by an error of the node"
        try:
            result = self._result(sorted(mine.at))
        finally:
            now_s = self._clock()
            with self._changed:
                pauses_s = {actor: until for actor, until in self._paused_until_s.items() if until > now_s}
                for actor in mine.actors:
                    until_s = max(now_s, pauses_s.get(actor, now_s)) + PAUSE * (now_s - began_s)
                    pauses_s[actor] = min(until_s, now_s + UNPAUSED_S + PAUSE_S_MAX)
                self._paused_until_s = pauses_s
                mine.result = result
                self._is_busy = False
                self._changed.notify_all()

    def _result(self, at: Sequence[int]) -> Findings | str:
        """Return the findings, or why there are none."""
        arguments = [f"--at={index}" for index in at]
        try:
            with self._process(*PROGRAM, str(self._ledger), "--json", "--behind", *arguments) as process:
                output = self._output(process)
        except Stopping:
            return "the node is stopping"
        try:
            return _findings.decode(output)
        except DecodeError:
            return f"the audit ended without a result, or took longer than {self._seconds_max:g} s"

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
