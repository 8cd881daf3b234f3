"""What follows from the committed log alone: each receipt, and every row of the ledger at each index."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import to_builtins
from msgspec.msgpack import encode
from msgspec.structs import asdict

from atm.ledger.commands import (
    Command,
    Expire,
    Founding,
    LedgerReceipt,
    LevelRaise,
    LoggedCommand,
    LoggedDeed,
    Member,
    MembershipChange,
    NoteDeed,
    Reseal,
    Reverse,
    RotatePepper,
    SetPin,
)
from atm.raft.messages import Entry
from atm.wire.log_entries import decode_entry
from tests.simulation.bank_rules import BANK, Bank, Undecided, sealed_for
from tests.simulation.people import ADMINS, OPERATORS, may, names
from tests.support.checks import require

Further = tuple[tuple[str, int], ...]  # that a receipt says besides: names and numbers
# id, outcome, balance, available, index, time, and what the receipt says besides
Decision = tuple[str, str, int | None, int | None, int, int, Further]
Row = tuple[Any, ...]

TOMBSTONE = {"op": "tombstone"}
POSTINGS_PER_ENTRY = 64
FURTHER = ("leg", "moved", "active_holds")  # the columns of `receipt_detail`


class Versions:
    """Rows that change: each key's as it was at any index."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[list[int], list[Row]]] = {}

    def put(self, index: int, key: str, row: Row) -> None:
        indices, rows = self._of.setdefault(key, ([], []))
        if not rows or rows[-1] != row:
            indices.append(index)
            rows.append(row)

    def at(self, index: int, key: str) -> Row | None:
        indices, rows = self._of.get(key, ([], []))
        place = bisect_right(indices, index)
        return rows[place - 1] if place else None

    def all_at(self, index: int) -> list[Row]:
        found = [self.at(index, key) for key in sorted(self._of)]
        return [row for row in found if row is not None]


class Lines:
    """Rows that only come; `at` tells how many there were at an index."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._indices: list[int] = []

    def add(self, index: int, row: Row) -> None:
        self._indices.append(index)
        self.rows.append(row)

    def at(self, index: int) -> Sequence[Row]:
        return self.rows[: bisect_right(self._indices, index)]


class BankModel:
    """A decision for each index of the log, and the tables as they are right after it."""

    def __init__(self) -> None:
        self.decisions: list[Decision | None] = []  # of index i at i - 1; None for what has no receipt
        self.first: dict[str, tuple[dict[str, Any], Decision]] = {}  # contents, and what they got
        self.given: set[Decision] = set()  # all receipts there are
        self.copies: Counter[bytes] = Counter()  # how often a request, to the byte, stands in the log
        self.as_asked: dict[
            bytes, bytes
        ] = {}  # the customer's words for requests whose PINs were carried over
        self.forgotten: dict[str, int] = {}  # by which index the PIN of a `set_pin` was forgotten
        self.ended: Counter[int] = Counter()  # how many `Expire` ended so many holds
        self.readers: dict[str, set[str]] = {}  # of each request, who asked it by the word of a server
        self.asked_servers: dict[str, set[str]] = {}  # of each request about one server, which those were
        self.cluster = Versions()
        self._cluster_id, self._voters, self._feature_level = "", "[]", 1
        self.cluster.put(0, "only row", self._cluster_row())
        self.members = Versions()
        self._members: dict[str, Row] = {}
        self._removed: dict[str, int] = {}
        self.balance, self.account, self.lock, self.hold = Versions(), Versions(), Versions(), Versions()
        self.journal, self.receipt, self.reversal, self.exception = Lines(), Lines(), Lines(), Lines()
        self.refund, self.raised_hold = Lines(), Versions()
        self.account_limit, self.receipt_detail, self.remark = Versions(), Lines(), Lines()
        self.role_change, self.pepper, self.deed = Versions(), Versions(), Lines()
        self.approval_limit, self.approval = Versions(), Versions()
        self.remarks: dict[int, Row] = {}  # by the numbers of postings
        self._deed_hash = bytes(32)
        self._bank = Bank()
        self._hash = bytes(32)
        self._note_changes(0)

    def commit(self, entry: Entry) -> None:  # noqa: C901 - a case for each kind
        """Decide the next entry of the log."""
        assert entry.index == len(self.decisions) + 1
        decision = None
        match decode_entry(entry):
            case LoggedCommand(actor, Expire(limit=limit)):
                require(actor == "bank", "holds are ended by the bank itself", entry)
                ended = self._bank.expire(entry.time_us, limit)
                self.ended[len(ended)] += 1
                self._note_changes(entry.index, ended)
            case LoggedCommand(actor, Reseal() as command):
                require(actor == "bank", "PINs are carried over by the bank itself", entry)
                self._reseal(entry.index, command)
            case LoggedCommand(actor, NoteDeed() as note, roles):
                allowed = not roles or may(actor, self._bank.roles(actor, roles), note.deed)
                decision = self._note_deed(entry, note, actor, roles, "ok" if allowed else "not_allowed")
            case LoggedCommand(actor, command, roles):
                assert not isinstance(command, Expire | NoteDeed | Reseal)
                if not isinstance(command, RotatePepper):  # an administrator's, who judges for himself
                    request = entry.data[1 + len(encode(actor)) : -1 if roles else None]
                    self.copies[self.as_asked.get(request, request)] += 1
                require(not roles or self._feature_level > 1, "release 1.1 writes no roles", entry)
                read = actor in self.readers.get(command.id, ())
                require(read, "the actor is who the server says that read the request", entry)
                decision = self._decide_and_note(entry, command, actor, roles)
            case Founding(cluster_id, voters):
                require(entry.index == 1, "a cluster begins with its first entry", entry)
                self._cluster_id, self._voters = cluster_id, json.dumps(voters, separators=(",", ":"))
            case LevelRaise(level):
                self._feature_level = self._bank.level = max(self._feature_level, level)
                if not self._members and level >= 2:
                    self._members = dict.fromkeys(json.loads(self._voters), (1, "", "", "", 0))
            case MembershipChange(members, deed):
                recorded = deed is not None or self._completes_only(members)
                require(recorded, "each change of the members is somebody's deed", entry)
                self._change_members(entry.index, members)
                if isinstance(deed, LoggedDeed):
                    self._note_deed(entry, deed.command, deed.actor, deed.roles, "ok")
            case None:
                pass
        self.cluster.put(entry.index, "only row", self._cluster_row())
        self.members.put(entry.index, "tables", (dict(self._members), dict(self._removed)))
        self.decisions.append(decision)

    def _completes_only(self, members: Sequence[Member]) -> bool:
        """Return whether an entry only names addresses and first data folders that the log did not say."""
        same_voters = {name: row[0] for name, row in self._members.items()} == {
            each.node: int(each.voter) for each in members
        }
        said = [text for each in members for text in self._members.get(each.node, ())[1:4]]
        now = [text for each in members for text in (each.peer, each.client, each.store)]
        return same_voters and all(text in ("", then) for text, then in zip(said, now, strict=True))

    def _reseal(self, index: int, command: Reseal) -> None:
        self._bank.reseal(command.generation, command.seals)
        self._note_changes(index)
        for request_id in command.receipts:
            pin = self.first[request_id][0].get("pin")
            if pin and sealed_for(pin) < command.generation:
                self.forgotten.setdefault(request_id, index)
        generation, name = self._bank.pepper
        if command.done and command.generation == generation:
            require(not self.older(), "what is carried over is all there is", (index, self.older()))
            row = self.pepper.at(index, str(generation))
            if row is not None and row[3] is None:
                self.pepper.put(index, str(generation), (generation, name, row[2], index))

    def older(self) -> set[str]:
        """Return the accounts and requests of which something is sealed for an older pepper."""
        current = self._bank.pepper[0]
        pins = {name: account.pin for name, account in self._bank.accounts.items()} | {
            request_id: asked["pin"]
            for request_id, (asked, _) in self.first.items()
            if asked["op"] == "set_pin" and asked["pin"] and request_id not in self.forgotten
        }
        return {name for name, pin in pins.items() if pin is not None and sealed_for(pin) < current}

    def generation_of(self, name: str) -> int:
        """Return for which pepper the account's PIN is sealed, 1 without any."""
        account = self._bank.accounts.get(name)
        return 1 if account is None or account.pin is None else sealed_for(account.pin)

    @property
    def generation(self) -> int:
        """The generation of the current pepper."""
        return self._bank.pepper[0]

    def receipts(self, index: int) -> Sequence[Row]:
        """Return the receipts as they were at that index."""
        gone = {id_ for id_, at in self.forgotten.items() if at <= index}
        return [
            (*row[:4], {"pin": ""}, *row[5:]) if row[0] in gone else row for row in self.receipt.at(index)
        ]

    def _change_members(self, index: int, members: Sequence[Member]) -> None:
        now = {
            each.node: (int(each.voter), each.peer, each.client, each.store, each.since) for each in members
        }
        self._removed |= dict.fromkeys(self._members.keys() - now.keys(), index)
        self._removed = {name: at for name, at in self._removed.items() if name not in now}
        self._members = now
        voters = sorted(name for name, (voter, *_) in now.items() if voter)
        self._voters = json.dumps(voters, separators=(",", ":"))

    def _cluster_row(self) -> Row:
        return (1, self._cluster_id, self._voters, self._feature_level)

    def total(self) -> int:
        return sum(account.balance for account in self._bank.accounts.values())

    def overdrawn(self) -> set[str]:
        """Return the customers' accounts that are below zero, and on no list of exceptions."""
        below = {name for name, a in self._bank.accounts.items() if a.balance < 0} - set(BANK)
        return below - self._excused("overdrawn") if below else below

    def overheld(self) -> set[str]:
        """Return the accounts of which more is held than there is, without any exception either."""
        customers = self._bank.accounts.keys() - set(BANK)
        over = {name for name in customers if self._bank.accounts[name].balance < self._bank.held(name)}
        return over - self._excused("overdrawn", "late") if over else over

    def tables(self, index: int) -> dict[str, list[Row]]:
        """Return all rows after `index` was applied, by their keys; details of receipts parsed."""
        return {
            "balance": self.balance.all_at(index),
            "account": self.account.all_at(index),
            "hold": self.hold.all_at(index),
            "journal": list(self.journal.at(index)),
            "receipt": sorted(self.receipts(index), key=lambda row: str(row[0])),
            "reversal": sorted(self.reversal.at(index)),
            "exception": list(self.exception.at(index)),
            "cluster": self.cluster.all_at(index),
            **self._level_2_tables(index),
        }

    def _level_2_tables(self, index: int) -> dict[str, list[Row]]:
        """Return the tables that feature level 2 adds, none before it."""
        [(_, _, _, level)] = self.cluster.all_at(index)
        if level < 2:
            return {}
        members, removed = self.members.at(index, "tables") or ({}, {})
        return {
            "member": [(name, *row) for name, row in sorted(members.items())],
            "removed": sorted(removed.items()),
            "pin_lock": self.lock.all_at(index),
            "refund": sorted(self.refund.at(index)),
            "raised_hold": self.raised_hold.all_at(index),
            "account_limit": self.account_limit.all_at(index),
            "remark": list(self.remark.at(index)),
            "receipt_detail": sorted(self.receipt_detail.at(index)),
            "role_change": self.role_change.all_at(index),
            "approval_limit": self.approval_limit.all_at(index),
            "approval": self.approval.all_at(index),
            "pepper": self.pepper.all_at(index),
            "deed": list(self.deed.at(index)),
        }

    def _excused(self, *kinds: str) -> set[str]:
        listed = {posting for posting, kind in self.exception.rows if kind in kinds}
        return {row[2] for row in self.journal.rows if row[0] in listed}

    # -- one command -----------------------------------------------------------------------------------

    def _decide_and_note(self, entry: Entry, command: Command, actor: str, roles: int) -> Decision | None:
        now = names(self._bank.roles(actor, roles)) if roles else ""
        try:
            decision = self._decide(entry, command, actor, roles)
        except Undecided:  # what was counted on the way stays
            self._note_changes(entry.index)
            return None
        asked = contents(command)
        is_deed = asked["op"] in OPERATORS | ADMINS and self._feature_level > 1
        if is_deed and decision[4] == entry.index:
            target = asked.get("account") or asked.get("request") or asked.get("limited")
            target = target or f"{asked.get('name')}/{asked.get('role') or '*'}"
            if isinstance(command, RotatePepper):
                target = f"{command.generation}:{command.pepper}"
            said = (asked["op"], target, asked.get("amount"), decision[1], command.id)
            row = (entry.index, entry.time_us, actor, now, *said)
            self._add_deed(row)
        return decision

    def _note_deed(self, entry: Entry, note: NoteDeed, actor: str, roles: int, outcome: str) -> Decision:
        """Note what is asked of the servers, and no command."""
        require(self._feature_level > 1, "release 1.1 knows no deeds", entry)
        read = actor in self.readers.get(note.id, ())
        require(read, "the actor is who the server says that read the request", entry)
        about = self.asked_servers.get(note.id)
        require(about is None or note.target in about, "a deed says which server was asked", entry)
        now = names(self._bank.roles(actor, roles)) if roles else ""
        said = (note.deed, note.target, None, outcome, note.id)
        self._add_deed((entry.index, entry.time_us, actor, now, *said))
        return note.id, outcome, None, None, entry.index, entry.time_us, ()

    def _add_deed(self, row: Row) -> None:
        text = json.dumps(row, separators=(",", ":"))
        self._deed_hash = hashlib.sha256(self._deed_hash + text.encode()).digest()
        self.deed.add(row[0], (*row, self._deed_hash))

    def _decide(self, entry: Entry, command: Command, actor: str, roles: int) -> Decision:
        asked = contents(command)
        if isinstance(command, SetPin) and sealed_for(command.pin) < self._bank.pepper[0]:
            asked["pin"] = ""  # which the books do not keep
        known = self.first.get(command.id)
        if known is not None and (known[0] == TOMBSTONE or self.same(command.id, known[0], asked)):
            return known[1]
        if known is not None:
            decision = self._decision(entry, command.id, "id_reused", asked.get("account"))
            self.given.add(decision)
            return decision
        if roles and not may(actor, self._bank.roles(actor, roles), asked["op"]):
            decision = self._decision(entry, command.id, "not_allowed", None)
            self._keep(asked, actor, decision)
            return decision
        current = self._bank.pepper
        outcome = self._bank.do(command, entry.index, entry.time_us, actor, roles)
        if self._bank.pepper != current:
            generation, name = self._bank.pepper
            self.pepper.put(entry.index, str(generation), (generation, name, entry.index, None))
        unknown = isinstance(command, Reverse) and command.original not in self.first
        if outcome == "original_not_found" and unknown:
            self._bank.buried.add(asked["original"])
            buried = self._decision(entry, asked["original"], "already_reversed", None)
            self._keep(TOMBSTONE, actor, buried)
        further = tuple(sorted(self._bank.further.items()))
        decision = (*self._decision(entry, command.id, outcome, self._bank.shown(command))[:6], further)
        self._keep(asked, actor, decision)
        for name, bits in self._bank.role_changes.items():
            before = self.role_change.at(entry.index, name)
            row = (name, *map(names, bits), entry.index)
            if before is None or before[:3] != row[:3] or getattr(command, "name", None) == name:
                self.role_change.put(entry.index, name, row)
        done = self._bank.carried_out or command
        holds = [command.id, getattr(done, "hold", ""), getattr(done, "original", "")]
        self._note_changes(entry.index, holds)
        self._note_moves(entry, command.id, getattr(done, "code", None), getattr(done, "text", None))
        if outcome == "ok" and isinstance(done, Reverse):
            self._note_reversal(entry.index, done.original, command.id)
        self._note_approvals(entry.index, command.id, asked.get("request", ""))
        return decision

    def _note_reversal(self, index: int, original: str, reversal: str) -> None:
        if len(self._bank.reversed[original]) == 1:
            self.reversal.add(index, (original, reversal))
        else:
            self.refund.add(index, (original, self._bank.taken_back(original), reversal))

    def _note_approvals(self, index: int, *requests: str) -> None:
        for op, (limit, since) in self._bank.limits.items():
            self.approval_limit.put(index, op, (op, limit, since))
        for request_id in requests:
            waiting = self._bank.waiting.get(request_id)
            if waiting is not None:
                who = (waiting.actor, names(waiting.roles))
                row = (request_id, *who, waiting.since_us, waiting.stake, waiting.approval)
                self.approval.put(index, request_id, row)

    def same(self, request_id: str, first: dict[str, Any], again: dict[str, Any]) -> bool:
        """Return whether the same is asked: of two new PINs, as far as both are known for one pepper.

        From feature level 2 on a posting of all that was left of a hold may say how much that is, or not.
        """
        if self._feature_level >= 2 and request_id in self._bank.emptied:
            spelled = {"amount": self._bank.emptied[request_id]}
            first, again = spelled | first, spelled | again
        if first["op"] == again["op"] == "set_pin" and (
            request_id in self.forgotten
            or "" in (first["pin"], again["pin"])
            or sealed_for(first["pin"]) != sealed_for(again["pin"])
        ):
            return bool(first["account"] == again["account"])
        return first == again

    def _decision(self, entry: Entry, request_id: str, outcome: str, shown: str | None) -> Decision:
        account = self._bank.accounts.get(shown or "")
        if account is None or outcome == "no_such_account":
            return request_id, outcome, None, None, entry.index, entry.time_us, ()
        available = account.balance - self._bank.held(shown or "")
        return request_id, outcome, account.balance, available, entry.index, entry.time_us, ()

    def _keep(self, asked: dict[str, Any], actor: str, decision: Decision) -> None:
        self.first[decision[0]] = asked, decision
        self.given.add(decision)
        others = {k: v for k, v in asked.items() if k not in ("op", "account", "amount")}
        row = (asked["op"], asked.get("account"), asked.get("amount"), others or None, actor, *decision[1:6])
        self.receipt.add(decision[4], (decision[0], *row))
        if decision[6]:
            told = dict(decision[6])
            self.receipt_detail.add(decision[4], (decision[0], *(told.get(name) for name in FURTHER)))

    def _note_changes(self, index: int, holds: Sequence[str] = ()) -> None:
        for name, a in self._bank.accounts.items():
            self.balance.put(index, name, (name, a.balance))
            if name not in BANK:
                held, counted = self._bank.held(name), (a.counted_from_us, a.counted)
                row = (name, a.opened_us, a.state, held, a.pin, a.wrong_pins, a.limit, *counted)
                self.account.put(index, name, row)
                if a.locked_until_us is not None:
                    pins = (a.pins_day, a.wrong_today, a.unlocks_today, a.wrong_unseen)
                    self.lock.put(index, name, (name, a.locked_until_us, *pins))
                limits = (a.ceiling, a.transfers_since)
                if any(each is not None for each in limits) or self.account_limit.at(index, name):
                    self.account_limit.put(index, name, (name, *limits))
        for request_id in holds:
            hold = self._bank.holds.get(request_id)
            if hold is not None:
                whose = (request_id, hold.account, hold.amount, hold.since_us, hold.until_us)
                self.hold.put(index, request_id, (*whose, hold.state, hold.posted))
            if request_id in self._bank.raised:
                self.raised_hold.put(index, request_id, (request_id, *self._bank.raised[request_id]))

    def _note_moves(self, entry: Entry, request_id: str, code: int | None, text: str | None) -> None:
        is_remarked = (code, text) != (None, None)
        remark = " " + json.dumps([code, text], ensure_ascii=False, separators=(",", ":"))
        for place, (move, *balances) in enumerate(self._bank.moves):
            number = entry.index * POSTINGS_PER_ENTRY + place
            row = (number, entry.time_us, *move, *balances, request_id)
            whole = " ".join(map(str, row)) + (remark if is_remarked else "")
            self._hash = hashlib.sha256(self._hash + whole.encode()).digest()
            if is_remarked:
                self.remarks[number] = (number, code, text)
                self.remark.add(entry.index, self.remarks[number])
            self.journal.add(entry.index, (*row, self._hash, entry.index))
        if self._bank.flag is not None:
            self.exception.add(entry.index, (number, self._bank.flag))


def contents(command: Command) -> dict[str, Any]:
    """Return what is asked, which a repeated id must ask again: all but the actor."""
    asked: dict[str, Any] = to_builtins(command)
    if "legs" in asked:
        asked["legs"] = [[leg["account"], leg["target"], leg["amount"]] for leg in asked["legs"]]
    if isinstance(command, SetPin):
        number = f"{sealed_for(command.pin)}:" if ":" in command.pin else ""
        asked["pin"] = number + hashlib.sha256(command.pin.encode()).hexdigest()[:16]
    else:
        asked.pop("pin", None)
    asked.pop("old_pin", None)
    asked = {
        name: value
        for name, value in asked.items()
        if value is not None and (value is not False or name == "final")
    }
    del asked["id"]
    return asked


def said_besides(receipt: LedgerReceipt | Mapping[str, Any]) -> Further:
    """Return what a receipt, or an answer of a server, says besides."""
    told = receipt if isinstance(receipt, Mapping) else asdict(receipt)
    return tuple((name, told[name]) for name in sorted(FURTHER) if told.get(name) is not None)


def receipt_row(row: Row) -> Row:
    """Return a row of the ledger's receipts as the model has them."""
    return (*row[:4], row[4] and json.loads(row[4]), *row[5:])
