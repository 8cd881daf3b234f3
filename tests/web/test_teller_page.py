"""The teller's page in a real browser, before a real bank."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from atm.client import Client
from atm.local_cluster import LocalCluster
from tests.support.browser import Theme, axe_violations, visit

expect.set_options(timeout=20_000)
NewAccount = Callable[..., str]
EVIL = "<img src=x onerror=alert(1)>"


def field(page: Page, label: str) -> Locator:
    """Return the text field whose label begins so."""
    return page.get_by_role("textbox", name=re.compile(f"^{label}"))


def use(page: Page, account: str, pin: str = "") -> None:
    field(page, "Account").fill(account)
    field(page, "PIN if").fill(pin)
    page.get_by_role("button", name="Use this account").click()


def ask(page: Page, what: str, amount: str, to: str = "", text: str = "") -> None:
    page.get_by_role("radio", name=what).check()
    if to:
        field(page, "To account").fill(to)
    field(page, "Amount").first.fill(amount)
    field(page, "What for").fill(text)
    page.get_by_role("button", name=what, exact=True).click()


def told(page: Page, text: str) -> None:
    expect(page.locator("#told")).to_contain_text(text)


def test_a_customers_day(chrome: Browser, url: str, new_account: NewAccount) -> None:
    bob = new_account()
    with visit(chrome, url) as (page, seen):
        page.get_by_text("Open a new account").click()
        field(page, "Name of").fill("daisy")
        page.get_by_role("button", name="Open it").click()
        told(page, "Opened the account daisy")
        use(page, "daisy")
        expect(page.get_by_text("Nothing was posted yet.")).to_be_visible()

        ask(page, "Pay in", "5000", text=EVIL)
        told(page, "Paid in 5,000.00")
        expect(page.locator("#balance")).to_have_text("5,000.00")
        expect(page.locator("#lines")).to_contain_text(EVIL)
        ask(page, "Pay out", "6000")
        told(page, "Insufficient account balance. Nothing was moved.")
        ask(page, "Pay out", "12.345")
        expect(page.get_by_text("at most 2 decimals")).to_be_visible()
        ask(page, "Pay out", "4,000.50")
        told(page, "Paid out 4,000.50")
        ask(page, "Transfer", "99.50", to=bob)
        told(page, f"Transferred 99.50 to {bob}")
        ask(page, "Transfer", "1", to="nobody")
        told(page, "The bank has no account of that name.")

        ask(page, "Hold", "300")
        told(page, "Held 300.00")
        expect(page.locator("#available")).to_have_text("600.00 available, 300.00 held")
        field(page, "Amount to pay out").fill("120")
        page.get_by_role("button", name="Pay out of the hold").click()
        told(page, "Paid out of the hold 120.00")
        expect(page.locator("#balance")).to_have_text("780.00")
        ask(page, "Hold", "10")
        told(page, "Held 10.00")
        page.get_by_role("button", name="Release the hold").click()
        told(page, "Released the hold")
        expect(page.locator("#holds")).to_be_hidden()
        expect(page.locator("#lines tr")).to_have_count(4)
        seen.check()


def test_the_next_request_need_not_wait_until_the_account_is_shown_anew(
    chrome: Browser, url: str, client: Client, new_account: NewAccount
) -> None:
    account = new_account(50_00)
    with visit(chrome, url) as (page, seen):
        use(page, account)
        expect(page.get_by_text("All of it is available")).to_be_visible()
        held_back: list[Route] = []

        def hold_back(route: Route) -> None:
            held_back.append(route)

        page.route("**/statement*", hold_back)
        for amount in ("1", "2"):
            ask(page, "Pay out", amount)
            told(page, f"Paid out {amount}.00")
        assert client.query(account).balance == 47_00
        assert held_back
        page.unroute_all()  # what was held back goes on
        expect(page.locator("#balance")).to_have_text("47.00")
        page.route("**/statement*", lambda route: route.fulfill(status=503, json={"code": "unavailable"}))
        ask(page, "Pay out", "4")
        told(page, "Paid out 4.00")
        expect(page.locator("#available")).to_have_text("As it was before: the bank does not answer now")
        expect(page.locator("#balance")).to_have_text("47.00")
        assert all("503" in complaint for complaint in seen.complaints)


def test_a_pin_is_asked_for_and_locks_after_three_wrong_ones(
    chrome: Browser, url: str, client: Client, new_account: NewAccount
) -> None:
    account = new_account(50_00)
    client.set_pin(account, "4711").check()
    with visit(chrome, url) as (page, seen):
        use(page, account)
        expect(page.get_by_text("This account has a PIN.")).to_be_visible()
        use(page, account, "4711")
        ask(page, "Pay out", "20")
        told(page, "Paid out 20.00")
        page.get_by_text("Change the PIN").click()
        field(page, "New PIN").fill("123456")
        page.get_by_role("button", name="Set it").click()
        told(page, "The PIN is set")
        ask(page, "Pay out", "1")
        told(page, "Paid out 1.00")
        stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert "123456" not in stored
        assert "4711" not in stored
        page.get_by_role("button", name="Leave").click()
        for said in ("2 more wrong ones will lock it", "1 more wrong one will lock it", "It is locked for"):
            use(page, account, "0000")
            expect(page.locator(".wrong")).to_contain_text(said)
        use(page, account, "123456")
        expect(page.locator(".wrong")).to_contain_text("The PIN is locked")
        seen.check()


def test_older_postings_are_a_click_away_and_news_comes_by_itself(
    chrome: Browser, url: str, client: Client, new_account: NewAccount
) -> None:
    account = new_account()
    for amount in range(1, 13):
        client.credit(account, amount).check()
    with visit(chrome, url) as (page, seen):
        use(page, account)
        page.wait_for_selector("#counter[data-live]")  # from now on it is told what comes
        expect(page.locator("#lines tr")).to_have_count(10)
        page.get_by_role("button", name="Older postings").click()
        expect(page.locator("#lines tr")).to_have_count(12)
        expect(page.get_by_role("button", name="Older postings")).to_be_hidden()
        client.credit(account, 100_00).check()
        expect(page.locator("#balance")).to_have_text("100.78")
        seen.check()


def test_amounts_have_the_decimals_of_their_currency(chrome: Browser, url: str, client: Client) -> None:
    client.open("yen", currency="JPY").check()
    with visit(chrome, url) as (page, seen):
        page.route("**/statement*", lambda route: None)  # the account is not shown yet
        use(page, "yen")
        ask(page, "Pay in", "12.50")
        expect(page.get_by_text("without decimals")).to_be_visible()
        page.unroute_all()
        ask(page, "Pay in", "1200")
        told(page, "Paid in 1,200 JPY")
        expect(page.locator("#balance")).to_have_text("1,200 JPY")
        ask(page, "Hold", "200")
        told(page, "Held 200 JPY")
        page.get_by_role("button", name="Pay out of the hold").click()
        told(page, "Paid out of the hold 200 JPY")
        seen.check()


def test_all_of_it_works_without_a_mouse(chrome: Browser, url: str, new_account: NewAccount) -> None:
    account = new_account(10_00)
    with visit(chrome, url) as (page, seen):
        links = page.locator("#pages a")
        expect(links).not_to_have_count(0)
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the account")).to_be_focused()
        for _ in range(links.count() + 1):
            page.keyboard.press("Tab")
        expect(field(page, "Account")).to_be_focused()
        page.keyboard.press("ControlOrMeta+a")
        page.keyboard.type(account)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=account)).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Leave")).to_be_focused()
        page.keyboard.press("Tab")
        expect(page.get_by_role("radio", name="Pay in")).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("radio", name="Pay out")).to_be_checked()
        page.keyboard.press("Tab")
        page.keyboard.type("2.50")
        page.keyboard.press("Enter")
        told(page, "Paid out 2.50")
        seen.check()


@pytest.mark.parametrize(("theme", "width"), list(itertools.product(["light", "dark"], [360, 768, 1280])))
def test_axe_finds_nothing_and_no_line_is_wider_than_the_screen(
    chrome: Browser, url: str, client: Client, new_account: NewAccount, theme: Theme, width: int
) -> None:
    account = new_account(1_000_00)
    client.debit(account, 1_00, text="w" * 140).check()
    client.hold(account, 5_00).check()
    with visit(chrome, url, theme=theme, width=width) as (page, seen):
        expect(page.locator("#entry")).to_be_visible()
        assert axe_violations(page) == []
        use(page, account)
        expect(page.locator("#lines tr")).to_have_count(2)
        ask(page, "Transfer", "5", to="nobody")
        told(page, "The bank has no account of that name.")
        ask(page, "Pay out", "x")
        assert axe_violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        seen.check()


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def evil() -> Iterator[str]:
    """Another site, on this machine, too: else the browser's rules for local networks come first."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_no_page_of_another_site_shows_it_in_a_frame_or_moves_money(
    chrome: Browser, url: str, client: Client, evil: str
) -> None:
    before = client.query("main").balance
    context = chrome.new_context()
    try:
        page = context.new_page()
        page.goto(evil)
        frame = "url => { const f = document.createElement('iframe'); f.src = url; document.body.append(f) }"
        with page.expect_event("requestfailed", lambda failed: failed.url == f"{url}/") as blocked:
            page.evaluate(frame, f"{url}/")
        assert "BLOCKED_BY_RESPONSE" in (blocked.value.failure or "")
        sent = "{method: 'PUT', body: BODY, headers: HEADERS}"
        put = f"url => fetch(url, {sent}).then(() => 'read', () => 'refused')"
        body = "JSON.stringify({op: 'credit', account: 'main', amount: 1})"
        for headers in ("{}", "{'content-type': 'application/json'}"):
            script = put.replace("BODY", body).replace("HEADERS", headers)
            assert page.evaluate(script, f"{url}/api/v1/requests/evil") == "refused"
        assert (
            page.evaluate("url => fetch(url).then(() => 'read', () => 'refused')", f"{url}/api/v1/me")
            == "refused"
        )
    finally:
        context.close()
    assert client.query("main").balance == before


def test_an_unknown_outcome_is_said_and_is_settled_after_a_reload_under_its_old_id(
    chrome: Browser, url: str, bank: LocalCluster, client: Client, new_account: NewAccount
) -> None:
    """The leader is killed, and the others are paused, with a request under way."""
    account = new_account(100_00)
    client.set_pin(account, "4711").check()
    with visit(chrome, url) as (page, _):
        use(page, account, "4711")
        expect(page.locator("#balance")).to_have_text("100.00")
        leader = bank.wait_for_leader()
        others = [name for name in bank.running() if name != leader]
        for name in others:
            bank.pause(name)
        ask(page, "Pay out", "30")
        page.wait_for_function("localStorage.length === 1")  # kept before it is sent
        bank.kill(leader)
        expect(page.locator("#unknown")).to_contain_text("Outcome unknown", timeout=40_000)
        reference = page.locator("#unknown .mono").inner_text()
        assert "failed" not in page.inner_text("body").lower()
        kept = page.evaluate("JSON.stringify({...localStorage})")
        assert reference in kept
        assert "4711" not in kept

        page.reload()
        expect(page.locator("#unknown")).to_contain_text(reference)
        for name in others:
            bank.resume(name)
        bank.start(leader)
        bank.wait_for_leader()
        use(page, account, "4711")
        expect(page.locator("#balance")).to_have_text("70.00")
        told(page, reference)
        expect(page.locator("#unknown")).to_be_hidden()
        assert page.evaluate("localStorage.length") == 0
    (line, *_) = client.statement(account).check().lines
    assert (line.request_id, line.amount) == (reference, -30_00)
    assert client.query(account).balance == 70_00, "once"
