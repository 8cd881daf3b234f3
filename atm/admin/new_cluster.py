"""`bin/admin init`: a cluster.ini for a new cluster, on this machine or on several, and its certificates."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from atm.admin import certs
from atm.admin.task import REFUSED, USAGE, NotDone, Task
from atm.checkout import command_here
from atm.config import CONFIG_FILE, NODES_MAX, PEPPER_FILE, is_node_name, is_wildcard, parse_address
from atm.files import sync_folder
from atm.identity import Role
from atm.server.security.peppers import new_peppers

NODES = 5
CLIENT_PORT, PEER_PORT = 5000, 6000
FILE = Path(CONFIG_FILE)
MODES = {PEPPER_FILE: 0o600}
LOCAL_STEPS = [
    f"Start all of them, and a teller: {command_here('run')}. "
    f"Or each on its own: {command_here('start_node')} and its name"
]
DISTRIBUTED_STEPS = [
    "1. Copy both files to every machine, into one folder; the copy of pepper.key is secret, as this one is",
    f"2. Start each node there, in that folder: {command_here('start_node')} and its name",
    "3. Keep a copy of pepper.key apart from all backups of the data: without it every PIN must be set again",
    "4. Nothing is encrypted (insecure = yes): on a network that others reach, begin with init --tls instead",
]
DISTRIBUTED_TLS_STEPS = [
    "1. Copy to every machine, into one folder: cluster.ini, pepper.key and certs/ca.pem",
    "   and besides of certs/ only the node's own two, such as h1.pem and h1.key: no other's, never ca.key",
    f"2. Start each node there, in that folder: {command_here('start_node')} and its name",
    "3. Keep copies of pepper.key and certs/ca.key apart, in safe places: without the first every PIN must "
    "be set again, and with the second anybody makes certificates",
]
WHO_IS_WHO = [
    "Who is who: admin (certs/admin.pem, role admin) changes the cluster, and moves no money:",
    f"   {command_here('admin')} --cert certs/admin.pem --key certs/admin.key and a command",
    "teller (certs/teller.pem, roles teller and operator) is whom cluster.ini names for "
    f"{command_here('atm')}. A teller's",
    "   machine needs cluster.ini, certs/ca.pem and these. Others: "
    f"{command_here('admin')} certs issue NAME --role ROLE",
]
PEOPLE = {"admin": frozenset({Role.ADMIN}), "teller": frozenset({Role.TELLER, Role.OPERATOR})}
TLS_SECTION = """[tls]
ca = certs/ca.pem
cert = certs/{node}.pem
key = certs/{node}.key
client_cert = certs/teller.pem
client_key = certs/teller.key
"""
REMARKS = {"client": "tellers connect here", "peer": "the other nodes connect here"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `init`."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--nodes", type=_count, default=NODES, metavar="N", help="so many nodes on this machine; default: 5"
    )
    where.add_argument(
        "--hosts", type=_hosts, metavar="H1,H2,…", help="one node on each of these hosts, by name or address"
    )
    parser.add_argument(
        "--tls", action="store_true", help="encrypt all connections: make a CA and certificates, too"
    )


def run(task: Task) -> int:
    """Write the file, unless one is there."""
    options = task.options
    path: Path = options.config or FILE
    hosts: list[str] | None = options.hosts
    text = local_file(options.nodes) if hosts is None else distributed_file(hosts)
    nodes = re.findall(r"^\[node (.+)\]", text, re.MULTILINE)
    if options.tls:
        text = with_tls(text)
    elif hosts is not None:
        text = without_tls(text)
    files = {path: text}
    if hosts is not None:
        files[path.with_name(PEPPER_FILE)] = new_peppers().contents().decode()
    folders = [path.with_name(certs.FOLDER)] if options.tls else []
    for each in (*files, *folders):
        if each.exists() or each.is_symlink():
            raise NotDone(REFUSED, f"{each} is there already: nothing was written")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    for folder in folders:
        _make_certificates(folder, nodes)
    for each, content in reversed(files.items()):
        _create(each, content)
    written = [*map(str, files), *(f"{folder}/" for folder in folders)]
    count = f"{len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}"
    lines = [f"Wrote {_listed(written)} for {count}: {', '.join(nodes)}"]
    lines += _steps(distributed=hosts is not None, tls=options.tls)
    fields = {"files": [str(each.absolute()) for each in (*files, *folders)], "nodes": nodes}
    return task.finish("\n".join(lines), fields)


def with_tls(text: str) -> str:
    """Return a cluster.ini with the section that names the certificates."""
    before, found, behind = text.partition("\n# [node NAME]")
    assert found, "a node's section is explained"
    return f"{before}\n{TLS_SECTION}{found}{behind}"


def _make_certificates(folder: Path, nodes: Sequence[str]) -> None:
    """Make a CA and the first certificates, all or none."""
    holders = [certs.holder(name, frozenset({Role.NODE})) for name in nodes]
    holders += [certs.holder(name, roles) for name, roles in PEOPLE.items()]
    for name in nodes:
        if name.lower() in (*PEOPLE, *certs.RESERVED_NAMES):
            raise NotDone(
                USAGE, f"with --tls no node can have the name {name}: its certificate's files are taken"
            )
    unfinished = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with certs.opened(unfinished, make=True) as made:
            made.make_authority()
            for each in holders:
                made.issue(each, certs.DAYS)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync_folder(folder.parent)


def _steps(*, distributed: bool, tls: bool) -> list[str]:
    """Return what is to be done next."""
    if not tls:
        return DISTRIBUTED_STEPS if distributed else LOCAL_STEPS
    return (DISTRIBUTED_TLS_STEPS if distributed else LOCAL_STEPS) + WHO_IS_WHO


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _create(path: Path, content: str) -> None:
    """Write a file, unless one is there after all."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            os.fchmod(descriptor, MODES.get(path.name, 0o644))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        return
    raise NotDone(REFUSED, f"{path} is there already: it was not written")


def local_file(count: int) -> str:
    """Return the text for `count` nodes on this machine."""
    return _file(
        [
            (str(CLIENT_PORT + number), "localhost", CLIENT_PORT + number, PEER_PORT + number)
            for number in range(count)
        ]
    )


def distributed_file(hosts: Sequence[str]) -> str:
    """Return the text for one node on each host."""
    names = _names(hosts)
    text = _file([(name, host, CLIENT_PORT, PEER_PORT) for name, host in zip(names, hosts, strict=True)])
    before, found, behind = text.partition("\n# heartbeat_ms:")
    assert found, "pepper_file is explained before heartbeat_ms"
    return f"{before}pepper_file = {PEPPER_FILE}\n{found}{behind}"


def without_tls(text: str) -> str:
    """Return a cluster.ini for several machines that allows plain connections between them."""
    before, found, behind = text.partition("\n# [tls]:")
    assert found, "insecure is explained before [tls]"
    return f"{before}insecure = yes\n{found}{behind}"


def section(name: str, client: str, peer: str) -> str:
    """Return a node's section for cluster.ini."""
    return f"[node {name}]\nclient = {client}\npeer = {peer}\n"


def _file(nodes: Sequence[tuple[str, str, int, int]]) -> str:
    example = files("atm.admin").joinpath(CONFIG_FILE).read_text(encoding="utf-8")
    explained = example.partition("\n[node ")[0] + "\n"
    sections = [section(name, f"{host}:{client}", f"{host}:{peer}") for name, host, client, peer in nodes]
    first = [_with_remark(line) for line in sections[0].splitlines()]
    sections[0] = "\n".join(first) + "\n"
    return explained + "\n".join(sections)


def _with_remark(line: str) -> str:
    remark = REMARKS.get(line.partition(" ")[0])
    return line if remark is None else f"{line:<33} ; {remark}"


def _names(hosts: Sequence[str]) -> list[str]:
    """Return the nodes' names: the hosts' own if they are short and different, else n1, n2, …"""
    names = [host.partition(".")[0] for host in hosts]
    plain = all(is_node_name(name) and not name.isdecimal() for name in names)
    return names if plain and len(set(names)) == len(names) else [f"n{i + 1}" for i in range(len(hosts))]


def _count(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= NODES_MAX:
        return int(text)
    raise argparse.ArgumentTypeError(f"a cluster has 1 to {NODES_MAX} nodes, not {text}")


def _hosts(text: str) -> list[str]:
    hosts = [host.strip().lower() for host in text.split(",")]
    for host in hosts:
        if ":" in host and not host.startswith("["):
            raise argparse.ArgumentTypeError(
                f"{host!r} has a port: give hosts alone, such as h1.bank,h2.bank"
            )
        try:
            address = parse_address(f"{host}:{CLIENT_PORT}")
        except ValueError:
            raise argparse.ArgumentTypeError(f"{host!r} is no host's name or address") from None
        if is_wildcard(address.host):
            raise argparse.ArgumentTypeError(f"{host} is all addresses of a machine: name the machine")
    if len(set(hosts)) < len(hosts):
        raise argparse.ArgumentTypeError("a host is given twice")
    if len(hosts) > NODES_MAX:
        raise argparse.ArgumentTypeError(f"a cluster has at most {NODES_MAX} nodes")
    return hosts
