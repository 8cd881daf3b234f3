"""Snapshots without a ledger in them: some bytes in a file, and a store that knows them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random

from atm.raft.messages import Snapshot


@dataclass(frozen=True)
class SomeBytes:
    """What is fetched in place of a snapshot."""

    index: int
    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def some_bytes(index: int, length: int) -> SomeBytes:
    return SomeBytes(index, Random(index).randbytes(length))


class FakeFiles:
    """The `SnapshotFiles` of a snapshot server; counts how often a file was opened."""

    def __init__(self) -> None:
        self.paths: dict[tuple[int, str], Path] = {}
        self.opened = 0
        self.newest: Snapshot | None = None

    def put(self, snapshot: SomeBytes, folder: Path) -> None:
        path = folder / f"{snapshot.index}.offered"
        path.write_bytes(snapshot.data)
        self.paths[snapshot.index, snapshot.sha256] = path

    def open(self, index: int, sha256: str) -> int | None:
        path = self.paths.get((index, sha256))
        if path is None:
            return None
        self.opened += 1
        return os.open(path, os.O_RDONLY)
