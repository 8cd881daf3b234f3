"""Several ledgers side by side: do they say the same at the same point of the log?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from msgspec import Struct

from atm.ledger.audit.findings import Findings


class Comparison(Struct, frozen=True):
    """`compared` says what was, `differences` what differs, `alone` names ledgers that met no other."""

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
                differs = True  # and for ever after
                differences.append(f"up to log entry {index} the journals differ: {_parties(hashes)}")
    for index, names in sorted(_by_applied_index(findings).items()):
        if len(names) > 1:
            met.update(names)
            compared.append(f"all tables at log entry {index}: {', '.join(names)}")
            for table in sorted({table for name in names for table in findings[name].digests}):
                digests = {name: findings[name].digests.get(table, "") for name in names}
                if len(set(digests.values())) > 1:
                    differences.append(f"at log entry {index} the tables {table} differ: {_parties(digests)}")
    alone = [name for name in findings if name not in met]
    return Comparison(compared, differences, alone)


def _by_applied_index(findings: Mapping[str, Findings]) -> dict[int, list[str]]:
    names: defaultdict[int, list[str]] = defaultdict(list)
    for name, found in findings.items():
        if found.applied_index is not None:
            names[found.applied_index].append(name)
    return names


def _parties(said: Mapping[str, str]) -> str:
    """Return who says the same as whom, the many first: `n1, n2, n4 | n3`."""
    parties: defaultdict[str, list[str]] = defaultdict(list)
    for name, what in said.items():
        parties[what].append(name)
    return " | ".join(", ".join(names) for names in sorted(parties.values(), key=len, reverse=True))
