"""bin/docs: builds README.md and docs/*.md into a site of static HTML, with navigation and search.

docs [FOLDER]     default: build/site; open its index.html, no server is needed

A link to a page, a heading or a file that does not exist ends it with 1, and so does a page that would load
anything from another host. What is not asked: whether other sites, to which pages only link, are still there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path

SITE = Path(__file__).resolve().parent
ROOT = SITE.parents[1]
# What a browser loads by itself. Links (`a href`) are what a reader follows.
LOADING = {"src", "srcset", "poster", "data", "action", "background"}
LOADING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "modulepreload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "manifest",
}
_OTHER_HOST = re.compile(r"\s*(?:[a-z]+:)?//", re.IGNORECASE)
_IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)
_IN_SCRIPTS = re.compile(
    r"""(?:\bfetch\(|\bimport\(?|\.open\(|\bfrom|\.src\s*=|\.href\s*="""
    r"""|\bnew (?:WebSocket|EventSource|Worker)\()"""
    r"""[^"'`\n;]{0,40}["'`]((?:https?:|wss?:)?//[^"'`]+)"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; return the exit code."""
    from sphinx.cmd.build import main as sphinx  # noqa: PLC0415 (the tests of the rest do without)

    parser = argparse.ArgumentParser(prog="docs", description="Build the documentation as a site.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site", metavar="FOLDER")
    folder: Path = parser.parse_args(arguments).folder
    options = [
        "--builder",
        "html",
        "--quiet",
        "--nitpicky",
        "--fail-on-warning",
        "--keep-going",
        "--fresh-env",
    ]
    code = sphinx([*options, "--conf-dir", str(SITE), str(ROOT), str(folder)])
    found = list(loads_from_other_hosts(folder))
    for line in found:
        print(line, file=sys.stderr)
    if not code and not found:
        print(f"Open {folder / 'index.html'}")
    return 1 if code or found else 0


def loads_from_other_hosts(folder: Path) -> Iterator[str]:
    """Yield a line for each place in the site that makes a browser ask another host."""
    for file in sorted(folder.rglob("*")):
        if file.suffix not in {".html", ".css", ".js", ".svg"}:
            continue
        text = file.read_text(encoding="utf-8")
        found: list[str] = []
        if file.suffix in {".html", ".svg"}:
            reader = _Loads()
            reader.feed(text)
            found += reader.found
        if file.suffix != ".js":
            found += _IN_STYLES.findall(text)
        if file.suffix != ".css":
            found += _IN_SCRIPTS.findall(text)
        yield from (f"{file.relative_to(folder)} loads {address} from another host" for address in found)


class _Loads(HTMLParser):
    """Collects the addresses on other hosts that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag loads."""
        values = {name: value or "" for name, value in attrs}
        loaded = [value for name, value in values.items() if name in LOADING]
        if tag == "link" and LOADING_LINKS & set(values.get("rel", "").lower().split()):
            loaded.append(values.get("href", ""))
        if tag in {"image", "use", "script"}:  # of SVG
            loaded += [values.get("href", ""), values.get("xlink:href", "")]
        self.found += [value for value in loaded if _OTHER_HOST.match(value)]


if __name__ == "__main__":
    sys.exit(main())
