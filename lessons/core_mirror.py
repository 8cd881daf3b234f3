"""One core as a lesson shows it: what its last step changed, in fields for the drawing and in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from atm.raft.candidate import Candidate
from atm.raft.leader import Leader
from atm.raft.messages import (
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    InstallSnapshotResponse,
    NodeId,
    RaftMessage,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from atm.raft.raft import Raft
from atm.raft.ready import Role
from lessons.frames import DETAIL, STEP, TURN, Event
from lessons.wording import entry_text, majority_text, range_text, why_vote_refused

Cause = RaftMessage | str  # a message, "tick", or "" for anything else


class View(Struct, frozen=True):
    """What a core shows of itself."""

    role: Role
    term: int
    voted_for: NodeId | None
    leader: NodeId | None
    votes: tuple[NodeId, ...]
    last_index: int
    last_term: int
    commit_index: int
    active_leader: NodeId | None
    answers: int  # of votes that wait to be sent

    @classmethod
    def of(cls, raft: Raft) -> View:
        data = raft.role_data
        return cls(
            role=raft.role,
            term=raft.term,
            voted_for=raft.voted_for,
            leader=raft.leader,
            votes=tuple(sorted(data.votes)) if isinstance(data, Candidate) else (),
            last_index=raft.last_index,
            last_term=raft.log.last_term,
            commit_index=raft.commit_index,
            active_leader=raft.leader if raft._has_active_leader() else None,
            answers=len(raft._messages_after_sync),
        )


class CoreMirror:
    """Follows the core of the server `name`; `take_changes` returns what changed since last asked."""

    def __init__(self, name: NodeId) -> None:
        self.name = name
        self._shown: dict[str, Any] = {}
        self._log: list[tuple[int, str]] = []  # term and text of the entries after `_log_start`
        self._log_start = 0
        self._log_change: dict[str, Any] | None = None
        self.balances: dict[str, int] = {}  # as last read, in minor units
        self._view: View | None = None

    # -- what changed, for the drawing ------------------------------------------------------------------

    def take_changes(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Return those of `fields`, and of the log, that are not as when this was last called."""
        changes = {key: value for key, value in fields.items() if self._shown.get(key, ...) != value}
        self._shown.update(changes)
        if self._log_change is not None:
            keep = self._log_change["keep"]
            changes["log"] = {**self._log_change, "add": self._log[keep - self._log_start :]}
            self._log_change = None
        return changes

    def fields(self, raft: Raft) -> dict[str, Any]:
        """Return the state of a running core; note how its log has changed."""
        self.follow_log(raft)
        data = raft.role_data
        return {
            "up": True,
            "role": raft.role.value,
            "term": raft.term,
            "voted_for": raft.voted_for,
            "leader": raft.leader,
            "votes": sorted(data.votes) if isinstance(data, Candidate) else [],
            "commit": raft.commit_index,
            "saved": raft.saved_index,
            "applied": raft.applied_index,
            "match": raft.matched(),
            "voter": raft.membership.is_voter(self.name),
        }

    def follow_log(self, raft: Raft, known: Sequence[Entry] = ()) -> int:
        """Make the mirrored log equal to the core's; return up to which index it was equal.

        `known` are entries that the core may no longer have in memory.
        """
        log, start = raft.log, raft.log.start.index
        if start < self._log_start:  # the disk was lost
            self._log, self._log_start = [], start
            self._note_log(start, start)
        if start > self._log_start:
            del self._log[: start - self._log_start]
            self._log_start = start
            self._note_log(start, self._last)
        kept = min(self._last, log.last_index)
        while kept > start and log.term_at(kept) != self._log[kept - start - 1][0]:
            kept -= 1
        if kept == self._last == log.last_index:
            return kept
        self._note_log(start, kept)
        del self._log[max(0, kept - start) :]
        texts = {entry.index: entry_text(entry) for entry in known}
        in_memory = max(log.base_index + 1, kept + 1)
        if in_memory <= log.last_index:
            texts |= {e.index: entry_text(e) for e in log.slice(in_memory, log.last_index)}
        self._log += [
            (log.term_at(index) or 0, texts.get(index, "")) for index in range(kept + 1, log.last_index + 1)
        ]
        return kept

    @property
    def _last(self) -> int:
        return self._log_start + len(self._log)

    def _note_log(self, start: int, keep: int) -> None:
        """Note that only the entries up to `keep` are as they were last shown."""
        if self._log_change is not None:
            keep = min(keep, self._log_change["keep"])
        self._log_change = {"start": start, "keep": max(start, keep)}

    # -- what happened, in sentences ----------------------------------------------------------------------

    def before(self, raft: Raft) -> None:
        self._view = View.of(raft)

    def after(self, raft: Raft, cause: Cause) -> list[Event]:
        """Return what a step, a tick or another call has done to the core since `before`."""
        before, self._view = self._view, None
        assert before is not None
        after = View.of(raft)
        events = [*self._of_role(before, after, cause, raft), *self._of_vote(before, after, cause, raft)]
        events += self._of_log(before, after, cause, raft)
        if after.commit_index > before.commit_index:
            events.append(self._of_commit(before, after, cause, raft))
        return events

    def _event(self, kind: str, text: str, why: str = "", weight: int = STEP) -> Event:
        return Event(kind, self.name, f"{self.name} {text}", why, weight)

    def _of_role(self, before: View, after: View, cause: Cause, raft: Raft) -> Iterator[Event]:
        timeout = f"no leader was heard for an election timeout, drawn at random from {_range(raft)}"
        if isinstance(cause, TimeoutNow):
            timeout = f"{cause.sender} hands leadership over to it"
        if (after.role, after.term) == (before.role, before.term):
            if after.leader is not None and after.leader != before.leader and after.role is Role.FOLLOWER:
                yield self._event("leader", f"follows {after.leader}", f"it leads term {after.term}", DETAIL)
            return
        voters = len(raft.membership.voters)
        match after.role:
            case Role.PRE_CANDIDATE:
                why = timeout if before.role is Role.FOLLOWER else "its campaign has won no majority in time"
                ask = f"asks who would vote for it in term {after.term + 1}"
                yield self._event("campaign", f"{ask} (pre-vote)", why, TURN)
            case Role.CANDIDATE:
                why = timeout
                if before.role is Role.PRE_CANDIDATE:
                    granted = {*before.votes, self.name, *_voter(cause)}
                    why = f"a majority would vote for it ({majority_text(granted, voters)})"
                elif before.role is Role.CANDIDATE:
                    why = "its campaign has won no majority in time"
                yield self._event(
                    "campaign", f"is a candidate in term {after.term}, and votes for itself", why, TURN
                )
            case Role.LEADER:
                granted = {*before.votes, self.name, *_voter(cause)}
                although = "" if 2 * len(granted) > voters else "ALTHOUGH "
                why = f"{although}it has the votes of {majority_text(granted, voters)}"
                yield self._event("elected", f"leads term {after.term}", why, TURN)
            case Role.FOLLOWER:
                yield self._follows(before, after, cause)

    def _follows(self, before: View, after: View, cause: Cause) -> Event:
        if isinstance(cause, str):
            what = "steps down" if before.role is Role.LEADER else "waits for a leader"
            why = "no majority has answered it for an election timeout" if before.role is Role.LEADER else ""
            return self._event("step-down", what, why, TURN)
        if after.term > before.term:
            why = f"a message of {cause.sender} has the higher term {after.term}"
            if before.role in (Role.LEADER, Role.CANDIDATE):
                return self._event(
                    "step-down", f"steps down: it is now a follower in term {after.term}", why, TURN
                )
            return self._event("term", f"is now in term {after.term}", why, DETAIL)
        return self._event(
            "step-down", f"gives up its campaign and follows {after.leader}", "it leads this term"
        )

    def _of_vote(self, before: View, after: View, cause: Cause, raft: Raft) -> Iterator[Event]:
        match cause:
            case RequestVote():
                voted_for = before.voted_for if before.term == cause.term else None
                why = why_vote_refused(
                    cause,
                    term=before.term,
                    voted_for=voted_for,
                    leader_active=before.active_leader,
                    log=raft.log,
                )
                answers = [out.message for out in raft._messages_after_sync[before.answers :]]
                granted = any(isinstance(each, RequestVoteResponse) and each.granted for each in answers)
                yield self._answers_vote(cause, granted, why)
            case RequestVoteResponse(sender=sender, granted=granted) if before.votes:
                if not granted and after.term == before.term:
                    yield self._event("vote", f"does not get the vote of {sender}", weight=DETAIL)

    def _answers_vote(self, request: RequestVote, granted: bool, why: str) -> Event:
        sender, term = request.sender, request.term
        if request.pre_vote:
            would = "would vote" if granted else "would not vote"
            reason = why or "it hears no leader, and the candidate's log is not older than its own"
            return self._event("pre-vote", f"{would} for {sender} in term {term}", reason)
        if granted:
            reason = "its first vote in this term, and the candidate's log is not older than its own"
            reason = f"ALTHOUGH {why}" if why else reason
            return self._event("vote", f"votes for {sender} in term {term}", reason, TURN if why else STEP)
        return self._event("refusal", f"refuses its vote to {sender} in term {term}", why)

    def _of_log(self, before: View, after: View, cause: Cause, raft: Raft) -> Iterator[Event]:
        match cause:
            case AppendEntries():
                yield from self._appends(before, after, cause, raft)
                return
            case AppendEntriesResponse(success=False, sender=sender) if after.role is Role.LEADER:
                text = f"will send {sender} earlier entries"
                yield self._event("repair", text, "its log did not fit there (section 5.3)", DETAIL)
        if after.last_index > before.last_index:
            own = raft.log.slice(max(before.last_index, raft.log.base_index) + 1, after.last_index)
            why = "a leader begins its term with an entry of it"
            if after.role is before.role:
                why = "it leads, so it orders what is asked for"
            yield self._event("append", f"appends {range_text(own)} to its own log", why)

    def _appends(self, before: View, after: View, append: AppendEntries, raft: Raft) -> Iterator[Event]:
        if append.term < before.term:
            text = f"refuses what {append.sender} sends"
            yield self._event("refusal", text, f"term {append.term} is over: it is in term {before.term}")
            return
        kept = self.follow_log(raft)
        if kept < before.last_index:
            first, last = kept + 1, before.last_index
            removed = f"removes its {f'entry {last}' if first == last else f'entries {first} to {last}'}"
            why = f"they conflict with those of {append.sender}, which leads term {append.term}"
            if kept < before.commit_index:
                why += ", ALTHOUGH it knew some of them to be committed"
            yield self._event("conflict", removed, why, TURN)
        if append.entries and raft.log.term_at(append.entries[-1].index) == append.entries[-1].term:
            if (after.last_index, after.last_term) != (before.last_index, before.last_term):
                why = f"its log had entry {append.prev_log_index} of term {append.prev_log_term} before them"
                yield self._event("append", f"appends {range_text(append.entries)}", why)
        elif append.prev_log_index > before.last_index:
            text = f"cannot append what {append.sender} sends"
            why = f"that follows entry {append.prev_log_index}, and its log ends at {before.last_index}"
            yield self._event("refusal", text, why)
        elif append.entries and not raft.log.agrees(append.prev_log_index, append.prev_log_term):
            text = f"cannot append what {append.sender} sends"
            own = raft.log.term_at(append.prev_log_index)
            why = (
                f"its entry {append.prev_log_index} is of term {own}, and not of term {append.prev_log_term}"
            )
            yield self._event("refusal", text, why)

    def _of_commit(self, before: View, after: View, cause: Cause, raft: Raft) -> Event:
        index = after.commit_index
        if isinstance(raft.role_data, Leader):
            held = {node for node, match_index in raft.matched().items() if match_index >= index}
            held |= {self.name} if raft.saved_index >= index else set()
            voters = set(raft.membership.voters)
            why = f"it is saved by {majority_text(held & voters, len(voters))}"
            term = raft.log.term_at(index)
            if 2 * len(held & voters) <= len(voters):
                why = f"ALTHOUGH {why}"
            elif term != after.term:
                why += f"; ALTHOUGH entry {index} is of the old term {term}"
            return self._event("commit", f"commits up to entry {index}", why, TURN)
        by = "" if isinstance(cause, str) else f"its leader {cause.sender} says so"
        if isinstance(cause, InstallSnapshotResponse):
            by = ""
        return self._event("commit", f"knows that entries up to {index} are committed", by, DETAIL)


def _voter(cause: Cause) -> set[NodeId]:
    return {cause.sender} if isinstance(cause, RequestVoteResponse) and cause.granted else set()


def _range(raft: Raft) -> str:
    return f"{raft.config.election_ticks_min} to {raft.config.election_ticks_max} ticks"
