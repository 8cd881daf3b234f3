"""Planted defects of what keeps people to their roles."""

from __future__ import annotations

from tests.mutants.edit import Edit
from tests.mutants.mutant import Mutant

PERMISSION_TESTS = "tests/server/test_permissions.py::"
ROLE_TESTS = "tests/ledger/test_roles.py::"
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
        edits=(Edit("RequestRouter._propose", "level_ < FEATURE_LEVEL_MAX", "False"),),
        caught_by=ROUTER_TESTS
        + "test_a_command_above_the_clusters_level_is_certainly_not_done_and_others_are",
    ),
    Mutant(
        name="revocation not heeded",
        what="a connection that is open keeps the role that was taken from it",
        edits=(
            Edit(
                "ledger.roles:effective",
                "(certified_ | change_.granted) & ~change_.revoked",
                "certified_ | change_.granted",
            ),
        ),
        caught_by=ROLE_TESTS + "test_a_revoked_role_counts_from_its_entry_on_and_a_grant_undoes_it",
    ),
    Mutant(
        name="roles not judged at the entry",
        what="a server that lags lets in whom the log has revoked, and it is done",
        edits=(Edit("rules:decide", "allowed(logged_, asked_.op, ...)", "True"),),
        caught_by=ROLE_TESTS + "test_a_revoked_role_counts_from_its_entry_on_and_a_grant_undoes_it",
    ),
    Mutant(
        name="deeds not recorded",
        what="what an operator did leaves no trace",
        edits=(
            Edit(
                "rules:decide",
                "if is_deed_: unit_.note_deed(...)",
                "pass",
            ),
        ),
        caught_by=ROLE_TESTS + "test_each_deed_is_recorded_with_who_did_it_and_what_came_of_it",
    ),
    Mutant(
        name="roles written for release 1.1",
        what="at feature level 1 an entry says roles",
        edits=(Edit("RequestRouter._propose", "level_ >= ROLES_LEVEL", "True"),),
        caught_by=ROUTER_TESTS + "test_an_entry_says_the_roles_of_its_actor_once_every_server_knows_them",
    ),
    Mutant(
        name="roles lost while a PIN is sealed",
        what="a request with a PIN may do all, whatever was revoked",
        edits=(
            Edit(
                "PinService.seal",
                "structs.replace(pending_, request=sealed_, payload=encode(sealed_))",
                "structs.replace(pending_, request=sealed_, payload=encode(sealed_), roles=0)",
            ),
        ),
        caught_by="tests/server/test_pin_service.py::"
        "test_each_account_of_a_batch_is_looked_up_once_and_each_pin_hashed_once",
    ),
)
