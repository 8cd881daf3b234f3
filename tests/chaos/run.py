"""One run: five nodes, customers, one fault after another as the seed draws them, and the judgement."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from atm.local_cluster import NoLeader, write_cluster_ini_for
from tests.chaos.customers import WatchedCustomers, resolved
from tests.chaos.linearizability import Undecided, contradictions
from tests.chaos.network import Network
from tests.chaos.operations import COMPANIONS
from tests.chaos.orders import admin
from tests.chaos.report import CALM_S, Report, Struck
from tests.chaos.scene import Fault, NotMended, Scene, finish
from tests.support.ledgers import assert_kept, wait_until_equal

HOLD_S = (1.5, 4.0)  # how long a fault lasts; an election timeout is 0.6 s at most
SERVICE_WITHIN_S = 20.0  # after a fault each customer is served again
CONVERGED_WITHIN_S = 60.0
VERIFIED_WITHIN_S = 120.0
FINDING_CHARS_MAX = 2000
ACKNOWLEDGED_MIN_PER_S = 20.0  # over the whole run; less shows nothing


def run(
    config: Path,
    network: Network | None,
    faults: Sequence[Fault],
    *,
    seed: int,
    duration_s: float,
    clients: int,
    say: Callable[[str], None],
) -> Report:
    """Run for `duration_s` and judge; what was found is in the report, never raised."""
    chance = random.Random(seed)
    report = Report(seed=seed, duration_s=duration_s, clients=clients)
    report.exercised = dict.fromkeys((fault.name for fault in faults), 0)
    with Scene(config, network, chance) as scene:
        scene.start_all()
        scene.wait_for_leader()
        scene.wait_until_well()
        scene.companions = [fault for fault in faults if fault.name in COMPANIONS]
        with WatchedCustomers(config, count=clients, seed=seed) as customers:
            scene.newest_stamp_us = lambda: customers.newest_stamp_us
            report.begin_s = time.monotonic()
            try:
                _strike_again_and_again(scene, customers, list(faults), report, say)
            except (NoLeader, NotMended) as error:
                report.findings.append(str(error))
            report.end_s = time.monotonic()
            _note_the_dead(scene, report, "at the end")
        say("The faults are over; judging")
        _judge(scene, customers, report)
        _look_for_tracebacks(scene, report)
        if report.findings:
            (config.parent / "history.txt").write_text("\n".join(map(str, customers.history)) + "\n")
    return report


def _strike_again_and_again(
    scene: Scene, customers: WatchedCustomers, faults: list[Fault], report: Report, say: Callable[[str], None]
) -> None:
    """Take the faults like cards from a shuffled pack, so that each comes before any comes again."""
    pack: list[Fault] = []
    while time.monotonic() - report.begin_s + CALM_S < report.duration_s and not report.findings:
        if not pack:
            pack = scene.chance.sample(faults, len(faults))
        _be_calm(customers, report)
        struck = _strike(scene, customers, pack.pop(), scene.chance.uniform(*HOLD_S), report)
        say(f"{struck.begin_s - report.begin_s:6.1f} s  {struck.name}: {struck.detail}")
    _be_calm(customers, report)


def _be_calm(customers: WatchedCustomers, report: Report) -> None:
    customers.live_for(CALM_S)
    if customers.errors:
        report.findings += [f"a customer met {error!r}" for error in customers.errors]


def _strike(scene: Scene, customers: WatchedCustomers, fault: Fault, hold_s: float, report: Report) -> Struck:
    story = fault.story(scene)
    try:
        begin_s = time.monotonic()
        struck = Struck(name=fault.name, begin_s=begin_s)
        report.struck.append(struck)
        scene.struck_beside = scene.remark = ""
        struck.detail = next(story)
        struck.beside = scene.struck_beside
        customers.live_for(hold_s)
        struck.fired = finish(story)
        struck.heal_s = time.monotonic()
        struck.detail = "; ".join(filter(None, (struck.detail, scene.remark)))
        if struck.fired:
            for name in filter(None, (struck.name, struck.beside)):
                report.exercised[name] += 1
    finally:
        story.close()
    if not customers.wait_for_each(struck.heal_s, SERVICE_WITHIN_S):
        report.findings.append(
            f"{SERVICE_WITHIN_S:g} s after '{fault.name}' ({struck.detail}) had healed, "
            "not every customer was served again"
        )
    struck.served_s = time.monotonic()
    _note_the_dead(scene, report, f"after '{fault.name}' ({struck.detail})")
    return struck


def _note_the_dead(scene: Scene, report: Report, when: str) -> None:
    for name in scene.nodes:
        code = scene.processes[name].poll()
        if code is not None:
            last = " / ".join(scene.output(name).splitlines()[-3:])
            report.findings.append(f"{name} ended by itself with code {code} {when}: {last}")


def _judge(scene: Scene, customers: WatchedCustomers, report: Report) -> None:
    report.count(customers)
    if report.seconds * ACKNOWLEDGED_MIN_PER_S > report.acknowledged:
        report.findings.append(f"only {report.acknowledged} operations were acknowledged: that shows nothing")
    if not report.struck:
        report.findings.append("no fault was tried: that shows nothing")
    report.findings += [
        f"'{struck.name}' ({struck.detail}) did not fire" for struck in report.struck if not struck.fired
    ]
    try:
        scene.start_all()
        scene.wait_until_well()
        ledger = wait_until_equal(scene, CONVERGED_WITHIN_S)
    except (AssertionError, NotMended) as error:
        report.findings.append(_short(error))
        history = customers.history
    else:
        report.converged_s = time.monotonic() - report.end_s
        history = resolved(customers.history, ledger)
        report.unknown_done = len(history) - report.acknowledged
        try:
            assert_kept(ledger, customers)
        except AssertionError as error:
            report.findings.append(_short(error))
        if (scene.folder / "backup").exists():
            _verify_backup(scene, report)
    started_s = time.monotonic()
    try:
        report.findings += contradictions(history, dict.fromkeys(customers.accounts, 0))
    except Undecided as error:
        report.findings.append(_short(error))
    report.judged_s = time.monotonic() - started_s


def _verify_backup(scene: Scene, report: Report) -> None:
    """Bring the backup up to date, rebuild the books from it, and see what would be restored elsewhere."""
    backup, elsewhere = str(scene.folder / "backup"), scene.folder / "elsewhere"
    elsewhere.mkdir()
    restored = write_cluster_ini_for(elsewhere, ["r1", "r2", "r3"])
    commands = (
        admin(scene.cluster.path, "backup", backup, "--verify"),
        admin(restored, "restore", backup, "--preview", "--without-pepper"),
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, timeout=VERIFIED_WITHIN_S, check=False)
        if done.returncode != 0:
            told = f"{done.stdout}{done.stderr}"[-FINDING_CHARS_MAX:]
            report.findings.append(f"'admin {' '.join(command[4:])}' ends with {done.returncode}: {told}")
    report.backup_verified = True


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:FINDING_CHARS_MAX]


def _look_for_tracebacks(scene: Scene, report: Report) -> None:
    for name in scene.processes:
        output = scene.output(name)
        if "Traceback" in output or "error of its own" in output:
            report.findings.append(f"{name} met an error of its own: {output[-1000:]}")
