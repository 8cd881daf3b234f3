"""A node's folder: whose it is, which process has it, and which folders its peers have shown.

node.json    node, the random name of this store, the cluster's id once its first entry was applied, and
             which pepper is used
peers.json   the store that each peer showed at its first hello; never overwritten
node.lock    locked by the running process
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from threading import Lock
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from atm.config import LEDGER_FILE, Cluster
from atm.files import make_folder, sync_folder, write_durably

NODE_FILE = "node.json"
PEERS_FILE = "peers.json"
LOCK_FILE = "node.lock"
LOG_FILE_PATTERN = "raft.log*"
FORMAT = 2  # of the folder; 1 was release 1.0's, and said nothing of it

T = TypeVar("T")


class FolderRefused(Exception):
    """The folder cannot be used; `str()` of it is one line for people."""


class Owner(Struct, frozen=True, kw_only=True):
    """What node.json says."""

    format: int
    node: str
    store: str
    cluster_id: str = ""
    pepper: str | None = None


class _Format(Struct, frozen=True):
    """As much of node.json as every release reads."""

    format: int = 1


class DataFolder:
    """An opened and locked folder `<data_dir>/<node>/`; raises `FolderRefused`."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self.path = cluster.data_dir / node
        self._lock_fd = -1
        try:
            make_folder(self.path)
            self._lock_fd = _locked(self.path / LOCK_FILE, node)
            self.owner = self._open(node)
            self._peer_stores = self._read_peers()
        except OSError as error:
            self.close()
            raise FolderRefused(
                f"cannot use the data folder {self.path}: {error.strerror or error}. Check its permissions"
            ) from error
        except FolderRefused:
            self.close()
            raise
        self._lock = Lock()  # guards _peer_stores and their file

    @property
    def store(self) -> str:
        """The random name of this folder: a node with another one has lost its disk."""
        return self.owner.store

    @property
    def cluster_id(self) -> str:
        """The id of the cluster, empty as long as its first entry has not been applied here."""
        return self.owner.cluster_id

    def join(self, cluster_id: str) -> None:
        """Remember durably which cluster this folder belongs to; raise `FolderRefused` if it is another's."""
        if self.owner.cluster_id == cluster_id:
            return
        if self.owner.cluster_id:
            raise FolderRefused(
                f"{self.path} belongs to cluster {self.owner.cluster_id}, and its log to {cluster_id}: these "
                "files do not belong together. Put back those of one copy, or move the folder away"
            )
        self._rewrite(replace(self.owner, cluster_id=cluster_id))

    def check_pepper(self, name: str) -> None:
        """Remember durably which pepper PINs are sealed with; raise `FolderRefused` if it is another now."""
        if self.owner.pepper is None:
            self._rewrite(replace(self.owner, pepper=name))
        elif self.owner.pepper != name:
            raise FolderRefused(
                f"{self.path} was used with another pepper_file: no customer's PIN would be right any more. "
                "Put the old file back, from another machine or a backup"
            )

    def knows_another_store(self, peer: str, store: str) -> bool:
        """Return whether the peer has shown another store before. Nothing is remembered."""
        return self._peer_stores.get(peer, store) != store

    def register_peer_store(self, peer: str, store: str) -> bool:
        """Remember durably the first store a peer shows; return False if it has shown another before.

        Raises `FolderRefused` if that cannot be written.
        """
        with self._lock:
            known = self._peer_stores.get(peer)
            if known is not None:
                return known == store
            stores = {**self._peer_stores, peer: store}
            try:
                write_durably(self.path / PEERS_FILE, msgspec.json.encode(stores))
            except OSError as error:
                raise FolderRefused(
                    f"cannot write {self.path / PEERS_FILE}: {error.strerror or error}. Peers are not let in "
                    "before it is known which data folder they have"
                ) from error
            self._peer_stores = stores
            return True

    def close(self) -> None:
        """Let another process have the folder."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _rewrite(self, owner: Owner) -> None:
        try:
            write_durably(self.path / NODE_FILE, _encoded(owner))
        except OSError as error:
            raise FolderRefused(f"cannot write {self.path / NODE_FILE}: {error.strerror or error}") from error
        self.owner = owner

    def _open(self, node: str) -> Owner:
        path = self.path / NODE_FILE
        mine = Owner(format=FORMAT, node=node, store=secrets.token_hex(16))
        if not path.exists():
            if any(self.path.glob(LOG_FILE_PATTERN)) or (self.path / LEDGER_FILE).exists():
                raise FolderRefused(
                    f"{self.path} holds a log or a ledger but no {NODE_FILE}, so nobody can tell whose they "
                    "are. Restore that file or move the folder away"
                )
            sync_folder(self.path.parent)  # first: whoever finds the file does not sync that again
            write_durably(path, _encoded(mine))
            return mine
        version = _decoded(path, _Format).format
        if version < FORMAT:
            raise FolderRefused(
                f"{self.path} was written by release 1.0, which decided some commands otherwise: export "
                "the books with that release (bin/ledger export) and import them into a new cluster with "
                "this one (bin/ledger import), as docs/upgrade.md says"
            )
        if version > FORMAT:
            raise FolderRefused(f"{self.path} was written by a newer release: install that one")
        owner = _decoded(path, Owner)
        if owner.node != node:
            raise FolderRefused(f"{self.path} belongs to node {owner.node}, not to node {node}")
        return owner

    def _read_peers(self) -> dict[str, str]:
        path = self.path / PEERS_FILE
        return _decoded(path, dict[str, str]) if path.exists() else {}


def _locked(path: Path, node: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise FolderRefused(f"node {node} is already running on {path.parent}") from None
    return fd


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FolderRefused(f"{path} is damaged: {error}. Restore it or move the folder away") from error


def _encoded(owner: Owner) -> bytes:
    return msgspec.json.format(msgspec.json.encode(owner))
