"""A thread that looks at files now and then, and at a signal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from threading import Event, Thread

LOOK_EVERY_S = 2.0

Stamp = tuple[int, int, int]


class FileWatch(ABC):
    """Calls `look` every `look_every_s` seconds, and when it is asked to."""

    def __init__(self, name: str, look_every_s: float) -> None:
        self._look_every_s = look_every_s
        self._asked = False
        self._stopping = False
        self._wake = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    @abstractmethod
    def look(self, *, asked: bool) -> None:
        """Read the files again if they have changed, or if that was `asked` for."""

    def start(self) -> None:
        self._thread.start()

    def read_again(self) -> None:
        """Have the files read at once; a signal handler may call it."""
        self._asked = True
        self._wake.set()

    def close(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._look_every_s)
            self._wake.clear()
            asked, self._asked = self._asked, False
            self.look(asked=asked)


def stamp_of(path: Path) -> Stamp:
    """Return what changes when the file is replaced or written."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_ino, found.st_size
