"""bin/start_node as a process: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from atm.config import Cluster
from atm.local_cluster import free_ports
from atm.server.security.peppers import new_peppers
from tests.support.server_parts import Wire, cluster_of, credit, query, wait_until

ENDS_WITHIN_S = 10.0
Process = subprocess.Popen[str]
ROOT = Path(__file__).parents[2]


def ini(cluster: Cluster) -> Path:
    lines = ["[cluster]", f"data_dir = {cluster.data_dir}"]
    lines += ["heartbeat_ms = 20", "election_timeout_ms = 100-200"]
    for node in cluster.nodes.values():
        lines += [f"[node {node.name}]", f"client = localhost:{node.client.port}"]
        lines += [f"peer = localhost:{node.peer.port}"]
    cluster.path.write_text("\n".join(lines))
    return cluster.path


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = cluster_of(tmp_path, "n1")
    ini(cluster)
    return cluster


def start(cluster: Cluster, node: str = "n1", *more: str) -> Process:
    command = [sys.executable, "-m", "atm.server.main", node, "--config", str(cluster.path), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: Process) -> tuple[int, str]:
    """Return exit code and stderr of a process that is about to end."""
    _, stderr = process.communicate(timeout=ENDS_WITHIN_S)
    return process.returncode, stderr


def lines_of(process: Process, count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


@pytest.fixture
def running(cluster: Cluster) -> Iterator[Process]:
    process = start(cluster)
    yield process
    process.kill()
    process.communicate()


STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def messages(stderr: str, *levels: str) -> list[str]:
    """Return the messages of these levels, or else of all; each line has time, level and node."""
    found = [
        re.fullmatch(rf"{STAMP} (DEBUG|INFO|WARNING|ERROR) n1 (.+)", line) for line in stderr.splitlines()
    ]
    assert all(found), stderr
    return [match[2] for match in found if match and (not levels or match[1] in levels)]


def test_a_node_writes_its_lines_by_its_writers_alone() -> None:
    """Trial 10: with `print` a newline of its own came behind another thread's line."""
    prints = [path.name for path in (ROOT / "atm" / "server").rglob("*.py") if "print(" in path.read_text()]
    assert prints == []
    assert (ROOT / "atm" / "server" / "main.py").read_text().count("complain(") == 1


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_a_node_prints_its_lines_and_stops_cleanly(
    cluster: Cluster, running: Process, stop_signal: signal.Signals
) -> None:
    port = cluster.nodes["n1"].client.port
    assert lines_of(running, 4) == [
        f"Running server on port {port}",
        "Expects no neighbours",
        f"Listening on ('localhost', {port})",
        f"Leader on ('localhost', {port}) in term 1",
    ]
    with Wire(cluster.nodes["n1"].client) as wire:
        assert wire.ask(credit("a"))["outcome"] == "ok"
        running.send_signal(stop_signal)
        code, stderr = ended(running)
        assert (code, messages(stderr)[-1]) == (0, f"node n1 has stopped, by {stop_signal.name}")
        assert wire.answer() is None


def test_money_survives_a_kill(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    with Wire(cluster.nodes["n1"].client) as wire:
        assert wire.ask(credit("a"))["balance"] == 100
    running.kill()
    running.communicate()
    again = start(cluster)
    try:
        assert lines_of(again, 4)[3].endswith("in term 2")
        with Wire(cluster.nodes["n1"].client) as wire:
            assert wire.ask(credit("a"))["balance"] == 100
            assert wire.ask(credit("b"))["balance"] == 200
        again.terminate()
        assert ended(again)[0] == 0
    finally:
        again.kill()


def test_a_second_process_on_the_folder_ends_with_a_line(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (1, 1)
    assert "node n1 is already running" in stderr


@pytest.mark.parametrize("kind", ["client", "peer"])
def test_a_taken_port_ends_with_a_line(cluster: Cluster, kind: str) -> None:
    address = getattr(cluster.nodes["n1"], kind)
    with socket.create_server(address.pair):
        code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (1, 1)
    assert f"cannot listen on localhost:{address.port}: another node or program uses this port" in stderr


def test_an_unknown_node_or_file_ends_with_a_line_and_2(cluster: Cluster) -> None:
    code, stderr = ended(start(cluster, "n7"))
    assert (code, stderr.count("\n")) == (2, 1)
    assert "there is no node 'n7', only n1" in stderr
    cluster.path.unlink()
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (2, 1)


def test_a_ledger_that_cannot_be_used_ends_the_node(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    running.terminate()
    ended(running)
    with closing(sqlite3.connect(cluster.data_dir / "n1" / "ledger.db")) as ledger, ledger:
        ledger.execute("update applied set schema_version = 99")
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (1, 1)
    assert "ledger.db is a ledger of version 99" in stderr


def test_a_damaged_ledger_is_kept_and_made_anew_from_the_log(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    with Wire(cluster.nodes["n1"].client) as wire:
        assert wire.ask(credit("a", 500))["outcome"] == "ok"
    running.terminate()
    ended(running)
    junk = os.urandom(5000)
    ledger = cluster.data_dir / "n1" / "ledger.db"
    ledger.write_bytes(junk)
    again = start(cluster)
    try:
        assert lines_of(again, 4)[3].startswith("Leader on")
        with Wire(cluster.nodes["n1"].client) as wire:
            assert wire.ask(query("q"))["balance"] == 500
    finally:
        again.terminate()
        code, stderr = ended(again)
    assert code == 0
    told = messages(stderr)[0]
    assert told.startswith(f"{ledger} is not a SQLite database. It is kept as {ledger}.wrong-1, and")
    assert ledger.with_name("ledger.db.wrong-1").read_bytes() == junk


@pytest.mark.parametrize("moved", [False, True])
def test_a_node_whose_log_is_deleted_under_it_ends_within_seconds(
    cluster: Cluster, running: Process, moved: bool
) -> None:
    lines_of(running, 4)
    path = cluster.data_dir / "n1" / "raft.log.000001"
    path.rename(path.with_name("aside")) if moved else path.unlink()
    code, stderr = ended(running)
    assert code == 1
    (line,) = messages(stderr, "ERROR")
    assert line.startswith(f"node n1 stops: {path} was deleted, moved or replaced while this node ran")
    assert "only if a majority of all nodes is up" in line


def test_each_start_of_a_node_is_counted(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    node_json = cluster.data_dir / "n1" / "node.json"
    first = json.loads(node_json.read_text())["incarnation"]
    running.kill()
    ended(running)
    again = start(cluster)
    lines_of(again, 4)
    again.terminate()
    ended(again)
    assert json.loads(node_json.read_text())["incarnation"] == first + 1


def test_a_pepper_that_cannot_be_used_ends_with_a_line(cluster: Cluster) -> None:
    cluster.pepper_file.parent.mkdir()
    cluster.pepper_file.write_text("none of ours")
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (1, 1)
    assert "pepper.key is damaged: copy it from another machine of the bank" in stderr


def test_another_pepper_than_before_ends_with_a_line_and_the_old_one_is_taken_again(
    cluster: Cluster, running: Process
) -> None:
    lines_of(running, 4)
    running.terminate()
    ended(running)
    before = cluster.pepper_file.read_bytes()
    cluster.pepper_file.unlink()
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (1, 1)
    assert "there is no pepper" in stderr
    assert "put its pepper file back" in stderr
    assert not cluster.pepper_file.exists(), "a new one, ready to be copied, would spoil every PIN"
    cluster.pepper_file.write_bytes(new_peppers().contents())
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (1, 1)
    assert "was used with another pepper_file" in stderr
    assert "Put the old file back" in stderr
    cluster.pepper_file.write_bytes(before)
    again = start(cluster)
    try:
        assert lines_of(again, 4)[3].startswith("Leader on")
    finally:
        again.terminate()
        ended(again)


def test_a_node_with_absent_neighbours_waits_and_stops_when_asked(tmp_path: Path) -> None:
    cluster = cluster_of(tmp_path, "n1", "n2", "n3")
    ini(cluster)
    process = start(cluster)
    neighbours = ", ".join(str(cluster.nodes[name].client.port) for name in ("n2", "n3"))
    assert lines_of(process, 3)[1] == f"Expects neighbours to be on {neighbours}"
    with Wire(cluster.nodes["n1"].client) as wire:
        wait_until(lambda: wire.ask(credit("a"))["outcome"] == "unavailable")
    process.terminate()
    code, stderr = ended(process)
    assert (code, messages(stderr)[-1]) == (0, "node n1 has stopped, by SIGTERM")


def test_a_broken_invariant_stops_a_node_that_was_asked_to_check(cluster: Cluster) -> None:
    """The core of this node loses its commit index with the first tick; only the check notices it."""
    broken = (
        "import sys\n"
        "from atm.raft.raft import Raft\n"
        "from atm.server.main import main\n"
        "tick = Raft.tick\n"
        "def forget(raft):\n"
        "    tick(raft)\n"
        "    if raft.commit_index:\n"
        "        raft._commit_index = raft._applied_index = 0\n"
        "Raft.tick = forget\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", broken, "n1", "--config", str(cluster.path), "--check-invariants"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    code, stderr = ended(process)
    assert code == 1
    (line,) = messages(stderr, "ERROR")
    assert line.startswith(
        "node n1 stops: an invariant of Raft is broken: the commit index never goes back. n1 is"
    )


# -- several machines -----------------------------------------------------------------------------------


def on_several_machines(cluster: Cluster) -> None:
    """Give the node two more neighbours, on machines that do not exist."""
    with cluster.path.open("a") as file:
        for name in ("n2", "n3"):
            file.write(f"\n[node {name}]\nclient = {name}.invalid:5000\npeer = {name}.invalid:6000\n")


def test_no_pepper_is_made_where_others_have_other_hosts(
    cluster: Cluster,
) -> None:
    on_several_machines(cluster)
    process = start(cluster)
    stdout, stderr = process.communicate(timeout=ENDS_WITHIN_S)
    assert (process.returncode, stdout, stderr.count("\n")) == (1, "", 1), "it never said that it runs"
    assert "make it once and copy it to all" in stderr
    assert not cluster.pepper_file.exists()


def test_a_node_whose_log_is_empty_takes_another_pepper(cluster: Cluster) -> None:
    on_several_machines(cluster)
    cluster.pepper_file.parent.mkdir()
    for _ in range(2):  # the second time, the pepper of another machine has been copied here
        cluster.pepper_file.write_bytes(new_peppers().contents())
        process = start(cluster)
        lines = lines_of(process, 3)
        assert lines[1] == "Expects neighbours to be on n2.invalid:5000, n3.invalid:5000"
        assert lines[2].startswith("Listening on")
        process.terminate()
        code, stderr = ended(process)
        assert (code, messages(stderr)[-1]) == (0, "node n1 has stopped, by SIGTERM")


def test_a_new_node_makes_no_pepper_where_another_has_used_one(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    running.terminate()
    ended(running)
    cluster.pepper_file.unlink()
    with cluster.path.open("a") as file:
        file.write("\n[node n2]\nclient = localhost:1\npeer = localhost:2\n")
    code, stderr = ended(start(cluster, "n2"))
    assert (code, stderr.count("\n")) == (1, 1)
    assert "put its pepper file back" in stderr
    assert not cluster.pepper_file.exists()


def test_a_node_listens_where_it_is_told(cluster: Cluster) -> None:
    client_port, peer_port = free_ports(2)
    with cluster.path.open("a") as file:
        file.write(f"\nlisten_client = 127.0.0.2:{client_port}\nlisten_peer = 127.0.0.3:{peer_port}\n")
    process = start(cluster)
    try:
        here = ("localhost", cluster.nodes["n1"].client.port)
        assert lines_of(process, 3)[2] == f"Listening on {here}", "it says where tellers find it"
        for address in (("127.0.0.2", client_port), ("127.0.0.3", peer_port)):
            socket.create_connection(address, timeout=ENDS_WITHIN_S).close()
        for advertised in (cluster.nodes["n1"].client, cluster.nodes["n1"].peer):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(advertised.pair, timeout=ENDS_WITHIN_S)
    finally:
        process.terminate()
        ended(process)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("listen_client = 0.0.0.0:1\n", "[node n1]: 0.0.0.0:1 is reached from other machines"),
        ("[tls]\nca = ca.pem\n", "[tls]: cert and key are missing"),
        ("[tls]\nca = ca.pem\ncert = a\nkey = b\n", "the file of [tls] ca"),
    ],
)
def test_a_node_without_the_encryption_that_it_needs_does_not_start(
    cluster: Cluster, more: str, says: str
) -> None:
    with cluster.path.open("a") as file:
        file.write(f"\n{more}")
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (2, 1)
    assert messages(stderr, "ERROR")[0].startswith("node n1 does not start: ")
    assert says in stderr
    assert not cluster.data_dir.exists()


# -- signals, and the service manager -------------------------------------------------------------------


def test_signals_for_reloading_and_rotating_end_nothing(cluster: Cluster, running: Process) -> None:
    lines_of(running, 4)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        running.send_signal(number)
    with Wire(cluster.nodes["n1"].client) as wire:
        assert wire.ask(credit("id"))["outcome"] == "ok"
    running.terminate()
    code, stderr = ended(running)
    assert (code, messages(stderr)[-1]) == (0, "node n1 has stopped, by SIGTERM")


def test_the_service_manager_is_told_when_the_node_serves_and_when_it_stops(
    cluster: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(ENDS_WITHIN_S)
        environment = {**os.environ, "NOTIFY_SOCKET": str(path)}
        command = [sys.executable, "-m", "atm.server.main", "n1", "--config", str(cluster.path)]
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
            assert manager.recv(100) == b"READY=1"
            process.terminate()
            assert manager.recv(100) == b"STOPPING=1"
            assert process.wait(ENDS_WITHIN_S) == 0


# -- lines for the operator -------------------------------------------------------------------------------


def with_log(cluster: Cluster, *lines: str) -> None:
    with cluster.path.open("a") as file:
        file.write("\n[log]\n" + "\n".join(lines) + "\n")


def test_with_json_every_line_of_stderr_is_an_object_also_the_last_one(cluster: Cluster) -> None:
    with_log(cluster, "format = json")
    running = start(cluster)
    lines_of(running, 4)
    second = start(cluster)
    code, stderr = ended(second)
    [told] = [json.loads(line) for line in stderr.splitlines()]
    assert (code, told["level"], told["event"]) == (1, "error", "node.failed")
    assert "node n1 is already running" in told["message"]
    running.terminate()
    code, stderr = ended(running)
    events = [json.loads(line)["event"] for line in stderr.splitlines()]
    assert (code, events[0], events[-1]) == (0, "node.started", "node.stopped")


def test_with_a_file_why_it_ends_is_on_stderr_too(cluster: Cluster) -> None:
    with_log(cluster, "file = {node}.log")
    with socket.create_server(cluster.nodes["n1"].client.pair):
        code, stderr = ended(start(cluster))
    assert code == 1
    [line] = messages(stderr, "ERROR")
    assert "another node or program uses this port" in line
    assert messages((cluster.path.parent / "n1.log").read_text(), "ERROR") == [line]


def test_a_file_that_cannot_be_opened_ends_the_node_with_2_and_a_line(cluster: Cluster) -> None:
    with_log(cluster, "file = nowhere/{node}.log")
    code, stderr = ended(start(cluster))
    assert (code, stderr.count("\n")) == (2, 1)
    assert "nowhere/n1.log of [log] cannot be opened: No such file or directory. Let" in stderr
    assert not cluster.data_dir.exists()


def test_sighup_changes_the_level_and_a_wrong_file_leaves_it(cluster: Cluster) -> None:
    with_log(cluster, "file = {node}.log", "level = warning")
    path = cluster.path.parent / "n1.log"
    running = start(cluster)
    lines_of(running, 4)
    assert messages(path.read_text()) == []
    right = cluster.path.read_text()
    cluster.path.write_text(right.replace("level = warning", "level = debug"))
    running.send_signal(signal.SIGHUP)
    wait_until(lambda: "level debug, format text" in path.read_text())
    cluster.path.write_text(right.replace("level = warning", "level = loud"))
    running.send_signal(signal.SIGHUP)
    wait_until(lambda: "'loud' is none of debug, info, warning, error. The log" in path.read_text())
    with Wire(cluster.nodes["n1"].client):
        wait_until(lambda: "DEBUG n1 a connection of" in path.read_text())
    running.terminate()
    assert ended(running) == (0, "")
