"""A node's data folder: its owner, its lock, and the store ids that the peers have shown.

node.json          the node's name, the store id (random), the cluster's id once the log's first entry was
                   applied, the name of the pepper, how often the node was started, a number drawn at each of
                   the last starts, and whether the cluster has known the node by another folder
peers.json         the store id that each peer showed at its first hello; never overwritten
incarnations.json  of each peer the store id, and the highest number of starts that it showed with it
node.lock          locked by the running process
"""

from __future__ import annotations

import fcntl
import os
import secrets
from errno import EDQUOT, ENOSPC
from pathlib import Path
from threading import Lock
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from atm.checkout import command_here
from atm.config import LEDGER_FILE, Cluster
from atm.files import make_folder, sync_folder, write_durably
from atm.storage.log_recovery import START_EMPTY_ADVICE
from atm.storage.private_folder import NotOurs, keep_others_from_writing, tighten

NODE_FILE = "node.json"
PEERS_FILE = "peers.json"
INCARNATIONS_FILE = "incarnations.json"
LOCK_FILE = "node.lock"
LOG_FILE_PATTERN = "raft.log*"
STARTS_KEPT = 64  # of which the numbers drawn are known; the older ones are only counted
FORMAT = 2  # of the folder; 1 was that of release 1.0, which did not write it down

T = TypeVar("T")


class FolderRefused(Exception):
    """The folder cannot be used; `str()` is one line for the operator."""


class Owner(Struct, frozen=True, kw_only=True):
    """The contents of node.json."""

    format: int
    node: str
    store: str
    cluster_id: str = ""
    pepper: str | None = None
    incarnation: int = 0
    drawn: tuple[int, ...] = ()  # a number at each of the last starts, the newest last
    is_not_first: bool = False


class _Format(Struct, frozen=True):
    """The part of node.json that every release reads."""

    format: int = 1


class DataFolder:
    """An opened and locked folder `<data_dir>/<node>/`; raises `FolderRefused`.

    `was_open` is a line for the operator if other users had rights to it, which they have no more.
    """

    def __init__(self, cluster: Cluster, node: str) -> None:
        self.path = cluster.data_dir / node
        self._lock_fd = -1
        try:
            make_folder(self.path)
            self._lock_fd = _locked(self.path / LOCK_FILE, node)
            self.was_open = _made_private(self.path)
            self.owner = self._open(node)
            self._peer_stores: dict[str, str] = self._read(PEERS_FILE, dict[str, str])
            self._incarnations = self._read(INCARNATIONS_FILE, dict[str, tuple[str, int]])
        except OSError as error:
            self.close()
            raise FolderRefused(
                f"cannot use the data folder {self.path}: {error.strerror or error}. {_advice(error)}"
            ) from error
        except NotOurs as error:
            self.close()
            raise FolderRefused(f"cannot use the data folder {self.path}: {error}") from error
        except FolderRefused:
            self.close()
            raise
        self._lock = Lock()  # guards _peer_stores and _incarnations, and their files

    @property
    def store(self) -> str:
        """The store id, a random name of this folder: a node that shows another one has lost its disk."""
        return self.owner.store

    @property
    def cluster_id(self) -> str:
        """The id of the cluster; empty until the log's first entry was applied here."""
        return self.owner.cluster_id

    @property
    def incarnation(self) -> int:
        """How often a node was started on this folder: a copy that was put back shows too low a number."""
        return self.owner.incarnation

    @property
    def drawn(self) -> tuple[int, ...]:
        """The numbers drawn at the last `STARTS_KEPT` starts, the newest last; an old copy lacks some."""
        return self.owner.drawn

    def count_start(self, drawn: int) -> None:
        """Raise the incarnation durably, before anything is promised in it; raise `FolderRefused`.

        `drawn` is a random number, which tells this start from one on a copy of this folder.
        """
        kept = (*self.owner.drawn, drawn)[-STARTS_KEPT:]
        self._rewrite(replace(self.owner, incarnation=self.owner.incarnation + 1, drawn=kept))

    @property
    def is_not_first(self) -> bool:
        """Whether the cluster has known this node by another folder, or may have.

        Old entries of the log may name the node as a voter and mean that other folder: `Raft.demote`.
        """
        return self.owner.is_not_first

    def note_not_first(self) -> None:
        """Record durably that the cluster has known this node by another folder."""
        if not self.owner.is_not_first:
            self._rewrite(replace(self.owner, is_not_first=True))

    def renew_store(self) -> None:
        """Take another store id durably: what this folder has promised counts no more."""
        self._rewrite(replace(self.owner, store=secrets.token_hex(16), is_not_first=True))

    def join(self, cluster_id: str) -> None:
        """Record durably the cluster of this folder; raise `FolderRefused` if it is of another."""
        if self.owner.cluster_id == cluster_id:
            return
        if self.owner.cluster_id:
            raise FolderRefused(
                f"{self.path} belongs to cluster {self.owner.cluster_id}, but its log to {cluster_id}: these "
                f"files do not belong together. Put the right files back. {START_EMPTY_ADVICE}"
            )
        self._rewrite(replace(self.owner, cluster_id=cluster_id))

    @property
    def knows_a_pepper(self) -> bool:
        """Whether any server of this data_dir has sealed, or may have sealed, PINs with a pepper."""
        return any(_knows_a_pepper(path) for path in self.path.parent.glob(f"*/{NODE_FILE}"))

    def check_pepper(self, name: str, *, log_is_empty: bool) -> None:
        """Record durably which pepper seals the PINs; raise `FolderRefused` if it was another.

        With an empty log no PIN was sealed that anybody relies on: then any pepper will do.
        """
        if self.owner.pepper == name:
            return
        if self.owner.pepper is None or log_is_empty:
            self._rewrite(replace(self.owner, pepper=name))
            return
        raise FolderRefused(
            f"{self.path} was used with another pepper_file: with this one no customer's PIN is right. "
            "Put the old file back, from another machine or a backup"
        )

    def knows_another_store(self, peer: str, store: str) -> bool:
        """Return whether the peer has shown another store id before. Nothing is recorded."""
        return self._peer_stores.get(peer, store) != store

    def first_store(self, node: str) -> str:
        """Return the store id that a server was first seen with, or this node's own; empty if not known.

        A folder that is not its node's first one has not seen the first of all others.
        """
        if self.owner.is_not_first:
            return ""
        return self.store if node == self.owner.node else self._peer_stores.get(node, "")

    def register_peer_store(self, peer: str, store: str) -> bool:
        """Record durably the first store id a peer shows; return False if it has shown another.

        Raises `FolderRefused` if that cannot be written.
        """
        with self._lock:
            known = self._peer_stores.get(peer)
            if known is not None:
                return known == store
            stores = {**self._peer_stores, peer: store}
            self._write_of_peers(PEERS_FILE, stores)
            self._peer_stores = stores
            return True

    def highest_incarnation(self, peer: str, store: str) -> int:
        """Return the highest incarnation that the peer has shown with this store, 0 if none."""
        known, highest = self._incarnations.get(peer, ("", 0))
        return highest if known == store else 0

    def register_incarnation(self, peer: str, store: str, incarnation: int) -> None:
        """Record durably an incarnation that a peer shows, if it is the highest; raise `FolderRefused`."""
        with self._lock:
            if incarnation <= self.highest_incarnation(peer, store):
                return
            incarnations = {**self._incarnations, peer: (store, incarnation)}
            self._write_of_peers(INCARNATIONS_FILE, incarnations)
            self._incarnations = incarnations

    def close(self) -> None:
        """Unlock the folder."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _write_of_peers(self, name: str, content: object) -> None:
        try:
            write_durably(self.path / name, msgspec.json.encode(content))
        except OSError as error:
            raise FolderRefused(
                f"cannot write {self.path / name}: {error.strerror or error}. No peer can "
                "connect before what it shows is recorded. Check permissions and free space"
            ) from error

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
                    f"{self.path} holds a log or a ledger but no {NODE_FILE}: their owner is not known. "
                    f"Put that file back. {START_EMPTY_ADVICE}"
                )
            sync_folder(self.path.parent)  # first: a later start that finds the file does not sync it
            write_durably(path, _encoded(mine))
            return mine
        version = _decoded(path, _Format).format
        if version < FORMAT:
            raise FolderRefused(
                f"{self.path} was written by release 1.0, which decided some commands differently: "
                f"export the books with that release ({command_here('ledger')} export) and import them into "
                f"a new cluster with this one ({command_here('ledger')} import), as docs/upgrade.md says"
            )
        if version > FORMAT:
            raise FolderRefused(f"{self.path} was written by a newer release: install that one")
        owner = _decoded(path, Owner)
        if owner.node != node:
            raise FolderRefused(
                f"{self.path} belongs to node {owner.node}, not to node {node}. Put each "
                "node's own folder back in its place"
            )
        return owner

    def _read(self, name: str, kind: type[dict[str, T]]) -> dict[str, T]:
        path = self.path / name
        return _decoded(path, kind) if path.exists() else {}


def _advice(error: OSError) -> str:
    if error.errno in (ENOSPC, EDQUOT):
        return "Make room on that disk and start again; nothing is lost"
    if isinstance(error, FileExistsError | NotADirectoryError):
        return "A file is where this folder or one above it belongs: check data_dir in cluster.ini"
    return "Check data_dir in cluster.ini, and the permissions there"


def _made_private(folder: Path) -> str:
    """Take the rights of others; return a line for the operator if they had some, else ""."""
    loose = tighten(folder)
    if keep_others_from_writing(folder.parent):
        loose.append(folder.parent)
    if not loose:
        return ""
    count = "1 file or folder" if len(loose) == 1 else f"{len(loose)} files and folders"
    return (
        f"{count} of {folder} could be read or locked by other users, and no more: release 1.1 made them so"
    )


def _locked(path: Path, node: str) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise FolderRefused(
            f"node {node} is already running on {path.parent}: stop that process first"
        ) from None
    return fd


def _decoded(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FolderRefused(
            f"{path} is damaged: {error}. Put a good copy back. {START_EMPTY_ADVICE}"
        ) from error


def _knows_a_pepper(path: Path) -> bool:
    try:
        return _decoded(path, Owner).pepper is not None
    except FolderRefused:
        return True  # nobody can say


def _encoded(owner: Owner) -> bytes:
    return msgspec.json.format(msgspec.json.encode(owner))
