"""What `/learn` is served from: the page, the parts of Pyodide that it needs, and this project's own sources.

The page runs the project's core, ledger and simulation in the browser (docs/learn.md). This room only has the
files for that: what the page does is in `static/`, and what it runs in `lessons/`, outside of the product.

- `assets.py` says which files of Pyodide are needed, where they are kept, and whether they are whole.
- `fetch.py` is the command that brings them.
- `bundle.py` packs the sources into one archive.
"""
