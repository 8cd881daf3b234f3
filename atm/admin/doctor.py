"""`bin/admin doctor`: what hurts, or will hurt soon, in sentences; each says what to do."""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from atm.admin.lanes import diagnosis
from atm.admin.task import DONE, NOT_AVAILABLE, REFUSED, Task
from atm.checkout import command_here
from atm.client.cluster_health import DAY_US, DISK_FREE_BYTES_MIN, certificate_ends, judge, voters
from atm.client.each_node import ask_one
from atm.client.node_status import DOWN, LEARNER, ClusterStatus
from atm.client.receipt import new_request_id
from atm.command_line import printable, size
from atm.config import PEPPER_FILE, RAFT, SECRETS_FOLDER, Address, Cluster, EngineConfig, parse_address
from atm.lanes.faults import NoDriver
from atm.tls.credentials import Credentials
from atm.wire.client_messages import Status, StatusReply

CLOCK_S_MAX = 0.5  # apart: holds and limits follow the leader's clock
SYNC_MS_MAX = 100.0  # a third of the default's shortest election timeout
CERTIFICATE_DAYS_MIN = 30
BACKUP_DAYS_MAX = 7
DEEDS_LEVEL = 2  # the feature level from which on a ledger records backups
LOG_BYTES_USUAL = 512 * 1024 * 1024
ASK_S = 1.0


@dataclass(frozen=True)
class Clock:
    """How far a node's clock is ahead of this machine's, give or take."""

    ahead_s: float
    error_s: float


@dataclass(frozen=True)
class Finding:
    """One sentence about a node, or about the cluster (`node` is then None)."""

    about: str
    node: str | None
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(task: Task) -> int:
    """Print the findings; 0 if there is none, 1 if there are, 3 if the bank is not available."""
    status = task.client.status()
    credentials = task.client.credentials
    found = [
        *findings(task.cluster, status),
        *certificate_findings(status, credentials),
        *clock_findings(_clocks(status, credentials)),
        *_postgresql(task.cluster.engine),
    ]
    lines = [f"{finding.about}: {printable(finding.text)}" for finding in found]
    code = DONE
    if not status.available:
        code = NOT_AVAILABLE
    elif found:
        code = REFUSED
    fields = {"findings": [vars(finding) for finding in found], "available": status.available}
    return task.finish("\n".join(lines) or "Nothing to be done: all nodes answer and agree", fields, code)


def findings(cluster: Cluster, status: ClusterStatus) -> Iterator[Finding]:
    """Yield what the nodes' answers and cluster.ini say, the worst first."""
    if not status.available:
        yield Finding("service", None, f"{judge(status).line}. Start what is down; see each node's output")
    for node in status.nodes:
        for alarm in node.alarms:
            yield Finding("alarm", node.node, f"{node.node}: {alarm}")
    yield from _unreachable(status)
    yield from _without_vote(status)
    yield from _size_of_cluster(status)
    yield from _disks(status)
    yield from _slow(status)
    yield from _releases(status)
    if cluster.engine.kind == RAFT:  # else what PostgreSQL does for it counts, too: diagnosis.py
        yield from _backup(status)
    yield from _files(status)
    yield from _pepper_beside_data(cluster)
    yield from _addresses(cluster, status)


def clock_findings(clocks: Mapping[str, Clock]) -> Iterator[Finding]:
    """Yield a finding if two nodes' clocks are certainly too far apart."""
    if len(clocks) < 2:
        return
    slow = min(clocks, key=lambda name: clocks[name].ahead_s)
    fast = max(clocks, key=lambda name: clocks[name].ahead_s)
    apart_s = clocks[fast].ahead_s - clocks[slow].ahead_s
    if apart_s - clocks[fast].error_s - clocks[slow].error_s > CLOCK_S_MAX:
        yield Finding(
            "clocks",
            None,
            f"the clock of {fast} is {apart_s:.1f} s ahead of that of {slow}: the bank's time follows "
            "the leader's "
            "clock and never goes back. Run a time service (chrony, ntpd) on every machine",
        )


def _postgresql(engine: EngineConfig) -> Iterator[Finding]:
    """Yield what hurts in the databases of a bank on PostgreSQL, as they are seen from here."""
    if engine.kind == RAFT:
        return
    try:
        for about, text in diagnosis().diagnose(engine.urls, engine.lanes):
            yield Finding(about, None, text)
    except NoDriver as error:
        yield Finding("database", None, f"PostgreSQL is not looked at from here: {error}")


def _unreachable(status: ClusterStatus) -> Iterator[Finding]:
    for node in status.belonging:
        if node.role == DOWN:
            yield Finding(
                "nodes",
                node.node,
                f"{node.node} does not answer at {node.address or 'any address'}: start it",
            )
        elif node.missing is not None:
            yield Finding("nodes", node.node, f"{node.node} {node.missing}")


def _without_vote(status: ClusterStatus) -> Iterator[Finding]:
    expected = {node.node for node in voters(status)}
    for node in status.nodes:
        if node.node in expected and node.voter is False:
            yield Finding(
                "learners",
                node.node,
                f"{node.node} came back without its data folder and has no vote: one failure less is "
                "survived. "
                f"Give it back: {command_here('admin')} replace {node.node}",
            )
        elif node.role == LEARNER or (_row(status, node.node) and node.node not in expected):
            yield Finding(
                "learners",
                node.node,
                f"{node.node} is a learner: repeat the add or replace that was not finished, or remove it",
            )


def _size_of_cluster(status: ClusterStatus) -> Iterator[Finding]:
    count = len(voters(status))
    if count > 1 and count % 2 == 0:
        yield Finding(
            "voters",
            None,
            f"there are {count} voters: that survives no more failures than {count - 1} do. Add one, or "
            "remove one",
        )


def _disks(status: ClusterStatus) -> Iterator[Finding]:
    for node in status.nodes:
        name, free = node.node, node.disk_free_bytes
        ledger, log = node.ledger_bytes or 0, node.log_bytes or 0
        if free is not None and free < DISK_FREE_BYTES_MIN:
            yield Finding("disk", name, f"{name} has {size(free)} free: make room now, or it stops")
        elif free is not None and free < ledger + DISK_FREE_BYTES_MIN:
            yield Finding(
                "disk",
                name,
                f"{name} has {size(free)} free, and its ledger has {size(ledger)}: a snapshot needs as much "
                "again. Make room",
            )
        if log > max(LOG_BYTES_USUAL, ledger) and (node.feature_level or 0) >= 2:
            yield Finding(
                "disk",
                name,
                f"the log of {name} has {size(log)}: {command_here('admin')} snapshot {name} cuts it; if it "
                "grows again, see what that node prints",
            )


def _slow(status: ClusterStatus) -> Iterator[Finding]:
    for node in status.nodes:
        if node.sync_ms is not None and node.sync_ms > SYNC_MS_MAX:
            yield Finding(
                "sync",
                node.node,
                f"the disk of {node.node} took {node.sync_ms:.0f} ms for a sync: every credit waits for "
                "a majority's "
                "disks. Look for what else writes there, or give the log a disk of its own",
            )


def _releases(status: ClusterStatus) -> Iterator[Finding]:
    releases = _groups((node.node, node.version) for node in status.nodes)
    if len(releases) > 1:
        yield Finding(
            "versions",
            None,
            f"the nodes run different releases, {_told(releases)}: finish the upgrade (docs/upgrade.md)",
        )


def _backup(status: ClusterStatus) -> Iterator[Finding]:
    answering = [node for node in status.nodes if node.feature_level is not None]
    if not answering or min(node.feature_level or 0 for node in answering) < DEEDS_LEVEL:
        return
    last_us = max((node.last_backup_us or 0 for node in answering), default=0)
    days = (time.time_ns() // 1000 - last_us) // DAY_US
    take = f"{command_here('admin')} backup FOLDER --verify, from cron (docs/backup.md)"
    if not last_us:
        yield Finding("backup", None, f"no backup of this bank was ever begun: {take}")
    elif days >= BACKUP_DAYS_MAX:
        yield Finding("backup", None, f"the last backup of this bank was begun {days} days ago: {take}")


def _pepper_beside_data(cluster: Cluster) -> Iterator[Finding]:
    """Say that a pepper of this machine is where it was put up to release 1.1."""
    inside = cluster.data_dir / PEPPER_FILE
    if cluster.pepper_file == inside and inside.exists():
        outside = cluster.data_dir.parent / SECRETS_FOLDER
        yield Finding(
            "pepper",
            None,
            f"the pepper is in {cluster.data_dir}, so a copy of the data opens its PINs: "
            f"mkdir -m 700 {outside}, and mv {inside} {outside} (while the nodes run, too)",
        )


def _files(status: ClusterStatus) -> Iterator[Finding]:
    newest = _groups((node.node, (node.pepper, *node.further_peppers)[-1]) for node in status.nodes)
    peppers = _groups((node.node, node.pepper) for node in status.nodes)
    if len(peppers) == 1 and len(newest) > 1:
        yield Finding(
            "pepper",
            None,
            f"the nodes' pepper files end with different lines, {_told(newest, named=False)}: copy the one "
            "that was added to last to all machines; the nodes read it by themselves",
        )
    if len(peppers) > 1:
        yield Finding(
            "pepper",
            None,
            f"the nodes seal PINs with different peppers, {_told(peppers, named=False)}: copy the "
            "pepper file of the "
            "larger group to the others and start these again",
        )
    files = _groups((node.node, node.config) for node in status.nodes)
    if len(files) > 1:
        yield Finding(
            "cluster.ini",
            None,
            f"the nodes' cluster.ini differ, {_told(files, named=False)}: give all the same file",
        )


def _addresses(cluster: Cluster, status: ClusterStatus) -> Iterator[Finding]:
    """Compare cluster.ini here with the members in the log."""
    if not status.members:
        return
    names = {row.node for row in status.members}
    for name in cluster.nodes:
        if name not in names:
            yield Finding(
                "cluster.ini",
                name,
                f"{cluster.path} has node {name}, which is no member: take its section out",
            )
    for row in status.members:
        known = cluster.nodes.get(row.node)
        if known is None:
            yield Finding(
                "cluster.ini",
                row.node,
                f"{cluster.path} lacks member {row.node} (client = {row.client}, peer = {row.peer}): "
                "add its section",
            )
            continue
        for key, here, there in (("client", known.client, row.client), ("peer", known.peer, row.peer)):
            if there and str(here) != there:
                yield Finding(
                    "cluster.ini",
                    row.node,
                    f"{cluster.path} has {key} = {here} for {row.node}, and the cluster has {there}: "
                    "correct the file, "
                    f"or if the node has moved: {command_here('admin')} move {row.node}",
                )


def certificate_findings(status: ClusterStatus, credentials: Credentials | None) -> Iterator[Finding]:
    """Yield a finding for each certificate that ends within a month."""
    for certificate in certificate_ends(status, credentials):
        if certificate.days_left < CERTIFICATE_DAYS_MIN:
            yield Finding(
                "certificates",
                certificate.node,
                f"{certificate.phrase}: afterwards nobody connects with it. Renew it where the CA's key is "
                f"({command_here('admin')} certs renew {certificate.name}) and copy both files to its "
                "machine",
            )


def _clocks(status: ClusterStatus, credentials: Credentials | None) -> dict[str, Clock]:
    """Ask each node that answers for its clock, one after another."""
    found: dict[str, Clock] = {}
    for node in status.nodes:
        if node.missing is not None:
            continue
        address: Address = parse_address(node.address)
        asked, started = time.time(), time.monotonic()
        answer = ask_one(address, Status(id=new_request_id()), ASK_S, credentials, node.node)
        took_s = time.monotonic() - started
        if isinstance(answer, StatusReply) and answer.clock_us is not None:
            found[node.node] = Clock(answer.clock_us / 1e6 - (asked + took_s / 2), took_s / 2)
    return found


def _row(status: ClusterStatus, name: str) -> bool:
    return any(row.node == name for row in status.members)


def _groups(told: Iterable[tuple[str, Hashable]]) -> list[tuple[Hashable, list[str]]]:
    """Return what was told by whom, the largest group first; who told nothing is left out."""
    groups: defaultdict[Hashable, list[str]] = defaultdict(list)
    for name, what in told:
        if what is not None:
            groups[what].append(name)
    return sorted(groups.items(), key=lambda group: len(group[1]), reverse=True)


def _told(groups: list[tuple[Hashable, list[str]]], *, named: bool = True) -> str:
    return " | ".join((f"{what} on " if named else "") + ", ".join(names) for what, names in groups)
