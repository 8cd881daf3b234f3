"""The namespaces: what a cut does, and that where they cannot be had they are refused with a reason."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import NODES
from tests.chaos.faults import why_not
from tests.chaos.network import Network, NoNetwork
from tests.chaos.report import not_exercised_lines

ROOT = Path(__file__).parents[2]
NAMESPACES = Path("/run/netns")


def why_no_network() -> str:
    network = Network(f"chaos{os.getpid()}", NODES)
    try:
        network.create()
    except NoNetwork as error:
        return str(error)
    network.remove()
    return ""


def test_a_cut_lets_nothing_through_one_way_and_heals() -> None:
    if reason := why_no_network():
        pytest.skip(f"namespaces: {reason}")
    network = Network(f"chaos{os.getpid()}", NODES)
    network.create()
    try:
        assert reaches(network, "n1", "10.77.0.2")
        network.cut([("n1", "n2")])
        assert not reaches(network, "n1", "10.77.0.2")
        assert network.heal() > 0
        assert reaches(network, "n1", "10.77.0.2")
        assert network.heal() == 0
    finally:
        network.remove()


def reaches(network: Network, sender: str, address: str) -> bool:
    """Return whether a connection attempt is answered: refused, because nothing listens."""
    look = "import socket,sys; s=socket.socket(); s.settimeout(0.5); sys.exit(s.connect_ex((sys.argv[1], 9)))"
    code = subprocess.run(
        [*network.inside(sender), sys.executable, "-c", look, address], check=False
    ).returncode
    assert code in (errno.ECONNREFUSED, errno.EAGAIN), code
    return code == errno.ECONNREFUSED


def test_without_its_programs_the_reason_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NoNetwork, match=r"^there is no ip and no nft: install iproute2 and nftables$"):
        Network("chaos", NODES).create()


@pytest.mark.parametrize("needs", ["strace", "faketime"])
def test_what_cannot_be_exercised_names_the_package_that_it_needs(
    monkeypatch: pytest.MonkeyPatch, needs: str
) -> None:
    """Trial 44; the README names them, too."""
    monkeypatch.setattr("tests.chaos.faults.shutil.which", lambda program: None)
    monkeypatch.setattr("tests.chaos.faults.faketime_libraries", list)
    lines = not_exercised_lines({"one": why_not(needs, ""), "two": why_not(needs, "")})
    package = lines[0].rpartition(": install ")[2]
    assert lines == [f"NOT EXERCISED: one, two: there is no {package}: install {package}"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = next(line for line in readme.splitlines() if line.startswith("| `bin/chaos "))
    assert {"`iproute2`", "`nftables`", f"`{package}`"} <= set(re.findall("`[^`]*`", row))


def test_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program: program)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(NoNetwork, match="only root"):
        Network("chaos", NODES).create()


def test_a_creation_that_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := why_no_network():
        pytest.skip(f"namespaces: {reason}")
    failing = tmp_path / "nft"
    failing.write_text("#!/bin/sh\necho no such kernel >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    tag = f"chaos{os.getpid()}"
    with pytest.raises(NoNetwork, match="no such kernel"):
        Network(tag, NODES).create()
    assert not list(NAMESPACES.glob(f"{tag}-*"))
