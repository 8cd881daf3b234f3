"""`cluster.ini`: what is read from it, and that every mistake gets one line that says where it is."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atm.checkout import checkout
from atm.config import (
    CLUSTER_KEYS,
    ENGINE_KEYS,
    FILE_BYTES_MAX,
    LOG_KEYS,
    NODE_KEYS,
    NODES_MAX,
    TLS_KEYS,
    Address,
    Cluster,
    ConfigError,
    EngineConfig,
    LogConfig,
    default_config,
    default_pepper,
    found_config,
    load,
)

DEFAULT_PATH = Path(__file__).parent.parent / "cluster.ini"

NODE_A = "[node a]\nclient = localhost:5000\npeer = localhost:6000\n"
NODE_B = "[node b]\nclient = localhost:5001\npeer = localhost:6001\n"


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "cluster.ini"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, text: str) -> Cluster:
    return load(write(folder, text))


def refusal(folder: Path, text: str | bytes) -> str:
    """Return the line that the file gets, without its path in front."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert line.isprintable()
    return line.removeprefix(f"{path}: ")


# -- what is read --------------------------------------------------------------------------------------


def test_the_default_file_has_the_five_nodes_of_the_original() -> None:
    cluster = load(DEFAULT_PATH)
    assert list(cluster.nodes) == ["5000", "5001", "5002", "5003", "5004"]
    assert [str(node.client) for node in cluster.nodes.values()] == [
        f"localhost:{p}" for p in range(5000, 5005)
    ]
    assert [str(node.peer) for node in cluster.nodes.values()] == [
        f"localhost:{p}" for p in range(6000, 6005)
    ]
    assert cluster.data_dir == DEFAULT_PATH.parent / "data"
    assert (cluster.heartbeat_ms, cluster.election_timeout_ms) == (50, (300, 600))
    assert (cluster.disk_reserve_mb, cluster.max_clock_skew_ms) == (256, 2000)
    assert cluster.requests_per_s is None
    assert cluster.confirm_above is None


def test_the_default_file_documents_every_key_that_is_accepted() -> None:
    comments = [line for line in DEFAULT_PATH.read_text().splitlines() if line.startswith("#")]
    documented = {match.group(1) for line in comments if (match := re.match(r"# (\w+): +\S", line))}
    assert documented == {*CLUSTER_KEYS, *ENGINE_KEYS, *LOG_KEYS, *NODE_KEYS, *TLS_KEYS}


def test_the_default_file_writes_down_the_defaults(tmp_path: Path) -> None:
    written, left_out = load(DEFAULT_PATH), read(tmp_path, NODE_A)
    assert (written.heartbeat_ms, written.election_timeout_ms, written.data_dir.name) == (
        left_out.heartbeat_ms,
        left_out.election_timeout_ms,
        left_out.data_dir.name,
    )


def test_nodes_keep_the_order_of_the_file(tmp_path: Path) -> None:
    assert list(read(tmp_path, NODE_B + NODE_A).nodes) == ["b", "a"]


def test_the_data_folder_is_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "below"
    below.mkdir()
    write(below, "[cluster]\ndata_dir = here\n" + NODE_A)
    monkeypatch.chdir(tmp_path)
    assert load("below/cluster.ini").data_dir == below / "here"
    assert read(tmp_path, "[cluster]\ndata_dir = /there\n" + NODE_A).data_dir == Path("/there")


def test_comments_may_stand_on_lines_and_behind_values(tmp_path: Path) -> None:
    cluster = read(tmp_path, "; one\n# two\n[cluster]  ; three\nheartbeat_ms = 60 ; four\n" + NODE_A)
    assert cluster.heartbeat_ms == 60
    assert read(tmp_path, "[cluster]\nsnapshot_log_mb = 0.5\n" + NODE_A).snapshot_log_mb == 0.5


def test_a_percent_sign_is_a_character_like_any_other(tmp_path: Path) -> None:
    assert read(tmp_path, "[cluster]\ndata_dir = 100%(peer)s\n" + NODE_A).data_dir.name == "100%(peer)s"


@pytest.mark.parametrize("text", ["\ufeff" + NODE_A, NODE_A.replace("\n", "\r\n"), NODE_A.rstrip("\n")])
def test_the_habits_of_other_editors_are_read_too(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).nodes["a"].client == Address("localhost", 5000)


def test_an_address_is_text_and_a_pair() -> None:
    address = Address("localhost", 5000)
    assert (str(address), address.pair) == ("localhost:5000", ("localhost", 5000))


# -- which cluster it is ---------------------------------------------------------------------------------


def test_the_identity_is_that_of_names_and_peer_addresses_alone(tmp_path: Path) -> None:
    identity = read(tmp_path, NODE_A + NODE_B).identity()
    assert identity == read(tmp_path, "[cluster]\nheartbeat_ms = 20\n" + NODE_B + NODE_A).identity()
    assert identity == read(tmp_path, NODE_A.replace("5000", "5005") + NODE_B).identity()
    assert identity != read(tmp_path, NODE_A).identity()
    assert identity != read(tmp_path, NODE_A.replace("6000", "6005") + NODE_B).identity()
    assert identity != read(tmp_path, NODE_A.replace("node a", "node c") + NODE_B).identity()


# -- what is refused ---------------------------------------------------------------------------------------


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.ini"
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value) == f"{path}: no such file"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path)
    assert str(error.value) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_that_does_not_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match=r"/dev/zero: has more than 65536 bytes"):
        load("/dev/zero")


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    text = NODE_A + "#" * (FILE_BYTES_MAX - len(NODE_A))
    assert len(read(tmp_path, text).nodes) == 1
    assert refusal(tmp_path, text + "#") == "has more than 65536 bytes: is this the right file?"


def test_a_refusal_quotes_no_more_than_a_few_lines(tmp_path: Path) -> None:
    line = refusal(tmp_path, NODE_A + "k" * 50_000 + " = 1\n")
    assert len(line) < 1100
    assert line.endswith("no such key; the keys here are client, peer, listen_client, listen_peer, metrics")


def test_a_path_that_no_system_has_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as error:
        load("a\0b\n")
    assert str(error.value).startswith("a\\x00b\\n: cannot be read: ")


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, NODE_A.encode("utf-16")) == "not UTF-8 text (byte 0)"
    assert refusal(tmp_path, b"# caf\xe9\n" + NODE_A.encode()) == "not UTF-8 text (byte 5)"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "has no [node NAME] section; a cluster has at least one node"),
        ("[cluster]\n", "has no [node NAME] section; a cluster has at least one node"),
        ("client = localhost:5000\n", "line 1 is before the first [section]"),
        (NODE_A + "nonsense\n", "line 4 is neither a [section], nor 'key = value', nor a comment"),
        (NODE_A + "[]\n", "line 4 is neither a [section], nor 'key = value', nor a comment"),
        (NODE_A + "peer: x\n", "line 4 is neither a [section], nor 'key = value', nor a comment"),
        (NODE_A + NODE_A, "[node a]: is given twice (line 4)"),
        (NODE_A + "[cluster]\n[cluster]\n", "[cluster]: is given twice (line 5)"),
        (NODE_A + "peer = localhost:1\n", "[node a] peer: is given twice (line 4)"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, line: str) -> None:
    assert refusal(tmp_path, text) == line


@pytest.mark.parametrize(
    "section",
    [
        *("DEFAULT", "Cluster", "cluster ", "nodes", "node", "node ", "node  b", "node b c", "node -b"),
        *("node ../b", "node .", "node ä", "node 5٣", "node b\x1b[31m", "node " + "b" * 33),
    ],
)
def test_an_unknown_section_is_named(tmp_path: Path, section: str) -> None:
    line = refusal(tmp_path, NODE_A + f"[{section}]\n")
    shown = section.replace("\x1b", "\\x1b")
    assert line.startswith(
        f"[{shown}]: no such section: there are [cluster], [engine], [log], [tls], [node NAME], and"
    )


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("colour = red", "[cluster] colour: no such key; the keys here are " + ", ".join(CLUSTER_KEYS)),
        (
            "Heartbeat_ms = 50",
            "[cluster] Heartbeat_ms: no such key; the keys here are " + ", ".join(CLUSTER_KEYS),
        ),
        ("data_dir =", "[cluster] data_dir: has no value"),
        ("data_dir = ; none", "[cluster] data_dir: has no value"),
        ("data_dir = a\0b", "[cluster] data_dir: 'a\\x00b' has characters that cannot be printed"),
        (
            "confirm_above = 12.50",
            "[cluster] confirm_above: '12.50' is not a whole number from 0 to 999999999",
        ),
        ("snapshot_log_mb = 0", "[cluster] snapshot_log_mb: '0' is not a number from 0.1 to 100000"),
        (
            "snapshot_log_mb = 100001",
            "[cluster] snapshot_log_mb: '100001' is not a number from 0.1 to 100000",
        ),
        ("snapshot_log_mb = -1", "[cluster] snapshot_log_mb: '-1' is not a number from 0.1 to 100000"),
        ("snapshot_log_mb = 1e3", "[cluster] snapshot_log_mb: '1e3' is not a number from 0.1 to 100000"),
        ("heartbeat_ms = 9", "[cluster] heartbeat_ms: '9' is not a whole number from 10 to 10000"),
        ("heartbeat_ms = 10001", "[cluster] heartbeat_ms: '10001' is not a whole number from 10 to 10000"),
        ("heartbeat_ms = -50", "[cluster] heartbeat_ms: '-50' is not a whole number from 10 to 10000"),
        ("heartbeat_ms = 50.0", "[cluster] heartbeat_ms: '50.0' is not a whole number from 10 to 10000"),
        ("disk_reserve_mb = 1.5", "[cluster] disk_reserve_mb: '1.5' is not a whole number from 0 to 1000000"),
        (
            "max_clock_skew_ms = 99",
            "[cluster] max_clock_skew_ms: '99' is not a whole number from 100 to 86400000",
        ),
        ("requests_per_s = 0", "[cluster] requests_per_s: '0' is not a whole number from 1 to 1000000"),
        ("heartbeat_ms = 5_0", "[cluster] heartbeat_ms: '5_0' is not a whole number from 10 to 10000"),
        ("heartbeat_ms = ٥٠", "[cluster] heartbeat_ms: '٥٠' is not a whole number from 10 to 10000"),
        ("election_timeout_ms = 300", "[cluster] election_timeout_ms: '300' is not a range such as 300-600"),
        (
            "election_timeout_ms = 300-",
            "[cluster] election_timeout_ms: '300-' is not a range such as 300-600",
        ),
        ("election_timeout_ms = a-b", "[cluster] election_timeout_ms: 'a-b' is not a range such as 300-600"),
        (
            "election_timeout_ms = 1-2-3",
            "[cluster] election_timeout_ms: '1-2-3' is not a range such as 300-600",
        ),
        (
            "election_timeout_ms = 199-600",
            "[cluster] election_timeout_ms: starts at 199, and must start at 200 or more: "
            "4 times heartbeat_ms, which is 50",
        ),
        (
            "heartbeat_ms = 100",
            "[cluster] election_timeout_ms: starts at 300, and must start at 400 or more: "
            "4 times heartbeat_ms, which is 100",
        ),
        (
            "election_timeout_ms = 300-449",
            "[cluster] election_timeout_ms: ends at 449, and must end at 1.5 times its start or more",
        ),
        (
            "election_timeout_ms = 600-300",
            "[cluster] election_timeout_ms: ends at 300, and must end at 1.5 times its start or more",
        ),
        (
            "election_timeout_ms = 300-100001",
            "[cluster] election_timeout_ms: ends at 100001, and must end at 100000 or less",
        ),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, settings: str, line: str) -> None:
    assert refusal(tmp_path, f"[cluster]\n{settings}\n" + NODE_A) == line


@pytest.mark.parametrize(
    ("heartbeat_ms", "election_timeout_ms"),
    [(10, "40-60"), (50, "200-300"), (50, "300 - 600"), (10_000, "40000-100000")],
)
def test_the_bounds_of_the_timeouts_are_allowed(
    tmp_path: Path, heartbeat_ms: int, election_timeout_ms: str
) -> None:
    text = f"[cluster]\nheartbeat_ms = {heartbeat_ms}\nelection_timeout_ms = {election_timeout_ms}\n"
    low, high = read(tmp_path, text + NODE_A).election_timeout_ms
    assert f"{low}-{high}" == election_timeout_ms.replace(" ", "")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ("", "client: is missing; it is an address such as localhost:5000"),
        ("peer = localhost:6001", "client: is missing; it is an address such as localhost:5000"),
        ("client = localhost:5001", "peer: is missing; it is an address such as localhost:5000"),
        (
            "port = 5001",
            "port: no such key; the keys here are client, peer, listen_client, listen_peer, metrics",
        ),
        ("client =", "client: has no value"),
        (
            "client = localhost:5001\n  peer = localhost:6001",
            "client: continues on the next line: is that line indented?",
        ),
    ],
)
def test_a_node_needs_its_two_addresses(tmp_path: Path, settings: str, line: str) -> None:
    assert refusal(tmp_path, NODE_A + f"[node b]\n{settings}\n") == f"[node b] {line}"


@pytest.mark.parametrize(
    "address",
    [
        *(
            "localhost",
            "5001",
            ":5001",
            "localhost:",
            "localhost:http",
            "local host:5001",
            "-x:5001",
            "::1:5001",
        ),
        *("localhost:-1", "localhost:+1", "localhost:5_1", "localhost:٥٠٠١", "localhost:500100"),
        *("localhost:5001:6", "http://localhost:5001"),
    ],
)
def test_what_is_no_address_is_refused(tmp_path: Path, address: str) -> None:
    line = refusal(tmp_path, NODE_A + f"[node b]\nclient = {address}\npeer = localhost:6001\n")
    assert line == f"[node b] client: {address!r} is not host:port, such as localhost:5000 or [::1]:5000"


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_is_from_1_to_65535(tmp_path: Path, port: int) -> None:
    line = refusal(tmp_path, NODE_A + f"[node b]\nclient = localhost:5001\npeer = localhost:{port}\n")
    assert line == f"[node b] peer: port {port} is not from 1 to 65535"


@pytest.mark.parametrize("taken", ["localhost:5000", "LOCALHOST:5000", "127.0.0.1:5000", "localhost:05000"])
def test_two_nodes_on_one_address_are_refused(tmp_path: Path, taken: str) -> None:
    line = refusal(tmp_path, NODE_A + f"[node b]\nclient = localhost:5001\npeer = {taken}\n")
    assert line.startswith("[node b] peer: ")
    assert line.endswith(":5000 is already used by [node a] client")


def test_one_port_on_two_hosts_is_two_addresses(tmp_path: Path) -> None:
    text = NODE_A + "[node b]\nclient = 10.0.0.2:5000\npeer = atm-2.example:6000\n"
    assert len(read(tmp_path, text).nodes) == 2


def test_a_node_needs_two_addresses_of_its_own(tmp_path: Path) -> None:
    line = refusal(tmp_path, "[node a]\nclient = localhost:5000\npeer = 127.0.0.1:5000\n")
    assert line == "[node a] peer: 127.0.0.1:5000 is already used by [node a] client"


def test_a_cluster_has_at_most_nine_nodes(tmp_path: Path) -> None:
    def nodes(count: int) -> str:
        return "".join(f"[node {n}]\nclient = h:{5000 + n}\npeer = h:{6000 + n}\n" for n in range(count))

    assert len(read(tmp_path, nodes(NODES_MAX)).nodes) == 9
    assert (
        refusal(tmp_path, nodes(NODES_MAX + 1)) == "[node 9]: is one too many: a cluster has at most 9 nodes"
    )


LINES = st.sampled_from(
    [
        *("[cluster]", "[node a]", "[node b]", "[DEFAULT]", "[", "]", "[a"),
        *(
            "client = localhost:5000",
            "client = h:1 ; c",
            "peer = h:6",
            "heartbeat_ms = 50",
            "data_dir = %(x)s",
        ),
        *("  indented", "= 5", "key", "\0", "\ufeff", ";"),
    ]
)


@given(lines=st.lists(LINES | st.text(alphabet=string.printable, max_size=20), max_size=12))
def test_any_text_is_a_cluster_or_gets_one_line(
    lines: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.ini"
    path.write_bytes("\n".join(lines).encode())
    try:
        line = f"{len(load(path).nodes)} nodes"
    except ConfigError as error:
        line = str(error)
    assert line.isprintable()


# -- where a node listens, and where others find it ----------------------------------------------------


def test_a_node_listens_where_others_find_it_unless_told_otherwise(tmp_path: Path) -> None:
    text = "[node a]\nclient = h1.bank:5000\npeer = h1.bank:6000\nlisten_peer = 0.0.0.0:6001\n"
    node = read(tmp_path, text).nodes["a"]
    assert (str(node.client), node.listen_client) == ("h1.bank:5000", None)
    assert (str(node.peer), str(node.listen_peer)) == ("h1.bank:6000", "0.0.0.0:6001")


def test_a_node_may_have_a_port_for_its_metrics(tmp_path: Path) -> None:
    nodes = read(tmp_path, NODE_A + "metrics = localhost:7000\n" + NODE_B).nodes
    assert (str(nodes["a"].metrics), nodes["b"].metrics) == ("localhost:7000", None)
    assert refusal(tmp_path, NODE_A + "metrics = 7000\n").startswith(
        "[node a] metrics: '7000' is not host:port"
    )
    line = refusal(tmp_path, NODE_A + "metrics = localhost:0\n")
    assert line == "[node a] metrics: port 0 is not from 1 to 65535"


@pytest.mark.parametrize(
    ("metrics", "owner"),
    [
        ("localhost:5000", "[node a] client"),
        ("127.0.0.1:6001", "[node b] peer"),
        ("0.0.0.0:6000", "[node a] peer"),
        ("[::]:7000", "[node a] metrics"),
    ],
)
def test_no_port_is_for_metrics_and_for_something_else(tmp_path: Path, metrics: str, owner: str) -> None:
    text = NODE_A + "metrics = localhost:7000\n" + NODE_B
    if owner == "[node a] client":
        text = NODE_A + f"metrics = {metrics}\n"
    elif owner == "[node b] peer":
        text = NODE_B + NODE_A + f"metrics = {metrics}\n"
    else:
        text += f"metrics = {metrics}\n"
    line = refusal(tmp_path, text)
    assert re.search(rf"metrics: \S+ is already used by {re.escape(owner)}$", line), line


def test_each_machine_has_its_own_localhost_for_metrics(tmp_path: Path) -> None:
    for host in ("localhost", "0.0.0.0"):
        text = "".join(
            f"[node {n}]\nclient = {n}.bank:5000\npeer = {n}.bank:6000\nmetrics = {host}:7000\n" for n in "ab"
        )
        assert [str(node.metrics) for node in read(tmp_path, text).nodes.values()] == 2 * [f"{host}:7000"]


def test_metrics_on_another_address_need_no_encryption(tmp_path: Path) -> None:
    """They tell no account and no amount, and collectors speak plain HTTP (docs/security.md)."""
    read(tmp_path, NODE_A + "metrics = 0.0.0.0:7000\n").check_secure("a")


def test_two_nodes_may_listen_alike_on_machines_of_their_own(tmp_path: Path) -> None:
    sections = [
        f"[node {n}]\nclient = {n}.bank:5000\npeer = {n}.bank:6000\nlisten_client = [::]:5000\n" for n in "ab"
    ]
    assert len(read(tmp_path, "".join(sections)).nodes) == 2


def test_an_ipv6_address_stands_in_brackets(tmp_path: Path) -> None:
    node = read(tmp_path, "[node a]\nclient = [::1]:5000\npeer = [FD00:0::1]:6000\n").nodes["a"]
    assert node.client.pair == ("::1", 5000)
    assert (node.peer.pair, str(node.peer)) == (("fd00::1", 6000), "[fd00::1]:6000")


@pytest.mark.parametrize(
    "address", ["::1:5000", "[::1]", "[::g]:5000", "[1.2.3]:5000", "[]:5000", "[::1:5000"]
)
def test_a_wrong_ipv6_address_is_refused(tmp_path: Path, address: str) -> None:
    line = refusal(tmp_path, f"[node a]\nclient = {address}\npeer = localhost:6000\n")
    assert line.startswith(f"[node a] client: {address!r} ")


@pytest.mark.parametrize("address", ["0.0.0.0:5000", "[::]:5000", "[0:0::0]:5000"])
def test_an_address_that_nobody_can_connect_to_is_not_advertised(tmp_path: Path, address: str) -> None:
    line = refusal(tmp_path, f"[node a]\nclient = {address}\npeer = localhost:6000\n")
    assert line.startswith(
        f"[node a] client: {address} means all addresses of a machine, and nobody can connect to that"
    )
    assert "listen_client" in line


@pytest.mark.parametrize(
    ("hosts", "one"),
    [
        (["localhost", "localhost"], True),
        (["localhost", "127.0.0.2", "[::1]"], True),
        (["h1.bank", "h1.bank"], True),
        (["h1.bank", "h2.bank"], False),
        (["localhost", "h2.bank"], False),
    ],
)
def test_whether_all_nodes_are_on_one_machine_shows_in_the_hosts(
    tmp_path: Path, hosts: list[str], one: bool
) -> None:
    sections = [
        f"[node n{at}]\nclient = {host}:{5000 + at}\npeer = {host}:{6000 + at}\n"
        for at, host in enumerate(hosts)
    ]
    assert read(tmp_path, "".join(sections)).is_on_one_machine is one


# -- [tls] and insecure ------------------------------------------------------------------------------------

TLS = "[tls]\nca = ca.pem\ncert = certs/{node}.pem\nkey = /keys/{node}.key\n"


def test_tls_files_are_relative_to_the_file_and_one_for_each_node(tmp_path: Path) -> None:
    tls = read(tmp_path, NODE_A + TLS + "client_cert = ann.pem\nclient_key = ann.key\n").tls
    assert tls is not None
    files = tls.of_node("a")
    assert (files.ca, files.cert, files.key) == (
        tmp_path / "ca.pem",
        tmp_path / "certs" / "a.pem",
        Path("/keys/a.key"),
    )
    assert (tls.of_client().cert, tls.of_client().key) == (tmp_path / "ann.pem", tmp_path / "ann.key")
    assert read(tmp_path, NODE_A).tls is None


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("[tls]\ncert = a\nkey = b\n", "[tls] ca: is missing"),
        ("[tls]\nca = a\ncert = b\n", "[tls] key: is missing; it belongs to cert"),
        ("[tls]\nca = a\nclient_key = b\n", "[tls] client_cert: is missing; it belongs to client_key"),
        (
            "[tls]\nca = a\nkeys = b\n",
            "[tls] keys: no such key; the keys here are ca, cert, key, client_cert",
        ),
        ("[cluster]\ninsecure = true\n", "[cluster] insecure: 'true' is neither yes nor no"),
    ],
)
def test_a_wrong_tls_section_is_named(tmp_path: Path, section: str, line: str) -> None:
    assert refusal(tmp_path, NODE_A + section).startswith(line)


@pytest.mark.parametrize(
    ("more", "is_secure"),
    [
        ("", True),
        ("listen_peer = 127.0.0.1:6000\n", True),
        ("listen_peer = [::1]:6000\n", True),
        ("listen_peer = 0.0.0.0:6000\n", False),
        ("listen_client = 10.0.0.1:5000\n", False),
        ("listen_client = h1.bank:5000\n", False),
        ("listen_peer = 0.0.0.0:6000\n[cluster]\ninsecure = yes\n", True),
        ("listen_peer = 0.0.0.0:6000\n[cluster]\ninsecure = no\n", False),
        ("listen_peer = 0.0.0.0:6000\n" + TLS, True),
    ],
)
def test_plain_connections_of_other_machines_are_only_for_who_says_so(
    tmp_path: Path, more: str, is_secure: bool
) -> None:
    cluster = read(tmp_path, NODE_A + more)
    if is_secure:
        cluster.check_secure("a")
        return
    with pytest.raises(ConfigError, match=r"is reached from other machines.*add \[tls\].*or insecure = yes"):
        cluster.check_secure("a")


def test_a_certificate_of_the_command_line_takes_the_place_of_the_files(tmp_path: Path) -> None:
    cluster = read(tmp_path, NODE_A + TLS)
    assert cluster.with_client_certificate(None, None) is cluster
    tls = cluster.with_client_certificate("/a.pem", "/a.key").tls
    assert tls is not None
    assert (tls.of_client().cert, tls.of_client().key) == (Path("/a.pem"), Path("/a.key"))
    with pytest.raises(ConfigError, match="give both"):
        cluster.with_client_certificate("/a.pem", None)
    with pytest.raises(ConfigError, match=r"has no \[tls\]"):
        read(tmp_path, NODE_A).with_client_certificate("/a.pem", "/a.key")


# -- where the pepper is ------------------------------------------------------------------------------


def test_a_new_pepper_is_beside_the_data_and_an_old_one_in_it_goes_on_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    data = tmp_path / "data"
    assert default_pepper(data) == tmp_path / "secrets" / "pepper.key"
    data.mkdir()
    (data / "pepper.key").touch()
    assert default_pepper(data) == data / "pepper.key"


def test_a_pepper_among_the_credentials_of_a_service_is_used_if_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    (tmp_path / "credentials").mkdir()
    assert default_pepper(tmp_path / "data") == tmp_path / "secrets" / "pepper.key"
    (tmp_path / "credentials" / "pepper.key").touch()
    assert default_pepper(tmp_path / "data") == tmp_path / "credentials" / "pepper.key"


# -- which file is read ---------------------------------------------------------------------------------


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which is empty."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_file_is_that_of_the_environment_else_this_folders_else_the_checkouts(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_config() == DEFAULT_PATH
    write(empty, NODE_A)
    assert default_config() == Path("cluster.ini")
    monkeypatch.setenv("ATM_CONFIG", "/nowhere/a bank.ini")
    assert default_config() == Path("/nowhere/a bank.ini"), "also if it is not there: that is a mistake"
    monkeypatch.setenv("ATM_CONFIG", "")
    assert default_config() == Path("cluster.ini"), "an empty variable is as good as none"


@pytest.mark.usefixtures("empty")
def test_an_installed_package_has_no_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.cache_clear()
    monkeypatch.setattr("atm.checkout.__file__", "/usr/lib/python3/site-packages/atm/checkout.py")
    try:
        assert found_config() is None
        with pytest.raises(ConfigError) as error:
            default_config()
    finally:
        checkout.cache_clear()
    assert str(error.value) == (
        "there is no cluster.ini in this folder, and ATM_CONFIG is not set: give --config FILE, write one "
        "with atm-admin init, or try a bank of your own with atm-run"
    )


def test_what_is_told_to_the_operator_and_where(tmp_path: Path) -> None:
    nodes = "\n[node n1]\nclient = a:1\npeer = a:2\n"
    path = tmp_path / "cluster.ini"
    path.write_text(nodes)
    assert load(path).log == LogConfig("info", "text", None)
    path.write_text("[log]\nlevel = debug\nformat = json\nfile = logs/{node}.log" + nodes)
    log = load(path).log
    assert (log.level, log.format, log.file_of("n1")) == ("debug", "json", tmp_path / "logs" / "n1.log")
    for line, message in (
        ("level = DEBUG", "[log] level: 'DEBUG' is none of debug, info, warning, error"),
        ("format = xml", "[log] format: 'xml' is none of text, json"),
        ("colour = red", "[log] colour: no such key; the keys here are level, format, file"),
    ):
        path.write_text(f"[log]\n{line}{nodes}")
        with pytest.raises(ConfigError) as refused:
            load(path)
        assert str(refused.value) == f"{path}: {message}"


def test_the_books_are_kept_by_raft_unless_a_database_is_named(tmp_path: Path) -> None:
    assert read(tmp_path, NODE_A).engine == EngineConfig(kind="raft")
    assert read(tmp_path, NODE_A + "[engine]\nkind = raft\n").engine == EngineConfig(kind="raft")
    named = "[engine]\nkind = postgresql\nurl = host=db1,db2 dbname=bank\n"
    assert read(tmp_path, NODE_A + named).engine == EngineConfig("postgresql", "host=db1,db2 dbname=bank", 1)
    assert read(tmp_path, NODE_A + named + "lanes = 256\n").engine.lanes == 256
    further = read(tmp_path, NODE_A + named + "url.east = host=db3\nurl.west = host=db4\n").engine
    assert further.others == {"east": "host=db3", "west": "host=db4"}
    assert further.urls == {"home": "host=db1,db2 dbname=bank", **further.others}


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("kind = mysql", "[engine] kind: 'mysql' is none of raft, postgresql"),
        ("kind = postgresql", "[engine] url: is missing"),
        ("url = host=db1", "[engine] url: belongs to kind = postgresql"),
        ("cells = 2", "[engine] cells: no such key"),
        ("kind = postgresql\nurl = a\nurl.East = b", "[engine] url.East: no such key"),
        ("kind = postgresql\nurl = a\nurl.home = b", "[engine] url.home: home is the name of the database"),
        ("kind = postgresql\nurl = a\nurl.east = a", "[engine] url.east: is the address of another"),
        ("url.east = b", "[engine] url.east: belongs to kind = postgresql"),
        ("lanes = 2", "[engine] lanes: belongs to kind = postgresql: raft has one log"),
        ("kind = postgresql\nurl = host=db1\nlanes = 0", "[engine] lanes: '0' is no number from 1 to 256"),
        ("kind = postgresql\nurl = host=db1\nlanes = 257", "[engine] lanes: '257' is no number"),
        ("kind = postgresql\nurl = host=db1\nlanes = two", "[engine] lanes: 'two' is no number"),
    ],
)
def test_a_wrong_engine_is_named(tmp_path: Path, section: str, line: str) -> None:
    assert refusal(tmp_path, NODE_A + f"[engine]\n{section}\n").startswith(line)
