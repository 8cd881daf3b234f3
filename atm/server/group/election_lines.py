"""Elections in lines for the operator: who campaigned, who voted for whom, who did not, and why."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import assert_never

from atm.raft import NodeId, Role
from atm.raft.events import (
    Cause,
    CoreEvent,
    LeaderLearned,
    RoleChanged,
    VoteDecided,
    VoteReceived,
    VoteRefusal,
)
from atm.server.logger.logger import Field, Logger

DECISIONS_MAX = 20  # a minute, about one candidate or voter
AGAIN_LINES_MAX = 1  # a minute: without a majority a node campaigns again and again

Fields = dict[str, Field]

CAUSES = {
    Cause.ELECTION_TIMEOUT: "heard nothing of the leader, node {by}, for an election timeout",
    Cause.CAMPAIGN_TIMEOUT: "no majority has granted its vote within an election timeout",
    Cause.NOT_CAMPAIGNING: "heard nothing of a leader for an election timeout, and does not campaign",
    Cause.PRE_VOTE_WON: "{votes} would vote for it",
    Cause.ELECTION_WON: "elected by {votes}",
    Cause.ORDERED_TO_CAMPAIGN: "node {by} hands leadership over",
    Cause.HIGHER_TERM: "node {by} is in term {term}",
    Cause.HANDED_OVER: "node {by} has taken over in term {term}",
    Cause.LEADER_FOUND: "node {by} leads term {term}",
    Cause.NO_MAJORITY: "no majority has answered for an election timeout",
    Cause.REMOVED: "it has no vote any more",
    Cause.DISK_LOST: "it began with an empty disk, and may have forgotten a vote",
}
assert CAUSES.keys() == set(Cause)


class ElectionLines:
    """Tells what the core's events say. It is called within a step of the core, and does not wait."""

    def __init__(self, logger: Logger, node: NodeId, voters: Callable[[], Collection[NodeId]]) -> None:
        """`voters` tells who they are at present, as far as this node knows."""
        self._logger = logger
        self._again = logger.about("campaigns", AGAIN_LINES_MAX)
        self._node = node
        self._voters = voters
        self._refused: set[NodeId] = set()  # in this campaign

    def tell(self, event: CoreEvent) -> None:
        """Write the line of an event, if it has one."""
        match event:
            case RoleChanged():
                self._tell_role(event)
            case LeaderLearned():
                line = f"follows node {event.leader}, the leader of term {event.term}"
                self._logger.info("leader.followed", line, leader=event.leader, term=event.term)
            case VoteDecided():
                self._tell_decision(event)
            case VoteReceived():
                self._tell_answer(event)
            case _:
                assert_never(event)

    # -- roles ---------------------------------------------------------------------------------------------

    def _tell_role(self, event: RoleChanged) -> None:
        if event.after is not Role.LEADER:
            self._refused.clear()
        fields: Fields = {"term": event.term, "cause": event.cause.value, "by": event.by}
        if event.after is Role.LEADER:
            line = f"leads term {event.term}: {_why(event)}{self._rest(event)}"
            self._logger.info("election.won", line, **fields, votes=", ".join(event.votes))
        elif event.after is Role.CANDIDATE:
            line = f"campaigns for term {event.term}: {_why(event)}"
            self._logger.info("election.campaign", line, **fields, votes=", ".join(event.votes))
        elif event.after is Role.PRE_CANDIDATE:
            self._tell_pre_vote(event, fields)
        elif event.before is Role.LEADER:
            line = f"leads term {event.term_before} no more: {_why(event)}"
            wanted = event.cause in (Cause.HANDED_OVER, Cause.REMOVED)
            (self._logger.info if wanted else self._logger.warning)("leader.stepped_down", line, **fields)
        elif event.before is not Role.FOLLOWER:
            self._logger.info("election.lost", f"campaigns no more: {_why(event)}", **fields)
        elif event.cause is Cause.NOT_CAMPAIGNING:
            self._logger.info("leader.lost", _why(event), **fields)
        else:
            line = f"is in term {event.term} now: {_why(event)}"
            self._logger.debug("term.raised", line, **fields)

    def _tell_pre_vote(self, event: RoleChanged, fields: Fields) -> None:
        if event.cause is Cause.CAMPAIGN_TIMEOUT:
            line = f"asks for votes again: {_why(event)}"
            self._again.warning("election.again", line, **fields)
        else:
            line = f"asks who would vote for it in term {event.term + 1}: {_why(event)}"
            self._logger.info("election.begun", line, **fields)

    def _rest(self, event: RoleChanged) -> str:
        """Return who has not voted for the new leader, in words."""
        others = sorted(set(self._voters()) - set(event.votes))
        refused = [node for node in others if node in self._refused]
        silent = [node for node in others if node not in self._refused]
        return f"{_said(refused, 'refused')}{_said(silent, 'did not answer in time')}"

    # -- votes ---------------------------------------------------------------------------------------------

    def _tell_decision(self, event: VoteDecided) -> None:
        fields: Fields = {
            "candidate": event.candidate,
            "term": event.term,
            "pre_vote": event.pre_vote,
            "refusal": None if event.refusal is None else event.refusal.value,
        }
        about = self._logger.about(event.candidate, DECISIONS_MAX)
        if event.refusal is None and event.pre_vote:
            line = f"would vote for node {event.candidate} in term {event.term}: {_logs(event)}"
            about.debug("vote.promised", line, **fields)
        elif event.refusal is None:
            line = f"voted for node {event.candidate} in term {event.term}: {_logs(event)}"
            about.info("vote.granted", line, **fields)
        else:
            what = "would not vote" if event.pre_vote else "did not vote"
            why = self._refusal(event, event.refusal)
            line = f"{what} for node {event.candidate} in term {event.term}: {why}"
            about.info("vote.refused", line, **fields)

    def _refusal(self, event: VoteDecided, refusal: VoteRefusal) -> str:
        match refusal:
            case VoteRefusal.LOWER_TERM:
                return f"this node is in term {event.own_term}"
            case VoteRefusal.DISK_LOST:
                return "its data folder is not the one whose votes count"
            case VoteRefusal.LEADER_ACTIVE:
                if event.leader == self._node:
                    return "this node leads"
                return f"node {event.leader} leads, and was heard just now"
            case VoteRefusal.ALREADY_VOTED:
                return f"this node has voted for node {event.voted_for} in that term"
            case VoteRefusal.LOG_BEHIND:
                return (
                    f"its log ends at entry {event.last_index} of term {event.last_term}, behind the own "
                    f"one, which ends at {event.own_last_index} of term {event.own_last_term}"
                )
            case _:
                assert_never(refusal)

    def _tell_answer(self, event: VoteReceived) -> None:
        if not event.granted:
            self._refused.add(event.voter)
        answer = "granted" if event.granted else "refused"
        kind = "pre-vote" if event.pre_vote else "vote"
        counted = "" if event.counted or not event.granted else ", which does not count"
        self._logger.about(event.voter, DECISIONS_MAX).debug(
            "vote.received",
            f"node {event.voter} {answer} its {kind}{counted}: {event.votes} of {event.needed}",
            peer=event.voter,
            granted=event.granted,
            counted=event.counted,
            term=event.term,
        )


def _why(event: RoleChanged) -> str:
    if event.cause is Cause.ELECTION_TIMEOUT and event.by is None:
        return "no leader is known"
    return CAUSES[event.cause].format(by=event.by, term=event.term, votes=_and(event.votes))


def _logs(event: VoteDecided) -> str:
    if (event.last_term, event.last_index) == (event.own_last_term, event.own_last_index):
        return f"both logs end at entry {event.last_index}"
    return f"its log ends at entry {event.last_index}, the own one at {event.own_last_index}"


def _and(nodes: Collection[NodeId]) -> str:
    names = [f"node {node}" for node in sorted(nodes)]
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _said(nodes: Collection[NodeId], what: str) -> str:
    return f"; {_and(nodes)} {what}" if nodes else ""
