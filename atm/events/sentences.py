"""An event as a sentence in English, with the reason: for the terminal, the page and the classroom."""

from __future__ import annotations

from collections.abc import Callable

from atm.events.event import Event

# What each cause says about the node that has changed; {by} is whom the cause is about.
CAUSES = {
    "election-timeout": "heard no leader{of} for an election timeout",
    "campaign-timeout": "did not win its campaign within an election timeout",
    "not-campaigning": "heard no leader{of} for an election timeout, but leaves campaigns to others",
    "pre-vote-won": "would be elected by {votes}",
    "election-won": "was elected by {votes}",
    "ordered-to-campaign": "was told by its leader {by} to take over",
    "higher-term": "has seen a message of {by} with the higher term {term}",
    "handed-over": "has handed leadership over to {by}",
    "leader-found": "has found that {by} leads term {term}",
    "no-majority": "had no answers of a majority for an election timeout",
    "removed": "has no vote any more: its removal is committed",
    "disk-lost": "has a new disk, and must not campaign with it",
}
ROLES = {
    "follower": "a follower",
    "pre-candidate": "a pre-candidate",
    "candidate": "a candidate",
    "leader": "the leader",
}


def sentence(event: Event) -> str:
    """Return what happened and why, in one sentence without the time; for any kind, also an unknown one."""
    tell = _SENTENCES.get(event.kind)
    told = f"{event.node} notes {event.kind!r}" if tell is None else tell(event)
    return told if event.more is None else f"{told} (and {event.more} more like it)"


def _started(event: Event) -> str:
    if event.what == "postgresql":
        return f"{event.node} starts with release {event.version}, and finds the books in PostgreSQL"
    return (
        f"{event.node} starts with release {event.version}: term {event.term}, its log ends at entry "
        f"{event.last_index}, and {event.commit_index} is known to be committed"
    )


def _stopped(event: Event) -> str:
    return f"{event.node} stops: {event.text}"


def _role(event: Event) -> str:
    cause = _cause(event)
    if event.role == "leader":
        return f"{event.node} becomes the leader of term {event.term}: it {cause}"
    if event.before == event.role == "follower":
        if event.leader is None and event.cause in ("not-campaigning", "disk-lost"):
            return f"{event.node} has no leader in term {event.term}: it {cause}"
        return f"{event.node} goes to term {event.term}: it {cause}"
    if event.before == "leader":
        return f"{event.node} steps down and is a follower in term {event.term}: it {cause}"
    if event.before == event.role:
        return f"{event.node} asks again who would vote for it in term {event.term + 1}: it {cause}"
    role = ROLES.get(event.role, event.role)
    return f"{event.node} becomes {role} in term {event.term}: it {cause}"


def _cause(event: Event) -> str:
    text = CAUSES.get(event.cause or "")
    if text is None:  # of a newer release
        return f"gives the cause {event.cause!r}"
    of = f" ({event.by} was the last)" if event.by else ""
    return text.format(by=event.by, term=event.term, votes=_names(event.votes or ()), of=of)


def _leader(event: Event) -> str:
    return f"{event.node} follows {event.leader}, the leader of term {event.term}"


def _vote(event: Event) -> str:
    asked = f"in term {event.campaign_term}"
    if event.pre_vote:
        if event.granted:
            return f"{event.node} would vote for {event.candidate} {asked}"
        return f"{event.node} would not vote for {event.candidate} {asked}: {_why_not(event)}"
    if event.granted:
        return f"{event.node} votes for {event.candidate} {asked}"
    return f"{event.node} refuses {event.candidate} its vote {asked}: {_why_not(event)}"


def _why_not(event: Event) -> str:
    match event.why:
        case "lower-term":
            return f"that term is over, it is in term {event.term}"
        case "disk-lost":
            return f"{event.candidate} has lost its disk, and with it perhaps a vote or entries"
        case "leader-active":
            if event.leader == event.node:
                return "it leads itself"
            return f"it hears its leader {event.leader}"
        case "already-voted":
            return f"it has voted for {event.voted_for} in this term"
        case "log-behind":
            return (
                f"the candidate's log ends at {_end(event.last_index, event.last_term)}, "
                f"its own at {_end(event.own_last_index, event.own_last_term)}"
            )
        case _:
            return str(event.why)


def _end(index: int | None, term: int | None) -> str:
    return f"entry {index} of term {term}" if index else "nothing, it is empty"


def _vote_received(event: Event) -> str:
    vote = "pre-vote" if event.pre_vote else "vote"
    if event.counted:
        return f"{event.node} has the {vote} of {event.voter}: {event.count} of {event.needed} that it needs"
    if event.granted:
        return f"{event.node} does not need the {vote} of {event.voter} any more, or it is no voter's"
    return (
        f"{event.node} is refused the {vote} of {event.voter}: {event.count} of {event.needed} that it needs"
    )


def _message(event: Event) -> str:
    term = f"of term {event.message_term}"
    match event.message:
        case "pre_vote_request" | "vote_request":
            ends = _end(event.last_index, event.last_term)
            return f"the request for a {_vote_asked(event)} {term}: the candidate's log ends at {ends}"
        case "pre_vote_answer" | "vote_answer":
            return f"the answer {term}: {_vote_asked(event)} {'granted' if event.granted else 'refused'}"
        case "snapshot_offer":
            return f"the offer of a snapshot up to entry {event.index}"
        case "snapshot_answer":
            return f"the answer about the snapshot up to entry {event.index}: {_installed(event)}"
        case "campaign_now":
            return "the order to take over leadership"
        case _:
            return _of_log(event, term)


def _vote_asked(event: Event) -> str:
    return "pre-vote" if event.message in ("pre_vote_request", "pre_vote_answer") else "vote"


def _of_log(event: Event, term: str) -> str:
    match event.message:
        case "append":
            before = event.prev_index or 0
            entries = _entries(before + 1, before + (event.entries or 0))
            return f"{entries}, {term}, behind entry {event.prev_index} of term {event.prev_term}"
        case "heartbeat":
            return f"a heartbeat {term}: committed up to {event.commit_index}"
        case "append_answer" if event.success:
            return f"the answer {term}: the logs agree up to entry {event.match_index}"
        case "append_answer":
            return f"the answer {term}: the logs differ at entry {event.match_index}, or end before it"
        case _:
            return f"{event.message!r}"


def _installed(event: Event) -> str:
    return "it has all of it" if event.success else "not installed yet"


def _sent(event: Event) -> str:
    return f"{event.node} sends {event.peer} {_message(event)}"


def _received(event: Event) -> str:
    return f"{event.node} gets from {event.peer} {_message(event)}"


def _append(event: Event) -> str:
    took = "" if event.sync_us is None else f", after {event.sync_us / 1000:.1f} ms"
    return f"{event.node} has {_range(event)} of term {event.last_term} on its disk{took}"


def _commit(event: Event) -> str:
    one = (event.index or 0) >= (event.last_index or 0)
    what = f"{event.node} knows that {_range(event)} {'is' if one else 'are'} committed"
    if event.votes:
        return f"{what}: {'it is' if one else 'they are'} on the disks of {_names(event.votes)}"
    return what if event.leader is None else f"{what}: its leader {event.leader} says so"


def _apply(event: Event) -> str:
    return f"{event.node} has applied {_range(event)} to its ledger"


def _request(event: Event) -> str:
    way = ", which another node has forwarded" if event.forwarded else ""
    return f"{event.node} gets the request {event.request} ({event.op}){way}"


def _answer(event: Event) -> str:
    entry = "" if event.index is None else f", decided by entry {event.index}"
    why = "" if event.text is None else f": {event.text}"
    return f"{event.node} answers the request {event.request} with {event.outcome}{entry}{why}"


def _read(event: Event) -> str:
    if event.index is None:
        return f"{event.node} answers {event.count} that only read: the database has confirmed who writes"
    rounds = "1 round of reads" if event.count == 1 else f"{event.count} rounds of reads"
    return f"{event.node} answers {rounds}, as of entry {event.index}: a majority has confirmed that it leads"


def _membership(event: Event) -> str:
    learners = f", without a vote {_names(event.learners)}" if event.learners else ""
    since = f"by entry {event.index}" if event.index else "from the beginning"
    return f"{event.node} counts as voters {_names(event.voters or ())}{learners}, {since}"


def _peer(event: Event) -> str:
    if event.what == "connected":
        return f"{event.node} is connected with {event.peer}"
    return f"{event.node} has lost its connection with {event.peer}"


def _snapshot(event: Event) -> str:
    match event.what:
        case "taken":
            return f"{event.node} has a snapshot of its ledger up to entry {event.index}"
        case "wanted":
            why = "its log ends before the leader's begins"
            return f"{event.node} fetches from {event.peer} a snapshot up to entry {event.index}: {why}"
        case _:
            return f"{event.node} has installed a snapshot, and its log begins after entry {event.index}"


def _rejected(event: Event) -> str:
    return f"{event.node} drops a message of {event.peer}: {event.text}"


def _lane(event: Event) -> str:
    match event.what:
        case "taken":
            return f"{event.node} takes lane {event.lane} in epoch {event.term}, after command {event.index}"
        case "lost":
            return f"{event.node} has lane {event.lane} no more"
        case "free":
            return f"{event.node} sees that lane {event.lane} was given back"
        case "silent":
            return (
                f"{event.node} sees that {event.leader}, which has lane {event.lane}, gives no sign of life"
            )
        case _:
            return f"{event.node} sees that {event.leader} has lane {event.lane} in epoch {event.term}"


def _written(event: Event) -> str:
    first, last = event.index or 0, event.last_index or 0
    commands = f"command {first}" if first >= last else f"commands {first} to {last}"
    return f"{event.node} has written {commands} of lane {event.lane}"


def _engine(event: Event) -> str:
    return f"{event.node} says of PostgreSQL: {event.text}"


def _range(event: Event) -> str:
    return _entries(event.index or 0, event.last_index or 0)


def _entries(first: int, last: int) -> str:
    return f"entry {first}" if first >= last else f"entries {first} to {last}"


def _names(names: tuple[str, ...]) -> str:
    if len(names) < 2:
        return "".join(names) or "nobody"
    return f"{', '.join(names[:-1])} and {names[-1]}"


_SENTENCES: dict[str, Callable[[Event], str]] = {
    "started": _started,
    "stopped": _stopped,
    "role": _role,
    "leader": _leader,
    "vote": _vote,
    "vote_received": _vote_received,
    "sent": _sent,
    "received": _received,
    "append": _append,
    "commit": _commit,
    "apply": _apply,
    "request": _request,
    "answer": _answer,
    "read": _read,
    "membership": _membership,
    "peer": _peer,
    "snapshot": _snapshot,
    "rejected": _rejected,
    "lane": _lane,
    "written": _written,
    "engine": _engine,
}
