"""A terminal with the teller in it."""

from __future__ import annotations

import os
import pty
import select
import signal
from collections.abc import Mapping, Sequence

import pytest

from tests.support.fake_cluster import FakeCluster
from tests.support.running import ROOT, teller_command, wait_until


class Terminal:
    """The teller in a terminal of its own."""

    def __init__(
        self,
        cluster: FakeCluster,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        shell: Sequence[str] = (),
    ) -> None:
        """With `shell`, that is started in place of the teller."""
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:  # pragma: no cover
            os.chdir(ROOT)
            os.environ |= {"TERM": "xterm"} | dict(environment or {})
            command = [*shell] or [*teller_command(cluster), *arguments]
            os.execvp(command[0], command)
        self.seen = ""  # and not waited for yet
        self.everything = ""

    def wait_for(self, text: str) -> None:
        """Read on until `text` has come since the last wait."""
        try:
            wait_until(lambda: text in self._read())
        except AssertionError:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            pytest.fail(f"{text!r} did not come, but {self.seen!r}")
        self.seen = self.seen[self.seen.index(text) + len(text) :]

    def type(self, text: str) -> None:
        unsent = text.encode()
        while unsent:
            unsent = unsent[os.write(self._descriptor, unsent[:1000]) :]
            self._read()  # the other side may wait for us to take what it says

    def end(self) -> int:
        """Wait for the teller's end; return its exit code."""
        wait_until(self._has_ended)
        os.close(self._descriptor)
        return self._code

    def _has_ended(self) -> bool:
        self._read()
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        self._code = os.waitstatus_to_exitcode(status)
        return pid == self.pid

    def _read(self) -> str:
        while select.select([self._descriptor], [], [], 0)[0]:
            try:
                piece = os.read(self._descriptor, 65536).decode()
            except OSError:  # Linux's way to say that the other side has closed
                break
            self.seen += piece
            self.everything += piece
        return self.seen
