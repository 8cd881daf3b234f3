"""A bank on PostgreSQL for one machine, `bin/run --engine postgresql`: its folder, and its three servers.

The folder is beside the `data_dir` of a bank on Raft, and has a `cluster.ini` with ports of its own, whose
[engine] names the servers, and their data. All of it stays.
"""

from __future__ import annotations

import secrets
import shlex
import shutil
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock, Thread
from urllib.parse import quote, urlsplit

from atm.config import CONFIG_FILE, POSTGRESQL, Cluster, ConfigError, load
from atm.files import create_durably, make_folder
from atm.lanes.faults import NoDriver
from atm.local_cluster import LOOPBACK, cluster_ini, free_ports, node_names
from atm.local_postgres.folders import USER, NotStarted
from atm.local_postgres.programs import find_programs
from atm.local_postgres.servers import DATABASE, LocalPostgres

SERVERS = 3  # the fewest of which one may be lost
SERVERS_FOLDER = "postgresql"
PASSWORD_FILE = "pgpass"  # as libpq reads one
FOLDER_SUFFIX = "-postgresql"
ONLY_ENTER = 0o711  # for the user of the servers, where root starts them
LOOK_EVERY_S = 0.2
AGAIN_S = 2.0  # between two tries to start a server
STOP_WAIT_S = 10.0


def is_own_bank(config: Path) -> bool:
    """Return whether the file is that of such a bank."""
    return (config.absolute().parent / PASSWORD_FILE).exists()


def own_bank(config: Path | None, otherwise: Path, lanes: int | None = None) -> Path:
    """Return the `cluster.ini` of the bank beside that of `config`, or in the folder `otherwise` without one.

    It is made unless it is there, with servers of the same names; otherwise with five; with one lane unless
    `lanes` says how many. Raise `ConfigError`, also if it is there with another number, and `NoEngine`
    without PostgreSQL, its driver, or a folder for it.
    """
    found = _own_bank(config, otherwise, lanes or 1)
    has = load(found).engine.lanes
    if lanes not in (None, has):
        raise ConfigError(f"{found}: this bank has lanes = {has}, for ever: leave --lanes out")
    return found


def _own_bank(config: Path | None, otherwise: Path, lanes: int) -> Path:
    folder, names = otherwise, node_names(5)
    if config is not None:
        cluster = load(config)
        if is_own_bank(config):
            return config
        if cluster.engine.kind == POSTGRESQL:
            raise ConfigError(f"{config}: its [engine] names a PostgreSQL already: leave --engine out")
        folder = cluster.data_dir.with_name(cluster.data_dir.name + FOLDER_SUFFIX)
        names = list(cluster.nodes)
    if find_spec("psycopg") is None:
        raise NoDriver
    programs = find_programs()
    try:
        return _made(folder, names, lanes, for_another_user=programs.user is not None)
    except OSError as error:
        raise NotStarted(f"{folder} cannot be written: {error.strerror}") from None


def _made(folder: Path, names: Sequence[str], lanes: int, *, for_another_user: bool) -> Path:
    """Make the files that are not there; of several processes that make them at once, one wins."""
    path, password_file = folder / CONFIG_FILE, folder / PASSWORD_FILE
    make_folder(folder)
    if for_another_user:
        folder.chmod(ONLY_ENTER)
    if not password_file.exists():
        line = f"{LOOPBACK}:*:*:{USER}:{secrets.token_hex(16)}\n"
        create_durably(password_file, line.encode(), mode=0o600)
    if not path.exists():
        ports = free_ports(SERVERS + 2 * len(names))
        ends = ",".join(f"{LOOPBACK}:{port}" for port in ports[:SERVERS])
        url = f"postgresql://{USER}:{_password(password_file)}@{ends}/{DATABASE}"
        engine = f"[engine]\nkind = {POSTGRESQL}\nurl = {url}\nlanes = {lanes}\n"
        create_durably(path, f"{cluster_ini(names, ports[SERVERS:])}\n{engine}".encode(), mode=0o600)
    return path


class KeptServers:
    """The PostgreSQL of such a bank. Each of its servers is started again when it ends, until `stop`.

    As a service manager does: on one machine the data is still there, and no other server has to take over.
    """

    def __init__(self, cluster: Cluster, tell: Callable[[str], None]) -> None:
        """`tell` gets a line for the user. Raise `NoPostgres`."""
        self._folder = cluster.path.parent
        self._tell = tell
        self._hosts = urlsplit(cluster.engine.url).netloc.rpartition("@")[2]
        self.servers = LocalPostgres(
            SERVERS - 1,
            folder=self._folder / SERVERS_FOLDER,
            ports=[int(each.rpartition(":")[2]) for each in self._hosts.split(",")],
            password=_password(self._folder / PASSWORD_FILE),
        )
        self._changing = Lock()  # held while servers are begun or ended
        self._ending = Event()
        self._watching = Thread(target=self._watch, name="databases", daemon=True)

    def about(self) -> str:
        """Return what the servers are, and where their data is, for people."""
        servers = self.servers
        return (
            f"PostgreSQL {servers.programs.version}: {servers.primary} and {SERVERS - 1} standbys, of which "
            f"one has each commit, in {self._folder / SERVERS_FOLDER}"
        )

    def psql(self) -> str:
        """Return the command that opens the primary; it does not tell the password, but where that is."""
        program = shutil.which("psql") or self.servers.programs.folder / "psql"
        where = quote(str(self._folder / PASSWORD_FILE))
        query = f"target_session_attrs=read-write&passfile={where}"
        return shlex.join([str(program), f"postgresql://{USER}@{self._hosts}/{DATABASE}?{query}"])

    def start(self) -> None:
        """Start all servers, and make their data unless it is there; raise `NotStarted`, `OSError`."""
        with self._changing:
            if not self._ending.is_set():
                self.servers.start_all()
                self._watching.start()

    def stop(self) -> None:
        """Shut all servers down in order."""
        self._ending.set()
        if self._changing.acquire(timeout=STOP_WAIT_S):  # else they end with this process, as in a crash
            try:
                self.servers.close()
            finally:
                self._changing.release()

    def _watch(self) -> None:
        told: dict[str, str] = {}
        while not self._ending.wait(LOOK_EVERY_S):
            with self._changing:
                ended = set(self.servers.names) - set(self.servers.running())
                lines = {} if self._ending.is_set() else {name: self._started_again(name) for name in ended}
            for name, line in lines.items():
                if line != told.get(name):
                    self._tell(line or f"PostgreSQL {name} had ended, and was started again")
            told = lines
            if any(lines.values()):
                self._ending.wait(AGAIN_S)

    def _started_again(self, name: str) -> str:
        """Start a server that has ended; return why it does not, nothing if it does."""
        try:
            self.servers.start(name)
        except (NotStarted, OSError) as error:
            return f"PostgreSQL {name} has ended and does not start again: {error}"
        return ""


def _password(file: Path) -> str:
    return file.read_text(encoding="ascii").strip().rpartition(":")[2]
