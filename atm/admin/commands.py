"""All commands of bin/admin, in the order of `--help`: a row each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from atm.admin import (
    approvals,
    backup,
    certs,
    doctor,
    events,
    health,
    lane_moves,
    log_listing,
    membership,
    new_cluster,
    pepper,
    roles,
    sbom,
    status,
)
from atm.admin.task import Task


@dataclass(frozen=True)
class AdminCommand:
    """One command: what it does in a line, its arguments, and what runs it and returns the exit code.

    `waits`: its `--timeout` is for the whole work, and not only for finding a node that answers.
    """

    name: str
    does: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Task], int]
    waits: bool = False


COMMANDS = (
    AdminCommand("init", "write a cluster.ini into this folder", new_cluster.add_arguments, new_cluster.run),
    AdminCommand("status", "show every node, and who leads", status.add_arguments, status.run),
    AdminCommand("health", "say in one line whether all is well, for cron", health.add_arguments, health.run),
    AdminCommand("members", "show who belongs to the cluster", membership.add_nothing, membership.show),
    AdminCommand(
        "add",
        "make a new node a member, and a voter once it has caught up",
        membership.add_addresses,
        membership.add,
        waits=True,
    ),
    AdminCommand(
        "remove", "take a member out of the cluster", membership.add_name_and_yes, membership.remove
    ),
    AdminCommand("move", "announce other addresses of a member", membership.add_addresses, membership.move),
    AdminCommand(
        "replace",
        "make a member that lost its disk a voter again",
        membership.add_name,
        membership.replace,
        waits=True,
    ),
    AdminCommand("transfer", "hand leadership over", membership.add_optional_name, membership.transfer),
    AdminCommand(
        "snapshot",
        "take a snapshot now and cut the log",
        membership.add_optional_name,
        membership.snapshot,
        waits=True,
    ),
    AdminCommand(
        "roles", "grant and revoke roles, whatever certificates say", roles.add_arguments, roles.run
    ),
    AdminCommand(
        "approval-limit",
        "above an amount, have a second person approve a kind of request",
        approvals.add_limit_arguments,
        approvals.run_limit,
    ),
    AdminCommand(
        "approvals",
        "show these limits, and what waits for a second person",
        membership.add_nothing,
        approvals.run_list,
    ),
    AdminCommand(
        "pepper",
        "change the secret that PINs are sealed with, while the bank serves",
        pepper.add_arguments,
        pepper.run,
    ),
    AdminCommand(
        "lanes",
        "show the lanes of a bank on PostgreSQL, and move one to another database while it serves",
        lane_moves.add_arguments,
        lane_moves.run,
        waits=True,
    ),
    AdminCommand(
        "log", "print the log of a data folder on this machine", log_listing.add_arguments, log_listing.run
    ),
    AdminCommand(
        "events",
        "tell what has happened in the nodes lately, and why",
        events.add_arguments,
        events.run,
    ),
    AdminCommand(
        "backup",
        "add all that is new to a backup, while the bank serves",
        backup.add_backup_arguments,
        backup.run_backup,
    ),
    AdminCommand(
        "restore",
        "make new data folders from a backup",
        backup.add_restore_arguments,
        backup.run_restore,
    ),
    AdminCommand(
        "recover",
        "offline, after a majority was lost for good: go on with the nodes that are left",
        backup.add_recover_arguments,
        backup.run_recover,
    ),
    AdminCommand(
        "drill",
        "try a restore: into a temporary folder, with nodes that serve and are compared",
        backup.add_drill_arguments,
        backup.run_drill,
    ),
    AdminCommand("certs", "make, renew and show certificates", certs.add_arguments, certs.run),
    AdminCommand("sbom", "list what is installed, for programs (CycloneDX)", sbom.add_arguments, sbom.run),
    AdminCommand("doctor", "say what will hurt soon, in sentences", doctor.add_arguments, doctor.run),
)
