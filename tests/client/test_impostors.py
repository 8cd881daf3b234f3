"""A stranger on a dead node's port gets no PIN (C4): the client checks whom it reached before it speaks."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atm.admin.main import main as admin
from atm.client import Client, NotAllowed, Unavailable
from atm.config import ConfigError, load
from atm.office.main import main as office
from atm.teller.main import main as teller
from atm.tls.errors import TlsFailed
from atm.tls.of_cluster import node_credentials
from atm.tls.tls_socket import TlsSocket
from tests.support.both_clients import Connect
from tests.support.certificates import Authority, write_tls_ini

PIN = "86420975"


class Impostor:
    """Answers at the client port of n1, and keeps what it is told; with TLS if it has a context."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self.told = bytearray()
        self.calls = 0
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.calls += 1
                with sock, contextlib.suppress(OSError):
                    sock.settimeout(5.0)
                    self._serve(sock)

    def _serve(self, sock: socket.socket) -> None:
        if self._context is None:
            self.told += sock.recv(10_000)
            sock.sendall(b"\x00\x00\x00\x01\xc0")
            return
        tls = TlsSocket(sock, self._context, server_side=True)
        try:
            tls.handshake(time.monotonic() + 5.0)
            self.told += tls.recv(10_000)
        except TlsFailed:
            sock.shutdown(socket.SHUT_WR)  # what was sent last is to arrive
            while sock.recv(10_000):
                pass
            raise


@pytest.fixture
def bank() -> Authority:
    return Authority()


@pytest.fixture
def config(tmp_path: Path, bank: Authority, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return write_tls_ini(tmp_path, bank, 1)


@contextlib.contextmanager
def impostor(config: Path, context: ssl.SSLContext | None) -> Iterator[Impostor]:
    running = Impostor(load(config).nodes["n1"].client.port, context)
    try:
        yield running
    finally:
        running.close()


def context_of(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def wait_until_said(run: Callable[[], int], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run a command that asks each node once, and may come too late on a busy machine, until it says why."""
    deadline_s = time.monotonic() + 60.0
    said = ""
    while why not in said:
        assert time.monotonic() < deadline_s, said
        assert run() == 3
        said = "".join(capsys.readouterr())


@pytest.mark.parametrize("who", ["another node", "a person", "another CA", "plain"])
def test_an_impostor_gets_no_pin_and_the_teller_says_why(
    config: Path,
    bank: Authority,
    tmp_path: Path,
    who: str,
    connect: Connect,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "eve").mkdir()
    context, why = {
        "another node": (
            context_of(*bank.node(tmp_path / "eve", "n2")),
            "its certificate is that of node n2, not of node n1",
        ),
        "a person": (
            context_of(*bank.issue(tmp_path / "eve", "eve", "atm:admin/n1")),
            "its certificate is that of person or program n1, not of node n1",
        ),
        "another CA": (
            context_of(*Authority("eve's").node(tmp_path / "eve", "n1")),
            "its certificate is of another CA",
        ),
        "plain": (None, "it does not speak TLS"),
    }[who]
    with impostor(config, context) as eve:
        port = load(config).nodes["n1"].client.port
        with connect(config, timeout=20.0) as client:
            with pytest.raises(Unavailable) as failed:
                client.login("alice", PIN)
            assert not isinstance(failed.value, NotAllowed)
            assert (
                str(failed.value) == f"The bank is not available: TLS to node n1 at 127.0.0.1:{port}: {why}"
            )
        assert teller(["--config", str(config), "-c", "credit 5"]) == 3
        assert f"TLS to node n1 at 127.0.0.1:{port}: {why}" in capsys.readouterr().out
        for run in (
            lambda: teller(["--config", str(config), "-c", "status"]),
            lambda: admin(["--config", str(config), "status"]),
            lambda: office(["--config", str(config), "verify"]),
        ):
            wait_until_said(run, why, capsys)
        assert eve.calls >= 5
    assert PIN.encode() not in eve.told
    assert b"alice" not in eve.told


def test_a_teller_whom_the_bank_does_not_trust_is_not_allowed(
    config: Path, bank: Authority, tmp_path: Path, connect: Connect, capsys: pytest.CaptureFixture[str]
) -> None:
    credentials = node_credentials(load(config), "n1")
    assert credentials is not None
    assert credentials.loaded.server is not None
    (tmp_path / "eve").mkdir()
    context = context_of(tmp_path / "n1.pem", tmp_path / "n1.key")
    context.verify_mode = ssl.CERT_REQUIRED
    Authority("another").write(tmp_path / "other.pem")
    context.load_verify_locations(tmp_path / "other.pem")  # the server's file of CAs is not the teller's
    context.num_tickets = 0
    with impostor(config, context):
        assert teller(["--config", str(config), "-c", "credit 5"]) == 4
        assert "does not know the CA of this certificate" in capsys.readouterr().out
        assert admin(["--config", str(config), "members"]) == 4
        with connect(config) as client, pytest.raises(NotAllowed):
            client.query("main")


def test_without_a_certificate_the_programs_say_what_to_give(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = config.read_text()
    config.write_text("".join(line for line in text.splitlines(True) if not line.startswith("client_")))
    for main, arguments in ((teller, ["-c", "query"]), (admin, ["status"]), (office, ["verify"])):
        assert main(["--config", str(config), *arguments]) == 2
        assert "give --cert FILE and --key FILE" in capsys.readouterr().err
    only = ["--cert", str(tmp_path / "ann.pem")]
    for main, arguments in ((teller, ["-c", "query"]), (admin, ["status"]), (office, ["verify"])):
        assert main(["--config", str(config), *only, *arguments]) == 2
        assert "give both --cert and --key" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="wants a certificate"):
        Client(config)
    with Client(config, cert=tmp_path / "ann.pem", key=tmp_path / "ann.key"):
        pass
