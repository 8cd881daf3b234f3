-- The bank on PostgreSQL: docs/postgresql.md. The tables are those of a node's SQLite ledger (atm/ledger/schema.sql and
-- schema_4.sql explain every column), each with the lane that a row belongs to, and three of this engine's own.
--
-- Text is compared by its bytes (collation "C"), as SQLite compares it. Nothing here refers to another table: what a row
-- refers to is written before it, in its transaction, and `verify` checks it.

CREATE SCHEMA atm;

-- Whose books these are: one row.
CREATE TABLE atm.bank (
    only_row       integer PRIMARY KEY CHECK (only_row = 1),
    id             text    NOT NULL,                    -- drawn at random, once
    lanes          integer NOT NULL CHECK (lanes > 0),  -- how many there are; never changes
    pepper         text    NOT NULL,                    -- the name of the first pepper that PINs are sealed with; '' before
    schema_version integer NOT NULL,
    home           boolean NOT NULL DEFAULT true        -- the database at [engine] url; false: it only has lanes
);

-- Where lanes lie, in the home database only. A lane without a row lies there.
CREATE TABLE atm.place (
    lane     integer PRIMARY KEY,
    database text   NOT NULL,                           -- home, or NAME of url.NAME in cluster.ini
    epoch    bigint NOT NULL,                           -- of the lane when it came there; 0 if it never moved
    until    timestamptz                                -- up to then nobody takes it from `bin/admin lanes move`
);

-- The lanes that have left this database, until the last of their rows is deleted. Such a row and the lane's in atm.lane
-- change places in one transaction: from then on the lane lies there, whatever happens to atm.place.
CREATE TABLE atm.moved (
    lane     integer PRIMARY KEY,
    epoch    bigint NOT NULL,                           -- by which it comes to the other database
    database text   NOT NULL                            -- where it lies now
);

-- The lanes that are being copied to this database, and by whom: of two who copy one, the later one goes on.
CREATE TABLE atm.arriving (
    lane  integer PRIMARY KEY,
    mover text NOT NULL
);

-- A lane: what one writer does, one batch after the other. Whoever raises `epoch` is the writer; a batch of any
-- other changes nothing, since it compares both `epoch` and `applied` with what it knows.
CREATE TABLE atm.lane (
    lane         integer PRIMARY KEY,
    epoch        bigint  NOT NULL,                      -- how often the lane was taken
    holder       text    NOT NULL,                      -- the server that took it last; '' if that gave it back
    applied      bigint  NOT NULL,                      -- the number of the last command, as a log index is in a ledger
    time_us      bigint  NOT NULL,                      -- of that command; never goes back
    journal_hash bytea   NOT NULL,                      -- of the last posting
    deed_hash    bytea   NOT NULL                       -- of the last deed
) WITH (fillfactor = 20);

-- The servers, and when each was last alive, by the database's clock.
CREATE TABLE atm.server (
    node   text PRIMARY KEY,
    run    text        NOT NULL,                        -- of that process; another one of this name must wait until this is silent
    seen   timestamptz NOT NULL,
    peer   text        NOT NULL,                        -- where other servers reach it
    client text        NOT NULL,                        -- where tellers reach it
    peppers text       NOT NULL DEFAULT ''              -- the names of those in its file, with a space between
) WITH (fillfactor = 20);

CREATE TABLE atm.balance (
    lane    integer NOT NULL,
    account text    COLLATE "C" NOT NULL,
    amount  bigint  NOT NULL,
    PRIMARY KEY (lane, account)
) WITH (fillfactor = 70);

CREATE TABLE atm.account (
    lane            integer NOT NULL,
    account         text    COLLATE "C" NOT NULL,
    opened_us       bigint  NOT NULL,
    state           text    NOT NULL CHECK (state IN ('open', 'frozen', 'closed')),
    held            bigint  NOT NULL CHECK (held >= 0),
    pin             text,
    wrong_pins      integer NOT NULL,
    daily_limit     bigint,
    counted_from_us bigint  NOT NULL,
    withdrawn       bigint  NOT NULL,
    PRIMARY KEY (lane, account)
) WITH (fillfactor = 70);

CREATE TABLE atm.journal (
    lane           integer NOT NULL,
    posting        bigint  NOT NULL,
    time_us        bigint  NOT NULL,
    debit_account  text    COLLATE "C" NOT NULL,
    credit_account text    COLLATE "C" NOT NULL,
    amount         bigint  NOT NULL CHECK (amount > 0),
    debit_balance  bigint  NOT NULL,
    credit_balance bigint  NOT NULL,
    request_id     text    COLLATE "C" NOT NULL,
    hash           bytea   NOT NULL,
    PRIMARY KEY (lane, posting),
    CHECK (debit_account <> credit_account)
);

CREATE INDEX journal_debit ON atm.journal (lane, debit_account, posting) WHERE debit_account <> 'cash';
CREATE INDEX journal_credit ON atm.journal (lane, credit_account, posting) WHERE credit_account <> 'cash';

CREATE TABLE atm.receipt (
    lane       integer NOT NULL,
    request_id text    COLLATE "C" NOT NULL,
    op         text    NOT NULL,
    account    text    COLLATE "C",
    amount     bigint,
    details    text,
    actor      text    NOT NULL,
    outcome    text    NOT NULL,
    balance    bigint,
    available  bigint,
    log_index  bigint  NOT NULL,
    time_us    bigint  NOT NULL,
    PRIMARY KEY (lane, request_id)
);

CREATE TABLE atm.receipt_detail (
    lane         integer NOT NULL,
    request_id   text    COLLATE "C" NOT NULL,
    leg          integer,
    moved        bigint,
    active_holds integer,
    PRIMARY KEY (lane, request_id)
);

CREATE TABLE atm.hold (
    lane       integer NOT NULL,
    request_id text    COLLATE "C" NOT NULL,
    account    text    COLLATE "C" NOT NULL,
    amount     bigint  NOT NULL CHECK (amount > 0),
    time_us    bigint  NOT NULL,
    expires_us bigint  NOT NULL,
    state      text    NOT NULL CHECK (state IN ('active', 'posted', 'voided', 'expired')),
    posted     bigint  NOT NULL,
    PRIMARY KEY (lane, request_id)
);

CREATE INDEX hold_expiry ON atm.hold (lane, expires_us, request_id) WHERE state = 'active';
CREATE INDEX hold_active ON atm.hold (lane, account, request_id) WHERE state = 'active';

CREATE TABLE atm.raised_hold (
    lane       integer NOT NULL,
    hold       text    COLLATE "C" NOT NULL,
    counted_us bigint  NOT NULL,
    counted    bigint  NOT NULL,
    PRIMARY KEY (lane, hold)
);

CREATE TABLE atm.reversal (
    lane     integer NOT NULL,
    original text    COLLATE "C" NOT NULL,
    reversal text    COLLATE "C" NOT NULL,
    PRIMARY KEY (lane, original)
);

CREATE TABLE atm.refund (
    lane       integer NOT NULL,
    original   text    COLLATE "C" NOT NULL,
    taken_back bigint  NOT NULL,
    reversal   text    COLLATE "C" NOT NULL,
    PRIMARY KEY (lane, original, taken_back)
);

CREATE TABLE atm.exception (
    lane    integer NOT NULL,
    posting bigint  NOT NULL,
    kind    text    NOT NULL CHECK (kind IN ('late', 'overdrawn', 'written_off')),
    PRIMARY KEY (lane, posting)
);

CREATE TABLE atm.remark (
    lane    integer NOT NULL,
    posting bigint  NOT NULL,
    code    integer,
    text    text    COLLATE "C",
    PRIMARY KEY (lane, posting),
    CHECK (code IS NOT NULL OR text IS NOT NULL)
);

CREATE INDEX remark_code ON atm.remark (lane, code, posting) WHERE code IS NOT NULL;
CREATE INDEX remark_text ON atm.remark (lane, text, posting) WHERE text IS NOT NULL;

CREATE TABLE atm.pin_lock (
    lane            integer NOT NULL,
    account         text    COLLATE "C" NOT NULL,
    locked_until_us bigint  NOT NULL,
    pins_day        integer NOT NULL,
    wrong_today     integer NOT NULL,
    unlocks_today   integer NOT NULL,
    wrong_unseen    integer NOT NULL,
    PRIMARY KEY (lane, account)
);

CREATE TABLE atm.account_limit (
    lane           integer NOT NULL,
    account        text    COLLATE "C" NOT NULL,
    ceiling        bigint,
    transfers_from bigint,
    PRIMARY KEY (lane, account)
);

CREATE TABLE atm.account_currency (
    lane     integer NOT NULL,
    account  text    COLLATE "C" NOT NULL,
    currency text    NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    PRIMARY KEY (lane, account)
);

CREATE TABLE atm.role_change (
    lane      integer NOT NULL,
    name      text    COLLATE "C" NOT NULL,
    granted   text    NOT NULL,
    revoked   text    NOT NULL,
    log_index bigint  NOT NULL,
    PRIMARY KEY (lane, name)
);

CREATE TABLE atm.pepper (
    lane          integer NOT NULL,
    generation    integer NOT NULL,
    name          text    NOT NULL,
    log_index     bigint  NOT NULL,
    carried_index bigint,
    PRIMARY KEY (lane, generation)
);

CREATE TABLE atm.approval_limit (
    lane      integer NOT NULL,
    op        text    COLLATE "C" NOT NULL,
    amount    bigint,
    log_index bigint  NOT NULL,
    PRIMARY KEY (lane, op)
);

CREATE TABLE atm.approval (
    lane        integer NOT NULL,
    request_id  text    COLLATE "C" NOT NULL,
    asked_by    text    NOT NULL,
    roles       text    NOT NULL,
    asked_us    bigint  NOT NULL,
    stake       bigint  NOT NULL,
    approved_by text    COLLATE "C",
    PRIMARY KEY (lane, request_id)
);

CREATE INDEX approval_waiting ON atm.approval (lane, asked_us) WHERE approved_by IS NULL;

CREATE TABLE atm.deed (
    lane       integer NOT NULL,
    deed       bigint  NOT NULL,
    time_us    bigint  NOT NULL,
    actor      text    NOT NULL,
    roles      text    NOT NULL,
    op         text    NOT NULL,
    target     text,
    amount     bigint,
    outcome    text    NOT NULL,
    request_id text    COLLATE "C" NOT NULL,
    hash       bytea   NOT NULL,
    PRIMARY KEY (lane, deed)
);

-- Transfers to accounts of other lanes that have departed, and of which is not known yet what came: see
-- atm/ledger/crossings.py. Each holds its amount in atm.hold, under its id.
CREATE TABLE atm.open_transfer (
    lane       integer NOT NULL,
    request_id text    COLLATE "C" NOT NULL,
    transfer   text    NOT NULL,                        -- JSON
    PRIMARY KEY (lane, request_id)
);

-- What SQLite has by these names, so that both engines are asked by the same queries (atm/ledger/inquiries.py).
CREATE FUNCTION atm.instr(text, text) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT strpos($1, $2)';
CREATE FUNCTION atm.hex(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(encode($1, ''hex''))';
CREATE FUNCTION atm.json_extract(text, text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::json ->> substr($2, 3)';
CREATE FUNCTION atm.json_each(text) RETURNS TABLE (value text) LANGUAGE sql IMMUTABLE AS 'SELECT json_array_elements_text($1::json)';

-- The first statement of a batch, and of a barrier before answers to queries: it fails, and the transaction with it,
-- unless the caller is still the lane's writer and knows its last command.
CREATE FUNCTION atm.fence(
    my_lane integer, my_epoch bigint, applied_before bigint,
    applied_now bigint, time_now_us bigint, journal_hash_now bytea, deed_hash_now bytea
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE atm.lane
    SET applied = applied_now, time_us = time_now_us, journal_hash = journal_hash_now, deed_hash = deed_hash_now
    WHERE lane = my_lane AND epoch = my_epoch AND applied = applied_before;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'lane % was taken by another server', my_lane USING ERRCODE = 'AT001';
    END IF;
END
$$;

-- For people, and for queries of one lane: `set atm.lane = 3; select * from one_lane.balance`.
CREATE SCHEMA one_lane;

DO $$
DECLARE
    of_lanes record;
BEGIN
    FOR of_lanes IN
        SELECT table_name, string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) AS others
        FROM information_schema.columns
        WHERE table_schema = 'atm' AND column_name <> 'lane' AND table_name NOT IN ('bank', 'lane', 'server', 'place', 'moved', 'arriving')
        GROUP BY table_name
    LOOP
        EXECUTE format(
            'CREATE VIEW one_lane.%I AS SELECT %s FROM atm.%I WHERE lane = current_setting(''atm.lane'')::integer',
            of_lanes.table_name, of_lanes.others, of_lanes.table_name
        );
    END LOOP;
END
$$;

CREATE VIEW one_lane.cluster AS SELECT id FROM atm.bank;
