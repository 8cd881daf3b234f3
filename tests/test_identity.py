"""Who a certificate names."""

from __future__ import annotations

import pytest

from atm.identity import Identity, NoIdentity, Role, identity_of, role_uri


def test_a_certificate_names_one_and_its_roles() -> None:
    ann = identity_of(["https://example.org", "atm:teller/ann", "atm:auditor/ann"])
    assert ann == Identity("ann", frozenset({Role.TELLER, Role.AUDITOR}))
    assert not ann.is_node
    assert identity_of([role_uri(Role.NODE, "5000")]).is_node


@pytest.mark.parametrize(
    ("uris", "why"),
    [
        ([], "names nobody"),
        (["https://example.org"], "names nobody"),
        (["atm:teller/ann", "atm:teller/bob"], "several people"),
        (["atm:node/5000", "atm:admin/5000"], "another role"),
        (["atm:root/ann"], "no role of a bank"),
        (["atm:teller/"], "no role of a bank"),
        (["atm:teller/ann b"], "no role of a bank"),
        (["atm:teller/" + "a" * 33], "no role of a bank"),
        (["atm:teller/ann\n"], "no role of a bank"),
    ],
)
def test_a_certificate_that_names_nobody_or_too_much_is_refused(uris: list[str], why: str) -> None:
    with pytest.raises(NoIdentity, match=why):
        identity_of(uris)


@pytest.mark.parametrize("name", ["", "-ann", ".ann", "ann/bob", "ann b", "a" * 33, "ann\n"])
def test_not_everything_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        role_uri(Role.TELLER, name)


@pytest.mark.parametrize("name", ["local", "bank"])
def test_nobody_has_a_name_that_the_books_have_for_something_else(name: str) -> None:
    with pytest.raises(NoIdentity, match="no person's name"):
        identity_of([role_uri(Role.TELLER, name)])
