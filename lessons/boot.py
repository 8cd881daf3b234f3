"""What the page runs first, before any module of the project: its archive unpacked, and the modules loaded.

It is run as text and not imported, since it forgets all modules of the project when a defect is planted.
"""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path("/project")
PROJECT = ("atm", "lessons", "tests")
ABSENT = ("resource",)  # modules that a browser's Python lacks; nothing here calls them


def load() -> Any:
    """Import the lessons anew, from the files as they are now; return what the page calls."""
    for name in [name for name in sys.modules if name.partition(".")[0] in PROJECT]:
        del sys.modules[name]
    importlib.invalidate_caches()
    return importlib.import_module("lessons.browser")


def write(files: Mapping[str, str]) -> None:
    """Put other contents into some of the project's files."""
    for name, text in files.items():
        path = ROOT / name
        path.write_text(text, encoding="utf-8")
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


for name in ABSENT:
    if importlib.util.find_spec(name) is None:
        sys.modules[name] = ModuleType(name)
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


ORIGINALS: dict[str, str] = {}  # of the files that have a defect now


def plant(lessons: Any, name: str) -> Any:
    """Put the right lines back, then the defect `name`, unless it is ""; return what the page calls now."""
    files, diff = lessons.planted(name, dict(ORIGINALS)) if name else ({}, "")
    write(ORIGINALS)
    ORIGINALS.clear()
    for file in files:
        ORIGINALS[file] = (ROOT / file).read_text(encoding="utf-8")
    write(files)
    loaded = load()
    loaded.LESSONS.diff = diff
    return loaded
