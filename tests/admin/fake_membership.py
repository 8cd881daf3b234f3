"""Fake nodes that carry out the requests of an administrator, on one list of members that all share."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from tests.support.fake_cluster import FakeCluster
from tests.support.fake_node import FakeNode, Map


class FakeMembership:
    """The list of members before a cluster of fake nodes, led by the second of them."""

    def __init__(self, folder: Path, size: int) -> None:
        self.cluster = FakeCluster(folder, size)
        self.members: dict[str, Map] = {}
        self.index = 20
        self.changes: list[Map] = []  # the requests that changed something or were refused
        self.refusals: dict[str, list[str]] = {}  # by op: the reasons to refuse the next ones with
        self.transfers = True  # or else nobody leads afterwards
        self._lock = threading.Lock()
        for i, node in enumerate(self.cluster.nodes.values()):
            self.members[node.name] = {
                "node": node.name,
                "voter": True,
                "peer": f"127.0.0.1:{1000 + i}",
                "client": f"127.0.0.1:{node.port}",
                "since": 0,
            }
            node.always = self.step(node)
        self.lead("5001")

    def lead(self, name: str | None) -> None:
        for node in self.cluster.nodes.values():
            node.leader = name

    def stop(self) -> None:
        self.cluster.stop()

    def step(self, node: FakeNode) -> Any:
        def answer(request: Map) -> bytes | None:
            node.told |= {"members": list(self.members.values()), "cluster": "c" * 32}
            if request["op"] in ("status", "query"):
                return node.answer(request)
            with self._lock:
                return node._frame({"id": request["id"]} | self._decide(request, node))

        return answer

    def _decide(self, request: Map, node: FakeNode) -> Map:
        op, name = request["op"], request.get("node")
        if op == "members":
            return {"outcome": "ok", "index": self.index, "members": list(self.members.values())}
        self.changes.append({key: value for key, value in request.items() if key != "id"})
        if reasons := self.refusals.get(op):
            return {"outcome": "refused", "message": reasons.pop(0), "index": 0}
        self.index += 1
        if op == "add_member":
            row = {"node": name, "voter": False, "peer": request["peer"], "client": request["client"]}
            self.members[str(name)] = row | {"since": self.index}
        elif op == "promote_member":
            self.members[str(name)] |= {"voter": True, "since": self.index}
            if name in self.cluster.nodes:
                self.cluster[str(name)].told |= {"voter": True}
        elif op == "remove_member":
            del self.members[str(name)]
        elif op == "move_member":
            self.members[str(name)] |= {"peer": request["peer"], "client": request["client"]}
        elif op == "replace_member":
            self.members[str(name)] |= {"voter": False, "since": self.index}
        elif op == "transfer_leadership":
            self.lead(name or "5002" if self.transfers else None)
        return {"outcome": "ok", "message": "", "index": self.index}
