"""A primary and its standbys as processes: begun, hung, ended, promoted, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from atm.local_cluster import LOOPBACK, free_ports
from atm.local_postgres.folders import USER, Folders, NotStarted, reason
from atm.local_postgres.programs import Programs, find_programs

DATABASE = "postgres"
RUNNER = Path(__file__).with_name("runner.py")
START_S = 60.0
STOP_S = 10.0
SOCKET_PATH_BYTES_MAX = 104  # of macOS, with its end; 108 on Linux
POLL_S = 0.02
QUERY_ENVIRONMENT = {"PGCONNECT_TIMEOUT": "5"}  # seconds: a frozen server answers nothing
SETTINGS = {
    "fsync": "on",
    "hot_standby": "on",
    "listen_addresses": LOOPBACK,
    "max_connections": "400",
    "max_wal_senders": "10",
    "synchronous_commit": "on",
    "wal_keep_size": "256MB",  # what a standby that was away may have missed
}


@dataclass
class _Running:
    runner: subprocess.Popen[bytes]
    pid: int  # of the server's first process, the parent of its others


class LocalPostgres:
    """Starts, stops, kills, freezes and promotes the servers of one cluster; ends only those that it started.

    `quorum` is how many standbys must have a commit on disk before it is acknowledged; by default as many as
    make a majority with the primary. `settings` are of postgresql.conf, and override ours. `folder`: where
    all is, and stays; by default a new one that is removed at the end. `ports`, one for each server, and
    `password` are drawn by default.
    """

    def __init__(
        self,
        standbys: int = 0,
        *,
        quorum: int | None = None,
        settings: Mapping[str, str] | None = None,
        folder: Path | None = None,
        ports: Sequence[int] = (),
        password: str | None = None,
    ) -> None:
        """Raise `NoPostgres`."""
        self.programs: Programs = find_programs()
        self.names = [f"p{number}" for number in range(1, standbys + 2)]
        self.quorum = (standbys + 1) // 2 if quorum is None else quorum
        self.primary = self.names[0]
        assert 0 <= self.quorum <= standbys, self.quorum
        self._settings = {**SETTINGS, **(settings or {})}
        self._ports = dict(zip(self.names, ports or free_ports(len(self.names)), strict=True))
        self._kept, self._password = folder, password
        self._made: Folders | None = None
        self._running: dict[str, _Running] = {}

    def __enter__(self) -> Self:
        try:
            self.start_all()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def uri(self, name: str | None = None) -> str:
        """Return where a driver connects to a server, by default the primary, as a superuser."""
        port = self._ports[name or self.primary]
        return f"postgresql://{USER}:{self._folders.password}@{LOOPBACK}:{port}/{DATABASE}"

    def socket_folder(self, name: str) -> Path:
        """Return the folder of the server's socket, a driver's `host`; its owner and root may enter it."""
        return self._folders.of(name)

    def output(self, name: str) -> str:
        """Return what the server has printed since its data was made."""
        return self._folders.log(name).read_text(encoding="utf-8", errors="replace")

    def running(self) -> list[str]:
        """Return the names of the servers that were started and have not ended."""
        return [name for name, each in self._running.items() if each.runner.poll() is None]

    def processes(self, name: str) -> list[int]:
        """Return the ids of all processes of a running server, its first one first."""
        first = self._running[name].pid
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True)
        pairs = [line.split() for line in listed.stdout.splitlines()]
        return [first, *(int(pid) for pid, parent in pairs if int(parent) == first)]

    def query(self, name: str, sql: str) -> str:
        """Run statements by psql and return the rows, a line each, columns separated by `|`.

        Raise `subprocess.CalledProcessError`; what psql said of it is its `stderr`.
        """
        arguments = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        told = self.programs.run(
            "psql",
            self.uri(name),
            *arguments,
            "--command",
            sql,
            cwd=self._folders.root,
            env=QUERY_ENVIRONMENT,
        )
        return told.strip()

    # -- beginning ---------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Make the data of all servers unless it is there, start them, and wait until all standbys stream.

        Raise `NotStarted`, or `OSError` where the folder cannot be used.
        """
        folders = self._made = Folders(self.programs, self.names, self._kept, self._password)
        folders.primary = self.primary = folders.primary or self.primary
        for name in self.names:
            self._end_left_over(name)
        if not folders.data(self.primary).exists():
            folders.initialize(self.primary)
        standbys = [name for name in self.names if name != self.primary]
        for name in standbys:
            if not folders.data(name).exists():
                folders.copy(self.primary, name)
        was_primary = [name for name in standbys if not folders.is_standby(name)]
        for name in self.names:
            if name not in was_primary:
                self.start(name, wait=False)
        self._wait_until_ready(self.primary)
        for name in was_primary:
            self.rejoin(name)
        for name in standbys:
            self._wait_until_ready(name)
        self._wait_until_streaming(standbys)

    def start(self, name: str, *, wait: bool = True) -> None:
        """Start a server that was stopped or killed, as what it was; raise `NotStarted`."""
        assert name not in self.running(), f"{name} runs already"
        if name in self._running:  # it ended by itself
            self._reap(self._running[name])
            self._end_left_over(name)
        folders, user = self._folders, self.programs.user
        folders.write_settings(name, self._settings_of(name))
        removed = "" if folders.is_kept else folders.of(name)
        command = self.programs.command("postgres", "-D", folders.data(name))
        with folders.log(name).open("ab") as log:
            runner = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", RUNNER),
                    *(("", "") if user is None else (str(user.uid), str(user.gid))),
                    *(removed, *command),
                ],
                cwd=folders.root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert runner.stdout is not None
        self._running[name] = _Running(runner, int(runner.stdout.readline() or 0))
        if wait:
            self._wait_until_ready(name)

    def promote(self, name: str | None = None) -> str:
        """Make a standby the primary, by default the one that has most; return its name. The rest follow it.

        The old primary is left as it is: kill it before, or have two. Raise `NotStarted`.
        """
        standbys = [each for each in self.running() if each != self.primary]
        chosen = name or max(standbys, key=self._received)
        try:
            promoted = self.query(chosen, "select pg_promote()") == "t"
        except subprocess.CalledProcessError as error:
            raise NotStarted(f"{chosen} cannot be promoted: {reason(error.stderr)}") from None
        if not promoted:
            raise NotStarted(f"{chosen} was not promoted: {reason(self.output(chosen))}")
        self._folders.primary = self.primary = chosen
        for each in standbys:
            self._folders.write_settings(each, self._settings_of(each))
            _send(self._running[each].pid, signal.SIGHUP)  # it reads its settings again, a frozen one later
        return chosen

    def rejoin(self, name: str) -> None:
        """Start a server that does not run as a standby, with a new copy of the data; raise `NotStarted`."""
        assert name not in (*self.running(), self.primary), name
        self._folders.copy_running(self.uri(), name)
        self.start(name)
        self._wait_until_streaming([name])

    # -- ending ------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """End a server and all its processes at once, as a power cut does to programs (SIGKILL)."""
        server = self._running[name]
        pids = self._freeze(name)
        for pid in reversed(pids):  # its first process is the last: it would begin others
            _send(pid, signal.SIGKILL)
        self._reap(server)
        self._wait(f"processes of {name} did not end", lambda: not _any_alive(pids))

    def freeze(self, name: str) -> None:
        """Halt all processes of a server (SIGSTOP) until `resume`."""
        self._freeze(name)

    def resume(self, name: str) -> None:
        """Continue a frozen server (SIGCONT)."""
        for pid in self.processes(name):
            _send(pid, signal.SIGCONT)

    def stop(self, name: str) -> None:
        """Shut a server down in order, without waiting for its clients; kill it if it takes too long."""
        self.resume(name)
        _send(self._running[name].pid, signal.SIGINT)
        self._reap_or_kill(name)

    def close(self) -> None:
        """End all servers, and remove their folder unless the caller named it."""
        running = self.running()
        for name in running:
            self.resume(name)
            _send(self._running[name].pid, signal.SIGINT if self._folders.is_kept else signal.SIGQUIT)
        for name in self._running:
            self._reap_or_kill(name)
        if self._made is not None:
            self._made.remove()

    def _freeze(self, name: str) -> list[int]:
        """Halt the first process, which begins the others, and then those; return the ids of all."""
        halted: list[int] = []
        _send(self._running[name].pid, signal.SIGSTOP)
        while new := [pid for pid in self.processes(name) if pid not in halted]:
            for pid in new:
                _send(pid, signal.SIGSTOP)
            halted += new
        return halted

    def _reap_or_kill(self, name: str) -> None:
        server = self._running[name]
        try:
            server.runner.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill(name)
        else:
            self._reap(server)

    def _reap(self, server: _Running) -> None:
        assert server.runner.stdin is not None
        assert server.runner.stdout is not None
        server.runner.wait()
        server.runner.stdin.close()
        server.runner.stdout.close()

    def _end_left_over(self, name: str) -> None:
        """End what is left of a server whose starter, or first process, was killed."""
        first = self._folders.first_process(name)
        if first is not None and str(self._folders.data(name)) in _command(
            first
        ):  # else it is another's id now
            _send(first, signal.SIGQUIT)
            _send(first, signal.SIGCONT)
            self._wait(f"what is left of {name} did not end", lambda: not _any_alive([first]))

    @property
    def _folders(self) -> Folders:
        assert self._made is not None, "the servers were not started"
        return self._made

    def _settings_of(self, name: str) -> dict[str, str]:
        """Return the settings of a server: its own, and whom it follows as long as it is a standby."""
        others = ", ".join(each for each in self.names if each != name)
        upstream = f"{self.uri()}?application_name={name}"
        return {
            **self._settings,
            "port": str(self._ports[name]),
            "unix_socket_directories": self._socket_folder_of(name),
            "synchronous_standby_names": f"ANY {self.quorum} ({others})" if self.quorum else "",
            "primary_conninfo": upstream if name != self.primary else "",
        }

    def _socket_folder_of(self, name: str) -> str:
        """Return the folder of the socket; nothing if its path would be too long for one."""
        path = self.socket_folder(name) / f".s.PGSQL.{self._ports[name]}"
        return str(path.parent) if len(os.fsencode(path)) < SOCKET_PATH_BYTES_MAX else ""

    # -- waiting -----------------------------------------------------------------------------------

    def _received(self, name: str) -> int:
        """Return how far a standby has the primary's log; -1 if it does not answer."""
        has = "greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
        try:
            return int(self.query(name, f"select {has} - '0/0'::pg_lsn"))
        except subprocess.CalledProcessError:
            return -1

    def _wait_until_ready(self, name: str) -> None:
        def ready() -> bool:
            if name not in self.running():
                raise NotStarted(f"{name} ended: {reason(self.output(name))}")
            try:
                return self.query(name, "select 1") == "1"
            except subprocess.CalledProcessError:
                return False

        self._wait(f"{name} does not answer", ready)

    def _wait_until_streaming(self, names: Sequence[str]) -> None:
        """Return once these standbys get the primary's log as it is written, and count towards the quorum."""
        counted = f"state = 'streaming' and sync_state = '{'quorum' if self.quorum else 'async'}'"
        asked = f"select application_name from pg_stat_replication where {counted}"
        self._wait(
            f"not all of {', '.join(names)} stream from {self.primary}",
            lambda: set(names) <= set(self.query(self.primary, asked).splitlines()),
        )

    def _wait(self, otherwise: str, done: Callable[[], bool]) -> None:
        """Return once it is done; raise `NotStarted` if it is not within a generous time."""
        deadline_s = time.monotonic() + START_S
        while not done():
            if time.monotonic() > deadline_s:
                raise NotStarted(f"{otherwise} within {START_S:g} s")
            time.sleep(POLL_S)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _command(pid: int) -> str:
    """Return the command line of a process; nothing if there is none."""
    command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout


def _any_alive(pids: Sequence[int]) -> bool:
    """Tell whether one has not ended; one that is only not waited for yet has."""
    command = ["ps", "-o", "stat=", "-p", ",".join(map(str, pids))]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return any(not state.startswith("Z") for state in listed.stdout.split())
