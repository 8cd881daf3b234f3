"""A Chromium that is driven by Playwright, and what it saw: requests, errors, and axe's findings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Theme = Literal["light", "dark"]


def chromium() -> str | None:
    """Return the path of the system's Chromium, None if there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def launch(playwright: Playwright) -> Browser:
    """Start the system's Chromium."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *root])


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a Chromium."""
    with sync_playwright() as playwright:
        running = launch(playwright)
        try:
            yield running
        finally:
            running.close()


@dataclass
class Seen:
    """What a page asked for and complained of."""

    origin: str
    hosts: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fail if anything was asked of another host, or anything was complained of."""
        assert self.hosts <= {urlsplit(self.origin).netloc, ""}, self.hosts
        assert self.complaints == []


@contextmanager
def visit(
    browser: Browser, url: str, *, theme: Theme = "light", width: int = 1280, height: int = 900
) -> Iterator[tuple[Page, Seen]]:
    """Open a page in a context of its own (nothing stored), and watch what it does."""
    context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": height})
    context.set_default_timeout(20_000)
    page = context.new_page()
    seen = Seen(url)
    page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: _note(seen, message.type, message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    try:
        page.goto(url)
        yield page, seen
    finally:
        context.close()


def _note(seen: Seen, kind: str, text: str) -> None:
    if kind in {"error", "warning"}:
        seen.complaints.append(text)


def axe_violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with a page, a line for each rule."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - it reads half a megabyte

    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']}: {[node['html'][:120] for node in each['nodes']]}" for each in found
    ]
