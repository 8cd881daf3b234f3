"""What happened in a node, as people, pages and tests read it; pure. docs/events.md is the reader's page.

A node keeps its newest events in a ring (`recorder.py`), gives them on request (`decoding.py`), and writes
them to a file when it fails. All of these show the same flat objects (`event.py`), in a file one on each line
(`recording.py`), and a sentence for each (`sentences.py`). A simulation can use the same recorder.

No event holds a PIN, an amount, a balance or the name of an account: of a client's request only its operation
and its id are noted.
"""
