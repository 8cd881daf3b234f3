"""What every command gets: its options, the cluster, a client, and where its result and its progress go."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from atm.client import Client, Receipt
from atm.client.admin_client import AdminClient
from atm.command_line import printable
from atm.config import Cluster, default_config, load
from atm.ledger.commands import Outcome
from atm.permissions import needed

DONE, REFUSED, USAGE, NOT_AVAILABLE, NOT_ALLOWED, UNKNOWN = range(6)  # exit codes, as the teller's
INTERRUPTED = 130  # as a shell counts Ctrl-C
TIMEOUT_S = 5.0
OUTCOMES = {
    DONE: "ok",
    REFUSED: "refused",
    USAGE: "invalid",
    NOT_AVAILABLE: "unavailable",
    NOT_ALLOWED: "not_allowed",
    UNKNOWN: "unknown",
    INTERRUPTED: "interrupted",
}


class NotDone(Exception):
    """The command ends here with this exit code; `str()` of it is one line for people."""

    def __init__(self, code: int, line: str) -> None:
        super().__init__(line)
        self.code = code


@dataclass(frozen=True)
class Task:
    """One call of bin/admin."""

    options: argparse.Namespace

    @property
    def as_json(self) -> bool:
        """Whether the result is one JSON object."""
        return bool(self.options.json)

    @property
    def config(self) -> Path:
        """The file of `--config`, else the default."""
        given: Path | None = self.options.config
        return default_config() if given is None else given

    @cached_property
    def cluster(self) -> Cluster:
        """What the file says, with the certificate of `--cert`; raises `ConfigError`."""
        return load(self.config).with_client_certificate(self.options.cert, self.options.key)

    @cached_property
    def client(self) -> AdminClient:
        """The client. The `--timeout` of a command that waits is not for finding a node."""
        if self.timeout_s is None or self.options.waits:
            return AdminClient(self.cluster, TIMEOUT_S)
        return AdminClient(self.cluster, self.timeout_s, status_s=self.timeout_s)

    def bank_client(self) -> Client:
        """Return a client for requests of the bank, not about its servers; close it."""
        return Client(self.cluster, timeout=self.timeout_s or TIMEOUT_S)

    @property
    def timeout_s(self) -> float | None:
        """The seconds of `--timeout`, if given."""
        seconds: float | None = self.options.timeout
        return seconds

    def finish(self, text: str, fields: Mapping[str, object] | None = None, code: int = DONE) -> int:
        """Print the result, the text for people or the fields for programs; return the code."""
        if self.as_json:
            text = json.dumps(
                {"command": self.options.command, "outcome": OUTCOMES[code]} | dict(fields or {})
            )
        print(text, flush=True)
        return code

    def progress(self, line: str) -> None:
        """Print to stderr what is under way."""
        print(printable(line), file=sys.stderr, flush=True)


def require_allowed(receipt: Receipt, op: str) -> None:
    """Raise `NotDone` if the bank says that the role does not suffice."""
    if receipt.outcome is Outcome.NOT_ALLOWED:
        raise NotDone(NOT_ALLOWED, f"{needed(op)}; nothing was changed")
