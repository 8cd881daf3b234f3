-- The ledger of one node: what `sqlite3 data/5000/ledger.db` shows.
--
-- Amounts are integers in minor units: 5000 is 50.00. Money is double entry: every posting takes an amount
-- from one account and gives it to another, so `select sum(amount) from balance` is always 0.
--
-- Everything in here follows from the replicated log alone, so nodes that have applied the same log index
-- hold the same rows in every table. Look as much as you like while the node runs; a node whose ledger is
-- written to by anyone else stops. A lost ledger is rebuilt from the log.
--
-- Times are log time: the leader's time stamps, microseconds since 1970, which never go back.
-- Nothing newer than SQLite 3.37 (STRICT) is used, so that the shells of current systems can read it.

-- What each account holds. Two are the bank's own and may be below zero: `cash`, the other side of every credit
-- and debit, which shows what the bank owes its customers, and `writeoff`, which bears its losses. A customer's
-- account is below zero only if cash left that was not there any more (see `exception`).
CREATE TABLE balance (
    account TEXT    NOT NULL PRIMARY KEY,
    amount  INTEGER NOT NULL CHECK (account IN ('cash', 'writeoff') OR abs(amount) <= 9007199254740991)
) STRICT, WITHOUT ROWID;

-- What else is known of each customer's account. What may be paid out is its balance less what is `held`.
CREATE TABLE account (
    account       TEXT    NOT NULL PRIMARY KEY REFERENCES balance (account),
    opened_us     INTEGER NOT NULL,
    state         TEXT    NOT NULL CHECK (state IN ('open', 'frozen', 'closed')),
    held          INTEGER NOT NULL CHECK (held >= 0),              -- the sum of its active holds
    pin           TEXT,                                            -- sealed: no PIN can be read from it
    wrong_pins    INTEGER NOT NULL,                                -- in a row; locked at 3
    daily_limit   INTEGER,                                         -- of withdrawals; NULL: none
    counted_from_us INTEGER NOT NULL,                              -- begin of the day (UTC), or of the limit on it
    withdrawn     INTEGER NOT NULL                                 -- since then, if that is today and has a limit
) STRICT, WITHOUT ROWID;

-- Every posting, for ever: `amount` went from `debit_account` to `credit_account`. Balances are what these add up to.
CREATE TABLE journal (
    posting        INTEGER NOT NULL PRIMARY KEY,                   -- 64 times log_index, plus its place in that entry
    time_us        INTEGER NOT NULL,
    debit_account  TEXT    NOT NULL REFERENCES balance (account),  -- gave the amount
    credit_account TEXT    NOT NULL REFERENCES balance (account),  -- received it
    amount         INTEGER NOT NULL CHECK (amount > 0),
    debit_balance  INTEGER NOT NULL,                               -- of debit_account, right after
    credit_balance INTEGER NOT NULL,                               -- of credit_account, right after
    request_id     TEXT    NOT NULL REFERENCES receipt (request_id), -- its receipt
    hash           BLOB    NOT NULL,                               -- of this row and of the hash before it
    log_index      INTEGER NOT NULL GENERATED ALWAYS AS (posting / 64) VIRTUAL,  -- the log entry that decided it
    CHECK (debit_account <> credit_account)
) STRICT;

-- For statements. Nearly every posting has cash on one side; its statement is the journal itself.
CREATE INDEX journal_debit ON journal (debit_account) WHERE debit_account <> 'cash';
CREATE INDEX journal_credit ON journal (credit_account) WHERE credit_account <> 'cash';

-- What was asked under each request id and the first answer to it, refusals too. A request that comes again
-- gets this answer again and moves nothing.
CREATE TABLE receipt (
    request_id TEXT    NOT NULL PRIMARY KEY,                       -- chosen by the client
    op         TEXT    NOT NULL,                                   -- asked: 'credit', 'debit', ...; or 'tombstone'
    account    TEXT,                                               -- asked: on which account, if it named one
    amount     INTEGER,                                            -- asked: how much, if it said so
    details    TEXT,                                               -- asked: all else but PINs, as JSON
    actor      TEXT    NOT NULL,                                   -- who asked, by the word of the server that read the request
    outcome    TEXT    NOT NULL,                                   -- 'ok', or why not
    balance    INTEGER,                                            -- right after the decision; NULL: no such account
    available  INTEGER,                                            -- likewise, less what is held
    log_index  INTEGER NOT NULL,                                   -- the log entry that decided it
    time_us    INTEGER NOT NULL                                    -- that entry's time stamp
) STRICT, WITHOUT ROWID;

-- Amounts reserved for cash that may leave a machine.
CREATE TABLE hold (
    request_id TEXT    NOT NULL PRIMARY KEY REFERENCES receipt (request_id),
    account    TEXT    NOT NULL REFERENCES account (account),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    time_us    INTEGER NOT NULL,
    expires_us INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('active', 'posted', 'voided', 'expired')),
    posted     INTEGER NOT NULL                                    -- how much of it left
) STRICT, WITHOUT ROWID;

CREATE INDEX hold_expiry ON hold (expires_us) WHERE state = 'active';

-- Which request took back which. One that came before its original has none here: it left a 'tombstone' receipt
-- under the original's id instead, which declines the original for ever. A hold that was reversed is 'voided'.
CREATE TABLE reversal (
    original TEXT NOT NULL PRIMARY KEY REFERENCES receipt (request_id),
    reversal TEXT NOT NULL REFERENCES receipt (request_id)
) STRICT, WITHOUT ROWID;

-- Postings that a person should look at: cash that left after its hold had expired ('late'), leaving an account
-- below zero ('overdrawn'), and losses that the bank bore ('written_off').
CREATE TABLE exception (
    posting INTEGER NOT NULL PRIMARY KEY REFERENCES journal (posting),
    kind    TEXT    NOT NULL CHECK (kind IN ('late', 'overdrawn', 'written_off'))
) STRICT;

-- How far the log has been applied: one row, changed in the same transaction as all the above.
CREATE TABLE applied (
    only_row       INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    log_index      INTEGER NOT NULL,
    schema_version INTEGER NOT NULL                                -- of these tables; a node refuses any but its own
) STRICT;

-- Whose books these are, from the entries of the log that are about the cluster itself: one row.
CREATE TABLE cluster (
    only_row       INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    id             TEXT    NOT NULL,                               -- drawn at random, once; '' before the first entry
    voters         TEXT    NOT NULL,                               -- the names of its servers, as JSON
    feature_level  INTEGER NOT NULL                                -- what may stand in the log; never falls
) STRICT;

INSERT INTO balance (account, amount) VALUES ('cash', 0), ('main', 0), ('writeoff', 0);
INSERT INTO account VALUES ('main', 0, 'open', 0, NULL, 0, NULL, 0, 0);
INSERT INTO applied (only_row, log_index, schema_version) VALUES (1, 0, 3);
INSERT INTO cluster VALUES (1, '', '[]', 1);
