from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from atm.admin.main import main
from tests.admin.fake_membership import FakeMembership
from tests.support.running import Ran, Run


@pytest.fixture
def bank(tmp_path: Path) -> Iterator[FakeMembership]:
    bank = FakeMembership(tmp_path, size=3)
    yield bank
    bank.stop()


@pytest.fixture
def run(bank: FakeMembership, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run bin/admin on the fake bank."""

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        try:
            code = main(["--config", str(bank.cluster.config), *arguments])
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        return Ran(code, capsys.readouterr())

    return run
