"""The folders of a cluster's servers: their data, settings and logs, the password, and who is the primary."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from atm.lanes.faults import NoEngine
from atm.local_postgres.programs import Programs

USER = "atm"  # the superuser that a new cluster has
INCLUDED = "atm.conf"  # our settings, written anew by each start
STANDBY = "standby.signal"  # makes a server start as a standby; a promotion removes it
LINE_CHARS_MAX = 300


class NotStarted(NoEngine):
    """A server did not come up, or did not do as it was told; `str()` of it is one line that says which."""


class Folders:
    """A folder with one for each server in it, all of them the servers' user's.

    `kept`: a folder of the caller's, in which all stays; without one, a new one is made and can be removed.
    """

    def __init__(
        self, programs: Programs, names: Sequence[str], kept: Path | None, password: str | None = None
    ) -> None:
        """Make what is not there yet; raise `OSError`. Without a `password`, one is drawn and kept."""
        self._programs = programs
        self.is_kept = kept is not None
        if kept is None:
            self.root = Path(tempfile.mkdtemp(prefix="atm-postgresql-"))
            self._own(self.root)
        else:
            self.root = kept.absolute()
            self._make(self.root)
        for name in names:
            self._make(self.of(name))
        self._primary = self.root / "primary"
        self._password = self.root / "password"
        if password is not None or not self._password.exists():
            self._password.touch(mode=0o600)
            self._password.write_text(password or secrets.token_hex(16), encoding="ascii")
            self._own(self._password)
        self.password = self._password.read_text(encoding="ascii")

    @property
    def primary(self) -> str:
        """The primary's name; empty before there was one."""
        return self._primary.read_text(encoding="ascii") if self._primary.exists() else ""

    @primary.setter
    def primary(self, name: str) -> None:
        self._primary.write_text(name, encoding="ascii")

    def of(self, name: str) -> Path:
        """Return the folder of a server, in which its socket is too."""
        return self.root / name

    def data(self, name: str) -> Path:
        """Return the folder of a server's data, which is there once it was made."""
        return self.of(name) / "data"

    def log(self, name: str) -> Path:
        """Return the file of what a server prints."""
        return self.of(name) / "log"

    def first_process(self, name: str) -> int | None:
        """Return the id that a server's first process had; None if it ended in order."""
        try:
            return int((self.data(name) / "postmaster.pid").read_text(encoding="utf-8").split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    def is_standby(self, name: str) -> bool:
        """Tell whether the server will start as a standby."""
        return (self.data(name) / STANDBY).exists()

    def initialize(self, name: str) -> None:
        """Make the data of a new cluster; raise `NotStarted`."""
        arguments = ("-U", USER, "--auth=scram-sha-256", f"--pwfile={self._password}", "--no-sync")
        text = ("--encoding=UTF8", "--locale=C")
        unfinished = self._unfinished(name)
        try:
            self._programs.run("initdb", "-D", unfinished, *arguments, *text, cwd=self.root)
        except subprocess.CalledProcessError as error:
            raise NotStarted(f"{name} has no data: {reason(error.stderr)}") from None
        with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(f"include = '{INCLUDED}'\n")
        self._finish(name)

    def copy(self, primary: str, name: str) -> None:
        """Make the data of a standby as a copy of a primary's that was never started."""
        unfinished = self._unfinished(name)
        shutil.copytree(self.data(primary), unfinished)
        (unfinished / STANDBY).touch()
        self._own_all(unfinished)
        self._finish(name)

    def copy_running(self, uri: str, name: str) -> None:
        """Replace the data of a server by a copy of a running one's, as its standby; raise `NotStarted`."""
        unfinished = self._unfinished(name)
        arguments = ("--dbname", uri, "--pgdata", unfinished, "--checkpoint=fast", "--no-sync")
        try:
            self._programs.run("pg_basebackup", *arguments, cwd=self.root)
        except subprocess.CalledProcessError as error:
            raise NotStarted(f"{name} got no copy of the primary: {reason(error.stderr)}") from None
        (unfinished / STANDBY).touch()
        self._own(unfinished / STANDBY)
        shutil.rmtree(self.data(name))
        self._finish(name)

    def write_settings(self, name: str, settings: Mapping[str, str]) -> None:
        """Write what a server reads at its start, and at a SIGHUP, after its own postgresql.conf."""
        path = self.data(name) / INCLUDED
        path.touch(mode=0o600)  # the primary's password is in it
        path.write_text("".join(f"{key} = '{value}'\n" for key, value in settings.items()), encoding="utf-8")
        self._own(path)

    def remove(self) -> None:
        """Remove all, unless it is the caller's."""
        if not self.is_kept:
            shutil.rmtree(self.root, ignore_errors=True)

    def _unfinished(self, name: str) -> Path:
        """Return where to make a server's data: what a killed starter left there is removed."""
        unfinished = self.of(name) / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        return unfinished

    def _finish(self, name: str) -> None:
        """Give data that is whole its name; it is on disk before, if it stays."""
        unfinished = self.of(name) / "data.new"
        if self.is_kept:
            self._programs.run("initdb", "--sync-only", "-D", unfinished, cwd=self.root)
        unfinished.rename(self.data(name))

    def _make(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
            self._own(folder)

    def _own(self, path: Path) -> None:
        """Give what we have made to the servers' user."""
        if (user := self._programs.user) is not None:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)

    def _own_all(self, folder: Path) -> None:
        for path, _, files in os.walk(folder):
            self._own(Path(path))
            for file in files:
                self._own(Path(path, file))


def reason(printed: str) -> str:
    """Return the line that says why, of what a program printed: its last error, else its last line."""
    lines = printed.strip().splitlines() or ["it says nothing"]
    errors = [line for line in lines if re.search(r"\b(ERROR|FATAL|error):", line)]
    return (errors or lines)[-1][:LINE_CHARS_MAX]
