"""Planted defects of what keeps people to their roles."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

PERMISSION_TESTS = "tests/server/test_permissions.py::"
ROUTER_TESTS = "tests/server/test_request_router.py::"

PERMISSIONS = (
    Mutant(
        name="roles not asked",
        what="a certificate of any role opens all that there is",
        edits=(Edit("ClientConnection._judge", "refusal_ is not None", "False"),),
        caught_by=PERMISSION_TESTS + "test_each_role_may_do_what_the_table_says_and_nothing_else",
    ),
    Mutant(
        name="gateway in its own name",
        what="a gateway need not say for whom it acts",
        edits=(Edit("permissions:may", "(roles_ & permitted_) - {Role.GATEWAY}", "roles_ & permitted_"),),
        caught_by=PERMISSION_TESTS + "test_only_a_gateway_may_name_an_end_user_and_it_must",
    ),
    Mutant(
        name="anybody for an end user",
        what="a teller writes another's name into the books",
        edits=(Edit("permissions:may", "Role.GATEWAY in roles_ & permitted_", "bool(roles_ & permitted_)"),),
        caught_by=PERMISSION_TESTS + "test_only_a_gateway_may_name_an_end_user_and_it_must",
    ),
    Mutant(
        name="level of a command not asked",
        what="a leader writes a command that a server of release 1.1 cannot read",
        edits=(Edit("RequestRouter._propose", "level_ < self._feature_level_max", "False"),),
        caught_by=ROUTER_TESTS
        + "test_a_command_above_the_clusters_level_is_certainly_not_done_and_others_are",
    ),
)
