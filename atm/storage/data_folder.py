"""A node's folder: whose it is, which process has it, and which folders its peers have shown.

node.json    node, cluster, the random name of this store, and which pepper is used; written once
peers.json   the store that each peer showed at its first hello; never overwritten
node.lock    locked by the running process
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping
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

T = TypeVar("T")


class FolderRefused(Exception):
    """The folder cannot be used; `str()` of it is one line for people."""


class Owner(Struct, frozen=True, kw_only=True):
    """What node.json says."""

    node: str
    cluster: str
    peer_addresses: Mapping[str, str]
    store: str
    pepper: str | None = None


class DataFolder:
    """An opened and locked folder `<data_dir>/<node>/`; raises `FolderRefused`."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self.path = cluster.data_dir / node
        self._lock_fd = -1
        try:
            make_folder(self.path)
            self._lock_fd = _locked(self.path / LOCK_FILE, node)
            self.owner = self._open(cluster, node)
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

    def check_pepper(self, name: str) -> None:
        """Remember durably which pepper PINs are sealed with; raise `FolderRefused` if it is another now."""
        if self.owner.pepper is None:
            self.owner = replace(self.owner, pepper=name)
            try:
                write_durably(self.path / NODE_FILE, _encoded(self.owner))
            except OSError as error:
                raise FolderRefused(
                    f"cannot write {self.path / NODE_FILE}: {error.strerror or error}"
                ) from error
        elif self.owner.pepper != name:
            raise FolderRefused(
                f"{self.path} was used with another pepper_file: no customer's PIN would be right any more. "
                "Put the old file back, from another machine or a backup"
            )

    def knows_other(self, peer: str, store: str) -> bool:
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

    def _open(self, cluster: Cluster, node: str) -> Owner:
        path = self.path / NODE_FILE
        mine = Owner(
            node=node,
            cluster=cluster.identity(),
            peer_addresses={name: str(other.peer) for name, other in cluster.nodes.items()},
            store=secrets.token_hex(16),
        )
        if not path.exists():
            if any(self.path.glob(LOG_FILE_PATTERN)) or (self.path / LEDGER_FILE).exists():
                raise FolderRefused(
                    f"{self.path} holds a log or a ledger but no {NODE_FILE}, so nobody can tell whose they "
                    "are. Restore that file or move the folder away"
                )
            sync_folder(self.path.parent)  # first: whoever finds the file does not sync that again
            write_durably(path, _encoded(mine))
            return mine
        owner = _decoded(path, Owner)
        if owner.node != node:
            raise FolderRefused(f"{self.path} belongs to node {owner.node}, not to node {node}")
        if owner.cluster != mine.cluster:
            raise FolderRefused(
                f"{self.path} belongs to another cluster ({_listed(owner.peer_addresses)}); "
                f"this one is {_listed(mine.peer_addresses)}. Use another data_dir"
            )
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


def _listed(addresses: Mapping[str, str]) -> str:
    return ", ".join(f"{name} at {address}" for name, address in addresses.items())
