"""The page and its JSON, before a bank on PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.request import Request, urlopen

from tests.support.lanes import bank_at
from tests.support.postgresql import new_database
from tests.web.serving import web


def test_json_over_http_serves_a_bank_on_postgresql(tmp_path: Path) -> None:
    credit = b'{"op": "credit", "account": "main", "amount": 700}'
    with bank_at(tmp_path, new_database()) as bank:
        bank.start_all()
        bank.wait_for_leader()
        with web(bank.cluster.path) as address:
            headers = {"Content-Type": "application/json"}
            request = Request(f"{address}/api/v1/requests/w1", credit, headers, method="PUT")
            for _ in range(2):
                with urlopen(request) as answer:
                    assert json.load(answer)["balance"] == 700
            with urlopen(f"{address}/api/v1/accounts/main") as answer:
                assert json.load(answer)["balance"] == 700
