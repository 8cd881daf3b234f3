"""Draws the pictures beside it, for light and dark: `python docs/pictures/draw.py`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

STYLE = """<style>
.page{fill:#fff}.box{fill:#eef2f7;stroke:#57606a}.lead{fill:#ddf4e4;stroke:#1a7f37}.down{fill:none;stroke:#a0a7b0;
stroke-dasharray:5 4}.arrow{stroke:#57606a;fill:none;stroke-width:1.6}.tip{fill:#57606a}
text{font:14px system-ui,sans-serif;fill:#1b1f24;text-anchor:middle}.small{font-size:12px;fill:#4b535d}
@media (prefers-color-scheme:dark){.page{fill:#16181c}.box{fill:#252a31;stroke:#8b949e}.lead{fill:#12381f;
stroke:#3fb950}.down{stroke:#6b737d}.arrow{stroke:#8b949e}.tip{fill:#8b949e}text{fill:#e6edf3}.small{fill:#b3bcc6}}
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
orient="auto-start-reverse">
<path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>"""

SMALL = ' class="small"'


def svg(name: str, title: str, width: int, height: int, parts: Iterable[str]) -> None:
    """Write a picture; `title` is what a reader hears who does not see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    page = f'<rect class="page" width="{width}" height="{height}" rx="8"/>'
    text = "\n".join([head, f"<title>{title}</title>", STYLE, page, *parts, "</svg>", ""])
    Path(__file__).with_name(name).write_text(text, encoding="utf-8")


def box(x: int, y: int, width: int, lines: Iterable[str], kind: str = "box") -> str:
    """Return a box with its lines, the first larger, all centred."""
    told = list(lines)
    height = 18 * len(told) + 16
    texts = [
        f'<text x="{x + width // 2}" y="{y + 22 + 18 * row}"{SMALL if row else ""}>{line}</text>'
        for row, line in enumerate(told)
    ]
    return "\n".join(
        [f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="6"/>', *texts]
    )


def arrow(*points: tuple[int, int], both: bool = False) -> str:
    """Return a line through the points with a tip at its end, or at both."""
    path = "L".join(f"{x} {y}" for x, y in points)
    start = ' marker-start="url(#tip)"' if both else ""
    return f'<path class="arrow" d="M{path}" marker-end="url(#tip)"{start}/>'


def note(x: int, y: int, text: str) -> str:
    """Return a small line, centred."""
    return f'<text class="small" x="{x}" y="{y}">{text}</text>'


def bank() -> None:
    """The first picture: who asks whom, and what each server keeps."""
    parts = [
        box(20 + 250 * at, 20, 210, lines)
        for at, lines in enumerate(
            (
                ("bin/atm", "a person, or a script"),
                ("atm.client", "your Python program"),
                ("the protocol", "a client of your own"),
            )
        )
    ]
    parts += [arrow((125, 74), (92, 138)), arrow((375, 74), (385, 138)), arrow((625, 74), (425, 138))]
    parts.append(note(215, 112, "any server takes a request"))
    states = ("follower", "follower", "leader", "down", "down")
    for at, state in enumerate(states):
        kind = {"leader": "lead", "down": "down"}.get(state, "box")
        parts.append(box(20 + 146 * at, 142, 126, (state, "log", "ledger.db"), kind))
    parts.append(arrow((375, 212), (375, 244), (229, 244), (229, 216)))
    parts.append(arrow((375, 244), (83, 244), (83, 216)))
    parts.append(
        note(375, 272, "The leader sends each command to all. It is done once three of five have it on disk,")
    )
    parts.append(note(375, 290, "so any two servers may fail. Each books it in a SQLite ledger of its own."))
    svg(
        "bank.svg", "Clients ask any of five servers; the leader replicates; two may be down", 750, 306, parts
    )


def request() -> None:
    """The picture of the map: the way of one command."""
    parts = [
        box(20, 20, 130, ("client", "repeats an id safely")),
        box(200, 20, 150, ("reader", "bytes to requests")),
        box(400, 20, 130, ("inbox", "bounded")),
        box(580, 20, 150, ("run loop", "one iteration"), "lead"),
        arrow((150, 47), (196, 47)),
        arrow((350, 47), (396, 47)),
        arrow((530, 47), (576, 47)),
        box(20, 150, 130, ("5  reply", "log index, balance")),
        box(195, 150, 150, ("4  ledger", "apply, SQLite")),
        box(390, 150, 150, ("3  committed", "a majority has it")),
        box(580, 110, 150, ("1  followers", "send the entries")),
        box(580, 190, 150, ("2  own log", "append, then sync")),
        arrow((655, 74), (655, 106)),
        arrow((730, 47), (744, 47), (744, 217), (734, 217)),
        arrow((576, 137), (544, 165)),
        arrow((576, 217), (544, 190)),
        arrow((390, 177), (349, 177)),
        arrow((195, 177), (154, 177)),
        arrow((85, 146), (85, 78)),
        note(375, 268, "The order 1 to 5 is code, in one place: atm/server/group/perform.py"),
    ]
    svg("request.svg", "The way of a command from client to reply", 760, 284, parts)


def hold() -> None:
    """The picture of the ledger's page: what becomes of a hold."""
    parts = [
        box(20, 90, 150, ("hold 100", "checked like a debit")),
        box(250, 90, 150, ("active", "the rest is held"), "lead"),
        box(560, 20, 180, ("posted", "all is paid out")),
        box(560, 90, 180, ("voided", "the rest is released")),
        box(560, 160, 180, ("expired", "the rest is released")),
        arrow((170, 115), (246, 115)),
        arrow((400, 105), (556, 50)),
        arrow((400, 115), (556, 115)),
        arrow((400, 125), (556, 182)),
        arrow((290, 90), (290, 56), (360, 56), (360, 86)),
        note(325, 46, "post a part; raise_hold"),
        note(478, 62, "post"),
        note(478, 108, "void, reverse, post 0"),
        note(450, 172, "its time ends"),
        note(
            380,
            234,
            "Cash that left the machine after the end is booked all the same: posted late, and listed",
        ),
    ]
    svg("hold.svg", "A hold is active until it is posted, voided or expires", 760, 252, parts)


def doors() -> None:
    """The picture of the page on security: who opens which port with what."""
    parts = [
        box(20, 20, 190, ("people and programs", "bin/atm, bin/admin, Client")),
        box(20, 100, 190, ("a server of the bank", "certificate of a node")),
        box(20, 180, 190, ("Prometheus, a balancer", "no certificate")),
        box(20, 260, 190, ("a browser", "what its proxy asks")),
        box(500, 20, 240, ("clients' port", "TLS; roles decide each request"), "lead"),
        box(500, 100, 240, ("servers' port", "TLS; a member's name and folder"), "lead"),
        box(500, 180, 240, ("metrics port", "plain, only reading, off unless given")),
        box(290, 260, 150, ("bin/web", "a client like others")),
        arrow((210, 46), (496, 46)),
        arrow((210, 126), (496, 126)),
        arrow((210, 206), (496, 206)),
        arrow((210, 286), (286, 286)),
        arrow((440, 286), (470, 286), (470, 60), (496, 60)),
        note(353, 38, "certificate with roles"),
        note(353, 118, "the other end is checked, too"),
        note(380, 338, "Without [tls] all are local, which may do all: for one machine, or insecure = yes"),
    ]
    svg("doors.svg", "Who reaches which port of a server, and what it asks of them", 760, 356, parts)


def backup() -> None:
    """The picture of the page on backups: what a folder holds, and what can be restored."""
    parts = [
        box(20, 20, 130, ("snapshot", "the ledger at 90"), "lead"),
        box(170, 20, 170, ("entries 91 to 120", "one run of backup")),
        box(360, 20, 170, ("entries 121 to 140", "the next run")),
        box(550, 20, 190, ("not backed up yet", "in the servers' logs"), "down"),
        arrow((85, 74), (85, 120)),
        arrow((255, 74), (255, 120)),
        arrow((445, 74), (445, 120)),
        box(20, 124, 510, ("restore: the books at any entry from 90 to 140",)),
        note(380, 186, "verify rebuilds the books from the pieces, and compares hashes with the servers'"),
    ]
    svg("backup.svg", "A backup is a snapshot and the log entries behind it, piece by piece", 760, 202, parts)


PICTURES = (bank, request, hold, doors, backup)

if __name__ == "__main__":
    for draw in PICTURES:
        draw()
