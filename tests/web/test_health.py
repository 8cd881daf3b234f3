"""The health of the cluster on `/cluster` and at /api/v1/health: that of `bin/admin health`, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from atm.admin.main import main as admin
from atm.client import Client
from atm.events.recording import lines_of
from atm.local_cluster import LocalCluster
from atm.local_links import LinkedCluster
from atm.version import RELEASE
from tests.support.browser import axe_violations, visit
from tests.support.certificates import DAY, Authority, write_tls_ini
from tests.web.asked import ask
from tests.web.serving import web

HEALTH = "/api/v1/health"
WITHIN_MS = 20_000  # it looks every three seconds, and a look at a dead server takes one
NODE: dict[str, Any] = {
    "role": "follower", "voter": True, "version": "1.2.0", "lag": 0, "disk_free_bytes": 700 * 2**30,
    "uptime_s": 3 * 86_400.0, "said": None,
}  # fmt: skip
DOWN: dict[str, Any] = dict.fromkeys(NODE) | {"role": "down"}


def says(page: Page, text: str, kind: str) -> None:
    """Wait for a sentence and its colour."""
    told = page.locator("#health-told")
    expect(told).to_contain_text(text, timeout=WITHIN_MS)
    expect(told).to_have_class(f"note {kind}")


def details(page: Page, title: str) -> Locator:
    """Return what stands beside the name and the role of a server."""
    named = page.locator("#health-servers dt").get_by_text(title, exact=True)
    return named.locator("xpath=following-sibling::dd[1]")


def test_a_killed_server_makes_it_degraded_until_it_is_back(
    chrome: Browser, url: str, bank: LinkedCluster
) -> None:
    leader = bank.wait_for_leader()
    killed = next(name for name in bank.cluster.nodes if name != leader)
    with visit(chrome, f"{url}/cluster") as (page, seen):
        says(page, f"healthy: 3 of 3 voters, led by {leader} in term ", "good")
        expect(details(page, f"{leader}: leader, voter")).to_contain_text(f"release {RELEASE}, ")
        expect(details(page, f"{killed}: follower, voter")).to_contain_text("iB free on its disk, up for ")
        try:
            bank.kill(killed)
            says(page, f"degraded: {killed} does not answer", "fair")
            expect(details(page, f"{killed}: down")).to_have_text("")
        finally:
            bank.start(killed)
        says(page, "healthy: 3 of 3 voters", "good")
        expect(details(page, f"{killed}: follower, voter")).to_contain_text("up for ")
        seen.check()


def test_what_did_not_change_is_left_alone(chrome: Browser, url: str) -> None:
    with visit(chrome, f"{url}/cluster") as (page, _):
        says(page, "healthy", "good")
        page.locator("#health-told").evaluate("told => getSelection().selectAllChildren(told)")
        page.evaluate("window.changes = []")
        page.evaluate(
            "new MutationObserver((seen) => window.changes.push(...seen.map(({ target }) => target.id)))"
            ".observe(document.getElementById('health'),"
            " { childList: true, characterData: true, subtree: true })"
        )
        for _ in range(2):
            with page.expect_response(f"**{HEALTH}"):
                pass
        says(page, "healthy", "good")
        assert set(page.evaluate("changes")) <= {""}, "only what servers tell of themselves"
        assert page.evaluate("getSelection().toString()").startswith("healthy: 3 of 3")


def test_what_it_says_is_what_the_operators_command_says(
    url: str, bank: LinkedCluster, capsys: pytest.CaptureFixture[str]
) -> None:
    leader = bank.wait_for_leader()
    told = ask(url, path=HEALTH).json
    assert admin(["--config", str(bank.cluster.path), "health", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said.pop("command"), said.pop("outcome")) == ("health", "ok")
    assert {name: told[name] for name in said} == said
    assert (told["health"], told["leader"], told["alarms"]) == ("healthy", leader, [])
    assert [node["node"] for node in told["nodes"]] == list(bank.cluster.nodes)


def test_alarms_are_texts_and_it_fits_a_phone_in_the_dark(chrome: Browser, url: str) -> None:
    alarm = "n1: its ledger differs from the majority's <b>now</b>"
    told: dict[str, Any] = {
        "health": "not available",
        "message": "The bank is not available: 2 of 5 servers answer, and none of them leads a majority",
        "alarms": [alarm],
        "nodes": [
            {"node": "n1", **NODE, "role": "candidate", "voter": False, "lag": 9_999},
            {"node": "n2", **NODE, "role": "learner", "voter": False, "lag": 1, "uptime_s": 119.9},
            {"node": "n3", **DOWN},
            {"node": "n4", **DOWN, "said": "too many connections"},
            {"node": "n5", **NODE, "version": None, "disk_free_bytes": 123 * 2**20, "uptime_s": 7200.0},
        ],
    }
    with visit(chrome, "about:blank", width=360, theme="dark") as (page, seen):
        seen.origin = url
        page.route(f"**{HEALTH}", lambda route: route.fulfill(json=told))
        page.goto(f"{url}/cluster")
        says(page, told["message"], "bad")
        expect(page.locator("#health-alarms li")).to_have_text([f"Alarm of {alarm}"])
        for title, beside in (
            (
                "n1: candidate, no vote",
                "release 1.2.0, 9,999 entries behind, 700 GiB free on its disk, up for 3 d",
            ),
            ("n2: learner", "release 1.2.0, 1 entry behind, 700 GiB free on its disk, up for 119 s"),
            ("n3: down", ""),
            ("n4: busy", "too many connections"),
            ("n5: follower, voter", "0 entries behind, 123 MiB free on its disk, up for 2 h"),
        ):
            expect(details(page, title)).to_have_text(beside)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert axe_violations(page) == []
        seen.check()


def test_what_nobody_confirms_is_not_shown(chrome: Browser, url: str) -> None:
    servers = "#health-servers dt"
    with visit(chrome, f"{url}/cluster") as (page, _):
        says(page, "healthy", "good")
        expect(page.locator(servers)).to_have_count(3)
        page.route(f"**{HEALTH}", lambda route: route.abort())
        says(page, "Not known: The web server does not answer", "unknown")
        expect(page.locator(servers)).to_have_count(0)
        page.unroute(f"**{HEALTH}")
        says(page, "healthy", "good")
        expect(page.locator(servers)).to_have_count(3)


def test_a_recorders_file_has_none(
    chrome: Browser, url: str, bank: LinkedCluster, client: Client, tmp_path: Path
) -> None:
    found = client.node_events(bank.wait_for_leader())
    path = tmp_path / "flight.jsonl"
    path.write_bytes(b"".join(lines_of(found.header, found.events)))
    with visit(chrome, f"{url}/cluster") as (page, seen):
        says(page, "healthy", "good")
        page.locator("#file").set_input_files(path)
        expect(page.locator("#title")).to_have_text("flight.jsonl")
        expect(page.locator("#health")).to_be_hidden()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_event("request", lambda request: request.url.endswith("/status"))  # of the page's head
        assert not [address for address in asked if address.endswith(HEALTH)]
        page.get_by_role("button", name="Back to the live cluster").click()
        says(page, "healthy", "good")
        expect(page.locator("#health")).to_be_visible()
        seen.check()


def test_it_is_told_to_each_role_and_to_nobody_without_one(chrome: Browser, tmp_path: Path) -> None:
    authority = Authority("the CA")
    with LocalCluster(write_tls_ini(tmp_path, authority, 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        config = bank.cluster.path
        cert, key = authority.person(tmp_path, "counter", "gateway")
        with (
            web(config, "--cert", str(cert), "--key", str(key)) as url,
            visit(chrome, f"{url}/cluster") as (page, _),
        ):
            says(page, "healthy: 1 of 1 voters", "good")
            expect(page.locator("#told .bad")).to_contain_text("it needs auditor, operator or admin")
            assert admin(["--config", str(config), "roles", "revoke", "counter"]) == 0
            says(page, "Not shown here: Not allowed: status needs the role", "unknown")
            expect(page.locator("#health-servers")).to_be_empty()
            assert (ask(url, path=HEALTH).status, ask(url, path="/api/v1/status").status) == (403, 403)


def test_where_no_server_can_be_trusted_it_is_not_known_and_no_defect(tmp_path: Path) -> None:
    authority, strangers = Authority("the CA"), Authority("another CA")
    with LocalCluster(write_tls_ini(tmp_path, authority, 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        cert, key = strangers.person(tmp_path, "eve", "admin")
        theirs = tmp_path / "theirs.ini"
        theirs.write_text(bank.cluster.path.read_text().replace("ca = ca.pem", "ca = theirs.pem"))
        strangers.write(tmp_path / "theirs.pem")
        with web(theirs, "--cert", str(cert), "--key", str(key)) as url:
            for path in (HEALTH, "/api/v1/status"):
                answer = ask(url, path=path)
                assert (answer.status, answer.json["code"]) == (503, "unavailable"), path


def test_the_certificate_of_the_web_server_itself_counts(tmp_path: Path) -> None:
    authority = Authority("the CA")
    with LocalCluster(write_tls_ini(tmp_path, authority, 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        cert, key = authority.issue(tmp_path, "counter", "atm:gateway/counter", ends=3 * DAY)
        with web(bank.cluster.path, "--cert", str(cert), "--key", str(key)) as url:
            told = ask(url, path=HEALTH).json
            assert told["message"] == "degraded: the certificate of this client, counter, ends in 2 days"
