"""bin/admin init: a cluster.ini that is documented, and that overwrites nothing."""

from __future__ import annotations

import configparser
import json
import stat
from errno import ENOSPC
from pathlib import Path

import pytest

from atm.admin.certs_folder import CertsFolder
from atm.admin.main import main
from atm.config import load
from atm.server.security.pins import read_pepper

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_without_options_it_is_the_projects_own_file(folder: Path) -> None:
    """Which an installed package has, too. If this fails: cp cluster.ini atm/admin/cluster.ini."""
    assert (ROOT / "atm/admin/cluster.ini").read_text() == (ROOT / "cluster.ini").read_text()
    assert main(["init"]) == 0
    assert (folder / "cluster.ini").read_text() == (ROOT / "cluster.ini").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["cluster.ini"]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_nodes_on_this_machine(folder: Path, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--nodes", str(count)]) == 0
    cluster = load("cluster.ini")
    assert list(cluster.nodes) == [str(5000 + i) for i in range(count)]
    assert str(cluster.nodes["5000"].peer) == "localhost:6000"
    assert capsys.readouterr().out.startswith("Wrote cluster.ini for ")


def test_one_node_on_each_host_and_one_pepper_for_all(folder: Path) -> None:
    assert main(["init", "--hosts", "h1.bank,h2.bank,H3.bank"]) == 0
    cluster = load("cluster.ini")
    assert {name: str(node.client) for name, node in cluster.nodes.items()} == {
        "h1": "h1.bank:5000",
        "h2": "h2.bank:5000",
        "h3": "h3.bank:5000",
    }
    assert cluster.pepper_file == folder / "pepper.key"
    before = cluster.pepper_file.read_bytes()
    read_pepper(cluster.pepper_file)
    assert cluster.pepper_file.read_bytes() == before
    assert stat.S_IMODE(cluster.pepper_file.stat().st_mode) == 0o600


def test_hosts_without_names_get_numbers(folder: Path) -> None:
    assert main(["init", "--hosts", "10.0.0.1,[fd77::1]"]) == 0
    nodes = load("cluster.ini").nodes
    assert [(name, str(node.peer)) for name, node in nodes.items()] == [
        ("n1", "10.0.0.1:6000"),
        ("n2", "[fd77::1]:6000"),
    ]


def test_the_result_for_programs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "init", "--hosts", "a,b,c"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["nodes"] == ["a", "b", "c"]
    assert report["files"] == [str(folder / "cluster.ini"), str(folder / "pepper.key")]


@pytest.mark.parametrize("there", ["cluster.ini", "pepper.key"])
def test_nothing_is_overwritten(folder: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / there).write_text("mine")
    assert main(["init", "--hosts", "a,b,c"]) == 1
    assert capsys.readouterr().err == f"admin: {there} is there already: nothing was written\n"
    assert [path.name for path in folder.iterdir()] == [there]
    assert (folder / there).read_text() == "mine"


def test_it_writes_where_config_says(folder: Path) -> None:
    (folder / "cluster.ini").write_text("mine")
    assert main(["init", "--config", "other.ini"]) == 0
    assert len(load("other.ini").nodes) == 5


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--nodes", "0"], "a cluster has 1 to 9 nodes, not 0"),
        (["--nodes", "10"], "a cluster has 1 to 9 nodes, not 10"),
        (["--nodes", "3", "--hosts", "a,b"], "not allowed with argument"),
        (["--hosts", "a,b,a"], "a host is given twice"),
        (["--hosts", "a:5000,b"], "'a:5000' has a port"),
        (["--hosts", "a b"], "'a b' is no host's name or address"),
        (["--hosts", "0.0.0.0,b"], "0.0.0.0 is all addresses"),
        (["--hosts", ""], "'' is no host's name or address"),
        (["--hosts", "a,b,c,d,e,f,g,h,i,j"], "a cluster has at most 9 nodes"),
    ],
)
def test_nonsense_is_refused_in_one_line(
    folder: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["init", *arguments])
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert says in error
    assert not list(folder.iterdir())


# -- with certificates -------------------------------------------------------------------------------------


def test_with_tls_each_node_and_two_people_have_certificates_that_cluster_ini_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--hosts", "h1.bank,h2.bank,h3.bank", "--tls"]) == 0
    printed = capsys.readouterr().out
    names = ["admin", "h1", "h2", "h3", "teller"]
    files = ["ca.key", "ca.pem", *(f"{name}{suffix}" for name in names for suffix in (".key", ".pem"))]
    assert sorted(path.name for path in (folder / "certs").iterdir()) == sorted(files)
    assert main(["certs", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["certificates"]
    roles = {each["name"]: each["roles"] for each in found[1:]}
    nodes = {name: ["node"] for name in ("h1", "h2", "h3")}
    assert roles == nodes | {"admin": ["admin"], "teller": ["operator", "teller"]}
    assert all(each["faults"] == [] for each in found)

    settings = configparser.ConfigParser(inline_comment_prefixes=(";",))
    settings.read("cluster.ini")
    for key, path in settings["tls"].items():
        assert (folder / path.replace("{node}", "h2")).exists(), key
    assert settings["tls"]["client_cert"] == "certs/teller.pem"
    assert "pepper_file" in settings["cluster"]
    assert "insecure" not in settings["cluster"], "whoever takes [tls] out is told so"
    assert load("cluster.ini").tls is not None
    assert printed.startswith("Wrote cluster.ini, pepper.key and certs/ for 3 nodes: h1, h2, h3\n")
    for said in (
        "h1.pem and h1.key: no other's, never ca.key",
        "Who is who: admin (certs/admin.pem, role admin)",
    ):
        assert said in printed


def test_with_tls_on_this_machine_all_files_are_the_owners_but_certificates(folder: Path) -> None:
    assert main(["init", "--nodes", "1", "--tls"]) == 0
    for path in folder.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.suffix == ".key" else 0o644), path
    assert stat.S_IMODE((folder / "certs").stat().st_mode) == 0o700


@pytest.mark.parametrize("there", ["cluster.ini", "pepper.key", "certs"])
def test_with_tls_nothing_is_overwritten_either(
    folder: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / there).mkdir()
    assert main(["init", "--hosts", "a,b", "--tls"]) == 1
    assert capsys.readouterr().err == f"admin: {there} is there already: nothing was written\n"
    assert [path.name for path in folder.iterdir()] == [there]


@pytest.mark.parametrize("name", ["ca", "admin", "teller", "ca-next"])
def test_a_node_cannot_have_the_name_of_other_files(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--hosts", f"{name}.bank,b.bank", "--tls"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert name in error
    assert not list(folder.iterdir())


def test_certificates_that_cannot_be_made_leave_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(ENOSPC, "No space left on device", "certs")

    monkeypatch.setattr(CertsFolder, "issue", full)
    assert main(["init", "--tls"]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not list(folder.iterdir())


def test_a_folder_that_cannot_be_written_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--tls"]):
        assert main(["init", "--config", "missing/cluster.ini", *more]) == 2
        assert capsys.readouterr().err == "admin: missing/cluster.ini: No such file or directory\n"
