"""Makes README's pictures of the pages: `python -m tests.web.pictures [FOLDER]`, default docs/pictures.

A bank of five servers is filled with the postings of a few days and photographed in Chromium; then its leader
is killed, and the live cluster is photographed.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect

from atm.client import Client
from atm.local_cluster import LocalCluster, write_cluster_ini
from tests.support.browser import Theme, browser, visit
from tests.web.serving import web

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
BYTES_MAX = 100_000
READY_MS = 240_000  # Python for browsers is compiled, and the project imported
SCENES = 9  # to step on in the story
WIDTH = 1000


def fill(bank: Client) -> None:
    """Post what the statement is to show."""
    bank.open("ann")
    bank.open("rent")
    bank.credit("ann", 2_480_00, text="Wages November", code=1)
    bank.transfer("ann", "rent", 925_00, text="Rent December", code=7)
    bank.debit("ann", 60_00)
    bank.credit("ann", 19_99, text="Refund of a book")
    bank.debit("ann", 140_00, text="Cash for the weekend")
    bank.hold("ann", 200_00, text="Hotel", expires_ms=3 * 86_400_000)


def shoot(running: Browser, url: str, theme: Theme, path: Path) -> None:
    """Photograph the teller's page."""
    with visit(running, url, theme=theme, width=1100, height=760) as (page, seen):
        page.locator("#login-account").fill("ann")
        page.get_by_role("button", name="Use this account").click()
        page.locator("#lines tr").nth(4).wait_for()
        page.locator("#holds li").wait_for()
        page.locator("#account-title").blur()
        page.screenshot(path=path)
        seen.check()
    assert path.stat().st_size < BYTES_MAX, f"{path} has {path.stat().st_size} bytes"


def shoot_failover(running: Browser, url: str, cluster: LocalCluster, bank: Client, path: Path) -> None:
    """Kill the leader, and photograph the live cluster with the next one."""
    with visit(running, f"{url}/cluster", width=880, height=900) as (page, seen):
        leader = cluster.wait_for_leader()
        page.locator(f'#network [aria-label^="Server {leader}: leader"]').wait_for()
        cluster.kill(leader)
        new = cluster.wait_for_leader()
        for number in range(12):
            bank.credit("ann", 5_00 + number)
        page.locator(f'#network [aria-label^="Server {new}: leader"]').click()
        page.locator("#balances tr").first.wait_for()
        expect(page.locator("#throughput-text")).not_to_have_text(re.compile("^0 "))
        page.get_by_role("button", name="Pause", exact=True).click()
        page.locator(".stage").screenshot(path=path)
        seen.check()
    assert path.stat().st_size < BYTES_MAX, f"{path} has {path.stat().st_size} bytes"


def shoot_learn(running: Browser, url: str, path: Path) -> None:
    """Photograph a scene of the first story; what the page needs must have been fetched."""
    with visit(running, f"{url}/learn", width=WIDTH, height=1000) as (page, seen):
        page.wait_for_selector("html[data-ready]", state="attached", timeout=READY_MS)
        page.check("input[value=story]")
        page.wait_for_selector("#story-text:not([hidden])", timeout=READY_MS)
        for _ in range(SCENES):
            page.click("#story-on")
        page.evaluate("document.querySelector('#player').hidden = true")  # it would lie over the logs
        top = page.locator("#panel").bounding_box()
        assert top is not None
        page.screenshot(path=path, clip={"x": 0, "y": top["y"] - 12, "width": WIDTH, "height": 530})
        seen.check()
    assert path.stat().st_size < BYTES_MAX, f"{path} has {path.stat().st_size} bytes"


def main(folder: Path) -> int:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as place, LocalCluster(write_cluster_ini(Path(place))) as cluster:
        cluster.start_all()
        cluster.wait_for_leader()
        with (
            Client(cluster.cluster.path) as bank,
            web(cluster.cluster.path) as url,
            browser() as running,
        ):
            fill(bank)
            shoot(running, url, "light", folder / "teller-light.png")
            shoot(running, url, "dark", folder / "teller-dark.png")
            shoot_learn(running, url, folder / "learn-light.png")
            shoot_failover(running, url, cluster, bank, folder / "cluster-light.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES))
