"""A bank's server that follows a script: real sockets and frames, and none of the project's own code.

Each request that comes in takes the next step of the node's script; without one it is answered by the
`FakeBank`, which several nodes can share as if they were a cluster.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

Map = dict[str, Any]
Step = Callable[[Map], bytes | None]  # the bytes to send, or None to close the connection


class LastWords(bytes):
    """What is sent before the connection is closed."""


class FakeBank:
    """Accounts in memory; a request repeated under its id gets its first receipt again."""

    def __init__(self) -> None:
        self.balances = {"main": 0}
        self.receipts: dict[str, Map] = {}
        self.requests: list[Map] = []
        self._lock = threading.Lock()

    def decide(self, request: Map) -> Map:
        with self._lock:
            self.requests.append(request)
            if request["op"] == "query":
                return self._receipt(request, "ok")
            if request["op"] == "lookup":
                return self._found(request)
            if request["id"] not in self.receipts:
                self.receipts[request["id"]] = self._change(request)
            return self.receipts[request["id"]]

    def _found(self, request: Map) -> Map:
        decided = self.receipts.get(request["request_id"])
        if decided is None:
            return {"id": request["id"], "outcome": "original_not_found"}
        asked = next(each for each in self.requests if each["id"] == decided["id"])
        return decided | {"id": request["id"], "asked": {name: asked[name] for name in ("op", "account")}}

    def _change(self, request: Map) -> Map:
        account, amount = request["account"], request.get("amount", 0)
        if request["op"] == "open":
            if account in self.balances:
                return self._receipt(request, "exists")
            self.balances[account] = 0
        elif account in self.balances:
            change = amount if request["op"] == "credit" else -amount
            if self.balances[account] + change < 0:
                return self._receipt(request, "insufficient_funds")
            self.balances[account] += change
        return self._receipt(request, "ok")

    def _receipt(self, request: Map, outcome: str) -> Map:
        balance = self.balances.get(request["account"])
        if balance is None:
            return {"id": request["id"], "outcome": "no_such_account"}
        receipt = {"id": request["id"], "outcome": outcome, "balance": balance, "available": balance}
        if request["op"] != "query":
            receipt |= {"log_index": len(self.receipts) + 1, "time_us": 1_700_000_000_000_000}
        return receipt


class FakeNode:
    """One server on a free port of the loopback; `stop` makes it refuse connections, as if killed."""

    def __init__(self, name: str, bank: FakeBank) -> None:
        self.name = name
        self.bank = bank
        self.leader: str | None = None
        self.told: Map = {}  # further fields of its status, or others
        self.script: deque[Step] = deque()
        self.always: Step | None = None
        self.requests: list[Map] = []
        self.released = threading.Event()  # ends every silence
        self._sockets: set[socket.socket] = set()
        node = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                node._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.socket.close()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
        self._thread.join()

    # -- steps -------------------------------------------------------------------------------------

    def answer(self, request: Map) -> bytes:
        if request["op"] == "status":
            return self._frame(self._status(request))
        return self._frame(self.bank.decide(request) | ({"leader": self.leader} if self.leader else {}))

    def apply_and_close(self, request: Map) -> None:
        self.bank.decide(request)

    def close(self, request: Map) -> None:
        """Close without having done it."""

    def silence(self, request: Map) -> None:
        self.released.wait(30)

    def half_an_answer(self, request: Map) -> bytes:
        data = self.answer(request)
        return data[: len(data) // 2]

    def half_an_answer_and_close(self, request: Map) -> LastWords:
        return LastWords(self.half_an_answer(request))

    def fault(self, outcome: str, **fields: Any) -> Step:
        return lambda request: self._frame({"id": request["id"], "outcome": outcome} | fields)

    def raw(self, data: bytes) -> Step:
        return lambda request: data

    def map(self, **fields: Any) -> Step:
        return lambda request: self._frame({"id": request["id"]} | fields)

    # -- the socket --------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket) -> None:
        self._sockets.add(connection)
        try:
            for request in self._requests(connection):
                self.requests.append(request)
                step = self.script.popleft() if self.script else self.always or self.answer
                data = step(request)
                if data is None:
                    return
                connection.sendall(data)
                if isinstance(data, LastWords):
                    return
        except OSError:
            pass  # the client went away, or the test stopped this node
        finally:
            self._sockets.discard(connection)

    def _requests(self, connection: socket.socket) -> Iterator[Map]:
        stream = connection.makefile("rb")
        with stream:
            while len(head := stream.read(4)) == 4:
                (length,) = struct.unpack(">I", head)
                yield msgspec.msgpack.decode(stream.read(length))

    def _frame(self, answer: Map) -> bytes:
        payload = msgspec.msgpack.encode(answer)
        return struct.pack(">I", len(payload)) + payload

    def _status(self, request: Map) -> Map:
        leading = self.leader == self.name
        return {
            "id": request["id"],
            "outcome": "ok",
            "node": self.name,
            "role": "leader" if leading else "follower",
            "term": 3,
            "leader": self.leader,
            "commit_index": 12,
            "applied_index": 12 if leading else 10,
            "last_index": 12,
            "matched": {},
            "version": "1.1.0",
            "feature_level": 1,
        } | self.told
