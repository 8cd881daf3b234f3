"""A cluster of real nodes whose members change: asks for changes as an administrator does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from atm.client.each_node import ask_one
from atm.config import load
from atm.local_cluster import LOOPBACK, LocalCluster, free_ports, write_cluster_ini
from atm.wire.client_messages import (
    AddMember,
    AdminChange,
    AdminReply,
    Members,
    MembersReply,
    MemberView,
    MoveMember,
    PromoteMember,
    RemoveMember,
    ReplaceMember,
    TransferLeadership,
)
from tests.support.folders import delete_folder
from tests.support.server_parts import wait_until

ANSWER_S = 5.0
TRY_AGAIN = ("try again", "wait until it has caught up", "is not connected", "does not reach")


class ChangingCluster(LocalCluster):
    """Nodes n1 to n5 found the cluster; `list_node` adds a section to cluster.ini, which all nodes share."""

    def __init__(self, folder: Path, count: int = 5) -> None:
        super().__init__(write_cluster_ini(folder, count))
        self._asked = 0

    def start_and_wait(self) -> str:
        """Start all nodes; return the leader once the log names all members with their addresses."""
        self.start_all()
        leader = self.wait_for_leader()
        wait_until(lambda: all(member.peer for member in self.members()))
        return leader

    def list_node(self, name: str) -> None:
        """Add a node to cluster.ini, at free ports."""
        self._rewrite(self._text() + self._section(name))

    def list_elsewhere(self, name: str) -> None:
        """Give a node other addresses in cluster.ini."""
        sections = self._text().split("\n[node ")
        others = [text for text in sections if not text.startswith(f"{name}]")]
        self._rewrite("\n[node ".join(others) + self._section(name))

    def wipe(self, name: str) -> None:
        """The disk of a stopped node is lost."""
        delete_folder(self.cluster.data_dir / name)

    # -- an administrator's requests ----------------------------------------------------------------------

    def ask(self, request: type[AdminChange], **fields: Any) -> AdminReply | None:
        """Ask one running node after another until one answers with a decision; None if none does."""
        self._asked += 1
        change = request(id=f"admin-{self._asked}", **fields)
        for name in self.running():
            answer = ask_one(self.cluster.nodes[name].client, change, ANSWER_S)
            if isinstance(answer, AdminReply):
                return answer
        return None

    def refusal(self, request: type[AdminChange], **fields: Any) -> str:
        answer = self.ask(request, **fields)
        assert answer is not None
        assert answer.outcome == "refused", answer
        return answer.message

    def change(self, request: type[AdminChange], within_s: float = 20.0, **fields: Any) -> AdminReply:
        """Ask until it is done; a refusal that does not say that a later try may succeed fails."""
        deadline_s = time.monotonic() + within_s
        while True:
            answer = self.ask(request, **fields)
            if answer is not None and answer.outcome == "ok":
                return answer
            retriable = answer is None or any(words in answer.message for words in TRY_AGAIN)
            assert retriable, answer
            assert time.monotonic() < deadline_s, answer
            time.sleep(0.05)

    def add(self, name: str) -> None:
        """Add a listed node and start it, and promote it once it has caught up."""
        node = self.cluster.nodes[name]
        self.change(AddMember, node=name, peer=str(node.peer), client=str(node.client))
        self.start(name)
        self.change(PromoteMember, node=name)

    def remove(self, name: str) -> None:
        self.change(RemoveMember, node=name, yes=True)

    def move(self, name: str) -> None:
        """Announce the addresses that cluster.ini has."""
        node = self.cluster.nodes[name]
        self.change(MoveMember, node=name, peer=str(node.peer), client=str(node.client))

    def replace(self, name: str) -> None:
        """Have a node that lost its disk, and runs again, vote again."""
        self.change(ReplaceMember, node=name)
        self.change(PromoteMember, node=name)

    def transfer(self, name: str | None = None) -> str:
        self.change(TransferLeadership, node=name)
        return self.wait_for_leader()

    # -- what the nodes say ------------------------------------------------------------------------------

    def members(self) -> tuple[MemberView, ...]:
        """Return the members, as the node knows them that has applied most; none if no node answers."""
        answers = [ask_one(self.cluster.nodes[name].client, Members(id="m"), 1.0) for name in self.running()]
        known = [answer for answer in answers if isinstance(answer, MembersReply)]
        return max(known, key=lambda answer: answer.index).members if known else ()

    def voters(self) -> set[str]:
        return {member.node for member in self.members() if member.voter}

    def has_vote(self, name: str) -> bool:
        status = self.status(name)
        return status is not None and status.voter is True

    def has_no_vote(self, name: str) -> bool:
        status = self.status(name)
        return status is not None and status.voter is False

    def wait_for_exit(self, name: str) -> int:
        """Return the exit code of a node that ends by itself."""
        self.processes[name].wait(timeout=10)
        return self.stop(name)

    def has_leader(self) -> bool:
        roles = [status.role for name in self.running() if (status := self.status(name)) is not None]
        return "leader" in roles

    def _text(self) -> str:
        return self.cluster.path.read_text(encoding="utf-8")

    def _section(self, name: str) -> str:
        client, peer = free_ports(2)
        return f"\n[node {name}]\nclient = {LOOPBACK}:{client}\npeer = {LOOPBACK}:{peer}\n"

    def _rewrite(self, text: str) -> None:
        self.cluster.path.write_text(text, encoding="utf-8")
        self.cluster = load(self.cluster.path)
