"""`bin/admin log`: the entries of a data folder on this machine, whether its node runs or not."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, assert_never

import msgspec
from msgspec.structs import asdict

from atm.admin.task import DONE, REFUSED, USAGE, NotDone, Task
from atm.command_line import printable
from atm.config import LEDGER_FILE
from atm.ledger.audit.auditing import applied_index
from atm.ledger.audit.read_only import DamagedLedger, NoLedger
from atm.ledger.commands import Founding, LevelRaise, LoggedCommand, LoggedDeed, MembershipChange
from atm.money import format_amount
from atm.raft.messages import Entry
from atm.storage.log_recovery import LogOfAnotherRelease
from atm.storage.read_only_log import ReadOnlyLog
from atm.timestamps import format_timestamp
from atm.wire.codec import Malformed
from atm.wire.log_entries import NewerEntry, decode_entry

PINS = frozenset({"pin", "old_pin"})
HIDDEN = "****"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `log`."""
    parser.add_argument("node", metavar="NODE", help="the node whose data folder it is")
    parser.add_argument("--from", dest="first", type=_index, metavar="I", help="the first entry to print")
    parser.add_argument("--to", dest="last", type=_index, metavar="I", help="the last one")


def run(task: Task) -> int:
    """Print entries, one a line; 1 if the log is damaged or does not hold what was asked for."""
    folder = task.cluster.data_dir / task.options.node
    log = _opened(folder)
    first, last = _range(log, task.options.first, task.options.last)
    if first <= last:
        for entry in log.entries(first, last):
            print(json.dumps(fields_of(entry)) if task.as_json else line_of(entry))
    task.progress(_summary(log, folder))
    if log.damage is not None:
        raise NotDone(REFUSED, f"{log.damage}: what stands behind it was not read")
    return DONE


def line_of(entry: Entry) -> str:
    """Return an entry as one line: index, term, time (UTC) and what it says; money in decimals, no PIN."""
    time = format_timestamp(entry.time_us) if entry.time_us > 1_000_000 else "-"
    fields = fields_of(entry)
    what = " ".join([str(fields.pop("entry")), *_words(fields, skipped=("index", "term", "time_us"))])
    return printable(f"{entry.index:>9} {entry.term:>5}  {time:<19}  {what}")


def fields_of(entry: Entry) -> dict[str, Any]:
    """Return an entry for programs: header, `entry` (what it is), its fields; money in minor units."""
    fields: dict[str, Any] = {"index": entry.index, "term": entry.term, "time_us": entry.time_us}
    try:
        decoded = decode_entry(entry)
    except NewerEntry:
        return fields | {
            "entry": "of a newer release",
            "kind": int(entry.kind),
            "version": entry.version,
            "bytes": len(entry.data),
        }
    except Malformed as error:
        return fields | {"entry": "cannot be decoded", "why": str(error), "bytes": len(entry.data)}
    match decoded:
        case None:
            return fields | {"entry": "no-op"}
        case LoggedCommand():
            command = msgspec.to_builtins(decoded.command)
            name = command.pop("op")
            return fields | {"entry": name} | _without_pins(command) | {"by": decoded.actor}
        case Founding():
            return fields | {"entry": "founding", "cluster": decoded.cluster_id, "voters": decoded.voters}
        case LevelRaise():
            return fields | {"entry": "feature_level", "level": decoded.level}
        case MembershipChange():
            members = [asdict(member) for member in decoded.members]
            return fields | {"entry": "membership", "members": members} | _asked_for(decoded.deed)
        case _:
            assert_never(decoded)


def _asked_for(logged: LoggedDeed | None) -> dict[str, Any]:
    """Return who asked for what; nothing if it was the leader itself."""
    if logged is None:
        return {}
    note = logged.command
    return {"deed": note.deed, "target": note.target, "id": note.id, "by": logged.actor}


def _without_pins(command: dict[str, Any]) -> dict[str, Any]:
    """Return the fields with every PIN hidden, which is sealed anyway."""
    shown: dict[str, Any] = {
        name: HIDDEN if name in PINS and value else value for name, value in command.items()
    }
    if "seals" in shown:
        shown["seals"] = [[account, HIDDEN] for account, _ in shown["seals"]]
    if "legs" in shown:
        said = {"currency": shown["currency"]} if shown.get("currency") else {}
        shown["legs"] = [_without_pins(leg) | said for leg in shown["legs"]]
    return shown


def _words(fields: Mapping[str, Any], skipped: Iterable[str] = ()) -> list[str]:
    currency = fields.get("currency")
    return [
        f"{name}={_shown(name, value, currency)}" for name, value in fields.items() if name not in skipped
    ]


def _shown(name: str, value: Any, currency: str | None = None) -> str:
    if name == "amount" and isinstance(value, int):
        return format_amount(value, currency)
    if isinstance(value, Mapping):
        return "(" + " ".join(_words({key: part for key, part in value.items() if part != ""})) + ")"
    if isinstance(value, list | tuple):
        return ",".join(_shown("", part) for part in value)
    return str(value)


def _opened(folder: Path) -> ReadOnlyLog:
    if not folder.is_dir():
        raise NotDone(
            USAGE, f"there is no data folder {folder}: is this the node's machine, and its --config?"
        )
    try:
        return ReadOnlyLog(folder)
    except LogOfAnotherRelease as error:
        raise NotDone(REFUSED, str(error)) from error


def _range(log: ReadOnlyLog, first: int | None, last: int | None) -> tuple[int, int]:
    """Return the entries to print; raise `NotDone` if they are not here."""
    held = f"the log holds entries {log.first_index} to {log.last_index}"
    if log.last_index < log.first_index:
        held = "the log holds no entry"
    if first is not None and last is not None and first > last:
        raise NotDone(USAGE, f"--from {first} is behind --to {last}")
    if first is not None and not log.first_index <= first <= log.last_index:
        behind = ", and what was before is in a snapshot" if first < log.first_index else ""
        raise NotDone(REFUSED, f"entry {first} is not here: {held}{behind}")
    if last is not None and last < log.first_index:
        raise NotDone(REFUSED, f"entry {last} is not here: {held}, and what was before is in a snapshot")
    return first or log.first_index, min(last or log.last_index, log.last_index)


def _summary(log: ReadOnlyLog, folder: Path) -> str:
    """Return what is known of the whole log, in one line."""
    if log.last_index < log.first_index:
        held = "The log holds no entry"
    else:
        held = f"The log holds entries {log.first_index} to {log.last_index}"
    try:
        applied: object = applied_index(folder / LEDGER_FILE)
    except (NoLedger, DamagedLedger):
        applied = None
    if applied is None:
        return f"{held}; term {log.hard_state.term}; there is no ledger that can be read"
    return f"{held}; term {log.hard_state.term}; the ledger has applied entry {applied}"


def _index(text: str) -> int:
    if text.isascii() and text.isdecimal() and 1 <= int(text) < 2**63:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no log index")
