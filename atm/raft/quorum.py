"""Majorities: any two of them share a server, and all of Raft's safety rests on that."""

from __future__ import annotations

from collections.abc import Iterable


def majority(servers: int) -> int:
    """Return how many of `servers` are more than half; the server itself counts as one."""
    return servers // 2 + 1


def agreed_by_majority(values: Iterable[int], servers: int) -> int:
    """Return the highest value that a majority has reached (Figure 2, leaders, last rule).

    `values` are those of the servers that count; one that does not count has reached nothing.
    """
    ranked = sorted(values, reverse=True)
    return ranked[majority(servers) - 1] if len(ranked) >= majority(servers) else 0
