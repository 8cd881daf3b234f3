"""The port of /metrics, /livez and /readyz: HTTP that strangers cannot disturb."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atm.config import Address
from atm.local_cluster import free_ports
from atm.server.metrics.endpoint import ACCEPTS_PER_S, CONNECTIONS_MAX, HEAD_BYTES_MAX, MetricsEndpoint
from atm.server.metrics.health import Health
from atm.server.metrics.node_metrics import NodeMetrics
from atm.server.net.listener import AddressUnavailable
from tests.support.collecting import collecting
from tests.support.server_parts import DEADLINE_S, wait_until

REQUEST_S = 0.5


class Port:
    """An endpoint of a server that starts."""

    def __init__(self) -> None:
        self.reported: list[str] = []
        self.health = Health(silent_s_max=1.0, clock=time.monotonic)
        self.address = Address("127.0.0.1", free_ports(1)[0])
        self.endpoint = MetricsEndpoint(
            self.address,
            self.health,
            NodeMetrics(self.health, time.monotonic),
            logger=collecting(self.reported),
            request_s=REQUEST_S,
        )
        self.endpoint.start()

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address.pair, timeout=DEADLINE_S)

    def send(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer; status 0 if there is none."""
        with self.connect() as sock:
            sock.sendall(request)
            answer = b""
            while piece := sock.recv(65536):
                answer += piece
        if not answer:
            return 0, {}, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body

    def get(self, target: str) -> tuple[int, dict[str, str], bytes]:
        return self.send(f"GET {target} HTTP/1.1\r\nHost: n1\r\n\r\n".encode())


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.endpoint.close()
    assert port.reported == []


def test_a_server_that_starts_tells_what_it_knows(port: Port) -> None:
    status, headers, body = port.get("/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Connection"] == "close"
    assert b"\natm_uptime_seconds " in body
    assert b"\natm_ready 0\n" in body
    assert port.get("/livez")[::2] == (200, b"ok\n")
    assert port.get("/readyz")[::2] == (503, b"the node starts\n")
    assert port.get("/readyz?verbose")[2] == b"started: the node starts\n"


def test_a_head_has_no_body_and_says_how_long_it_would_be(port: Port) -> None:
    status, headers, body = port.send(b"HEAD /livez HTTP/1.0\r\n\r\n")
    assert (status, headers["Content-Length"], body) == (200, "3", b"")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../livez HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /livez HTTP/2.0\r\n\r\n", 400),
        (b"GET /livez\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\n\r\n", 404),
        (b"GET /livez?\xff\xfe HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + HEAD_BYTES_MAX * b"a" + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nX: " + 2 * HEAD_BYTES_MAX * b"a", 431),
    ],
)
def test_what_is_no_reading_gets_an_error_and_no_traceback(port: Port, request_: bytes, status: int) -> None:
    found, headers, body = port.send(request_)
    assert found == status
    assert body.endswith(b"\n")
    if status == 405:
        assert headers["Allow"] == "GET, HEAD"


def test_any_bytes_get_an_answer() -> None:
    port = Port()
    words = st.sampled_from(
        [b"GET", b"HEAD", b"/metrics", b"/livez?verbose", b"HTTP/1.1", b" ", b"\r\n", b"\0", b"//["]
    )

    @settings(deadline=None)
    @given(st.lists(words | st.binary(max_size=8)).map(b"".join))
    def answered(head: bytes) -> None:
        first, _, rest = port.endpoint._response(head + b"\r\n\r\n").partition(b"\r\n")
        assert re.fullmatch(rb"HTTP/1\.1 (200|400|404|405|503) [A-Z][A-Za-z ]+", first)
        assert b"\r\nConnection: close\r\n" in rest

    try:
        answered()
    finally:
        port.endpoint.close()
    assert port.reported == []


def test_a_client_that_goes_before_it_has_asked_is_nobodys_error(port: Port) -> None:
    with port.connect() as sock:
        sock.sendall(b"GET /li")
    assert port.get("/livez")[0] == 200


def test_clients_that_never_finish_keep_nobody_out_and_are_ended(port: Port) -> None:
    slow = [port.connect() for _ in range(CONNECTIONS_MAX + 8)]
    try:
        for each in slow:
            each.sendall(b"GET /livez HTTP/1.1\r\nX: ")
        began_s = time.monotonic()
        assert port.get("/livez")[0] == 200
        assert time.monotonic() - began_s < 1
        wait_until(lambda: port.endpoint.connection_count == 0)
    finally:
        for each in slow:
            each.close()


def test_a_flood_is_served_no_faster_than_the_bank_can_spare(port: Port) -> None:
    accepted: list[float] = []
    served, connect = Event(), port.endpoint.connect

    def noted(sock: socket.socket) -> object:
        accepted.append(time.monotonic())
        if len(accepted) == 20:
            served.set()
        return connect(sock)

    port.endpoint.connect = noted  # type: ignore[method-assign, assignment]
    flood = [port.connect() for _ in range(20)]
    assert served.wait(DEADLINE_S)
    for each in flood:
        each.close()
    assert accepted[-1] - accepted[0] > 0.8 * 19 / ACCEPTS_PER_S


def test_a_port_that_is_taken_is_one_line(port: Port) -> None:
    with pytest.raises(AddressUnavailable, match=f"cannot listen on {port.address}: another node or program"):
        MetricsEndpoint(
            port.address,
            port.health,
            NodeMetrics(port.health, time.monotonic),
            logger=collecting(port.reported),
        )
