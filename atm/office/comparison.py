"""Compares ledgers: do they hold the same at the same log index?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct

from atm.ledger.audit.findings import Findings


class Comparison(Struct, frozen=True):
    """Lines for people: what was `compared`, what differs; `alone` are ledgers compared with no other."""

    compared: list[str]
    differences: list[str]
    alone: list[str]


def compare(findings: Mapping[str, Findings]) -> Comparison:
    """Compare journals at every index that two ledgers know, and whole ledgers at the same applied index."""
    compared: list[str] = []
    differences: list[str] = []
    met: set[str] = set()
    chains: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for name, found in findings.items():
        for index, journal_hash in found.chain:
            chains[index][name] = journal_hash
    differs = False
    for index, hashes in sorted(chains.items()):
        if len(hashes) > 1:
            met |= hashes.keys()
            compared.append(f"journals up to log entry {index}: {', '.join(hashes)}")
            if len(set(hashes.values())) > 1 and not differs:
                differs = True  # and at every later index
                differences.append(f"up to log entry {index} the journals differ: {_groups(hashes)}")
    for index, names in sorted(_by_applied_index(findings).items()):
        if len(names) > 1:
            met.update(names)
            compared.append(f"all tables at log entry {index}: {', '.join(names)}")
            for table in sorted({table for name in names for table in findings[name].digests}):
                digests = {name: findings[name].digests.get(table, "") for name in names}
                if len(set(digests.values())) > 1:
                    differences.append(f"at log entry {index} the tables {table} differ: {_groups(digests)}")
    alone = [name for name in findings if name not in met]
    return Comparison(compared, differences, alone)


def _by_applied_index(findings: Mapping[str, Findings]) -> dict[int, list[str]]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, found in findings.items():
        if found.applied_index is not None:
            names[found.applied_index].append(name)
    return names


def _groups(said: Mapping[str, str]) -> str:
    """Return the groups of ledgers that agree, the largest first: `n1, n2, n4 | n3`."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name, what in said.items():
        groups[what].append(name)
    return " | ".join(", ".join(names) for names in sorted(groups.values(), key=len, reverse=True))
