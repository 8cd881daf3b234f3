"""By how much the log has grown since an entry, in bytes; from that follows when to take a snapshot."""

from __future__ import annotations

from collections import deque

MARKS_MAX = 1_024  # 64 times the limit, as what is not applied yet may be; further ones replace the oldest


class LogGrowth:
    """Remembers how many bytes were written up to some entries; between them it interpolates."""

    def __init__(self, first_index: int, last_index: int, size_bytes: int, *, step_bytes: int) -> None:
        """The log has entries `first_index` to `last_index`, in `size_bytes`; a mark every `step_bytes`."""
        self._step_bytes = step_bytes
        self._size_bytes = size_bytes
        self._written = size_bytes  # since the log's beginning, as this process saw it
        self._last_index = last_index
        self._marks = deque([(first_index - 1, 0)], maxlen=MARKS_MAX)  # (index, bytes written up to it)
        if last_index >= first_index:
            self._marks.append((last_index, size_bytes))

    def note(self, last_index: int, size_bytes: int) -> None:
        """Note how the log stands now; it is smaller after a cut, and may have lost entries at its end."""
        self._written += max(0, size_bytes - self._size_bytes)
        self._size_bytes, self._last_index = size_bytes, last_index
        while len(self._marks) > 1 and self._marks[-1][0] > last_index:
            self._marks.pop()
        index, written = self._marks[-1]
        if last_index > index and self._written - written >= self._step_bytes:
            self._marks.append((last_index, self._written))

    def bytes_after(self, index: int) -> int:
        """Return how many bytes were written after the entry at `index`, about."""
        after = self._last_index, self._written
        for mark in reversed(self._marks):
            if mark[0] <= index:
                return self._written - _between(index, *mark, *after)
            after = mark
        return self._written - after[1]

    def index_before(self, size_bytes: int) -> int:
        """Return the entry after which about `size_bytes` were written, or the oldest that is known."""
        cutoff = self._written - size_bytes
        index, written = self._last_index, self._written
        for mark in reversed(self._marks):
            if mark[1] <= cutoff:
                return _between(cutoff, mark[1], mark[0], written, index)
            index, written = mark
        return index


def _between(x: int, x0: int, y0: int, x1: int, y1: int) -> int:
    return y0 if x1 <= x0 else y0 + (y1 - y0) * min(x - x0, x1 - x0) // (x1 - x0)
