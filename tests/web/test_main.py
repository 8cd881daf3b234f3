"""bin/web as a program: its options, one line for each mistake, and a clean end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.web import main as web_main
from atm.web.main import main
from tests.web.asked import ask
from tests.web.serving import running_web
from tests.web.streams import stream

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("address", ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:8080", "bank.example:8080"])
def test_it_listens_to_strangers_only_when_that_is_said(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_cluster_ini(tmp_path)
    assert main(["--config", str(config), "--listen", address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"web: whoever reaches {address} could do with the bank what this server may")
    assert "--insecure" in line


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_cluster_ini(tmp_path)
    assert main(["--config", str(tmp_path / "none.ini")]) == 2
    assert capsys.readouterr().err == f"web: {tmp_path}/none.ini: no such file\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert main(["--config", str(config), "--listen", address]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        f"web: cannot listen on {address}: Address already in use. Give another address with --listen\n",
    )
    with pytest.raises(SystemExit, match="2"):
        main(["--listen", "nowhere"])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_without_its_packages_it_says_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(web_main, "find_spec", lambda name: None if name == "uvicorn" else object())
    assert main([]) == 2
    assert (
        capsys.readouterr().err
        == "web: it needs uvicorn: start it as bin/web, which installs what it needs\n"
    )
    monkeypatch.setattr(web_main, "checkout", lambda: None)
    assert main([]) == 2
    assert capsys.readouterr().err == "web: it needs uvicorn: pip install 'atm-raft[web]'\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_stream_open(bank: LocalCluster, number: signal.Signals) -> None:
    with running_web(bank.cluster.path) as (url, process), stream(url) as live:
        live.mark()
        process.send_signal(number)
        assert process.communicate(timeout=5) == ("", "")
        assert process.returncode == 0


def test_it_serves_the_names_that_it_is_given(bank: LocalCluster) -> None:
    with running_web(bank.cluster.path, "--host", "Bank.example") as (url, _):
        assert ask(url, path="/api/v1/me", host="bank.example").status == 200
        assert (
            ask(url, path="/api/v1/me", host="bank.example:443", origin="https://bank.example:443").status
            == 200
        )
        assert ask(url, path="/api/v1/me", host="other.example").status == 421


def test_a_proxy_in_front_names_the_end_user(bank: LocalCluster) -> None:
    with running_web(bank.cluster.path, "--user-header", "X-Remote-User") as (url, _):
        body = {"op": "credit", "account": "main", "amount": 1}
        path = "/api/v1/requests/by-ann"
        assert ask(url, "PUT", path, body).status == 400
        assert ask(url, "PUT", path, body, x_remote_user="ann").json["outcome"] == "ok"
        found = ask(url, path=path, x_remote_user="eve").json
        assert found["actor"] == "local/ann"
        assert ask(url, path=path, x_remote_user="no name").status == 400


def test_run_serves_the_pages_beside_the_teller_and_ends_them_with_it(tmp_path: Path) -> None:
    config = write_cluster_ini(tmp_path, 3)
    command = [sys.executable, "-P", "-m", "atm.run", "--config", str(config)]
    with subprocess.Popen(
        [*command, "--web", "--web-listen", "localhost:0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as run:
        assert run.stderr is not None
        place, url = run.stderr.readline().split(" are at ")
        assert place == "The bank's pages"
        assert ask(url.strip(), path="/api/v1/me").status == 200
        said, complained = run.communicate("credit 50\n", timeout=60)
    assert (run.returncode, complained) == (0, "")
    assert said.splitlines()[-1] == "Successfully credited 50 to your account"
    with pytest.raises(ConnectionRefusedError):
        ask(url.strip())

    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = subprocess.run(
            [*command, "--web", "--web-listen", where, "-c", "query"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "The bank's pages cannot be served: " in ran.stderr
    assert "Address already in use" in ran.stderr
