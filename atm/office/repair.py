"""`bin/ledger repair`: shows what is wrong with a stopped node's folder; with `--yes` it repairs it."""

from __future__ import annotations

from atm.checkout import command_here
from atm.config import Cluster, ConfigError
from atm.server.group.repair import FolderState, inspect, repair

NOTHING_WRONG, WRONG = 0, 1


def run_repair(cluster: Cluster, node: str, term: int | None, *, yes: bool) -> int:
    """Print what a node's folder holds, and with `term` and `yes` repair it; return the exit code."""
    if node not in cluster.nodes:
        raise ConfigError(f"{cluster.path}: there is no node {node!r}, only {', '.join(cluster.nodes)}")
    if term is None or not yes:
        found = inspect(cluster, node)
        _print(node, found)
        print(
            f"Nothing was changed. To repair, stop all {len(cluster.nodes)} nodes and do this for each, "
            "with one term for all, the highest that this prints on any: "
            f"{command_here('ledger')} repair {node} --term {found.term_min} --yes"
            if found.wrong
            else "Nothing is wrong here. If another node must be repaired, this one needs it too, with the "
            f"same term; the lowest that it takes is {found.term_min}"
        )
        return WRONG if found.wrong else NOTHING_WRONG
    found, old = repair(cluster, node, term)
    _print(node, found)
    print(f"Repaired: node {node} is in term {term}. The folder as it was is {old}")
    print("Start no node before all of them are repaired with this term")
    return NOTHING_WRONG


def _print(node: str, found: FolderState) -> None:
    vote = f"voted for {found.hard_state.voted_for}" if found.hard_state.voted_for else "no vote"
    print(f"Node {node} is in term {found.hard_state.term}, {vote}")
    print(f"Its log has {found.last_index + found.cut} entries")
    for change in found.changes:
        print(f"- {change}")
    if found.changed > len(found.changes):
        print(f"- and {found.changed - len(found.changes)} more")
    if found.cut:
        print(f"- entries from {found.last_index + 1} on are of a term that no leader has: they are cut off")
    print(f"The last sane entry is {found.last_index} of term {found.last_term}")
