-- What the ledger has besides from feature level 2 on (release 1.2): members, locks of PINs that end by themselves,
-- further limits, roles, second persons, peppers, deeds, parts of refunds and of holds; and views for people. The entry that raises the level adds all this on every node, in its own transaction. Before that,
-- the ledger is that of release 1.1 to the byte of its definitions.

-- The servers, from the newest entry of the log that names them; before any, those that founded the cluster.
CREATE TABLE member (
    node   TEXT    NOT NULL PRIMARY KEY,
    voter  INTEGER NOT NULL CHECK (voter IN (0, 1)),               -- 0: a learner, which gets the log and has no vote
    peer   TEXT    NOT NULL,                                       -- where the other servers find it; '' if not announced
    client TEXT    NOT NULL,                                       -- where tellers find it, likewise
    store  TEXT    NOT NULL,                                       -- the data folder whose promises count; '' for its first
    since  INTEGER NOT NULL                                        -- the log entry that made it this; 0: a founder
) STRICT, WITHOUT ROWID;

-- Servers that were members and are none any more.
CREATE TABLE removed (
    node      TEXT    NOT NULL PRIMARY KEY,
    log_index INTEGER NOT NULL                                     -- the entry that removed it
) STRICT, WITHOUT ROWID;

-- Wrong PINs, besides those in a row (`wrong_pins` of `account`), and the lock that they lead to.
CREATE TABLE pin_lock (
    account         TEXT    NOT NULL PRIMARY KEY REFERENCES account (account),
    locked_until_us INTEGER NOT NULL,                              -- log time; 0: no lock. The first is a minute, each further one twice as long
    pins_day        INTEGER NOT NULL,                              -- the day (UTC, since 1970) of the next two
    wrong_today     INTEGER NOT NULL,
    unlocks_today   INTEGER NOT NULL,                              -- by operators
    wrong_unseen    INTEGER NOT NULL                               -- wrong PINs since the last right login
) STRICT, WITHOUT ROWID;

-- How many active holds an account has: from feature level 2 on, 1,000 at most.
CREATE INDEX hold_active ON hold (account) WHERE state = 'active';

-- Limits that an operator set for an account, beside its daily limit; without one it has no row.
CREATE TABLE account_limit (
    account        TEXT    NOT NULL PRIMARY KEY REFERENCES account (account),
    ceiling        INTEGER,                                        -- of its balance; NULL: none
    transfers_from INTEGER                                         -- the log entry since which transfers count towards its daily limit; NULL: they do not
) STRICT, WITHOUT ROWID;

-- What some receipts say besides; NULL where it does not apply.
CREATE TABLE receipt_detail (
    request_id TEXT    NOT NULL PRIMARY KEY REFERENCES receipt (request_id),
    leg        INTEGER,                                            -- of a batch: the one that was refused, from 0
    moved      INTEGER,                                            -- of a debit or a transfer of all there was: how much
    active_holds INTEGER                                           -- of an account that was frozen, or not closed as it is not empty: how many
) STRICT, WITHOUT ROWID;

-- The code and the text of postings whose requests had one. The posting's hash covers both.
CREATE TABLE remark (
    posting INTEGER NOT NULL PRIMARY KEY REFERENCES journal (posting),
    code    INTEGER,                                               -- of the bank's own kinds of posting; NULL: none
    text    TEXT,                                                  -- for people; NULL: none
    CHECK (code IS NOT NULL OR text IS NOT NULL)
) STRICT;

CREATE INDEX remark_code ON remark (code) WHERE code IS NOT NULL;
CREATE INDEX remark_text ON remark (text) WHERE text IS NOT NULL;

-- Roles that the log grants to an identity or takes from it, beside those that its certificate says.
CREATE TABLE role_change (
    name      TEXT    NOT NULL PRIMARY KEY,
    granted   TEXT    NOT NULL,                                    -- names of roles in order, with commas
    revoked   TEXT    NOT NULL,                                    -- likewise; none of them is granted
    log_index INTEGER NOT NULL                                     -- the last entry that changed this
) STRICT, WITHOUT ROWID;

-- The peppers that the log made current after the first one; PINs are sealed for the last of them.
CREATE TABLE pepper (
    generation    INTEGER NOT NULL PRIMARY KEY,                    -- its line in the pepper file; seals begin with it and a colon
    name          TEXT    NOT NULL,                                -- tells it, with those before it, from others
    log_index     INTEGER NOT NULL,                                -- the entry that made it current
    carried_index INTEGER                                          -- the entry since which nothing here is sealed for an older one; NULL: not yet
) STRICT;

-- Above which amount a request needs the approval of a second person.
CREATE TABLE approval_limit (
    op        TEXT    NOT NULL PRIMARY KEY,                        -- 'write_off', 'reverse', 'unlock' or 'reset_pin'
    amount    INTEGER,                                             -- NULL: it needs none any more
    log_index INTEGER NOT NULL                                     -- the last entry that changed this
) STRICT, WITHOUT ROWID;

-- Requests that needed an approval. Each can be approved for a day, and only once.
CREATE TABLE approval (
    request_id  TEXT    NOT NULL PRIMARY KEY REFERENCES receipt (request_id),
    asked_by    TEXT    NOT NULL,                                  -- the actor
    roles       TEXT    NOT NULL,                                  -- of the actor's certificate, in order, with commas
    asked_us    INTEGER NOT NULL,
    stake       INTEGER NOT NULL,                                  -- what was above the limit
    approved_by TEXT    REFERENCES receipt (request_id)            -- the request that approved it and carried it out; NULL: none
) STRICT, WITHOUT ROWID;

CREATE INDEX approval_waiting ON approval (asked_us) WHERE approved_by IS NULL;

-- What operators and administrators did, for ever, refused commands too. What is asked of the servers and not of
-- the ledger (members, leadership, snapshots, backups) has no receipt.
CREATE TABLE deed (
    deed       INTEGER NOT NULL PRIMARY KEY,                       -- the log entry that decided it
    time_us    INTEGER NOT NULL,
    actor      TEXT    NOT NULL,
    roles      TEXT    NOT NULL,                                   -- of the actor, in order, with commas; '' without a certificate
    op         TEXT    NOT NULL,
    target     TEXT,                                               -- the account, the identity and its role, the request, what was limited, or the server
    amount     INTEGER,
    outcome    TEXT    NOT NULL,
    request_id TEXT    NOT NULL,                                   -- of its receipt, if it has one
    hash       BLOB    NOT NULL                                    -- of this row and of the hash before it
) STRICT;

-- Further reversals of what the first one (`reversal`) took back in part.
CREATE TABLE refund (
    original   TEXT    NOT NULL REFERENCES reversal (original),
    taken_back INTEGER NOT NULL,                                   -- by all reversals of it, this one included
    reversal   TEXT    NOT NULL REFERENCES receipt (request_id),
    PRIMARY KEY (original, taken_back)
) STRICT, WITHOUT ROWID;

-- Holds whose amount was raised, and how much of it counts towards the daily limit since the last raise: all of
-- it, if it began to count together; else what was raised since another day began, or another limit.
CREATE TABLE raised_hold (
    hold       TEXT    NOT NULL PRIMARY KEY REFERENCES hold (request_id),
    counted_us INTEGER NOT NULL,                                   -- the last raise
    counted    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For people: the journal and the receipts with times as dates (UTC), amounts with their decimals, and hashes in hex.
CREATE VIEW readable_journal AS SELECT
    posting,
    strftime('%Y-%m-%dT%H:%M:%SZ', time_us / 1000000, 'unixepoch') AS time,
    debit_account,
    credit_account,
    printf('%d.%02d', amount / 100, amount % 100) AS amount,
    printf('%s%d.%02d', substr('-', 1, debit_balance < 0), abs(debit_balance) / 100, abs(debit_balance) % 100) AS debit_balance,
    printf('%s%d.%02d', substr('-', 1, credit_balance < 0), abs(credit_balance) / 100, abs(credit_balance) % 100) AS credit_balance,
    request_id,
    log_index,
    lower(hex(hash)) AS hash
FROM journal;

CREATE VIEW readable_receipt AS SELECT
    request_id,
    strftime('%Y-%m-%dT%H:%M:%SZ', time_us / 1000000, 'unixepoch') AS time,
    op,
    account,
    iif(amount IS NULL, NULL, printf('%d.%02d', amount / 100, amount % 100)) AS amount,
    details,
    actor,
    outcome,
    iif(balance IS NULL, NULL, printf('%s%d.%02d', substr('-', 1, balance < 0), abs(balance) / 100, abs(balance) % 100)) AS balance,
    iif(available IS NULL, NULL, printf('%s%d.%02d', substr('-', 1, available < 0), abs(available) / 100, abs(available) % 100)) AS available,
    log_index
FROM receipt;
