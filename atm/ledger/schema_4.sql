-- What the ledger has besides from feature level 2 on (release 1.2): the members of the cluster. The entry that
-- raises the level adds all this on every node, in its own transaction. Before that, the ledger is that of
-- release 1.1 to the byte of its definitions.

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

-- How many active holds an account has: from feature level 2 on, 1,000 at most.
CREATE INDEX hold_active ON hold (account) WHERE state = 'active';
