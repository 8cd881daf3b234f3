"""bin/ledger watch: the feed of postings on the command line, resumed behind the last line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from atm.client import Client
from atm.config import load
from atm.local_cluster import write_cluster_ini
from atm.office.main import main
from tests.support.server_parts import RunningServer


def test_postings_are_lines_and_the_last_one_is_where_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_cluster_ini(tmp_path, 1)
    watch = Client.watch

    def interrupted(client: Client, *arguments: Any, **more: Any) -> Iterator[Any]:
        yield from islice(watch(client, *arguments, **more), 2)
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "watch", interrupted)
    with RunningServer(load(file), "n1") as server, Client(file) as client:
        server.wait_for_leader()
        client.open("ann")
        for amount in (1, 2, 3, 4):
            client.credit("ann", amount)
        assert main(["watch", "--config", str(file)]) == 0
        first = capsys.readouterr().out.splitlines()
        assert main(["watch", "--config", str(file), "--after", first[-1]]) == 0
        found = [json.loads(line) for line in first + capsys.readouterr().out.splitlines()]
    assert [each["amount"] for each in found] == [1, 2, 3, 4]
    assert all(each["hash"] and each["cluster"] and each["log_index"] for each in found)


def test_what_watch_did_not_print_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["watch", "--after", "{}"])
    assert ended.value.code == 2
