"""Tries `/learn` of an installed package in a browser: nothing of it may come from the checkout."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from atm.learn.assets import FOLDER_VARIABLE
from lessons.seeds import run_seed
from tests.installed.trial import INSTALL_S, Failed, Installation
from tests.support.browser import browser, visit

READY_MS = 300_000  # Python for browsers is compiled, and the project imported
PAGES = re.compile(r"The bank's pages are at (\S+)/\n")
SEED = 4


def try_learn(installation: Installation, assets: Path) -> None:
    """Fetch into `assets` what the page needs of others, and run a seed on the page; raise `Failed`."""
    found = {FOLDER_VARIABLE: str(assets)}
    fetched = subprocess.run(
        [installation.python, "-m", "atm.learn.fetch"],
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
        cwd=installation.empty,
        env=installation.environment(**found, HOME=str(Path.home())),  # npm and pip as they are configured
    )
    if fetched.returncode:
        raise Failed(f"what /learn needs was not fetched: {fetched.stdout}{fetched.stderr}")
    with (
        _pages(installation, found) as url,
        browser() as running,
        visit(running, f"{url}/learn") as (page, seen),
    ):
        page.set_default_timeout(READY_MS)
        page.wait_for_selector("html[data-ready]", state="attached")
        page.check("input[value=seed]")
        page.fill("#seed", str(SEED))
        page.click("#panel-seed button")
        page.wait_for_selector("#verdict[data-digest]")
        told = page.inner_text("#verdict"), page.get_attribute("#verdict", "data-digest")
        if f"Seed {SEED} kept every promise" not in told[0] or told[1] != str(run_seed(SEED).digest):
            raise Failed(f"/learn: {told}")
        seen.check()


@contextmanager
def _pages(installation: Installation, found: dict[str, str]) -> Iterator[str]:
    """Run a bank of the installation's own, with its pages; give their address."""
    with subprocess.Popen(
        [installation.python.with_name("atm-run"), "--web", "--web-listen", "localhost:0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=installation.empty,
        env=installation.environment(**found),
    ) as process:
        try:
            assert process.stderr is not None
            said: list[str] = []
            while not (told := PAGES.search("".join(said))):
                said.append(process.stderr.readline())
                if not said[-1]:
                    raise Failed(f"atm-run --web: {said}")
            yield told.group(1)
        finally:
            process.communicate("quit\n")
