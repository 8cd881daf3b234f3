"""A connection to PostgreSQL, as the load program wants it: libpq that does not block."""

from __future__ import annotations

import secrets
import select
from collections import deque
from collections.abc import Iterable
from functools import cache

from psycopg import pq

from bench.work import Kind, Request, transfers_of

CASH = b"cash"
ID_CHARS = 8  # of the number in a request id; its connection's name stands before it
RETRIED = (b"40001", b"40P01")  # could not be serialized; a deadlock was broken
STATEMENTS = {
    b"move": b"select move($1, $2, $3, $4, $5)",
    b"move_all": b"select move_all($1, $2, $3)",
    b"query": b"select 'ok', balance from account where id = $1",
}
OK, AGAIN = "ok", "again"


Parameters = list[bytes]


class PostgreSQLConnection:
    """A `Connection` to one server; what it refuses as not serializable is sent again, and counted."""

    def __init__(self, uri: str, isolation: str) -> None:
        self.refused: list[str] = []
        self.retried = 0
        level = isolation.replace(" ", "\\ ")
        options = f"-c default_transaction_isolation={level}"
        conninfo = pq.Conninfo.parse(uri.encode())
        given = {each.keyword: each.val for each in conninfo if each.val} | {b"options": options.encode()}
        quoted = b" ".join(key + b"='" + value.replace(b"\\", b"\\\\") + b"'" for key, value in given.items())
        self._server = pq.PGconn.connect(quoted)
        if self._server.status != pq.ConnStatus.OK:
            raise ConnectionError(self._server.error_message.decode(errors="replace").strip())
        for name, statement in STATEMENTS.items():
            self._server.prepare(name, statement)
        self._server.nonblocking = 1
        self._server.enter_pipeline_mode()
        self._name = secrets.token_hex(8).encode()
        self._sent = 0
        self._outcome = OK  # of the first of these, as far as it is known
        self._under_way: deque[tuple[int, bytes, Parameters]] = deque()  # in the order of their answers

    def fileno(self) -> int:
        return self._server.socket

    def send(self, requests: Iterable[Request]) -> None:
        for kind, account in requests:
            statement, parameters = _call(kind, account)
            if statement != b"query":
                parameters = [b"%s%0*d" % (self._name, ID_CHARS, self._sent), *parameters]
            self._ask(self._sent, statement, parameters)
            self._sent += 1
        self._flush()

    def receive(self) -> list[int]:
        self._consume()
        done: list[int] = []
        retried = self.retried
        while self._under_way and not self._server.is_busy():
            result = self._server.get_result()
            if result is None:  # there are no more of the statement
                continue
            if result.status != pq.ExecStatus.PIPELINE_SYNC:
                self._outcome = _outcome_of(result)
                continue
            # Only this mark says that the transaction was committed: an error may have come before it.
            number, statement, parameters = self._under_way.popleft()
            if self._outcome == OK:
                done.append(number)
            elif self._outcome == AGAIN:
                self.retried += 1
                self._ask(number, statement, parameters)
            else:
                self.refused.append(self._outcome)
        if self.retried > retried:
            self._flush()
        return done

    def close(self) -> None:
        self._server.finish()

    def _ask(self, number: int, statement: bytes, parameters: Parameters) -> None:
        self._server.send_query_prepared(statement, parameters)
        self._server.pipeline_sync()
        self._under_way.append((number, statement, parameters))

    def _flush(self) -> None:
        """Send all; take in what comes meanwhile, or both sides might wait for each other."""
        while self._server.flush():
            readable, _, _ = select.select([self], [self], [])
            if readable:
                self._consume()

    def _consume(self) -> None:
        try:
            self._server.consume_input()
        except Exception as error:
            raise ConnectionError(f"PostgreSQL closed the connection: {error}") from error


def _outcome_of(result: pq.abc.PGresult) -> str:
    """Return what the function said, or why the server refused."""
    if result.status == pq.ExecStatus.TUPLES_OK:
        told = result.get_value(0, 0) if result.ntuples else b"no_such_account"
        return (told or b"nothing").decode()
    if result.error_field(pq.DiagnosticField.SQLSTATE) in RETRIED:
        return AGAIN
    return result.get_error_message().strip()


@cache
def _call(kind: Kind, account: str) -> tuple[bytes, Parameters]:
    """Return the statement of such a request and its parameters, without the request's id."""
    match kind:
        case Kind.QUERY:
            return b"query", [account.encode()]
        case Kind.TRANSFER:
            [(payer, payee)] = transfers_of(kind, account)
            return b"move", [payer.encode(), payee.encode(), b"1", payer.encode()]
        case Kind.BULK:
            payers, payees = zip(*transfers_of(kind, account), strict=True)
            return b"move_all", [_array(payers), _array(payees)]
        case _:
            return b"move", [CASH, account.encode(), b"1", account.encode()]


def _array(names: Iterable[str]) -> bytes:
    return b"{" + ",".join(names).encode() + b"}"
