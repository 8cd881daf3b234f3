"""docs/http.md: its examples are run, in their order, against a bank of their own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from atm.local_cluster import LocalCluster, write_cluster_ini
from atm.web.api import RESOURCES
from atm.web.bodies import BODY_BYTES_MAX
from tests.web.serving import web

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^\$ (curl .*)\n((?:(?!\$ |```).*\n)+)", re.MULTILINE)
CHANGING = ("log_index", "time_us", "posting", "hash", "cluster", "debit_balance", "credit_balance")


def comparable(value: Any, *, own_id: bool) -> Any:
    """Return an answer without what differs from bank to bank."""
    if isinstance(value, list):
        return [comparable(each, own_id=True) for each in value]
    if not isinstance(value, dict):
        return value
    left_out = {*CHANGING, *(() if own_id else ("id",))}
    return {name: comparable(each, own_id=True) for name, each in value.items() if name not in left_out}


def test_the_examples_are_what_the_server_answers(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("THERE IS NO CURL HERE: the examples of docs/http.md are not tested")
    examples = EXAMPLE.findall(PAGE)
    assert len(examples) == 6
    with LocalCluster(write_cluster_ini(tmp_path, 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with web(bank.cluster.path) as url:
            for command, shown in examples:
                asked = command.replace("localhost:8080", url.removeprefix("http://"))
                is_stream = "curl -sN" in asked
                ran = subprocess.run(
                    ["sh", "-c", f"{asked} --max-time {2 if is_stream else 20}"],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                if is_stream:
                    assert [
                        line.partition(":")[0] for line in ran.stdout.splitlines()[: len(shown.splitlines())]
                    ] == [line.partition(":")[0] for line in shown.splitlines()]
                    continue
                own_id = "-X PUT" in command
                assert comparable(json.loads(ran.stdout), own_id=own_id) == comparable(
                    json.loads(shown), own_id=own_id
                )


def test_the_page_names_every_address_and_the_limit_of_a_body() -> None:
    for resource in RESOURCES:
        name = resource.path.strip("/").replace("{name}", "NAME").replace("{id}", "ID")
        assert re.search(rf"`{re.escape(name)}[?`]", PAGE), name
    assert f"{BODY_BYTES_MAX // 1024} KiB" in PAGE
