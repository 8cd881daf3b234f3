"""`/learn` in a real browser: the digest is as here, a planted defect is found, no other host is asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from atm.learn.assets import assets_folder, missing
from lessons.defects import DEFECTS, defect_named
from lessons.seeds import run_seed
from tests.support.browser import Seen, Theme, axe_violations, visit
from tests.web.asked import ask

READY_MS = 240_000  # Python for browsers is compiled, and the project imported
DEFECT = "elect with two of five"
SEED = 4
THEMES: tuple[Theme, ...] = ("light", "dark")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def learn(chrome: Browser, url: str) -> Iterator[tuple[Page, Seen]]:
    """The page, once its Python is ready."""
    if missing(assets_folder()):
        pytest.skip("PYTHON FOR BROWSERS IS NOT HERE: /learn is not tested (python -m atm.learn.fetch)")
    with visit(chrome, f"{url}/learn") as (page, seen):
        page.set_default_timeout(READY_MS)
        page.wait_for_selector("html[data-ready]", state="attached")
        yield page, seen


def test_a_seed_has_the_same_digest_as_here(learn: tuple[Page, Seen]) -> None:
    page, seen = learn
    page.check("input[value=seed]")
    page.fill("#seed", str(SEED))
    page.click("#panel-seed button")
    expect(page.locator("#verdict")).to_contain_text(f"Seed {SEED} kept every promise", timeout=READY_MS)
    assert page.get_attribute("#verdict", "data-digest") == str(run_seed(SEED).digest)
    seen.check()


def test_a_planted_defect_is_found_and_explained(learn: tuple[Page, Seen]) -> None:
    page, seen = learn
    defect = defect_named(DEFECT)
    page.check("input[value=defect]")
    page.select_option("#defect", str(DEFECTS.index(defect)))
    page.click("#panel-defect button")
    page.wait_for_selector("#defect-question:not([hidden])")
    assert page.get_attribute("#defect-found", "data-promise") == defect.promise
    page.check(f"#defect-rules input[value='{(defect.answer + 1) % 4}']")
    assert page.is_hidden("#defect-line")
    page.check(f"#defect-rules input[value='{defect.answer}']")
    page.wait_for_selector("#defect-line:not([hidden])")
    assert "\n+" in page.inner_text("#defect-line")
    seen.check()


# What shows that something runs in a mode; a seed, a story and a defect have their own parts of the page.
MODES = {
    "play": "#tracks .server",
    "seed": "#verdict:not(:empty)",
    "story": "#story-text:not([hidden])",
    "defect": "#defect-question:not([hidden])",
    "commit": "#commit-table:not([hidden])",
}
BEGINS = {"seed": "#panel-seed button", "defect": "#panel-defect button"}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_accessible_in_both_themes_and_on_a_telephone(
    learn: tuple[Page, Seen], mode: str
) -> None:
    page, seen = learn
    page.emulate_media(reduced_motion="reduce")  # colours between two themes are no one's to read
    page.check(f"input[value={mode}]")
    found = set(axe_violations(page))
    if mode in BEGINS:
        page.click(BEGINS[mode])
    page.wait_for_selector(MODES[mode], timeout=READY_MS)
    for theme in THEMES:
        for width in (1280, 360):
            page.emulate_media(color_scheme=theme)
            page.set_viewport_size({"width": width, "height": 900})
            found.update(f"{theme}, {width}: {each}" for each in axe_violations(page))
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})
    assert found == set()
    seen.check()


def test_keys_step_on_and_back(learn: tuple[Page, Seen]) -> None:
    page, seen = learn
    page.check("input[value=story]")
    page.wait_for_selector("#story-text:not([hidden])")
    page.focus("#story-on")
    before = page.inner_text("#clock")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#clock")).not_to_have_text(before)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#clock")).to_have_text(before)
    seen.check()


def test_nothing_else_is_served_below_learn(url: str) -> None:
    for path in (
        "/learn/assets/package.json",
        "/learn/..%2fapp.py",
        "/learn/assets/..%2f..%2fx",
        "/learn/x.js",
    ):
        assert ask(url, path=path).status == 404, path


def test_without_its_assets_the_page_says_what_to_run(chrome: Browser, url: str) -> None:
    with visit(chrome, "about:blank") as (page, _):
        state = {"missing": ["pyodide.mjs"], "command": "python -m atm.learn.fetch", "wheels": []}
        page.route("**/learn/state.json", lambda route: route.fulfill(json=state))
        page.goto(f"{url}/learn")
        page.wait_for_selector("#told .fair")
        assert "Run this once, then reload: python -m atm.learn.fetch" in page.inner_text("#told")
