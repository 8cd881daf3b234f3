"""Planted defects of the guards: due holds in pieces, ledgers compared, disk room, clocks."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

HOLD_TESTS = "tests/ledger/test_holds.py::"

GUARDS = (
    Mutant(
        name="expiry without its limit",
        what="one entry ends all holds that are due, however few it says",
        edits=(Edit("expire_holds", "sorted(...)[:limit_]", "sorted(...)"),),
        caught_by=HOLD_TESTS + "test_a_limited_expiry_ends_those_that_were_due_first_and_leaves_the_others",
    ),
    Mutant(
        name="expiry depends on the batch",
        what="holds that were ended in the same batch use up the limit",
        edits=(Edit("_due_holds", "limit_ is None or len(rows_) < limit_ or unchanged_ >= limit_", "True"),),
        caught_by=HOLD_TESTS + "test_limited_expiries_in_one_batch_end_what_they_end_one_by_one",
    ),
    Mutant(
        name="limit unknown to the older release",
        what="a leader writes what a server of release 1.1 cannot read",
        edits=(Edit("RequestRouter._end_due_holds", "level_ >= EXPIRE_LIMIT_LEVEL", "True"),),
        caught_by="tests/server/test_router_over_ledger.py::"
        "test_holds_end_in_pieces_once_every_server_knows_how",
    ),
)
