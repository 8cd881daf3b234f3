"""What the docs show is what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from atm.ledger.commands import Credit, Outcome, Request
from atm.raft import messages
from atm.raft.transitions import diagram
from atm.teller.commands import COMMANDS
from atm.teller.teller_command import TellerCommand
from atm.wire import client_messages, peer_messages
from atm.wire.codec import encode
from atm.wire.framing import CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX, frame
from atm.wire.request_decoding import decode_client_request

ROOT = Path(__file__).parent.parent
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
TELLER = (ROOT / "docs" / "teller.md").read_text(encoding="utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
MESSAGES = dict.fromkeys(
    kind
    for module in (messages, peer_messages)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, msgspec.Struct)
    and isinstance(kind.__struct_config__.tag, int)
)
WORDS_A_MINUTE = 230
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


def test_the_role_diagram_is_the_transition_table() -> None:
    assert f"```mermaid\n{diagram()}\n```" in ARCHITECTURE


def test_the_example_of_the_protocol_is_what_goes_over_the_wire() -> None:
    example = re.search(r"```\n((?:[0-9a-f]{2}\s+)+)```", PROTOCOL)
    assert example is not None
    data = bytes.fromhex("".join(example.group(1).split()))
    assert data == frame(encode(Credit(id="a1", account="main", amount=5000)))
    assert decode_client_request(data[4:]) == Credit(id="a1", account="main", amount=5000)


def test_the_protocol_names_every_outcome_and_limit() -> None:
    for outcome in Outcome:
        assert f"`{outcome}`" in PROTOCOL
    for limit in (CLIENT_FRAME_BYTES_MAX, PEER_FRAME_BYTES_MAX):
        assert f"{limit:,}" in PROTOCOL


@pytest.mark.parametrize(
    "request_kind", get_args(client_messages.ClientRequest), ids=lambda kind: kind.__name__
)
def test_the_protocol_lists_every_request_with_its_keys(request_kind: type[Request]) -> None:
    op = str(request_kind.__struct_config__.tag)
    row = re.search(rf"^\| .*`{op}`.* \| (.*) \| .* \|$", PROTOCOL, re.MULTILINE)
    assert row is not None, f"no row for {op}"
    told = dict(re.findall(r"`([a-z0-9_]+)`(\??)", row.group(1).partition(":")[0]))
    fields = [field for field in msgspec.structs.fields(request_kind) if field.name not in {"id", "end_user"}]
    assert told == {field.name: "" if field.required else "?" for field in fields}


@pytest.mark.parametrize("operators", [False, True], ids=["customers", "operators"])
def test_the_tellers_page_has_the_table_of_its_commands(operators: bool) -> None:
    rows = [command for command in COMMANDS.values() if command.for_operators is operators]
    table = "\n".join(["| command | what it does |", "|---|---|", *map(_row, rows)])
    assert f"\n\n{table}\n\n" in TELLER, f"the table is now:\n{table}"


def _row(command: TellerCommand[Any]) -> str:
    form = command.form.replace("|", "\\|")
    return f"| `{form}` | {command.does}{f'. {command.besides}' if command.besides else ''} |"


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_the_protocol_lists_every_message_with_its_kind_and_as_many_elements(message: type) -> None:
    tag = message.__struct_config__.tag  # type: ignore[attr-defined]
    row = re.search(rf"^\| {tag} \| {message.__name__} \| (.*) \|$", PROTOCOL, re.MULTILINE)
    assert row is not None, f"no row for {tag} {message.__name__}"
    elements = re.sub(r"\(.*?\)", "", row.group(1)).split(",")
    assert len(elements) == len(message.__struct_fields__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for file, name in re.findall(r"`(tests/[a-z0-9_/]+\.py)::(\w+)`", page.read_text(encoding="utf-8")):
        assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:atm|bin|docs|tests|bench|demo)/[A-Za-z0-9_./-]*)`", text))
    links = {link for link in re.findall(r"\]\(([^)#:]+)\)", text) if "//" not in link}
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_at_its_top_for_whom_it_is(page: Path) -> None:
    top = " ".join(page.read_text(encoding="utf-8").split("\n\n")[1:3])
    assert page.name == "README.md" or re.search(r"\b[Ff]or (?!example)", top), top


def test_every_path_of_the_readme_is_read_within_an_hour() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.partition("## What to read")[2].partition("\n## ")[0]
    rows = [re.findall(r"\]\(([^)]+\.md)\)", row) for row in table.splitlines() if row.startswith("| ")]
    paths = [row for row in rows if row]
    assert len(paths) == 4
    for path in paths:
        texts = [(ROOT / page).read_text(encoding="utf-8") for page in ("README.md", *path)]
        minutes = sum(len(text.split()) for text in texts) / WORDS_A_MINUTE
        assert minutes < 60, f"{minutes:.0f} minutes: {path}"


def test_the_pictures_are_those_that_the_command_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, str] = {}
    draw = runpy.run_path(str(ROOT / "docs" / "pictures" / "draw.py"))
    monkeypatch.setattr(Path, "write_text", lambda path, text, **_: drawn.update({path.name: text}))
    for picture in draw["PICTURES"]:
        picture()
    for name, text in drawn.items():
        assert (ROOT / "docs" / "pictures" / name).read_text(encoding="utf-8") == text, (
            "python docs/pictures/draw.py"
        )
    folder = ROOT / "docs" / "pictures"
    assert sorted(drawn) == sorted(path.name for path in folder.glob("*.svg"))
    pages = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    )
    assert [name for name in drawn if f"pictures/{name})" not in pages] == [], "no page shows it"
