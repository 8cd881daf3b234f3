"""Settings of Sphinx for the documentation as a site; the folder of the sources is that of the checkout."""

import re
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

# Every page stands here once, by what its reader wants; one that does not is a broken build.
CHAPTERS = {
    "Use": (
        "docs/teller",
        "docs/ledger",
        "docs/web",
        "docs/learn",
        "docs/course",
        "docs/http",
        "docs/python",
        "docs/protocol",
    ),
    "Run": (
        "docs/install",
        "docs/postgresql",
        "docs/operations",
        "docs/metrics",
        "docs/events",
        "docs/upgrade",
        "docs/backup",
        "docs/repair",
        "docs/security",
    ),
    "Judge": (
        "docs/why-raft",
        "docs/reliability",
        "docs/performance",
        "docs/roadmap",
        "Threats in short <SECURITY>",
    ),
    "Read the code": ("docs/architecture", "docs/raft", "docs/ways", "docs/glossary", "docs/decisions"),
    "Change it": ("CONTRIBUTING", "docs/style", "CHANGELOG"),
}

project = "ATM on Raft"
release = runpy.run_path(str(ROOT / "atm" / "version.py"))["RELEASE"]
html_title = f"{project} {release}"
language = "en"

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
include_patterns = ["*.md", "docs/*.md"]
root_doc = "README"
myst_heading_anchors = 4  # links go to headings by the names that they have on GitHub

highlight_language = "text"  # of blocks that name none: most are what a terminal shows
html_theme = "furo"  # light and dark, narrow and wide; its fonts are those of the reader's system
html_additional_pages = {"index": "index.html"}
templates_path = ["."]
html_static_path: list[str] = []
html_copy_source = False
html_use_index = False
html_show_sphinx = False


def _source_read(_app: Any, name: str, source: list[str]) -> None:
    """Give the first page the table of contents, and a diagram that only GitHub draws a form as text."""
    source[0] = re.sub(r"^```mermaid$", "```text", source[0], flags=re.MULTILINE)
    if name == root_doc:
        for title, pages in CHAPTERS.items():
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _source_read)
