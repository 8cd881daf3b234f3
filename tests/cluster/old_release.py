"""The real release 1.1.0, from this project's history."""

from __future__ import annotations

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

from tests.cluster.test_two_releases import THIS

OLD_RELEASE, OLD_COMMIT = "1.1.0", "e2333125da1b9734d962e2c0789a86dabdea3b24"


class NotInHistory(Exception):
    """It is not to be had here; `str()` of it says why."""


def unpack_old_release(folder: Path) -> Path:
    """Put its package into `folder`, and return that; raise `NotInHistory`."""
    archive = ["git", "archive", "--format=tar", OLD_COMMIT, "atm"]
    try:
        packed = subprocess.run(archive, cwd=THIS, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotInHistory(str(error)) from error
    with tarfile.open(fileobj=BytesIO(packed)) as tar:
        tar.extractall(folder, filter="data")
    return folder
