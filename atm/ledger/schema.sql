-- The ledger of one node: what `sqlite3 data/5000/ledger.db` shows.
--
-- Amounts are integers in minor units: 5000 is 50.00. Money is double entry: every posting takes an amount
-- from one account and gives it to another, so `select sum(amount) from balance` is always 0.
--
-- Everything in here follows from the replicated log alone, so nodes that have applied the same log index
-- hold the same rows in every table. Look as much as you like while the node runs; a node whose ledger is
-- written to by anyone else stops. A lost ledger is rebuilt from the log.
--
-- Nothing newer than SQLite 3.37 (STRICT) is used, so that the shells of current systems can read it.

-- What each account holds. `cash` is the bank's own account, the other side of every credit and debit, and
-- the only one that may be below zero: it shows what the bank owes its customers.
CREATE TABLE balance (
    account TEXT    NOT NULL PRIMARY KEY,
    amount  INTEGER NOT NULL CHECK (account = 'cash' OR amount BETWEEN 0 AND 9007199254740991)
) STRICT, WITHOUT ROWID;

-- Every posting, for ever: `amount` went from `debit_account` to `credit_account`. Balances are what these add up to.
CREATE TABLE journal (
    log_index      INTEGER NOT NULL PRIMARY KEY,                   -- the log entry that decided it
    time_us        INTEGER NOT NULL,                               -- the leader's time stamp, microseconds since 1970
    debit_account  TEXT    NOT NULL REFERENCES balance (account),  -- gave the amount
    credit_account TEXT    NOT NULL REFERENCES balance (account),  -- received it
    amount         INTEGER NOT NULL CHECK (amount > 0),
    request_id     TEXT    NOT NULL REFERENCES receipt (request_id), -- its receipt
    CHECK (debit_account <> credit_account)
) STRICT;

-- What was asked under each request id and the first answer to it, refusals too. A request that comes again
-- gets this answer again and moves nothing.
CREATE TABLE receipt (
    request_id TEXT    NOT NULL PRIMARY KEY,                       -- chosen by the client
    op         TEXT    NOT NULL,                                   -- asked: 'open', 'credit' or 'debit'
    account    TEXT    NOT NULL,                                   -- asked: on which account
    amount     INTEGER,                                            -- asked: how much; NULL for 'open'
    outcome    TEXT    NOT NULL,                                   -- 'ok', or why not
    balance    INTEGER,                                            -- right after the decision; NULL: no such account
    reference  INTEGER NOT NULL,                                   -- the log entry that decided it
    time_us    INTEGER NOT NULL                                    -- that entry's time stamp
) STRICT, WITHOUT ROWID;

-- How far the log has been applied: one row, changed in the same transaction as all the above.
CREATE TABLE applied (
    only_row       INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    log_index      INTEGER NOT NULL,
    schema_version INTEGER NOT NULL                                -- of these tables; a node refuses any but its own
) STRICT;

INSERT INTO balance (account, amount) VALUES ('cash', 0), ('main', 0);
INSERT INTO applied (only_row, log_index, schema_version) VALUES (1, 0, 1);
