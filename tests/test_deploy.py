"""The unit, the container's configuration and docs/install.md agree with the code and with each other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from atm.config import load

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "atm-node@.service"
COMPOSE = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
EXPOSURE_MAX = 2.5


def test_the_containers_are_the_nodes_of_their_cluster_ini_at_the_published_ports() -> None:
    cluster = load(DEPLOY / "cluster.ini")
    assert re.findall(r"command: \[(\w+), --config", COMPOSE) == list(cluster.nodes)
    published = re.findall(r'ports: \["127\.0\.0\.1:(\d+):(\d+)"\]', COMPOSE)
    for node, (outside, inside) in zip(cluster.nodes.values(), published, strict=True):
        assert node.listen_client is not None
        assert (str(node.client.port), str(node.listen_client.port)) == (outside, inside)
        assert node.peer.host == node.name, "containers reach each other by the names of their services"


def test_no_secret_gets_into_an_image_and_its_packages_are_the_locked_ones() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {"data", "certs", "**/*.key"} <= set(ignored)
    container = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r /tmp/atm/requirements/run.txt" in container
    assert "--no-build-isolation --no-deps /tmp/atm" in container


def test_the_example_of_install_md_is_a_valid_section(tmp_path: Path) -> None:
    [example] = re.findall(r"```ini\n(.*?)```", INSTALL, re.DOTALL)
    path = tmp_path / "cluster.ini"
    path.write_text(example)
    node = load(path).nodes["h1"]
    assert (str(node.listen_client), str(node.listen_peer)) == ("0.0.0.0:5000", "[::]:6000")


def test_install_md_quotes_what_the_servers_say() -> None:
    sources = [ROOT / "atm" / "config.py", *(ROOT / "atm" / "server").rglob("*.py")]
    said = "".join(path.read_text(encoding="utf-8") for path in sources)
    rows = re.findall(r"^\| `([^`]+)` \|", INSTALL, re.MULTILINE)
    assert len(rows) >= 4
    for row in rows:
        fixed = re.sub(r" ….*|the name h1.bank means 127.0.1.1", "", row).strip()
        assert fixed in re.sub(r'"\s+f?"', "", said), row


def test_postgresql_md_explains_every_setting_of_patroni() -> None:
    """What Patroni is told for the whole cluster; addresses, paths and passwords explain themselves."""
    written = (DEPLOY / "patroni" / "patroni.yml").read_text(encoding="utf-8")
    [settings] = re.findall(r"^  dcs:\n(.*?)^  initdb:", written, re.MULTILINE | re.DOTALL)
    page = (ROOT / "docs" / "postgresql.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^ +(\w+):", settings, re.MULTILINE)) - {"postgresql", "parameters"}
    assert len(names) > 15
    assert not {name for name in names if f"`{name}" not in page and not name.startswith("tcp_")}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_the_unit_is_well_formed_and_leaves_little_exposed(tmp_path: Path) -> None:
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    if "--offline" in rated.stderr:
        pytest.skip(rated.stderr)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", rated.stdout)
    assert exposure is not None, rated
    assert float(exposure[1]) <= EXPOSURE_MAX
    program = tmp_path / "atm-node"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    instance = tmp_path / "atm-node@h1.service"
    instance.write_text(UNIT.read_text().replace("/opt/atm/.venv/bin/atm-node", str(program)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", instance], capture_output=True, text=True, check=False
    )
    assert str(instance.name) not in verified.stderr, verified.stderr
