"""`cluster.ini` to a frozen `Cluster`; every mistake in the file becomes one line for people.

What the keys mean is documented in the default `cluster.ini` itself.
"""

from __future__ import annotations

import configparser
import hashlib
import io
import ipaddress
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from atm.checkout import checkout, command_here

FILE_BYTES_MAX = 64 * 1024
LINE_CHARS_MAX = 1000  # of an error message, about
NODES_MAX = 9  # each write waits for a majority: more than nine servers only make it slower
NODE_NAME_CHARS_MAX = 32
HEARTBEAT_MS_MIN, HEARTBEAT_MS_MAX = 10, 10_000
ELECTION_TIMEOUT_MS_MAX = 100_000
LANES_MAX = 256  # of a bank on PostgreSQL
HEARTBEATS_PER_TIMEOUT_MIN = 4  # so that a few late heartbeats do not start an election
TIMEOUT_SPREAD_MIN = 1.5  # high / low: a narrow range splits votes

CONFIG_FILE = "cluster.ini"
CONFIG_VARIABLE = "ATM_CONFIG"

LEDGER_FILE = "ledger.db"  # in each node's folder, which is data_dir/<node>
PEPPER_FILE = "pepper.key"  # no node can have this name
SECRETS_FOLDER = "secrets"  # beside data_dir: a copy of the data is none of what opens its PINs
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"  # where a service manager puts what it was given as secret

SNAPSHOT_LOG_MB_MIN, SNAPSHOT_LOG_MB_MAX = 0.1, 100_000

_CLUSTER_DEFAULTS = {
    "data_dir": "data",
    "heartbeat_ms": "50",
    "election_timeout_ms": "300-600",
    "snapshot_log_mb": "64",
    "disk_reserve_mb": "256",
    "max_clock_skew_ms": "2000",
}
_BOUNDS = {
    "disk_reserve_mb": (0, 1_000_000),
    "max_clock_skew_ms": (100, 24 * 3600 * 1000),
    "requests_per_s": (1, 1_000_000),
    "confirm_above": (0, 999_999_999),
}
CLUSTER_KEYS = (*_CLUSTER_DEFAULTS, "pepper_file", "insecure", "requests_per_s", "confirm_above")
TLS_KEYS = ("ca", "cert", "key", "client_cert", "client_key")
ADDRESS_KEYS = ("client", "peer")
LISTEN_KEYS = ("listen_client", "listen_peer")
METRICS_KEY = "metrics"
NODE_KEYS = (*ADDRESS_KEYS, *LISTEN_KEYS, METRICS_KEY)
LOG_KEYS = ("level", "format", "file")
ENGINE_KEYS = ("kind", "url", "lanes")
HOME_DATABASE = "home"  # the name of the database at `url`; the others are named by their keys
RAFT, POSTGRESQL = "raft", "postgresql"
ENGINE_KINDS = (RAFT, POSTGRESQL)
SECTIONS = ("cluster", "engine", "log", "tls")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

_NODE_SECTION = re.compile(rf"node ([A-Za-z0-9_][A-Za-z0-9_-]{{0,{NODE_NAME_CHARS_MAX - 1}}})")
_ADDRESS = re.compile(
    r"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})"
)
_DATABASE_KEY = re.compile(r"url\.([a-z][a-z0-9_]{0,31})")
_TIMEOUT_RANGE = re.compile(r"([0-9]{1,9}) ?- ?([0-9]{1,9})")
_INTEGER = re.compile(r"[0-9]{1,9}")
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")


class ConfigError(Exception):
    """`cluster.ini` cannot be used; `str()` of it is one line that says where and why."""


class Address(Struct, frozen=True):
    """Where a server listens, or where others find it; an IPv6 host is kept without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def pair(self) -> tuple[str, int]:
        """The address as the socket module wants it."""
        return self.host, self.port


class NodeConfig(Struct, frozen=True):
    """One server of the cluster: tellers connect to `client`, the other servers to `peer`.

    It listens there, too, or else at `listen_client` and `listen_peer`. It listens at `metrics` for /metrics,
    /livez and /readyz, if that is given.
    """

    name: str
    client: Address
    peer: Address
    listen_client: Address | None = None
    listen_peer: Address | None = None
    metrics: Address | None = None


class EngineConfig(Struct, frozen=True):
    """What keeps the books: the servers by Raft, or a PostgreSQL at `url`, a connection string of libpq.

    There the accounts are in `lanes`, each with a writer of its own. Lanes can lie in `others`, too, which
    are further databases by their names.
    """

    kind: str = RAFT
    url: str = ""
    lanes: int = 1
    others: dict[str, str] = {}

    @property
    def urls(self) -> dict[str, str]:
        """All databases by their names; that at `url` is `HOME_DATABASE`."""
        return {HOME_DATABASE: self.url, **self.others}


class TlsFiles(Struct, frozen=True):
    """A file of CAs, a certificate, and its key."""

    ca: Path
    cert: Path
    key: Path


class TlsConfig(Struct, frozen=True):
    """What [tls] says; paths are absolute, and `{node}` in them stands for a node's name."""

    path: Path  # of the file that says it
    ca: Path
    cert: Path | None = None
    key: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def of_node(self, name: str) -> TlsFiles:
        """Return the files of a server; raise `ConfigError` if none are given."""
        if self.cert is None or self.key is None:
            raise ConfigError(f"{self.path}: [tls]: cert and key are missing; a node needs both")
        return TlsFiles(self.ca, _for_node(self.cert, name), _for_node(self.key, name))

    def of_client(self) -> TlsFiles:
        """Return the files of a client; raise `ConfigError` if none are given."""
        if self.client_cert is None or self.client_key is None:
            raise ConfigError(
                f"the bank of {self.path} wants a certificate: give --cert FILE and --key FILE, or "
                "client_cert and client_key in its [tls]"
            )
        return TlsFiles(self.ca, self.client_cert, self.client_key)


class LogConfig(Struct, frozen=True):
    """What [log] says: of a server's lines for its operator, not of Raft's log."""

    level: str = "info"  # of LOG_LEVELS
    format: str = "text"  # of LOG_FORMATS
    file: Path | None = None  # absolute; `{node}` in it stands for a node's name; None: stderr

    def file_of(self, name: str) -> Path | None:
        """Return the file of a server's lines, None if they go to stderr."""
        return None if self.file is None else _for_node(self.file, name)


def _for_node(path: Path, name: str) -> Path:
    return Path(str(path).replace("{node}", name))


class Cluster(Struct, frozen=True):
    """What `cluster.ini` says; paths are absolute and `nodes` are in the file's order."""

    path: Path
    data_dir: Path
    pepper_file: Path
    heartbeat_ms: int
    election_timeout_ms: tuple[int, int]
    nodes: dict[str, NodeConfig]
    disk_reserve_mb: int = 256
    max_clock_skew_ms: int = 2000
    snapshot_log_mb: float = 64.0
    requests_per_s: int | None = None  # of one client; None: the default, which spares the own machine
    confirm_above: int | None = None  # whole amounts; None: a teller's session asks for no confirmation
    insecure: bool = False  # plain connections even to other machines
    tls: TlsConfig | None = None  # None: plain connections
    log: LogConfig = LogConfig()
    engine: EngineConfig = EngineConfig()

    def with_client_certificate(
        self, cert: str | os.PathLike[str] | None, key: str | os.PathLike[str] | None
    ) -> Cluster:
        """Return the same with another certificate for clients, if one is given; raise `ConfigError`."""
        if cert is None and key is None:
            return self
        if cert is None or key is None:
            raise ConfigError("a certificate needs its key: give both --cert and --key")
        if self.tls is None:
            raise ConfigError(f"{self.path} has no [tls], so a certificate cannot be shown to anybody")
        tls = replace(self.tls, client_cert=Path(cert).absolute(), client_key=Path(key).absolute())
        return replace(self, tls=tls)

    def check_secure(self, name: str) -> None:
        """Raise `ConfigError` if the node `name` would talk to other machines in plain text."""
        node = self.nodes[name]
        addresses = (node.client, node.peer, node.listen_client, node.listen_peer)
        if self.insecure or self.tls is not None:
            return
        for address in addresses:
            if address is not None and not is_loopback(address.host):
                raise ConfigError(
                    f"{self.path}: [node {name}]: {address} is reached from other machines, and without "
                    "[tls] everybody there could read and forge all messages: add [tls] (docs/install.md), "
                    "or insecure = yes to [cluster] on a network that is trusted"
                )

    @property
    def is_on_one_machine(self) -> bool:
        """Whether all servers have one host, or addresses of the loopback."""
        hosts = {"localhost" if is_loopback(n.peer.host) else n.peer.host for n in self.nodes.values()}
        return len(hosts) == 1

    def identity(self) -> str:
        """Return a digest of the nodes' names and peer addresses: the same text, the same cluster."""
        lines = sorted(f"{node.name} {node.peer}\n" for node in self.nodes.values())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _seen_from_outside(listens: Address, node: NodeConfig) -> Address:
    """Return where a node listens with its machine's name: each machine has a localhost and a 0.0.0.0."""
    own = is_wildcard(listens.host) or is_loopback(listens.host)
    return replace(listens, host=node.peer.host) if own else listens


def is_wildcard(host: str) -> bool:
    """Whether `host` stands for all addresses of a machine, such as 0.0.0.0."""
    return host in ("0.0.0.0", "::")


def is_loopback(host: str) -> bool:
    """Whether `host` is written as an address that only its own machine reaches; no name is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(path: str | Path) -> Cluster:
    """Read the file at `path`; raise `ConfigError`."""
    return _Reader(Path(path)).cluster()


def parse_address(text: str) -> Address:
    """Return the address that `text` is; raise `ValueError`, whose text says why it is none."""
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not host:port, such as localhost:5000 or [::1]:5000")
    host, port = match.group(1).lower(), int(match.group(2))
    if host.startswith("["):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError(f"{text!r} has no IPv6 address in its brackets") from None
    if not 1 <= port <= 65535:
        raise ValueError(f"port {port} is not from 1 to 65535")
    return Address(host, port)


def default_pepper(data_dir: Path) -> Path:
    """Return where the pepper is if no `pepper_file` is given.

    Among the credentials of the service, or in `data_dir`, where it was made up to release 1.1, if it is
    there; else in a folder beside `data_dir`.
    """
    credentials = os.environ.get(CREDENTIALS_VARIABLE)
    places = [Path(credentials) / PEPPER_FILE] if credentials else []
    for place in (*places, data_dir / PEPPER_FILE):
        with suppress(OSError):  # a teller of another user may not look there, and needs no pepper
            if place.exists():
                return place
    return data_dir.parent / SECRETS_FOLDER / PEPPER_FILE


def is_node_name(text: str) -> bool:
    """Return whether a node may have this name."""
    return _NODE_SECTION.fullmatch(f"node {text}") is not None


def found_config() -> Path | None:
    """Return the file that is read without `--config`, if there is any.

    That of $ATM_CONFIG, which need not exist; else cluster.ini in this folder; else that of the checkout.
    """
    named, here, root = os.environ.get(CONFIG_VARIABLE), Path(CONFIG_FILE), checkout()
    if named:
        return Path(named)
    if here.exists() or root is None:
        return here if here.exists() else None
    return root / CONFIG_FILE


def default_config() -> Path:
    """Return the file that is read without `--config`; raise `ConfigError` if there is none."""
    found = found_config()
    if found is None:
        raise ConfigError(
            f"there is no {CONFIG_FILE} in this folder, and {CONFIG_VARIABLE} is not set: give --config "
            f"FILE, write one with {command_here('admin')} init, or try a bank of your "
            f"own with {command_here('run')}"
        )
    return found


class _CaseKeeping(configparser.ConfigParser):
    """Keeps the case of keys: `Peer` is an unknown key."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


class _Reader:
    """Reads one file; every error names it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = _CaseKeeping(
            delimiters=("=",),
            comment_prefixes=("#", ";"),
            inline_comment_prefixes=(";",),
            interpolation=None,
            default_section="",  # no header can be empty, so [DEFAULT] is a section like any other
        )

    def cluster(self) -> Cluster:
        self._parse(self._text())
        for section in self._parser.sections():
            if section not in SECTIONS and not _NODE_SECTION.fullmatch(section):
                raise self._error(
                    section,
                    None,
                    "no such section: there are [cluster], [engine], [log], [tls], [node NAME], and a name "
                    f"is at most {NODE_NAME_CHARS_MAX} of the characters A-Z a-z 0-9 _ and (not first) -",
                )
        settings = self._settings()
        heartbeat_ms = self._heartbeat_ms(settings["heartbeat_ms"])
        here = self._path.absolute().parent
        data_dir = here / settings["data_dir"]
        pepper_file = settings.get("pepper_file")
        return Cluster(
            path=self._path.absolute(),
            data_dir=data_dir,
            pepper_file=default_pepper(data_dir) if pepper_file is None else here / pepper_file,
            heartbeat_ms=heartbeat_ms,
            election_timeout_ms=self._election_timeout_ms(settings["election_timeout_ms"], heartbeat_ms),
            nodes=self._nodes(),
            disk_reserve_mb=self._integer("disk_reserve_mb", settings["disk_reserve_mb"]),
            max_clock_skew_ms=self._integer("max_clock_skew_ms", settings["max_clock_skew_ms"]),
            snapshot_log_mb=self._snapshot_log_mb(settings["snapshot_log_mb"]),
            insecure=self._yes_or_no("insecure", settings.get("insecure", "no")),
            tls=self._tls(here),
            log=self._log(here),
            requests_per_s=self._integer_or_none("requests_per_s", settings),
            confirm_above=self._integer_or_none("confirm_above", settings),
            engine=self._engine(),
        )

    # -- the file ----------------------------------------------------------------------------------

    def _text(self) -> str:
        try:
            with self._path.open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
            if len(content) > FILE_BYTES_MAX:
                raise self._error(
                    None, None, f"has more than {FILE_BYTES_MAX} bytes: is this the right file?"
                )
            # Universal newlines, as for any text file.
            return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
        except FileNotFoundError:
            raise self._error(None, None, "no such file") from None
        except UnicodeDecodeError as error:
            raise self._error(None, None, f"not UTF-8 text (byte {error.start})") from None
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
            reason = getattr(error, "strerror", None) or error
            raise self._error(None, None, f"cannot be read: {reason}") from None

    def _parse(self, text: str) -> None:
        try:
            self._parser.read_string(text)
        except configparser.DuplicateSectionError as error:
            raise self._error(error.section, None, f"is given twice (line {error.lineno})") from None
        except configparser.DuplicateOptionError as error:
            message = f"is given twice (line {error.lineno})"
            raise self._error(error.section, error.option, message) from None
        except configparser.MissingSectionHeaderError as error:
            message = f"line {error.lineno} is before the first [section]"
            raise self._error(None, None, message) from None
        except configparser.ParsingError as error:
            line_number = error.errors[0][0]
            message = f"line {line_number} is neither a [section], nor 'key = value', nor a comment"
            raise self._error(None, None, message) from None

    def _section(self, section: str, keys: tuple[str, ...]) -> Mapping[str, str]:
        """Return the section's values: each key is one of `keys`, each value one line."""
        values = self._parser[section]
        for key, value in values.items():
            if key not in keys:
                raise self._error(section, key, f"no such key; the keys here are {', '.join(keys)}")
            if not value:
                raise self._error(section, key, "has no value")
            if "\n" in value:
                raise self._error(section, key, "continues on the next line: is that line indented?")
            if not value.isprintable():
                raise self._error(section, key, f"{value!r} has characters that cannot be printed")
        return values

    # -- [cluster] ---------------------------------------------------------------------------------

    def _settings(self) -> Mapping[str, str]:
        if not self._parser.has_section("cluster"):
            return _CLUSTER_DEFAULTS
        return {**_CLUSTER_DEFAULTS, **self._section("cluster", CLUSTER_KEYS)}

    def _heartbeat_ms(self, text: str) -> int:
        if not _INTEGER.fullmatch(text) or not HEARTBEAT_MS_MIN <= int(text) <= HEARTBEAT_MS_MAX:
            raise self._error(
                "cluster",
                "heartbeat_ms",
                f"{text!r} is not a whole number from {HEARTBEAT_MS_MIN} to {HEARTBEAT_MS_MAX}",
            )
        return int(text)

    def _integer(self, key: str, text: str) -> int:
        """Return the value of a key of `_BOUNDS`."""
        low, high = _BOUNDS[key]
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise self._error("cluster", key, f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    def _integer_or_none(self, key: str, settings: Mapping[str, str]) -> int | None:
        return self._integer(key, settings[key]) if key in settings else None

    def _yes_or_no(self, key: str, text: str) -> bool:
        if text not in ("yes", "no"):
            raise self._error("cluster", key, f"{text!r} is neither yes nor no")
        return text == "yes"

    def _snapshot_log_mb(self, text: str) -> float:
        low, high = SNAPSHOT_LOG_MB_MIN, SNAPSHOT_LOG_MB_MAX
        if not _DECIMAL.fullmatch(text) or not low <= float(text) <= high:
            raise self._error("cluster", "snapshot_log_mb", f"{text!r} is not a number from {low} to {high}")
        return float(text)

    def _election_timeout_ms(self, text: str, heartbeat_ms: int) -> tuple[int, int]:
        def error(message: str) -> ConfigError:
            return self._error("cluster", "election_timeout_ms", message)

        match = _TIMEOUT_RANGE.fullmatch(text)
        if match is None:
            raise error(f"{text!r} is not a range such as 300-600")
        low, high = int(match.group(1)), int(match.group(2))
        low_min = HEARTBEATS_PER_TIMEOUT_MIN * heartbeat_ms
        if low < low_min:
            raise error(
                f"starts at {low}, and must start at {low_min} or more: "
                f"{HEARTBEATS_PER_TIMEOUT_MIN} times heartbeat_ms, which is {heartbeat_ms}"
            )
        if high < TIMEOUT_SPREAD_MIN * low:
            raise error(f"ends at {high}, and must end at {TIMEOUT_SPREAD_MIN} times its start or more")
        if high > ELECTION_TIMEOUT_MS_MAX:
            raise error(f"ends at {high}, and must end at {ELECTION_TIMEOUT_MS_MAX} or less")
        return low, high

    # -- [tls] -------------------------------------------------------------------------------------

    def _tls(self, here: Path) -> TlsConfig | None:
        if not self._parser.has_section("tls"):
            return None
        values = self._section("tls", TLS_KEYS)
        if "ca" not in values:
            raise self._error("tls", "ca", "is missing; it is the file of the CA that signs all certificates")
        for cert, key in (("cert", "key"), ("client_cert", "client_key")):
            for given, missing in ((cert, key), (key, cert)):
                if given in values and missing not in values:
                    raise self._error("tls", missing, f"is missing; it belongs to {given}")
        return TlsConfig(self._path.absolute(), **{key: here / value for key, value in values.items()})

    # -- [engine] ----------------------------------------------------------------------------------

    def _engine(self) -> EngineConfig:
        if not self._parser.has_section("engine"):
            return EngineConfig()
        named = {key: match[1] for key in self._parser["engine"] if (match := _DATABASE_KEY.fullmatch(key))}
        values = self._section("engine", (*ENGINE_KEYS, *named))
        kind, url = values.get("kind", RAFT), values.get("url")
        if kind not in ENGINE_KINDS:
            raise self._error("engine", "kind", f"{kind!r} is none of {', '.join(ENGINE_KINDS)}")
        if kind == RAFT and url is not None:
            raise self._error("engine", "url", f"belongs to kind = {POSTGRESQL}: {RAFT} has no database")
        if kind == RAFT and "lanes" in values:
            raise self._error("engine", "lanes", f"belongs to kind = {POSTGRESQL}: {RAFT} has one log")
        if kind == POSTGRESQL and url is None:
            raise self._error(
                "engine", "url", "is missing; it is a connection string such as postgresql://host/bank"
            )
        others = self._other_databases(
            kind, {key: (name, values[key]) for key, name in named.items()}, url or ""
        )
        return EngineConfig(kind, url or "", self._lanes(values.get("lanes", "1")), others)

    def _other_databases(self, kind: str, named: dict[str, tuple[str, str]], home: str) -> dict[str, str]:
        """Return the addresses of the databases beside the first one, by their names."""
        found = {HOME_DATABASE: home}
        for key, (name, url) in named.items():
            if kind == RAFT:
                raise self._error("engine", key, f"belongs to kind = {POSTGRESQL}: {RAFT} has no database")
            if name == HOME_DATABASE:
                raise self._error("engine", key, f"{HOME_DATABASE} is the name of the database at url")
            if url in found.values():
                raise self._error("engine", key, "is the address of another database, too")
            found[name] = url
        del found[HOME_DATABASE]
        return found

    def _lanes(self, text: str) -> int:
        if not _INTEGER.fullmatch(text) or not 1 <= int(text) <= LANES_MAX:
            raise self._error("engine", "lanes", f"{text!r} is no number from 1 to {LANES_MAX}")
        return int(text)

    # -- [log] -------------------------------------------------------------------------------------

    def _log(self, here: Path) -> LogConfig:
        if not self._parser.has_section("log"):
            return LogConfig()
        values = self._section("log", LOG_KEYS)
        for key, known in (("level", LOG_LEVELS), ("format", LOG_FORMATS)):
            if values.get(key, known[0]) not in known:
                raise self._error("log", key, f"{values[key]!r} is none of {', '.join(known)}")
        file = values.get("file")
        return LogConfig(
            level=values.get("level", "info"),
            format=values.get("format", LOG_FORMATS[0]),
            file=None if file is None else here / file,
        )

    # -- [node NAME] -------------------------------------------------------------------------------

    def _nodes(self) -> dict[str, NodeConfig]:
        nodes: dict[str, NodeConfig] = {}
        taken: dict[tuple[str, int], str] = {}
        for section in self._parser.sections():
            if section in SECTIONS:
                continue
            node = self._node(section)
            self._claim(taken, section, "client", node.client)
            self._claim(taken, section, "peer", node.peer)
            if node.metrics is not None:
                self._claim(taken, section, METRICS_KEY, _seen_from_outside(node.metrics, node))
            nodes[node.name] = node
        if not nodes:
            raise self._error(None, None, "has no [node NAME] section; a cluster has at least one node")
        if len(nodes) > NODES_MAX:
            raise self._error(section, None, f"is one too many: a cluster has at most {NODES_MAX} nodes")
        return nodes

    def _node(self, section: str) -> NodeConfig:
        values = self._section(section, NODE_KEYS)
        for key in ADDRESS_KEYS:
            if key not in values:
                raise self._error(section, key, "is missing; it is an address such as localhost:5000")
        client, peer = (self._advertised(section, key, values[key]) for key in ADDRESS_KEYS)
        own = (*LISTEN_KEYS, METRICS_KEY)
        listens = {key: self._address(section, key, values[key]) for key in own if key in values}
        return NodeConfig(
            name=section.removeprefix("node "),
            client=client,
            peer=peer,
            listen_client=listens.get("listen_client"),
            listen_peer=listens.get("listen_peer"),
            metrics=listens.get(METRICS_KEY),
        )

    def _advertised(self, section: str, key: str, text: str) -> Address:
        """Return an address that others connect to."""
        address = self._address(section, key, text)
        if is_wildcard(address.host):
            raise self._error(
                section,
                key,
                f"{text} means all addresses of a machine, and nobody can connect to that: put it under "
                f"listen_{key}, and here the address that others reach",
            )
        return address

    def _address(self, section: str, key: str, text: str) -> Address:
        try:
            return parse_address(text)
        except ValueError as error:
            raise self._error(section, key, str(error)) from None

    def _claim(self, taken: dict[tuple[str, int], str], section: str, key: str, address: Address) -> None:
        place = ("127.0.0.1" if address.host == "localhost" else address.host, address.port)
        if place in taken:
            raise self._error(section, key, f"{address} is already used by {taken[place]}")
        taken[place] = f"[{section}] {key}"

    def _error(self, section: str | None, key: str | None, message: str) -> ConfigError:
        """Return an error that names the file, and section and key if they are known."""
        where = f"[{section}] {key}" if key else f"[{section}]" if section else ""
        line = f"{self._path}: {where}: {message}" if where else f"{self._path}: {message}"
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        if len(line) > LINE_CHARS_MAX:  # it quotes the file; the reason is at the end
            line = f"{line[: LINE_CHARS_MAX // 2]} … {line[-LINE_CHARS_MAX // 2 :]}"
        return ConfigError(line)
