"""What a browser cannot be made to do: requests of other sites, other names, frames, scripts."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from atm.client import Client, new_request_id
from tests.web.asked import ask, put

STATIC = Path(__file__).parents[2] / "atm" / "web" / "static"
CREDIT = {"op": "credit", "account": "main", "amount": 1}


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:1"},
        {"origin": "null"},
        {"origin": "http://["},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": "multipart/form-data; boundary=application/json"},
        {"host": "evil.example"},
        {"host": "localhost.evil.example"},
        {"host": "localhost@evil.example"},
        {"host": "["},
    ],
    ids=str,
)
def test_another_site_cannot_move_money(url: str, client: Client, headers: dict[str, str]) -> None:
    before = client.query("main").balance
    answer = put(url, new_request_id(), CREDIT, **headers)
    assert answer.status in {403, 415, 421}
    assert answer.json["done"] is False
    assert client.query("main").balance == before


def test_the_own_pages_and_programs_can(url: str) -> None:
    own = {"origin": url, "sec_fetch_site": "same-origin"}
    assert put(url, new_request_id(), CREDIT, **own).status == 200
    assert put(url, new_request_id(), CREDIT).status == 200, "as curl does"
    port = urlsplit(url).port
    for host in (f"127.0.0.1:{port}", f"[::1]:{port}", f"LOCALHOST:{port}", "localhost:9", "localhost"):
        assert ask(url, path="/api/v1/me", host=host).status == 200


def test_another_site_reads_nothing(url: str) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec_fetch_site": "cross-site"}):
        answer = ask(url, path="/api/v1/accounts/main", **headers)
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers
    preflight = {"origin": "https://evil.example", "access_control_request_method": "PUT"}
    answer = ask(url, "OPTIONS", "/api/v1/requests/1", **preflight)
    assert answer.status == 403
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert ask(url, path="/", sec_fetch_site="cross-site").status == 200, "a link from elsewhere"


def test_a_request_without_a_host_is_refused(url: str) -> None:
    with socket.create_connection(("localhost", urlsplit(url).port or 0), timeout=20) as connection:
        connection.sendall(b"GET /api/v1/me HTTP/1.0\r\n\r\n")
        assert connection.recv(100).split()[1] in {b"421", b"400"}


@pytest.mark.parametrize("path", ["/", "/static/teller.js", "/api/v1/me", "/nothing", "/openapi.json"])
def test_each_answer_forbids_frames_and_foreign_scripts(url: str, path: str) -> None:
    headers = ask(url, path=path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert (headers.get("cache-control") == "no-store") == path.startswith("/api/")


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static//etc/passwd"])
def test_only_what_is_in_static_is_sent(url: str, path: str) -> None:
    assert ask(url, path=path).status == 404


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_no_page_sets_markup_or_names_another_host(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
    )
    assert not re.search(r"""(src|href|import|url)\W{1,3}(https?:)?//""", text)
    if file.suffix == ".html":
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=\"/static/)", text)
