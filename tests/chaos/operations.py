"""What operators do, and what only they mend, as faults; others strike while it is done.

A disk is lost, and an old copy is put back, only while all is well; a fault that strikes meanwhile takes
one more node away for a while, so that a majority of those with a vote is always there again.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple

from tests.chaos.orders import Order
from tests.chaos.scene import Scene, Story, finish, wait_for
from tests.support.folders import delete_folder

# What may strike meanwhile, by name: each takes one node away at most, and gives it back.
COMPANIONS = ("kill leader", "pause leader", "isolated leader", "slow network", "lossy links")
COMPANION_AFTER_S = 0.4  # at most: the order is being carried out then

SEEN_WITHIN_S = 60.0
COMPARED_WITHIN_S = 240.0  # all rows of a ledger: 2000 a second
INSTALLED = "installed the snapshot"
OLD_COPY = "is an old copy: "
REBUILT = "and a new one is made from the log"
BORROWED = "and a new one is made from the snapshot of node "
CLOCK_WRONG, CLOCK_RIGHT = "does not lead until it is right", "this machine's clock is right again"
CLOCKS_AHEAD_S = (26 * 3600, -26 * 3600, 60)


class Change(NamedTuple):
    """SQL: `key` finds a row, which is `?1` for the others; `look` tells a changed row from a right one."""

    key: str
    change: str
    look: str


CHANGED_ROWS = {
    "two balances": Change(
        "select 'alice'",
        "update balance set amount = amount + iif(account = ?1, 5, -5) where account in (?1, 'bob')",
        "select amount - (select total(iif(credit_account = ?1, amount, -amount)) from journal "
        "where ?1 in (debit_account, credit_account)) from balance where account = ?1",
    ),
    "a posting": Change(
        "select posting from journal order by posting desc limit 1 offset 50",
        "update journal set amount = amount + 1 where posting = ?1",
        "select amount from journal where posting = ?1",
    ),
    "a receipt": Change(
        "select request_id from receipt order by log_index desc limit 1",
        "update receipt set actor = 'eve' where request_id = ?1",
        "select actor from receipt where request_id = ?1",
    ),
}


def _with_a_companion(scene: Scene, told: str, order: Order | None = None) -> Story:
    """Let another fault strike, or none, while the order is carried out; return whether that one fired."""
    companion = scene.chance.choice([None, *scene.companions]) if scene.companions else None
    after_s = scene.chance.uniform(0.0, COMPANION_AFTER_S)
    fired = True
    if companion is None:
        yield told
    else:
        time.sleep(after_s)
        story = companion.story(scene)
        try:
            detail = next(story)
            scene.struck_beside = companion.name
            yield f"{told}; meanwhile {companion.name}: {detail}"
            fired = finish(story)
        finally:
            story.close()
    if order is not None:
        order.wait()
    return fired


# -- what an operator orders -----------------------------------------------------------------------


def hand_over(scene: Scene) -> Story:
    """Leadership is transferred, to a member that is named, or to any."""
    leader = scene.wait_for_leader()
    target = scene.chance.choice([[], scene.followers()])
    order = Order(scene, "transfer", *target)
    return (yield from _with_a_companion(scene, " ".join([leader, "to", *(target or ["any"])]), order))


def snapshot(scene: Scene) -> Story:
    [name] = scene.choose(1)
    return (yield from _with_a_companion(scene, name, Order(scene, "snapshot", name)))


def backup(scene: Scene) -> Story:
    """All of them go into one folder, which is verified at the end of the run."""
    order = Order(scene, "backup", str(scene.folder / "backup"))
    return (yield from _with_a_companion(scene, "all that is new", order))


def stop_leader(scene: Scene) -> Story:
    """SIGTERM: it hands over before it ends."""
    name = scene.wait_for_leader()
    code = scene.stop(name)
    yield name
    scene.start(name)
    return code == 0


def exchange(scene: Scene) -> Story:
    """A new server is added and another one removed, which is the spare one next time."""
    scene.wait_until_well()
    [new], [old] = scene.spares, scene.choose(1)
    staying = [name for name in scene.nodes if name != old]
    scene.list_members([*scene.nodes, new])
    scene.start(new)
    node = scene.cluster.nodes[new]
    add = partial(Order, scene, "add", new, "--peer", str(node.peer), "--client", str(node.client))
    is_gone = partial(_is_no_member, scene, old)
    remove = partial(Order, scene, "remove", old, "--yes", is_so=is_gone)
    told = f"{new} added, {old} removed"
    if scene.chance.random() < 0.5:
        fired = yield from _with_a_companion(scene, told, add())
        remove().wait()
    else:
        add().wait()
        fired = yield from _with_a_companion(scene, told, remove())
    code = scene.wait_until_ended(old, SEEN_WITHIN_S)
    scene.stop(old)
    scene.list_members([*staying, new])
    delete_folder(scene.data_of(old))
    scene.spares = [old]
    scene.wait_until_well()
    return fired and code == 0


def _is_no_member(scene: Scene, name: str) -> bool:
    members = [member.node for member in scene.members()]
    return bool(members) and name not in members


# -- what only an operator mends -------------------------------------------------------------------


def lost_disk(scene: Scene) -> Story:
    """The data folder of a node is deleted; it has no vote until it is replaced."""
    scene.wait_until_well()
    [name] = scene.choose(1)
    lost = _lose_folder(scene, name)
    fired = yield from _with_a_companion(scene, name, Order(scene, "replace", name))
    scene.wait_until_well()
    return fired and lost


def _lose_folder(scene: Scene, name: str) -> bool:
    """Start a node with an empty folder; return whether it then says that it has no vote."""
    scene.kill(name)
    delete_folder(scene.data_of(name))
    scene.start(name)
    return wait_for(lambda: _has_no_vote(scene, name) or None, SEEN_WITHIN_S) is not None


def old_copy(scene: Scene) -> Story:
    """A copy of a data folder is put back when the folder itself has gone on; the node notices."""
    scene.wait_until_well()
    [name] = scene.choose(1)
    copy = scene.cluster.data_dir / "old-copy"
    scene.stop(name)
    shutil.copytree(scene.data_of(name), copy)
    scene.start(name)
    scene.wait_until_well()
    _wait_for_business(scene)
    scene.kill(name)
    delete_folder(scene.data_of(name))
    copy.rename(scene.data_of(name))
    said = _told_again(scene, name, OLD_COPY)
    scene.start(name)
    noticed = wait_for(said, SEEN_WITHIN_S)
    fired = yield from _with_a_companion(scene, name, Order(scene, "replace", name))
    scene.wait_until_well()
    return fired and noticed is not None


def _wait_for_business(scene: Scene) -> None:
    now_us = time.time_ns() // 1000
    wait_for(lambda: scene.newest_stamp_us() > now_us + 500_000 or None, SEEN_WITHIN_S)


# -- what nodes mend by themselves -----------------------------------------------------------------


def away_for_long(scene: Scene) -> Story:
    """A follower is away until all others have cut what it lacks: it installs a snapshot."""
    [name] = scene.followers()
    others = [other for other in scene.nodes if other != name]
    killed = scene.chance.random() < 0.5
    said = _told_again(scene, name, INSTALLED)
    scene.kill(name) if killed else scene.pause(name)
    try:
        newest = {other: max(_segments(scene, other)) for other in others}
        cut = wait_for(
            lambda: all(min(_segments(scene, other)) > newest[other] for other in others) or None,
            SEEN_WITHIN_S,
        )
    finally:
        scene.start(name) if killed else scene.resume(name)
    fired = yield from _with_a_companion(scene, f"{name}, {'killed' if killed else 'paused'}")
    installed = wait_for(said, SEEN_WITHIN_S)
    return fired and cut is not None and installed is not None


def damaged_ledger(scene: Scene) -> Story:
    """Rows of a node's ledger are changed while it is down: it is told apart, and rebuilds its ledger.

    A snapshot that it took before its rows were compared holds the change, too. Then it is wrong again, and
    begins with another server's snapshot. Nothing else strikes: who installed the first one is wrong, too.
    """
    scene.wait_until_well()
    [name, other] = scene.choose(2)
    what = scene.chance.choice(list(CHANGED_ROWS))
    stopped = scene.stop(name)
    with closing(sqlite3.connect(scene.data_of(name) / "ledger.db")) as ledger, ledger:
        [key] = ledger.execute(CHANGED_ROWS[what].key).fetchone()
        changed = ledger.execute(CHANGED_ROWS[what].change, (key,)).rowcount
    said = _told_again(scene, name, REBUILT)
    said_borrowed = _told_again(scene, name, BORROWED)
    scene.start(name)
    yield f"{what} of {name}"
    rebuilt = wait_for(said, COMPARED_WITHIN_S)
    look = partial(_look, scene, what, key)
    mended = wait_for(lambda: (scene.is_well() and look(name) == look(other)) or None, COMPARED_WITHIN_S)
    if said_borrowed():
        scene.remark = "its snapshot held that already, so it took another server's"
    scene.wait_until_well()
    return stopped == 0 and changed > 0 and rebuilt is not None and mended is not None


def _look(scene: Scene, what: str, key: object, name: str) -> list[object]:
    with closing(sqlite3.connect(f"file:{scene.data_of(name)}/ledger.db?mode=ro", uri=True)) as ledger:
        return ledger.execute(CHANGED_ROWS[what].look, (key,)).fetchall()


def wrong_clock(scene: Scene) -> Story:
    """The clock of the leader is set wrong, and then right: it does not lead meanwhile."""
    [name] = scene.followers()
    scene.stop(name)
    scene.start_with_a_clock(name)
    scene.wait_until_well()
    Order(scene, "transfer", name).wait()
    ahead_s = scene.chance.choice(CLOCKS_AHEAD_S)
    wrong, right = _told_again(scene, name, CLOCK_WRONG), _told_again(scene, name, CLOCK_RIGHT)
    scene.set_clock(name, ahead_s)
    yield f"{name} by {ahead_s} s"
    seen = wait_for(wrong, SEEN_WITHIN_S)
    gone = wait_for(lambda: scene.wait_for_leader() != name or None, SEEN_WITHIN_S)
    scene.set_clock(name, 0)
    over = wait_for(right, SEEN_WITHIN_S)
    scene.stop(name)
    scene.start(name)
    return None not in (seen, gone, over)


def _told_again(scene: Scene, name: str, words: str) -> Callable[[], bool | None]:
    """Return what tells whether the node has printed these words once more than it has now."""
    count = scene.output(name).count(words)
    return lambda: scene.output(name).count(words) > count or None


def _segments(scene: Scene, name: str) -> list[int]:
    return [int(path.suffix[1:]) for path in scene.data_of(name).glob("raft.log.*")]


def _has_no_vote(scene: Scene, name: str) -> bool:
    status = scene.status(name)
    return status is not None and status.voter is False
