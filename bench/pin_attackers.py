"""Who floods a server with PINs: a connection each, which asks again as soon as it is answered."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from threading import Event

from msgspec.msgpack import decode

from atm.client.receipt import new_request_id
from atm.server.net.connection import Stream
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, FrameReader, frame

Request = Callable[[str, int], dict[str, object]]  # of an id and a number


def batch_on_nobody(request_id: str, number: int) -> dict[str, object]:
    """Return a batch of four PINs on an account that does not exist."""
    leg = {"account": "nobody", "target": "main", "amount": 1}
    pins = [f"{(4 * number + each) % 10_000:04}" for each in range(4)]
    return {"op": "batch", "id": request_id, "legs": [leg | {"pin": pin} for pin in pins]}


def guess_on(account: str) -> Request:
    """Return who tries one PIN after the other on an account."""

    def request(request_id: str, number: int) -> dict[str, object]:
        return {"op": "login", "id": request_id, "account": account, "pin": f"{2000 + number % 8000:04}"}

    return request


def guess(account: str, pin: str) -> Request:
    """Return who sends the same PIN again and again."""
    return lambda request_id, _: {"op": "login", "id": request_id, "account": account, "pin": pin}


class Attacker:
    """One connection, made by `connect`; counts the outcomes of its requests in `outcomes`."""

    def __init__(
        self, connect: Callable[[], Stream], request: Request, outcomes: Counter[str], stop: Event
    ) -> None:
        self._connect = connect
        self._request = request
        self._outcomes = outcomes
        self._stop = stop

    def run(self) -> None:
        """Ask until `stop`."""
        with contextlib.suppress(OSError), contextlib.closing(self._connect()) as sock:
            reader, asked = FrameReader(CLIENT_FRAME_BYTES_MAX), 0
            while not self._stop.is_set():
                sock.sendall(frame(encode(self._request(new_request_id(), asked))))
                asked += 1
                answers: list[bytes] = []
                while not answers:
                    piece = sock.recv(65536)
                    if not piece:
                        return
                    answers += reader.feed(piece)
                self._outcomes.update(decode(answer)["outcome"] for answer in answers)
