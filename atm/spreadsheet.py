"""Texts in files that people open with a spreadsheet."""

from __future__ import annotations

import re

# A spreadsheet takes a cell for a formula that begins so. One that begins with quotes before that gets one
# more, so that taking one away is right for all.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_QUOTED = re.compile(r"'+[=+\-@\t\r\n]")


def safe_cell(text: str) -> str:
    """Return the text with `'` before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if _FORMULA.match(text) else text


def cell_text(cell: str) -> str:
    """Return the text of which `safe_cell` made the cell."""
    return cell[1:] if _QUOTED.match(cell) else cell
