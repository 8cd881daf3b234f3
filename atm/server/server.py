"""A node put together: its folder, log, ledger, core, servers and links."""

from __future__ import annotations

import random
import resource
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from threading import Lock

from atm.config import Cluster
from atm.ledger.ledger import ClusterState, Ledger
from atm.server.clients import client_server
from atm.server.clients.auditor import Auditor
from atm.server.clients.client_server import ClientServer
from atm.server.group.entry_validator import EntryValidator
from atm.server.group.inbox import Inbox
from atm.server.group.recovery import (
    check_feature_level,
    check_one_cluster,
    check_voters,
    raft_config,
    recover,
)
from atm.server.group.rejection_reports import RejectionReports
from atm.server.group.request_router import RequestRouter
from atm.server.group.run_loop import RunLoop
from atm.server.net.reader import Reader
from atm.server.peers import peer_server
from atm.server.peers.handshake import Handshake
from atm.server.peers.links import Links
from atm.server.peers.peer_server import PeerServer
from atm.server.security.pins import PinSealer, read_pepper
from atm.storage.data_folder import LEDGER_FILE, DataFolder
from atm.storage.log_file import LogFile
from atm.version import FEATURE_LEVEL_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE
from atm.wire.peer_messages import Hello

OTHER_FILES = 100  # files and sockets besides the inbound connections
FORWARD_NUMBER_BITS = 62

Say = Callable[[str], None]


class Server:
    """One node, open from construction to `close`; raises what its parts raise when they cannot be opened."""

    def __init__(self, cluster: Cluster, name: str, *, say: Say, report: Say, verbose: bool = False) -> None:
        chance = random.Random(secrets.randbits(64))
        addresses = {peer: node.peer for peer, node in cluster.nodes.items() if peer != name}
        with ExitStack() as parts:
            folder = DataFolder(cluster, name)
            parts.callback(folder.close)
            sealer = PinSealer(read_pepper(cluster.pepper_file))
            folder.check_pepper(sealer.name)
            log = LogFile(folder.path)
            parts.callback(log.close)
            ledger = Ledger(folder.path / LEDGER_FILE)
            parts.callback(ledger.close)
            check_one_cluster(log, folder_id=folder.cluster_id, ledger_id=ledger.cluster.id)
            guard = EntryValidator()
            new_id = secrets.token_hex(16)  # of the cluster, should this node be the first to lead it
            raft = recover(raft_config(cluster, name, new_id), log, ledger, chance.randint, guard)

            lock = Lock()
            inbox = Inbox(lock)
            self._reader = Reader(inbox.put_gathered, self._fail)
            parts.callback(self._reader.close)
            hello = Hello(
                protocol_min=PROTOCOL_MIN,
                protocol_max=PROTOCOL_MAX,
                release=RELEASE,
                feature_level=FEATURE_LEVEL_MAX,
                cluster=folder.cluster_id,
                config=cluster.identity(),
                node=name,
                store=folder.store,
                pepper=sealer.name,
            )
            handshake = Handshake(hello, addresses)

            def join(state: ClusterState) -> None:
                check_feature_level(state)
                check_voters(state, cluster)
                if state.id:
                    folder.join(state.id)
                    handshake.join(state.id)

            join(ledger.cluster)
            links = Links(handshake, addresses, inbox, report)
            parts.callback(links.close)
            here = cluster.nodes[name]
            auditor = Auditor(name, folder.path / LEDGER_FILE)
            parts.callback(auditor.close)
            self._tellers = ClientServer(
                here.client,
                inbox,
                self._reader,
                sealer,
                auditor,
                report=report,
                verbose=verbose,
                connections_max=_connections_max(),
            )
            parts.callback(self._tellers.close)
            self._peers = PeerServer(
                here.peer,
                handshake=handshake,
                folder=folder,
                inbox=inbox,
                reader=self._reader,
                links=links,
                report=report,
                verbose=verbose,
            )
            parts.callback(self._peers.close)
            router = RequestRouter(
                name,
                raft,
                ledger,
                links,
                peers=addresses.keys(),
                first_number=chance.getrandbits(FORWARD_NUMBER_BITS),
                say=say if verbose else None,
            )
            self._links = links
            self._node = RunLoop(
                raft=raft,
                log=log,
                bank=ledger,
                links=links,
                router=router,
                guard=guard,
                tellers=self._tellers,
                inbox=inbox,
                lock=lock,
                on_leadership=lambda term: say(f"Leader on {here.client.pair} in term {term}"),
                on_cluster=join,
                on_rejection=RejectionReports(time.monotonic, report).say,
            )
            self._parts = parts.pop_all()

    def run(self) -> None:
        """Serve until `stop`."""
        self._reader.start()
        self._peers.start()
        self._tellers.start()
        self._links.start()
        self._node.run()

    def stop(self) -> None:
        """Let `run` return soon; a signal handler may call it."""
        self._node.stop()

    def _fail(self, error: BaseException) -> None:
        self._node.fail(error)

    def close(self) -> None:
        """Drop all connections, close all files and let another process have the folder."""
        self._parts.close()


def _connections_max() -> int:
    """Make room for as many open files as we may need, and return how many tellers fit."""
    wanted = client_server.CONNECTIONS_MAX + peer_server.CONNECTIONS_MAX + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, client_server.CONNECTIONS_MAX - (wanted - soft))
    return client_server.CONNECTIONS_MAX
