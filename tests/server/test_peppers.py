"""The peppers of a file: what is sealed for one is carried over to the next, and nothing else opens it."""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from pathlib import Path

import pytest

from atm.ledger.commands import GENERATIONS_MAX
from atm.ledger.peppers import PepperState, generation_of, of_generation
from atm.server.security.peppers import (
    PEPPER_BYTES,
    PepperRefused,
    Peppers,
    add_pepper,
    new_peppers,
    peppers_of,
    read_peppers,
)

SECRETS = [bytes([number]) * PEPPER_BYTES for number in range(1, 5)]
FIRST = "5f" * 32  # a seal of generation 1


def test_a_seal_is_carried_over_step_by_step_or_at_once_to_the_same() -> None:
    peppers = Peppers(SECRETS)
    second = peppers.carried(FIRST, 2)
    assert second == "2:" + hmac.digest(SECRETS[1], bytes.fromhex(FIRST), "sha256").hex()
    assert peppers.carried(peppers.carried(second, 3), 4) == peppers.carried(FIRST, 4)
    assert peppers.carried(second, 2) == second
    assert peppers.carried(FIRST, 1) == FIRST
    assert [generation_of(peppers.carried(FIRST, number)) for number in (1, 2, 3, 4)] == [1, 2, 3, 4]


def test_who_knows_the_older_peppers_only_makes_other_seals() -> None:
    ours, guess = Peppers(SECRETS[:2]), Peppers([SECRETS[0], SECRETS[2]])
    assert ours.carried(FIRST, 2) != guess.carried(FIRST, 2)
    assert ours.carried(FIRST, 2) != of_generation(2, FIRST)


def test_a_carried_seal_is_made_the_same_in_every_release() -> None:
    """Else no customer's PIN would be right any more."""
    peppers = Peppers(SECRETS)
    found = hashlib.sha256(peppers.carried(FIRST, 4).encode() + "".join(peppers.names).encode()).hexdigest()
    assert found[:16] == "d677e3df297c019e"


def test_a_name_tells_a_pepper_and_all_before_it_from_others() -> None:
    names = Peppers(SECRETS).names
    assert Peppers(SECRETS[:2]).names == names[:2]
    assert Peppers([SECRETS[0], SECRETS[2]]).names[0] == names[0]
    assert len({*names, *Peppers([SECRETS[0], SECRETS[2]]).names[1:], Peppers(SECRETS[1:]).names[1]}) == 6
    assert all(len(name) == 16 for name in names)


def test_the_current_pepper_is_known_by_its_line_and_its_name() -> None:
    peppers = Peppers(SECRETS[:2])
    assert peppers.knows(PepperState())
    assert peppers.knows(PepperState(2, peppers.names[1], 7, None))
    assert not peppers.knows(PepperState(2, peppers.names[0], 7, None))
    assert not peppers.knows(PepperState(3, peppers.names[1], 7, None))
    assert not Peppers(SECRETS[:1]).knows(PepperState(2, peppers.names[1], 7, None))


# -- the file ----------------------------------------------------------------------------------------


def test_a_pepper_is_added_behind_the_others_durably_and_for_the_owner_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pepper.key"
    first = read_peppers(path)
    path.write_text(path.read_text().rstrip("\n"))  # as a backup of a release candidate wrote it
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    added = add_pepper(path)
    assert len(synced) == 2, "the file and its name"
    assert added.names[0] == first.names[0]
    assert len(added.names) == 2
    assert read_peppers(path).names == added.names
    assert len(path.read_text().splitlines()) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert add_pepper(path).names[:2] == added.names


def test_a_file_that_is_a_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "pepper.key", tmp_path / "link.key"
    read_peppers(path)
    link.symlink_to(path)
    added = add_pepper(link)
    assert link.is_symlink()
    assert read_peppers(path).names == added.names


def test_nothing_is_added_to_a_file_that_is_missing_damaged_full_or_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "pepper.key"
    with pytest.raises(PepperRefused, match="there is no pepper"):
        add_pepper(path)
    assert not path.exists()
    path.touch(mode=0o600)
    path.write_text("no pepper\n")
    with pytest.raises(PepperRefused, match="is damaged"):
        add_pepper(path)
    path.write_bytes(
        Peppers([bytes([number]) * PEPPER_BYTES for number in range(GENERATIONS_MAX)]).contents()
    )
    before = path.read_bytes()
    with pytest.raises(PepperRefused, match=f"has {GENERATIONS_MAX} lines"):
        add_pepper(path)
    path.chmod(0o644)
    with pytest.raises(PepperRefused, match="other users can read"):
        add_pepper(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "wrong",
    [
        lambda contents: contents + contents,
        lambda contents: contents + b"0" * 62 + b"\n",
        lambda contents: contents * (GENERATIONS_MAX + 1),
    ],
    ids=["twice the same", "half a line", "too many"],
)
def test_a_file_of_which_a_line_is_wrong_is_damaged(wrong: object) -> None:
    contents = new_peppers().contents()
    assert peppers_of(contents) is not None
    assert callable(wrong)
    assert peppers_of(wrong(contents)) is None
