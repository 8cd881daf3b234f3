"""Three machines with PostgreSQL under Patroni, and an etcd on each, set up as deploy/patroni says.

    with PatroniCluster() as database:
        database.new_database()             # its URL, for `[engine]`
        name = database.leader()            # db1, db2 or db3
        database.kill_postgres(name)        # SIGKILL: PostgreSQL alone; Patroni lives
        database.lose(name)                 # all that the machine runs, its etcd too
        database.start(name)                # as after a repair
        database.wait_until_whole()

Settings are those of the file; only addresses, paths, users and passwords are the test's own, and no TLS. Ask
`why_no_patroni()` first, and skip with its line, loudly. All ends with its starter.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from atm.local_cluster import LOOPBACK, free_ports
from atm.local_postgres import find_programs, why_no_postgres
from bench.systems.etcd import find_etcd
from tests.support.machine import below, freeze_all_below, send

ROOT = Path(__file__).parents[2]
DEPLOYED = ROOT / "deploy" / "patroni"
MACHINE = Path(__file__).with_name("machine.py")
NONE = "there is no Patroni with an etcd here: pip install 'atm-raft[patroni]', on Linux"
START_S = 90.0
POLL_S = 0.05
PORTS = ("postgresql", "restapi", "etcd", "etcd_peer")
USERS = ("superuser", "replication", "rewind", "bank")
REST_S = 1.0


def why_no_patroni() -> str | None:
    """Return the line that says what is missing for a cluster under Patroni, or None if nothing is."""
    if importlib.util.find_spec("patroni") is None or find_etcd() is None or sys.platform != "linux":
        return NONE
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "root needs setpriv to run Patroni as another user (on Debian: apt-get install util-linux)"
    return why_no_postgres()


def deployed_settings() -> dict[str, Any]:
    """Return what deploy/patroni/patroni.yml says."""
    import yaml  # noqa: PLC0415  (a requirement of Patroni)

    found: dict[str, Any] = yaml.safe_load((DEPLOYED / "patroni.yml").read_text(encoding="utf-8"))
    return found


class NotReady(Exception):
    """The cluster did not come to a state in time; `str()` of it is one line."""


class PatroniCluster:
    """Starts, kills, freezes and starts again the machines; ends only what it started."""

    names = ("db1", "db2", "db3")

    def __init__(self, *, released: bool = True, dcs: Mapping[str, Any] | None = None) -> None:
        """`dcs`: settings of `bootstrap: dcs` in place of the file's, for measurements.

        `released`: release_lost_primary.py runs on each machine.
        """
        self._programs = find_programs()
        self._folder = Path(tempfile.mkdtemp(prefix="atm-patroni-"))
        self._changed = dict(dcs or {})
        self._parts = ("etcd", "patroni", *(["release"] if released else []))
        ports = iter(free_ports(4 * len(self.names)))
        self._ports = {name: {kind: next(ports) for kind in PORTS} for name in self.names}
        self._passwords = {kind: secrets.token_hex(16) for kind in USERS}
        self._numbers = count()
        self._running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}

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

    def new_database(self) -> str:
        """Return where a bank's servers connect to a new, empty database of the bank's user.

        That is all three machines, of which the primary is taken.
        """
        name = f"bank{next(self._numbers)}"
        self.query(self.leader(), f"create database {name} owner bank")
        ends = ",".join(f"{LOOPBACK}:{self._ports[name]['postgresql']}" for name in self.names)
        return f"postgresql://bank:{self._passwords['bank']}@{ends}/{name}"

    def uri(self, name: str) -> str:
        """Return where a driver connects to one machine's PostgreSQL, as the superuser."""
        password, port = self._passwords["superuser"], self._ports[name]["postgresql"]
        return f"postgresql://postgres:{password}@{LOOPBACK}:{port}/postgres"

    def query(self, name: str, sql: str) -> str:
        """Run statements by psql and return the rows as text; raise `subprocess.CalledProcessError`."""
        arguments = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1")
        told = self._programs.run("psql", self.uri(name), *arguments, "--command", sql, cwd=self._folder)
        return told.strip()

    def output(self, name: str) -> str:
        """Return what a machine's Patroni and PostgreSQL have printed."""
        return self._log(name, "patroni").read_text(encoding="utf-8", errors="replace")

    # -- beginning ---------------------------------------------------------------------------------

    def start_all(self) -> None:
        """Start all machines, make the bank's user, and wait until all stream."""
        self._own(self._folder)
        for name in self.names:
            self._start_etcd(name)
        for name in self.names:
            self.start(name)
        self.wait_until_whole()
        self.query(self.leader(), f"create role bank login password '{self._passwords['bank']}'")

    def start(self, name: str) -> None:
        """Start a machine again, or what of it does not run."""
        begin = {"etcd": self._start_etcd, "patroni": self._start_patroni, "release": self._start_release}
        for part in self._parts:
            if (name, part) not in self._running:
                begin[part](name)

    def _start_etcd(self, name: str) -> None:
        etcd = find_etcd()
        assert etcd is not None
        peers = {each: f"http://{LOOPBACK}:{ports['etcd_peer']}" for each, ports in self._ports.items()}
        client = f"http://{LOOPBACK}:{self._ports[name]['etcd']}"
        arguments = {
            "name": name,
            "data-dir": str(self._folder / f"etcd-{name}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peers[name],
            "initial-advertise-peer-urls": peers[name],
            "initial-cluster": ",".join(f"{each}={url}" for each, url in peers.items()),
            "log-level": "error",
        }
        self._run(name, "etcd", [etcd, *(f"--{key}={value}" for key, value in arguments.items())])

    def _start_patroni(self, name: str) -> None:
        path = self._folder / f"{name}.yml"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(json.dumps(self._settings(name)))  # which is YAML
            self._own(path)
            (self._folder / name).mkdir(mode=0o700)
            self._own(self._folder / name)
        self._run_python(name, "patroni", "-m", "patroni", path)

    def _start_release(self, name: str) -> None:
        self._run_python(name, "release", DEPLOYED / "release_lost_primary.py", self._folder / f"{name}.yml")

    def _settings(self, name: str) -> dict[str, Any]:
        """Return the shipped settings, for this machine."""
        found = deployed_settings()
        ports, folder = self._ports[name], self._folder / name
        found["name"] = name
        found["restapi"] = dict.fromkeys(("listen", "connect_address"), f"{LOOPBACK}:{ports['restapi']}")
        found["etcd3"]["hosts"] = [f"{LOOPBACK}:{each['etcd']}" for each in self._ports.values()]
        found["watchdog"]["mode"] = "off"
        found["bootstrap"]["dcs"].update(self._changed)
        postgresql = found["postgresql"]
        postgresql.update(dict.fromkeys(("listen", "connect_address"), f"{LOOPBACK}:{ports['postgresql']}"))
        postgresql.update(data_dir=str(folder / "data"), bin_dir=str(self._programs.folder))
        postgresql["pgpass"] = str(folder / "pgpass")
        for kind, user in postgresql["authentication"].items():
            user["password"] = self._passwords[kind]
        postgresql["pg_hba"] = [line.replace("hostssl", "host") for line in postgresql["pg_hba"]]
        postgresql["parameters"] = {"unix_socket_directories": str(folder), "max_connections": "200"}
        postgresql["basebackup"] = [{"checkpoint": "fast"}]
        return found

    def _run_python(self, name: str, part: str, *arguments: str | Path) -> None:
        command: list[str | Path] = [sys.executable, "-P", *arguments]
        if (user := self._programs.user) is not None:  # who may not read this Python, if it is root's own
            ids = (f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups")
            reads = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
            command = ["setpriv", *ids, *reads, *command]
        self._run(name, part, command)

    def _run(self, name: str, part: str, command: list[str | Path]) -> None:
        with self._log(name, part).open("ab") as log:
            self._running[name, part] = subprocess.Popen(
                [sys.executable, "-I", "-S", MACHINE, *command],
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )

    def _log(self, name: str, part: str) -> Path:
        return self._folder / f"{name}-{part}.log"

    def _own(self, path: Path) -> None:
        if (user := self._programs.user) is not None:
            os.chown(path, user.uid, user.gid)

    # -- what happens to machines ------------------------------------------------------------------

    def kill_postgres(self, name: str) -> None:
        """End all processes of a machine's PostgreSQL at once (SIGKILL); its Patroni lives."""
        first = self._postmaster(name)
        send([first], signal.SIGSTOP)  # it begins the others
        send([*freeze_all_below(first), first], signal.SIGKILL)

    def lose(self, name: str) -> None:
        """End all that a machine runs at once: its Patroni, its PostgreSQL and its etcd (SIGKILL)."""
        for part in self._parts:
            self._end(name, part)

    def freeze(self, name: str) -> None:
        """Halt all that a machine runs (SIGSTOP): connections stay, and nothing answers."""
        for part in self._parts:
            freeze_all_below(self._running[name, part].pid)

    def resume_postgres(self, name: str) -> None:
        """Continue the PostgreSQL of a frozen machine alone."""
        first = self._postmaster(name)
        send([first, *below(first)], signal.SIGCONT)

    def _postmaster(self, name: str) -> int:
        return int((self._folder / name / "data" / "postmaster.pid").read_text(encoding="ascii").split()[0])

    def resume(self, name: str) -> None:
        """Continue what was frozen of a machine."""
        for part in self._parts:
            if (name, part) in self._running:
                send(below(self._running[name, part].pid), signal.SIGCONT)

    def _end(self, name: str, part: str) -> None:
        machine = self._running.pop((name, part))
        send(freeze_all_below(machine.pid), signal.SIGKILL)
        machine.wait()
        assert machine.stdin is not None
        machine.stdin.close()

    def close(self) -> None:
        """End all machines, and remove their folders."""
        for name, part in list(self._running):
            self._end(name, part)
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- what Patroni says -------------------------------------------------------------------------

    def members(self) -> dict[str, dict[str, Any]]:
        """Return what Patroni knows of each machine, from the first one that answers; empty without one."""
        for name in self.names:
            if (name, "patroni") in self._running:
                with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                    told = self._ask(name, "/cluster")
                    return {each["name"]: each for each in told["members"]}
        return {}

    def _ask(self, name: str, path: str) -> Any:
        connection = http.client.HTTPConnection(LOOPBACK, self._ports[name]["restapi"], timeout=REST_S)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def leader(self) -> str:
        """Return the machine of the primary; raise `NotReady` if there is none in time."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [name for name, each in self.members().items() if each["role"] == "leader"]
            return len(found) == 1

        self._wait("there is no leader", there)
        return found[0]

    def wait_until_whole(self) -> None:
        """Return once there is a primary, the others stream from it, and one is its synchronous standby."""

        def whole() -> bool:
            members = self.members()
            roles = sorted(each["role"] for each in members.values())
            states = {name: each["state"] for name, each in members.items() if each["role"] != "leader"}
            return (
                roles == ["leader", "replica", "sync_standby"]
                and set(states.values()) == {"streaming"}
                and members.keys() == set(self.names)
            )

        self._wait("not all machines are a primary and its standbys", whole)

    def _wait(self, otherwise: str, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + START_S
        while not done():
            if time.monotonic() > deadline_s:
                raise NotReady(f"{otherwise} within {START_S:g} s: {self.members()}")
            time.sleep(POLL_S)
