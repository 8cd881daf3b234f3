"""`python -m course FILE.py`: run seeds on the Raft of a student, and show the first that fails."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # or sets of names would have another order each time
        fixed = {**os.environ, "PYTHONHASHSEED": "0"}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], fixed)
    from course.command import main

    sys.exit(main())
