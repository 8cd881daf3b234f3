"""The faults, each told in the order it happens: what is broken, `yield`, how it heals, whether it fired.

What is yielded says what was broken; while the fault lasts, nothing is repaired. A fault returns
whether it really happened, which it looks up (exit codes, process states, dropped packets), not assumes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tests.chaos import bad_links, cuts, operations
from tests.chaos.bad_links import BadLinks
from tests.chaos.cuts import Cut
from tests.chaos.network import why_no_switch
from tests.chaos.scene import Fault, Scene, Story, wait_for

try:
    from resource import RLIMIT_FSIZE, prlimit
except ImportError:  # not Linux
    prlimit = None  # type: ignore[assignment]

SLACK_BYTES = 16 * 1024  # a full disk: this much still fits
END_S = 15.0  # within which a node whose disk fails has ended
FAKETIME_PLACES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib*/faketime/libfaketimeMT.so.1")
HOUR_S = 3600


# -- processes that die ----------------------------------------------------------------------------


def kill(victims: Callable[[Scene], list[str]]) -> Callable[[Scene], Story]:
    """Kill -9, and start again."""

    def story(scene: Scene) -> Story:
        names = victims(scene)
        died = scene.kill_at_once(names)
        yield ", ".join(names)
        for name in names:
            scene.start(name)
        return died

    return story


def restart_each(scene: Scene) -> Story:
    """Stop one after the other as a person does for an upgrade, and start it again."""
    codes = []
    order = scene.choose(len(scene.nodes))
    yield " then ".join(order)
    for name in order:
        codes.append(scene.stop(name))
        scene.start(name)
        scene.wait_until_up(name)
    return codes == [0] * len(order)


# -- processes that hang ---------------------------------------------------------------------------


def pause(victims: Callable[[Scene], list[str]]) -> Callable[[Scene], Story]:
    """SIGSTOP, for longer than an election takes."""

    def story(scene: Scene) -> Story:
        names = victims(scene)
        for name in names:
            scene.pause(name)
        hung = all(wait_for(lambda n=name: scene.is_stopped(n) or None, 1.0) for name in names)  # type: ignore[misc]
        try:
            yield ", ".join(names)
        finally:
            for name in names:
                scene.resume(name)
        return hung

    return story


# -- networks that do not carry --------------------------------------------------------------------


def cut(ways: Callable[[Scene], Cut]) -> Callable[[Scene], Story]:
    """Let nothing through for some (sender, receiver)."""

    def story(scene: Scene) -> Story:
        told, pairs = ways(scene)
        scene.network.cut(pairs)
        yield told
        return scene.network.heal() > 0

    return story


def loss(scene: Scene) -> Story:
    """Lose a share of all packets, those from and to customers included."""
    percent = scene.chance.choice((5, 15, 30))
    scene.network.lose(percent)
    yield f"{percent}% of all packets"
    return scene.network.heal() > 0


def carry_badly(draw: Callable[[Scene], BadLinks]) -> Callable[[Scene], Story]:
    """Let packets come late, out of order, twice, or never."""

    def story(scene: Scene) -> Story:
        told, links = draw(scene)
        scene.network.carry_badly(links)
        yield told
        counts = scene.network.carry_well()
        happened = (
            (counts.late, any(link.delay_ms or link.jitter_ms for link in links.values())),
            (counts.lost, any(link.lost for link in links.values())),
            (counts.doubled, any(link.doubled for link in links.values())),
        )
        return all(count > 0 for count, wanted in happened if wanted)

    return story


# -- disks that fail -------------------------------------------------------------------------------


def disk_full(victims: Callable[[Scene], list[str]]) -> Callable[[Scene], Story]:
    """No file may grow any more; the node must stop rather than promise what it cannot keep."""

    def story(scene: Scene) -> Story:
        [name] = victims(scene)
        folder = scene.cluster.data_dir / name
        newest_log = max(folder.glob("raft.log.*"))
        limit_bytes = newest_log.stat().st_size + SLACK_BYTES
        _, hard = prlimit(scene.pid(name), RLIMIT_FSIZE)
        prlimit(scene.pid(name), RLIMIT_FSIZE, (limit_bytes, hard))
        yield f"{name} from {limit_bytes} bytes on"
        code = scene.wait_until_ended(name, END_S)
        if code is None:
            scene.kill(name)
        scene.start(name)
        return code == 1

    return story


def failing_sync(scene: Scene) -> Story:
    """A node is started on a disk whose syncs fail after a while; it must stop at the first of them."""
    [name] = scene.choose(1)
    first = scene.chance.randint(20, 120)
    scene.stop(name)
    syncs = "fsync,fdatasync"
    tracer = ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", f"trace={syncs}"]
    scene.start_under(name, [*tracer, "-e", f"inject={syncs}:error=EIO:when={first}+"])
    yield f"{name} from sync {first} on"
    code = scene.wait_until_ended(name, END_S)
    if code is None:
        scene.kill(name)
    scene.start(name)
    return code == 1


# -- clocks that jump ------------------------------------------------------------------------------


def clock_jump(scene: Scene) -> Story:
    """The wall clock of every node jumps ahead by hours, then back; nothing may depend on it."""
    scene.jumps += 1
    ahead_s = scene.jumps * HOUR_S
    library = next(iter(faketime_libraries()))
    setting = scene.cluster.data_dir / f"clock-{scene.jumps}"
    _write_whole(setting, "+0")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(setting),
        "FAKETIME_CACHE_DURATION": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    for name in scene.nodes:
        scene.kill(name)
        scene.start_under(name, ["env", *(f"{key}={value}" for key, value in environment.items())])
        scene.wait_until_up(name)
    scene.wait_for_leader()
    _write_whole(setting, f"+{ahead_s}")
    yield f"all by {scene.jumps} h and back"
    wanted_us = (time.time_ns() // 1000) + (ahead_s - 60) * 1_000_000
    jumped = wait_for(lambda: scene.newest_stamp_us() > wanted_us or None, 5.0)
    _write_whole(setting, "-60")
    for name in scene.nodes:  # the library makes them slow
        scene.kill(name)
        scene.start(name)
        scene.wait_until_up(name)
    return jumped is not None


def faketime_libraries() -> list[Path]:
    return [path for place in FAKETIME_PLACES for path in Path("/").glob(place.lstrip("/"))]


def _write_whole(path: Path, text: str) -> None:
    """Write so that no reader sees half of it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def why_not(needs: str, no_network: str) -> str:
    """Return why what a fault needs is not there, or nothing."""
    match needs:
        case "namespaces":
            return no_network
        case "switch":
            return no_network or why_no_switch()
        case "prlimit" if prlimit is None:
            return "this system has no prlimit"
        case "strace" if shutil.which("strace") is None:
            return "there is no strace: install strace"
        case "faketime" if not faketime_libraries():
            return "there is no libfaketime: install libfaketime"
    return ""


def _leader(scene: Scene) -> list[str]:
    return [scene.wait_for_leader()]


OPERATIONS = (
    Fault("transfer", "", operations.hand_over),
    Fault("stop leader", "", operations.stop_leader),
    Fault("snapshot", "", operations.snapshot),
    Fault("backup", "", operations.backup),
    Fault("exchange a server", "", operations.exchange),
    Fault("lost disk", "", operations.lost_disk),
    Fault("old copy", "", operations.old_copy),
    Fault("away for long", "", operations.away_for_long),
    Fault("damaged ledger", "", operations.damaged_ledger),
    Fault("wrong clock", "", operations.wrong_clock),
)
FAULTS = (
    Fault("kill leader", "", kill(_leader)),
    Fault("kill follower", "", kill(lambda scene: scene.followers())),
    Fault("kill leader and another", "", kill(lambda scene: scene.leader_and(1))),
    Fault("kill all five", "", kill(lambda scene: scene.nodes)),
    Fault("restart each", "", restart_each),
    Fault("pause leader", "", pause(_leader)),
    Fault("pause follower", "", pause(lambda scene: scene.followers())),
    Fault("pause leader and two", "", pause(lambda scene: scene.leader_and(2))),
    Fault("leader's disk full", "prlimit", disk_full(_leader)),
    Fault("follower's disk full", "prlimit", disk_full(lambda scene: scene.followers())),
    Fault("failing sync", "strace", failing_sync),
    Fault("clock jump", "faketime", clock_jump),
    Fault("isolated leader", "namespaces", cut(cuts.isolated_leader)),
    Fault("leader in a minority", "namespaces", cut(cuts.halves)),
    Fault("deaf leader", "namespaces", cut(cuts.deaf_leader)),
    Fault("mute leader", "namespaces", cut(cuts.mute_leader)),
    Fault("deaf follower", "namespaces", cut(cuts.deaf_follower)),
    Fault("ring", "namespaces", cut(cuts.ring)),
    Fault("bridge", "namespaces", cut(cuts.bridge)),
    Fault("lossy network", "namespaces", loss),
    Fault("slow network", "switch", carry_badly(bad_links.slow_network)),
    Fault("far leader", "switch", carry_badly(bad_links.far_leader)),
    Fault("slow one way", "switch", carry_badly(bad_links.slow_one_way)),
    Fault("far customers", "switch", carry_badly(bad_links.far_customers)),
    Fault("lossy links", "switch", carry_badly(bad_links.lossy_links)),
    Fault("doubled packets", "switch", carry_badly(bad_links.doubled_packets)),
    Fault("bad network", "switch", carry_badly(bad_links.bad_network)),
    *OPERATIONS,
)
