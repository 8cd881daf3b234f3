"""Which rule of the paper a broken promise of the checks belongs to, in a sentence for a student."""

from __future__ import annotations

from msgspec import Struct


class Rule(Struct, frozen=True):
    """`section` is of the paper's extended version; `text` says what must hold."""

    section: str
    text: str


_VOTE = Rule(
    "5.2 and Figure 2", "A server votes for at most one candidate in a term, first come, first served."
)
_DURABLE = Rule(
    "Figure 2, persistent state",
    "Term, vote and entries are on the disk before a message leaves that promises them.",
)
_TERM = Rule("5.1", "A server's term only ever grows, also over a restart.")
_LIVE = "As long as a majority runs and its servers can talk to each other, "

RULES: dict[str, Rule] = {
    "election safety": Rule("5.2 and Figure 3", "At most one leader is elected in a term."),
    "a leader is elected by a majority": Rule(
        "5.2",
        "A candidate leads once a majority of all servers, itself included, has voted for it in this term.",
    ),
    "one vote a term": _VOTE,
    "a vote is kept in its term": _VOTE,
    "a vote is durable before it leaves": _DURABLE,
    "a candidate's own vote is durable before it asks": _DURABLE,
    "an acknowledged term is durable": _DURABLE,
    "what is acknowledged is durable and the leader's": Rule(
        "5.3 and Figure 2, AppendEntries 2 to 4",
        "A follower says success only if its log, on its disk, equals the leader's up to match_index: it refuses "
        "entries behind a prev_log_index at which its own term differs, and replaces what contradicts new ones.",
    ),
    "only what was sent is acknowledged": Rule(
        "5.3",
        "On success match_index is prev_log_index plus the number of entries of the request, not the end of the "
        "follower's own log, which may hold entries that the leader does not have.",
    ),
    "the term is monotonic": _TERM,
    "terms never go back": _TERM,
    "a saved term never goes back": _TERM,
    "the commit index is monotonic": Rule("5.3", "The commit index never goes back while a server runs."),
    "leader append-only": Rule(
        "5.3 and Figure 3", "A leader never overwrites or removes entries of its own log."
    ),
    "log matching": Rule(
        "5.3 and Figure 3",
        "Two logs with an entry of the same index and term are equal up to it: a leader creates one entry an index "
        "in its term, and a follower appends behind a log that agrees at prev_log_index.",
    ),
    "terms never fall along the log": Rule("5.3", "Terms never fall along a log."),
    "leader completeness": Rule(
        "5.4.1 and Figure 3",
        "A leader holds every entry that was committed in earlier terms: a server refuses its vote to a candidate "
        "whose log is less up to date than its own (last term first, then length).",
    ),
    "commit only by an entry of the current term": Rule(
        "5.4.2 and Figure 8",
        "A leader counts copies only of entries of its own term; entries of earlier terms are committed with them.",
    ),
    "a committed entry is durable on a majority": Rule(
        "5.3 and Figure 2, AppendEntries 3",
        "An entry is committed once a majority of all servers has it. A follower keeps what it has acknowledged: it removes entries only from the first on whose term differs from a new one's, and an old message that comes late removes nothing.",
    ),
    "only leaders commit": Rule(
        "5.3 and Figure 2, AppendEntries 5",
        "A follower's commit index is at most leader_commit, and at most the index of the last new entry.",
    ),
    "a committed entry is never replaced": Rule(
        "5.3 and Figure 2, AppendEntries 3",
        "A committed entry is never lost. A follower removes an entry only if a new one has its index and another "
        "term; an old message that comes late removes nothing.",
    ),
    "a committed entry stays on a majority": Rule(
        "5.4 and Figure 3", "A committed entry is never lost: a majority holds it for ever."
    ),
    "state-machine safety": Rule(
        "5.4.3 and Figure 3",
        "If a server has applied an entry at an index, no other applies another one there.",
    ),
    "applied in order": Rule("5.3", "Entries are applied in the order of the log, each once, without a gap."),
    "only committed entries are applied": Rule("5.3", "An entry is applied only once it is committed."),
    "the state machine is never ahead of the durable log": Rule(
        "Figure 2, persistent state", "What is applied is on the server's disk, as part of its log."
    ),
    "only a leader sends entries": Rule("5.3", "Only the leader of a term sends AppendEntries in it."),
    "no server sends to itself": Rule("5.1", "Messages go to the other servers (config.peers)."),
    "time stamps rise with the index": Rule(
        "docs/raft.md", "An entry's time stamp is later than the one before's."
    ),
    # What the judge itself requires.
    "a candidate tells where its log ends": Rule(
        "Figure 2, RequestVote, and persistent state",
        "RequestVote tells index and term of the last entry of the candidate's log, which is the one on its disk: a server that starts again goes on with what was saved.",
    ),
    "a leader is elected": Rule(
        "5.2 and 5.6", _LIVE + "a leader is elected: timeouts are drawn at random, so that split votes end."
    ),
    "a leader keeps its term": Rule(
        "5.2",
        "While servers run and messages arrive, heartbeats keep elections away: a follower that hears from the "
        "leader starts its timeout anew.",
    ),
    "commands are committed": Rule(
        "5.3 and 5.6",
        _LIVE + "a command that the leader takes is committed and applied. A leader repeats what was "
        "lost, and tries an earlier entry when a follower refuses.",
    ),
    "all servers apply all commands": Rule(
        "5.3", "Once all servers run and messages arrive, all of them apply all that is committed."
    ),
    "the interface is kept": Rule(
        "course/exercise.py", "Calls return what the docstrings of the exercise say."
    ),
    "the core comes to rest": Rule(
        "course/exercise.py", "`ready` returns None when nothing is left to send, save or apply."
    ),
    "a call returns": Rule("course/exercise.py", "Each call computes and returns: nothing waits in a core."),
    "the stage is written": Rule(
        "course/exercise.py", "A method that a stage asks for is written. The docstrings say what it does."
    ),
    "no exception": Rule("course/exercise.py", "A core handles whatever another server sends it."),
    "the same each time": Rule(
        "course/exercise.py",
        "A core draws on nothing but its arguments: no clock, no thread, no chance but `random`.",
    ),
}


def rule_of(promise: str) -> Rule:
    """Return the rule behind a promise; one that is not listed is told as it is."""
    return RULES.get(promise, Rule("Figure 3", promise))
