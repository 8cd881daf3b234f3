"""Raft, and nothing else: no thread, no clock, no socket, no file.

This page is the contract of the core; `raft.py` keeps it.

    raft = Raft(config, hard_state=…, log=…, applied_index=…, random=…)

Work goes in, by these calls only:

    raft.step(message)            a message from another server came in
    raft.tick()                   one tick of time has passed
    raft.propose(data, now_us)      clients want these commands replicated
    raft.read(read_id)            a client wants to read, and to see every acknowledged write

and what is to be done about it comes out:

    ready = raft.ready()          what to save, send, apply and answer; None when there is nothing
    perform(ready)                the server does it, in the order that `Ready` states
    raft.advance(ready)           it is done: entries are durable, committed ones applied

Nothing happens in between. The core hands out the next `Ready` only after `advance` of the last, never
looks at a clock (time is a count of ticks), never draws a random number but from the function it was
given, and never forgets: all that must survive a crash is in `Ready.hard_state` and `Ready.entries`.

What it promises is Figure 3 of the paper, checked after any step by `invariants.py`:

- Election safety: at most one leader in a term.
- Leader append-only: a leader never overwrites or deletes entries of its own log.
- Log matching: two logs that hold an entry of the same index and term are equal up to there.
- Leader completeness: an entry that was committed is in the log of every later leader.
- State-machine safety: no two servers apply different entries at one index.

What it adds to Figure 2 comes from Ongaro's thesis: pre-vote (9.6), leaders that step down without a
majority (6.2), reads by ReadIndex (6.4), batches and a pipeline for each follower (10.2).
"""
