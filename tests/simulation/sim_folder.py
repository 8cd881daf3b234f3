"""The data folder of one simulated server: node.json, and what it notes about the others, in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from msgspec.structs import replace

from atm.storage.data_folder import FORMAT, INCARNATIONS_FILE, PEERS_FILE, DataFolder, Owner
from tests.simulation.fuse import Fuse


@dataclass
class FolderFiles:
    """What outlives a crash. Each is replaced as a whole, and durably, so that a copy is one of a moment."""

    owner: Owner
    of_peers: dict[str, dict[str, Any]] = field(default_factory=dict)  # by the file's name


def new_files(node: str, store: str) -> FolderFiles:
    return FolderFiles(Owner(format=FORMAT, node=node, store=store))


class SimFolder(DataFolder):
    """The production folder's methods, on `FolderFiles`; each write may be the last."""

    def __init__(self, files: FolderFiles, fuse: Fuse, new_store: Callable[[], str]) -> None:
        self.path = Path("/node")
        self.owner = files.owner
        self._files, self._fuse, self._new_store = files, fuse, new_store
        self._peer_stores = files.of_peers.get(PEERS_FILE, {})
        self._incarnations = files.of_peers.get(INCARNATIONS_FILE, {})
        self._lock = Lock()

    def _rewrite(self, owner: Owner) -> None:
        if owner.store != self.owner.store:
            owner = replace(owner, store=self._new_store())  # drawn from the seed, as all chance is
        self._fuse.burn()
        self._files.owner = self.owner = owner
        self._fuse.burn()

    def _write_of_peers(self, name: str, content: object) -> None:
        assert isinstance(content, dict)
        self._fuse.burn()
        self._files.of_peers = {**self._files.of_peers, name: content}
        self._fuse.burn()
