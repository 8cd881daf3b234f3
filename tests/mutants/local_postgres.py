"""Planted defects of the PostgreSQL servers on this machine."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

TESTS = "tests/test_local_postgres.py::"

LOCAL_POSTGRES = (
    Mutant(
        name="the standby that has least is promoted",
        what="what was acknowledged by the quorum is lost with the old primary",
        edits=(
            Edit(
                "LocalPostgres.promote",
                "max(standbys_, key=self_._received)",
                "min(standbys_, key=self_._received)",
            ),
        ),
        caught_by=TESTS + "test_a_killed_primary_gives_way_to_the_standby_that_has_most_and_rejoins_it",
    ),
    Mutant(
        name="a quorum that is no majority",
        what="with five servers, two of them acknowledge a commit",
        edits=(Edit("LocalPostgres.__init__", "(standbys_ + 1) // 2 if ... else ...", "min(standbys_, 1)"),),
        caught_by=TESTS + "test_as_many_standbys_commit_with_the_primary_as_make_a_majority",
    ),
    Mutant(
        name="a server without a password",
        what="any user of this machine is its superuser",
        edits=(Edit("Folders.initialize", "'--auth=scram-sha-256'", "'--auth=trust'"),),
        caught_by=TESTS + "test_nobody_gets_in_without_the_password",
    ),
)
