"""The checks themselves: what they let pass and what they do not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from atm.raft.messages import Entry, EntryKind, HardState
from atm.raft.ready import Ready, Role
from tests.support.checks import EXPIRE, Checks, Violation
from tests.support.store import Store

VOTERS = frozenset((name, "") for name in "abcde")


def entry(index: int, term: int) -> Entry:
    return Entry(index=index, term=term, time_us=index, kind=EntryKind.NOOP, data=b"")


def save(term: int, *entries: Entry) -> Ready:
    return Ready(hard_state=HardState(term=term), entries=entries, role=Role.FOLLOWER, leader=None)


def after_a_commit_in_term_3_on(*holders: str) -> Checks:
    """Entry 1 of term 1 was committed by the leader of term 3; all but `holders` have nothing."""
    stores = {name: Store(entries=[entry(1, 1)] if name in holders else []) for name in "abcde"}
    return Checks(stores=stores, committed=[entry(1, 1)], committed_in=[3], committed_by=[VOTERS])


def test_a_deposed_leader_may_replace_a_committed_entry_where_it_was_not_counted() -> None:
    after_a_commit_in_term_3_on("a", "b", "c", "d").ready("d", save(2, entry(1, 2)))


def test_no_server_replaces_a_committed_entry_in_a_later_term() -> None:
    with pytest.raises(Violation, match="never replaced"):
        after_a_commit_in_term_3_on("a", "b", "c", "d").ready("d", save(4, entry(1, 4)))


def test_a_committed_entry_stays_on_a_majority() -> None:
    with pytest.raises(Violation, match="stays on a majority"):
        after_a_commit_in_term_3_on("a", "b", "c").ready("c", save(2, entry(1, 2)))


@pytest.mark.parametrize("terms", [(), (3,), (4,), (4, 4)])
def test_what_is_due_is_ended_by_one_command_of_the_leader_that_finds_it(terms: tuple[int, ...]) -> None:
    ended = {"kind": EntryKind.COMMAND, "data": EXPIRE}
    expires = [replace(entry(index, term), **ended) for index, term in enumerate(terms, 2)]
    checks = Checks(stores={"a": Store(entries=[replace(entry(1, 3), **ended), *expires])})
    if terms == (4,):
        checks.ends_holds("a", term=4, applied_index=1)
    else:
        with pytest.raises(Violation, match="what is due is ended"):
            checks.ends_holds("a", term=4, applied_index=1)
