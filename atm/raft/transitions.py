"""The allowed changes of role (Figure 4, and the pre-vote). Any other change is a bug and crashes."""

from __future__ import annotations

from atm.raft.ready import Role

TRANSITIONS: dict[tuple[Role, Role], str] = {
    (Role.FOLLOWER, Role.FOLLOWER): "learns of a new term or leader",
    (Role.FOLLOWER, Role.PRE_CANDIDATE): "no leader for an election timeout",
    (Role.FOLLOWER, Role.CANDIDATE): "the leader hands over",
    (Role.PRE_CANDIDATE, Role.PRE_CANDIDATE): "times out, starts again",
    (Role.PRE_CANDIDATE, Role.FOLLOWER): "finds a leader or a higher term",
    (Role.PRE_CANDIDATE, Role.CANDIDATE): "a majority would grant its vote",
    (Role.CANDIDATE, Role.PRE_CANDIDATE): "times out, starts again",
    (Role.CANDIDATE, Role.FOLLOWER): "finds a leader or a higher term",
    (Role.CANDIDATE, Role.LEADER): "a majority has granted its vote",
    (Role.LEADER, Role.FOLLOWER): "finds a higher term, or no majority has answered for an election timeout",
}

RAISE_THE_TERM = {(Role.PRE_CANDIDATE, Role.CANDIDATE), (Role.FOLLOWER, Role.CANDIDATE)}


def check(before: Role, after: Role) -> None:
    """Assert that the change is in the table."""
    assert (before, after) in TRANSITIONS, f"a {before.value} cannot become a {after.value}"


def _reachable_in_a_term() -> set[tuple[Role, Role]]:
    """Return the pairs of roles that changes within one term connect; a campaign raises the term."""
    known = {(role, role) for role in Role}
    steps = TRANSITIONS.keys() - RAISE_THE_TERM
    while more := {(a, d) for a, b in known for c, d in steps if b is c} - known:
        known |= more
    return known


_IN_A_TERM = _reachable_in_a_term()


def possible_in_a_term(before: Role, after: Role) -> bool:
    """Return whether a server that was `before` may be `after` in the same term."""
    return (before, after) in _IN_A_TERM


def diagram() -> str:
    """Return the table as a Mermaid state diagram, which docs/architecture.md shows."""
    lines = ["stateDiagram-v2", f"    [*] --> {_state(Role.FOLLOWER)}: starts"]
    lines += [f"    {_state(a)} --> {_state(b)}: {why}" for (a, b), why in TRANSITIONS.items()]
    return "\n".join(lines)


def _state(role: Role) -> str:
    return role.name.title().replace("_", "")
