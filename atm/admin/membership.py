"""`bin/admin members`, and all that changes them: add, remove, move, replace; transfer and snapshot.

Each change can be repeated: it begins where the last one stopped, by what the cluster's log says.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator

from msgspec.structs import asdict
from tabulate import tabulate

from atm.admin.catching_up import CatchingUp
from atm.admin.new_cluster import section
from atm.admin.task import DONE, INTERRUPTED, NOT_AVAILABLE, REFUSED, TIMEOUT_S, UNKNOWN, USAGE, NotDone, Task
from atm.checkout import command_here
from atm.client.errors import ClientError, OutcomeUnknown
from atm.client.node_status import LEADER, ClusterStatus
from atm.client.receipt import new_request_id
from atm.command_line import printable
from atm.config import is_node_name, is_wildcard, parse_address
from atm.wire.client_messages import (
    AddMember,
    AdminChange,
    AdminReply,
    MembersReply,
    MemberView,
    MoveMember,
    RemoveMember,
    ReplaceMember,
    TransferLeadership,
)

SNAPSHOT_S = 3600.0
POLL_S = 0.1
CONNECTED_WITHIN_S = 5.0
NOT_CONNECTED = "is not connected"  # in the leader's refusal


# -- arguments ---------------------------------------------------------------------------------------


def add_nothing(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def add_addresses(parser: argparse.ArgumentParser) -> None:
    """Add a name and two addresses."""
    parser.add_argument("node", type=_name, metavar="NAME", help="the node's name")
    parser.add_argument("--peer", type=_address, required=True, metavar="H:P", help="where nodes connect")
    parser.add_argument("--client", type=_address, required=True, metavar="H:P", help="where tellers connect")


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add a name."""
    parser.add_argument("node", type=_name, metavar="NAME", help="the member's name")


def add_name_and_yes(parser: argparse.ArgumentParser) -> None:
    """Add a name, and `--yes`."""
    add_name(parser)
    parser.add_argument("--yes", action="store_true", help="also if the number of voters falls")


def add_optional_name(parser: argparse.ArgumentParser) -> None:
    """Add a name that may be left out."""
    parser.add_argument("node", nargs="?", type=_name, metavar="NAME", help="the member's name; default: any")


# -- reading -----------------------------------------------------------------------------------------


def show(task: Task) -> int:
    """Print the members."""
    found = task.client.members()
    rows = [
        (
            row.node,
            "voter" if row.voter else "learner",
            printable(row.peer) or None,
            printable(row.client) or None,
            row.since,
        )
        for row in found.members
    ]
    headers = ("node", "kind", "peer", "client", "since entry")
    alignment = ("left", "left", "left", "left", "right")
    table = tabulate(rows, headers, missingval="-", disable_numparse=True, colalign=alignment)
    fields = {"members": [asdict(row) for row in found.members], "index": found.index}
    return task.finish(table, fields)


# -- changing ----------------------------------------------------------------------------------------


def add(task: Task) -> int:
    """Add a learner, wait until it has caught up, make it a voter, print its section."""
    options = task.options
    name, peer, client = options.node, str(options.peer), str(options.client)
    again = f"{command_here('admin')} add {name} --peer {peer} --client {client}"
    with _told_if_interrupted(task, name, again):
        found = task.client.members()
        row = _row(found, name)
        if row is None:
            _require_unused(found, peer, client)
            change(task, AddMember(id=new_request_id(), node=name, peer=peer, client=client))
            task.progress(f"{name} is a learner now: it gets the log, and has no vote yet")
        elif (row.peer, row.client) != (peer, client):
            raise NotDone(
                REFUSED,
                f"{name} is a member already, with the addresses {row.peer} and {row.client}: "
                f"move it ({command_here('admin')} move {name} …), or choose another name",
            )
        elif not row.voter:
            task.progress(f"{name} is a learner already: it goes on catching up")
        if row is None or not row.voter:
            task.progress(
                f"If it does not run yet: put the section below into a cluster.ini there, with the pepper of "
                f"the others, and start it ({command_here('start_node')} {name})\n".rstrip()
            )
            for line in section(name, client, peer).splitlines():
                task.progress(f"    {line}")
            CatchingUp(task, name, again).until_voter()
            text = f"{name} is a voter now. Its section for cluster.ini, on every machine:\n"
        else:
            text = f"{name} is a voter already. Its section for cluster.ini, on every machine:\n"
    fields = {"node": name, "voter": True, "section": section(name, client, peer)}
    return task.finish(f"{text}\n{section(name, client, peer)}".rstrip(), fields)


def remove(task: Task) -> int:
    """Take a member out; a voter only with `--yes`."""
    name, yes = task.options.node, task.options.yes
    found = task.client.members()
    row = _member(found, name)
    voters = sum(each.voter for each in found.members)
    if row.voter and voters == 1:
        raise NotDone(REFUSED, f"{name} is the only voter: without it there is no bank. Nothing was changed")
    if row.voter and not yes:
        raise NotDone(
            REFUSED,
            f"{name} is a voter: {voters - 1} would be left, which go on serving while "
            f"{(voters - 1) // 2 + 1} "
            f"of them run. Nothing was changed. To do it: {command_here('admin')} remove {name} --yes",
        )
    change(task, RemoveMember(id=new_request_id(), node=name, yes=yes))
    text = (
        f"{name} is no member any more: it stops. Take its section out of cluster.ini on every machine. "
        "It comes back only by add, with an empty data folder"
    )
    return task.finish(text, {"node": name})


def move(task: Task) -> int:
    """Announce other addresses; the node must be started there by the operator."""
    options = task.options
    name, peer, client = options.node, str(options.peer), str(options.client)
    found = task.client.members()
    row = _member(found, name)
    _require_unused(found, peer, client, but=name)
    if (row.peer, row.client) != (peer, client):
        change(task, MoveMember(id=new_request_id(), node=name, peer=peer, client=client))
    text = (
        f"{name} is expected at {peer} (nodes) and {client} (tellers) from now on. Start it there, with "
        "its own "
        f"data folder and this section in cluster.ini, which belongs on every machine:\n\n"
        f"{section(name, client, peer)}"
    ).rstrip()
    return task.finish(text, {"node": name, "section": section(name, client, peer)})


def replace(task: Task) -> int:
    """Make a member that lost its disk a learner by its new folder, and a voter once it has caught up."""
    name = task.options.node
    again = f"{command_here('admin')} replace {name}"
    with _told_if_interrupted(task, name, again):
        _member(task.client.members(), name)
        _replace_once_connected(task, name)
        task.progress(f"{name} is a learner now, by the data folder that it has: it gets what it lacks")
        CatchingUp(task, name, again).until_voter()
    return task.finish(f"{name} is a voter again", {"node": name, "voter": True})


def _replace_once_connected(task: Task, name: str) -> None:
    """Ask for it until the node, which may just have been started, has connected to the leader."""
    until = time.monotonic() + CONNECTED_WITHIN_S
    while True:
        try:
            change(task, ReplaceMember(id=new_request_id(), node=name))
            return
        except NotDone as refused:
            if NOT_CONNECTED not in str(refused) or time.monotonic() > until:
                raise
        time.sleep(POLL_S)


def transfer(task: Task) -> int:
    """Hand leadership over; to the member that is named, or to whoever has caught up best."""
    name = task.options.node
    if name is not None:
        row = _member(task.client.members(), name)
        if not row.voter:
            raise NotDone(REFUSED, f"{name} is a learner: only a voter can lead. Nothing was changed")
    before = task.client.status()
    if not (name is not None and before.leader == name):
        change(task, TransferLeadership(id=new_request_id(), node=name))
    until = time.monotonic() + (task.timeout_s or TIMEOUT_S)
    while True:
        status = task.client.status()
        if status.available and (status.leader == name if name else status.leader != before.leader):
            text = f"{status.leader} leads now, in term {status.term}"
            return task.finish(text, {"leader": status.leader, "term": status.term})
        if time.monotonic() > until:
            leads = next((node.node for node in status.nodes if node.role == LEADER), "none that answers")
            raise NotDone(UNKNOWN, f"leadership was to be handed over, and the leader is {leads}: see status")
        time.sleep(POLL_S)


def snapshot(task: Task) -> int:
    """Let a node, or all of them one after another, take a snapshot and cut its log."""
    found = task.client.members()
    chosen = task.options.node
    names = [_member(found, chosen).node] if chosen else [row.node for row in found.members]
    status = task.client.status()
    done: dict[str, int] = {}
    for name in names:
        try:
            done[name] = _snapshot_of(task, name, status)
        except (ClientError, NotDone) as error:
            if chosen:
                raise
            task.progress(str(error))
    if not done:
        raise NotDone(NOT_AVAILABLE, "no node took a snapshot")
    lines = [f"{name}: the snapshot holds all up to entry {index}" for name, index in done.items()]
    code = DONE if len(done) == len(names) else REFUSED
    return task.finish("\n".join(lines), {"snapshots": done}, code)


def _snapshot_of(task: Task, name: str, status: ClusterStatus) -> int:
    """Return up to which entry the snapshot is that `name` takes; raise `NotDone`."""
    node = status.node(name)
    missing = "does not answer" if node is None else node.missing
    if missing is not None:
        raise NotDone(NOT_AVAILABLE, f"{name} {missing}: it took no snapshot")
    reply = task.client.take_snapshot(name, task.timeout_s or SNAPSHOT_S)
    if reply.outcome != "ok":
        raise NotDone(REFUSED, f"{name} took no snapshot: {reply.message}")
    return reply.index


# -- parts -------------------------------------------------------------------------------------------


def change(task: Task, request: AdminChange) -> AdminReply:
    """Return the leader's answer; raise `NotDone` if it refuses.

    When no answer comes it is asked again, for as long as a node is looked for: whatever is so already
    changes nothing, and a leader that is removed may go before it has answered.
    """
    until = time.monotonic() + (task.timeout_s or TIMEOUT_S)
    asked_again = False
    while True:
        try:
            reply = task.client.change(request)
            break
        except OutcomeUnknown:
            if time.monotonic() > until:
                raise
        if not asked_again:
            task.progress("No answer came: asking again")
        asked_again = True
        time.sleep(POLL_S)
    if reply.outcome != "ok":
        raise NotDone(
            REFUSED,
            printable(reply.message) or f"the leader refuses ({reply.outcome}), and nothing was changed",
        )
    return reply


@contextlib.contextmanager
def _told_if_interrupted(task: Task, name: str, again: str) -> Iterator[None]:
    """After Ctrl-C, say what the member is now and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise NotDone(INTERRUPTED, _state_line(task, name, again)) from None


def _state_line(task: Task, name: str, again: str) -> str:
    try:
        row = _row(task.client.members(), name)
    except ClientError:
        return (
            f"Interrupted: what {name} is now could not be learned. "
            f"See {command_here('admin')} members; to go on: {again}"
        )
    if row is None:
        return f"Interrupted: {name} is no member, nothing was changed. To go on: {again}"
    if row.voter:
        return f"Interrupted: {name} is a voter"
    return (
        f"Interrupted: {name} is a learner, which goes on catching up and has no vote. To go on: {again}; "
        f"to take it out: {command_here('admin')} remove {name}"
    )


def _row(found: MembersReply, name: str) -> MemberView | None:
    return next((row for row in found.members if row.node == name), None)


def _member(found: MembersReply, name: str) -> MemberView:
    row = _row(found, name)
    if row is None:
        names = ", ".join(each.node for each in found.members)
        raise NotDone(USAGE, f"there is no member {name}: the members are {names}")
    return row


def _require_unused(found: MembersReply, peer: str, client: str, but: str | None = None) -> None:
    """Raise `NotDone` if an address is another member's, or if both are one."""
    if peer == client:
        raise NotDone(
            USAGE, f"--peer and --client are the same address, {peer}: nodes and tellers need one each"
        )
    for row in found.members:
        for address in (peer, client):
            if row.node != but and address in (row.peer, row.client):
                raise NotDone(REFUSED, f"{address} is the address of member {row.node}. Nothing was changed")


def _name(text: str) -> str:
    if is_node_name(text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no node's name: up to 32 letters, digits, _ and -")


def _address(text: str) -> str:
    try:
        address = parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if is_wildcard(address.host):
        raise argparse.ArgumentTypeError(
            f"{text} means all addresses of a machine: give the one that others reach"
        )
    return str(address)
