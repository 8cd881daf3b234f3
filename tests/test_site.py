"""The documentation as a site: whole, without a broken link, and nothing of it comes from another host."""

from __future__ import annotations

import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "site"
BUILD: dict[str, Any] = runpy.run_path(str(SITE / "build.py"))
CONF: dict[str, Any] = runpy.run_path(str(SITE / "conf.py"))
NAMED = [re.sub(r".*<(.*)>", r"\1", name) for names in CONF["CHAPTERS"].values() for name in names]
loads_from_other_hosts: Callable[[Path], Iterator[str]] = BUILD["loads_from_other_hosts"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<script src="https://cdn.example/x.js"></script>'),
        ("a.html", '<script src="//cdn.example/x.js"></script>'),
        ("a.html", '<LINK REL="Stylesheet" HREF="HTTPS://fonts.example/css">'),
        ("a.html", '<link rel="preconnect" href="https://fonts.example">'),
        ("a.html", '<img srcset="https://cdn.example/x.png 2x">'),
        ("a.html", '<iframe src="https://video.example"></iframe>'),
        ("a.html", '<p style="background: url(https://cdn.example/x.png)">'),
        ("a.html", '<script>fetch("https://api.example/count")</script>'),
        ("a.css", "@import 'https://fonts.example/css';"),
        ("a.css", "src: url(//fonts.example/x.woff2)"),
        ("a.js", "import x from 'https://cdn.example/x.js'"),
        ("a.js", 'script.src = "https://cdn.example/x.js"'),
        ("a.svg", '<image href="https://cdn.example/x.png"/>'),
    ],
)
def test_what_a_browser_would_load_from_another_host_is_found(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    (line,) = loads_from_other_hosts(tmp_path)
    assert line.startswith(f"{name} loads ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.html", '<a href="https://msgpack.org">msgpack</a>'),
        ("a.html", '<link rel="canonical" href="https://bank.example/docs">'),
        ("a.html", '<script src="_static/x.js"></script><img src="data:image/png;base64,AA//">'),
        ("a.css", "/* https://example.org */ src: url(x.woff2)"),
        ("a.js", "// see https://example.org"),
        ("a.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ],
)
def test_what_is_only_named_or_linked_is_not(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert list(loads_from_other_hosts(tmp_path)) == []


def test_every_page_has_its_place_in_the_contents() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    names = {page.relative_to(ROOT).with_suffix("").as_posix() for page in pages}
    assert sorted(NAMED) == sorted(names - {"README"})


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    if importlib.util.find_spec("sphinx") is None:
        pytest.skip(
            "SPHINX IS NOT INSTALLED: the site is not built here (bin/docs, or bin/check, installs it)"
        )
    command = [sys.executable, "-P", str(source / "docs" / "site" / "build.py"), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_site_is_built_and_asks_no_other_host(tmp_path: Path) -> None:
    built = build(ROOT, tmp_path / "site")
    assert (built.returncode, built.stderr) == (0, ""), built.stderr
    assert 'url=README.html"' in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "site" / "searchindex.js").exists()
    assert 'name="viewport"' in (tmp_path / "site" / "docs" / "teller.html").read_text()


def test_a_broken_link_ends_the_build_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    shutil.copytree(SITE, tmp_path / "docs" / "site")
    (tmp_path / "atm").mkdir()
    shutil.copy(ROOT / "atm" / "version.py", tmp_path / "atm")
    for name in NAMED:
        (tmp_path / f"{name}.md").write_text("# A page\n")
    links = ("docs/nowhere.md", "docs/style.md#no-such-heading", "#no-such-heading")
    (tmp_path / "README.md").write_text("# First\n\n" + "\n\n".join(f"[x]({link})" for link in links) + "\n")
    built = build(tmp_path, tmp_path / "out")
    assert built.returncode == 1
    for line in (3, 5, 7):
        assert f"README.md:{line}: WARNING" in built.stderr
