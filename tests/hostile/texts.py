"""What people write: `cluster.ini`, and lines at the teller."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from types import TracebackType

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from atm.client.request_rules import check_request
from atm.config import CLUSTER_KEYS, NODE_KEYS, Cluster, ConfigError, load
from atm.ledger.commands import Command, Read
from atm.server.group.settings import raft_config
from atm.teller.arguments import InvalidCommand
from atm.teller.input import LINE_BYTES_MAX, piped_lines
from atm.teller.language import parse
from tests.hostile.mutations import corpus, edited, edits, mutated
from tests.hostile.target import in_one_line

_values = st.sampled_from(
    [
        *("", "localhost:5000", "::1:5000", "h:0", "h:65536", "h:٣", "[::1]:1", "é:1"),
        *("300-600", "300–600", "٣٠٠-٦٠٠", "50", "050", "-1", "1e3"),
        *("%(x)s", "${x}", "../../x", "/dev/null", "a" * 5000, "x\ty", "\x85"),
    ]
) | st.text(max_size=12)
_keys = st.sampled_from([*CLUSTER_KEYS, *NODE_KEYS, "Client", "", "__name__", "[x]"])
_sections = st.sampled_from(
    ["[cluster]", "[node a]", "[node b]", "[node  a]", "[node é]", "[DEFAULT]", "[]", "[a", "[node a]]"]
)
_lines = st.builds("{} = {}".format, _keys, _values) | _sections | _values
_written = st.lists(_lines, max_size=14).map(lambda lines: "\n".join(lines).encode(errors="replace"))


class ConfigFiles:
    """`cluster.ini`: a cluster that a node could start from, or one printable line."""

    name = "cluster.ini"
    inputs: SearchStrategy[bytes] = mutated(corpus("config")) | _written | st.binary(max_size=100)

    def __enter__(self) -> ConfigFiles:
        self._temporary = tempfile.TemporaryDirectory()
        self._path = Path(self._temporary.name) / "cluster.ini"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.cleanup()

    def saved(self) -> list[bytes]:
        return corpus("config")

    def attempt(self, given: bytes) -> str:
        self._path.write_bytes(given)
        try:
            cluster = load(self._path)
        except ConfigError as refusal:
            return in_one_line(refusal)
        self._assert_usable(cluster)
        return "a cluster"

    def finish(self) -> None:
        """Nothing can be left behind."""

    def _assert_usable(self, cluster: Cluster) -> None:
        assert cluster.nodes
        for name, node in cluster.nodes.items():
            raft_config(cluster, name, "ab" * 16)
            assert node.client.port in range(1, 65536)
            assert (cluster.data_dir / name).name == name
        assert len(cluster.identity()) == 64


_words = st.sampled_from(
    [
        *("credit", "debit", "query", "open", "account", "help", "status", "quit", "CREDIT", "credit\x00"),
        *(
            "transfer",
            "hold",
            "confirm",
            "cancel",
            "reverse",
            "receipt",
            "statement",
            "before",
            "balance",
            "at",
        ),
        *(
            "login",
            "pin",
            "limit",
            "none",
            "writeoff",
            "close",
            *("exceptions", "accounts"),
            "2026-11-22",
            "10:00",
            "9999-12-31",
        ),
        *("5", "0.01", "-5", "1e9", "٥", "５", "0x10", "1_000", "99999999999999999999", ".5", "5."),
        *("main", "\x1b[2J", "\u202e"),
    ]
)
_typed = st.lists(_words | st.text(max_size=6), max_size=4).map(" ".join)
_many_lines = st.lists(_typed, max_size=8).map(lambda lines: "\n".join(lines).encode(errors="replace"))


class TypedLines:
    """Lines through a pipe to the teller: a well-formed command, or one printable line."""

    name = "teller's input"
    inputs: SearchStrategy[bytes] = (
        mutated(corpus("lines"))
        | _many_lines
        | st.binary(max_size=200)
        | st.builds(edited, _many_lines, edits)
    )

    def __enter__(self) -> TypedLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is kept outside memory."""

    def saved(self) -> list[bytes]:
        return corpus("lines")

    def attempt(self, given: bytes) -> str:
        lines = list(piped_lines(io.BytesIO(given)))
        assert len(lines) <= given.count(b"\n") + 1
        outcomes = {self._read(line) for line in lines}
        return "blank" if not outcomes else " and ".join(sorted(outcomes)) if len(outcomes) < 2 else "several"

    def finish(self) -> None:
        """Nothing can be left behind."""

    def _read(self, line: str) -> str:
        assert len(line) <= LINE_BYTES_MAX
        try:
            intent = parse(line, account="main", request_id="id", operator=True)
        except InvalidCommand as refusal:
            return in_one_line(refusal)
        if isinstance(intent, Command | Read):
            check_request(intent)
            return "a request"
        return "blank" if intent is None else "a command of the teller's own"
