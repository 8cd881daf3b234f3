"""Data folders of killed nodes."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

GONE_WITHIN_S = 10.0


def delete_folder(folder: Path) -> None:
    """Delete the data folder of a killed node.

    The process that was writing a snapshot for it notices only at its next step that the node is gone, and
    may have made one more file while the folder is emptied: then it is emptied again.
    """
    deadline_s = time.monotonic() + GONE_WITHIN_S
    while True:
        try:
            shutil.rmtree(folder)
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
