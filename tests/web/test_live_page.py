"""`/cluster` in a real browser: a failover by a click, a recorder's file, and who may make faults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from atm.admin.main import main as admin
from atm.client import Client
from atm.events.recording import lines_of
from atm.local_cluster import LOOPBACK, LocalCluster, free_ports, write_cluster_ini
from atm.local_faults import FaultServer
from atm.local_links import LinkedCluster
from atm.local_web import WebProcess
from tests.support.browser import axe_violations, visit
from tests.web.asked import ask
from tests.web.serving import web

FAULTS = "/api/v1/cluster/faults"


@pytest.fixture
def local_url(bank: LinkedCluster) -> Iterator[str]:
    """The address of a bin/web that the starter of the nodes has started, as bin/run --web does."""

    def start(name: str) -> None:
        bank.start(name)

    pages = WebProcess(bank.cluster.path, "localhost:0", FaultServer(bank, start))
    try:
        yield pages.start().rstrip("/")
    finally:
        pages.stop()
        for name in bank.cluster.nodes:
            if name not in bank.running():
                bank.start(name)
            bank.resume(name)
        bank.mend(bank.cuts)
        bank.wait_for_leader()


def server(name: str, role: str = "") -> str:
    return f'#network [aria-label^="Server {name}: {role}"]'


def test_a_failover_by_a_click_is_told_as_it_happens(
    chrome: Browser, local_url: str, bank: LinkedCluster, client: Client
) -> None:
    leader = bank.wait_for_leader()
    client.open("aa-cluster")
    client.credit("aa-cluster", 12_34).check()
    with visit(chrome, f"{local_url}/cluster") as (page, seen):
        page.locator(server(leader, "leader")).wait_for()
        expect(page.locator("#balances")).to_contain_text("12.34")
        page.locator(server(leader)).click()
        page.get_by_role("button", name="Kill").click()
        expect(page.locator("#fault-told")).to_contain_text(f"{leader} is killed")
        page.locator(server(leader, "down")).wait_for()
        new = bank.wait_for_leader()
        page.locator(server(new, "leader")).wait_for()
        events = page.locator("#events")
        expect(events).to_contain_text(f"{new} becomes the leader of term")
        expect(events).to_contain_text(f"votes for {new} in term")
        expect(events).to_contain_text(f"{leader} does not answer")
        page.locator(server(new)).click()
        expect(page.locator("[data-why=role]")).to_contain_text(f"{new} becomes the leader")
        client.credit("aa-cluster", 1).check()
        expect(page.locator("[data-why=commit]")).to_contain_text("on the disks of")
        assert axe_violations(page) == []

        page.locator("#back").click()
        moment = page.input_value(
            "#time"
        )  # in microseconds: a millisecond of the clock may have several events
        page.keyboard.press("ArrowLeft")
        expect(page.locator("#time")).not_to_have_value(moment)
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
        page.get_by_role("button", name="Live", exact=True).click()
        expect(page.locator("#live")).to_have_attribute("aria-pressed", "true")

        page.locator(server(leader)).click()
        page.get_by_role("button", name="Start", exact=True).click()
        page.locator(server(leader, "follower")).wait_for()
        expect(events).to_contain_text(f"{leader} starts with release")
        seen.check()


def test_links_are_cut_and_mended_by_keys_and_what_follows_is_told(
    chrome: Browser, local_url: str, bank: LinkedCluster
) -> None:
    old = bank.wait_for_leader()
    one, other = (name for name in bank.cluster.nodes if name != old)
    with visit(chrome, f"{local_url}/cluster", width=360, theme="dark") as (page, seen):
        page.locator(server(old, "leader")).wait_for()
        links = page.get_by_role("group", name="Links of this server")
        page.locator(server(old)).press("Enter")
        links.get_by_role("button", name="Isolate").press("Enter")
        expect(page.locator("#fault-told")).to_contain_text(f"{old} is cut off from all others")
        expect(links).to_contain_text(f"Link to {one}: cut")
        expect(page.locator("#network .link.cut")).to_have_count(2)
        events = page.locator("#events")
        expect(events).to_contain_text(re.compile(f"({one}|{other}) becomes the leader of term"))
        first, second = sorted((old, one))
        expect(events).to_contain_text(f"The link between {first} and {second} is cut")
        expect(events).to_contain_text(f"{old} steps down and is a follower in term")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert axe_violations(page) == []

        links.get_by_role("button", name="Mend all links").press("Enter")
        expect(links).to_contain_text(f"Link to {one}: whole")
        expect(page.locator("#network .link.cut")).to_have_count(0)
        expect(events).to_contain_text(f"The link between {first} and {second} passes again")
        page.locator(server(old, "follower")).wait_for()

        links.get_by_role("button", name=f"Cut {old} → {one}").press("Enter")
        expect(links).to_contain_text(f"Link to {one}: cut from {old} to {one}")
        expect(page.locator("#network .link.half-cut")).to_have_count(1)
        expect(events).to_contain_text(f"The link from {old} to {one} is cut, and the way back is not")
        expect(links.get_by_role("button", name=f"Cut the link to {one}")).to_be_focused()
        links.get_by_role("button", name=f"Mend the link to {one}").press("Enter")
        expect(links).to_contain_text(f"Link to {one}: whole")
        seen.check()


def test_a_member_that_cluster_ini_does_not_name_is_shown_until_it_is_removed(
    chrome: Browser, tmp_path: Path
) -> None:
    founders = LocalCluster(write_cluster_ini(tmp_path, 3))
    (tmp_path / "further").mkdir()
    client_port, peer_port = free_ports(2)
    addresses = ["--peer", f"{LOOPBACK}:{peer_port}", "--client", f"{LOOPBACK}:{client_port}"]
    listing = tmp_path / "further" / "cluster.ini"  # that of the new server, which lists itself
    listing.write_text(
        founders.cluster.path.read_text().replace("[cluster]", f"[cluster]\ndata_dir = {tmp_path / 'data'}")
        + f"\n[node n9]\nclient = {LOOPBACK}:{client_port}\npeer = {LOOPBACK}:{peer_port}\n"
    )
    config = ["--config", str(founders.cluster.path)]
    with founders, LocalCluster(listing) as further, web(founders.cluster.path) as url:
        founders.start_all()
        founders.wait_for_leader()
        _watch_n9_come_and_go(
            chrome, url, further, [*config, "add", "n9", *addresses], [*config, "remove", "n9", "--yes"]
        )


def _watch_n9_come_and_go(
    chrome: Browser, url: str, further: LocalCluster, add: list[str], remove: list[str]
) -> None:
    with visit(chrome, f"{url}/cluster") as (page, seen):
        page.locator(server("n1")).wait_for()
        further.start("n9")
        assert admin(add) == 0
        page.locator(server("n9", "follower")).wait_for()
        page.locator(server("n9")).click()
        expect(page.locator("[data-why=role]")).to_contain_text("n9 follows")
        assert admin(remove) == 0
        page.locator(server("n9", "not a member")).wait_for()
        seen.check()


def test_a_recorders_file_is_opened_and_left(
    chrome: Browser, url: str, bank: LinkedCluster, client: Client, tmp_path: Path
) -> None:
    leader = bank.wait_for_leader()
    files = []
    for name in bank.cluster.nodes:
        found = client.node_events(name)
        path = tmp_path / f"flight-{name}.jsonl"
        path.write_bytes(b"".join(lines_of(found.header, found.events)) + b'{"cut off')
        files.append(path)
    with visit(chrome, f"{url}/cluster") as (page, seen):
        page.locator(server(leader, "leader")).wait_for()
        page.locator("#file").set_input_files(files)
        expect(page.locator("#title")).to_contain_text(f"flight-{leader}.jsonl")
        expect(page.locator("#network .server")).to_have_count(len(bank.cluster.nodes))
        page.locator(server(leader, "leader")).wait_for()
        expect(page.locator("#events li").first).to_be_visible()
        wrong = tmp_path / "wrong.jsonl"
        wrong.write_text("hello\n")
        seen.check()
        page.locator("#file").set_input_files(wrong)
        expect(page.locator("#told")).to_contain_text("wrong.jsonl: This is no file of events")
        page.get_by_role("button", name="Back to the live cluster").click()
        expect(page.locator("#title")).to_have_text("The live cluster")
        page.locator(server(leader, "leader")).wait_for()


def test_a_role_that_may_not_see_it_is_told_so_once(chrome: Browser, url: str) -> None:
    with visit(chrome, "about:blank") as (page, _):
        refusal = {"code": "not_allowed", "detail": "The role does not allow it", "done": False}
        page.route(
            "**/api/v1/cluster/events",
            lambda route: route.fulfill(status=403, json=refusal, content_type="application/problem+json"),
        )
        page.goto(f"{url}/cluster")
        expect(page.locator("#told .bad")).to_have_text("The role does not allow it")


def test_started_alone_it_makes_no_fault(url: str, bank: LinkedCluster) -> None:
    nothing = {"available": False, "servers": {}, "linked": [], "cuts": []}
    assert ask(url, path=FAULTS).json == nothing
    name = next(iter(bank.cluster.nodes))
    refused = ask(url, "POST", FAULTS, {"node": name, "fault": "kill"})
    assert (refused.status, refused.json["code"]) == (403, "not_allowed")
    assert name in bank.running()


def test_a_fault_is_paused_resumed_killed_and_started(local_url: str, bank: LinkedCluster) -> None:
    leader = bank.wait_for_leader()
    name = next(each for each in bank.cluster.nodes if each != leader)

    def fault(what: object, node: str = name, **headers: str) -> tuple[int, object]:
        made = ask(local_url, "POST", FAULTS, {"node": node, "fault": what}, **headers)
        return made.status, made.json.get("servers", {}).get(node) or made.json["code"]

    assert fault("resume") == (400, "bad_request")
    assert fault("pause") == (200, "paused")
    assert fault("resume") == (200, "running")
    assert fault("kill") == (200, "stopped")
    assert fault("kill") == (400, "bad_request")
    assert fault("start") == (200, "running")
    assert fault("cut") == (400, "bad_request")  # in a server, which is no link
    assert fault("explode") == (400, "bad_request")
    assert fault("kill", node="nobody") == (400, "bad_request")
    assert fault("kill", content_type="text/plain") == (415, "not_json")
    assert fault("kill", origin="http://evil.example") == (403, "cross_site")
    assert ask(local_url, path=FAULTS).json["servers"] == dict.fromkeys(bank.cluster.nodes, "running")


def test_only_links_between_two_servers_of_this_bank_are_cut_and_each_may_see_what_is(
    local_url: str, bank: LinkedCluster
) -> None:
    leader = bank.wait_for_leader()
    one, other = (name for name in bank.cluster.nodes if name != leader)

    def ask_for(fault: str, *links: tuple[str, str]) -> tuple[int, list[list[str]]]:
        made = ask(local_url, "POST", FAULTS, {"fault": fault, "links": links})
        return made.status, ask(local_url, path=FAULTS).json["cuts"]

    assert ask(local_url, path=FAULTS).json["linked"] == list(bank.cluster.nodes)
    assert ask_for("cut", (one, other)) == (200, [[one, other]])
    assert ask_for("cut", (other, one), (one, other)) == (200, sorted([[one, other], [other, one]]))
    assert ask_for("cut", (one, "nobody")) == (400, sorted([[one, other], [other, one]]))
    assert ask_for("cut", (one, one))[0] == 400
    assert ask_for("kill", (one, other))[0] == 400
    assert ask_for("mend", (one, other)) == (200, [[other, one]])
    assert ask_for("mend", (other, one)) == (200, [])
