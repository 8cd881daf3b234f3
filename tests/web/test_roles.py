"""bin/web before a bank with [tls]: what its certificate's role allows is what it can do, and it says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from atm.local_cluster import LocalCluster
from tests.support.browser import chromium, visit
from tests.support.certificates import Authority, write_tls_ini
from tests.web.asked import ask, put
from tests.web.serving import web


def test_a_gateway_acts_for_end_users_and_an_auditor_only_reads(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    authority = Authority("the CA")
    gateway = authority.person(tmp_path, "counter", "gateway")
    auditor = authority.person(tmp_path, "eve", "auditor")
    credit = {"op": "credit", "account": "main", "amount": 500}
    with LocalCluster(write_tls_ini(tmp_path, authority, 1)) as bank:
        bank.start_all()
        bank.wait_for_leader()
        config = bank.cluster.path
        by_gateway = ("--cert", str(gateway[0]), "--key", str(gateway[1]))
        with web(config, *by_gateway, "--user-header", "X-Remote-User") as url:
            assert put(url, "A1", credit, x_remote_user="ann").json["outcome"] == "ok"
            assert ask(url, path="/api/v1/requests/A1", x_remote_user="ann").json["actor"] == "counter/ann"
            assert put(url, "A2", credit).status == 400
            refused = put(url, "A3", {"op": "freeze", "account": "main"}, x_remote_user="ann")
            assert (refused.status, refused.json["code"], refused.json["done"]) == (403, "not_allowed", False)
            assert ask(url, path="/api/v1/events", x_remote_user="ann").status == 403
        with web(config, *by_gateway) as url:
            assert put(url, "A4", credit).json["balance"] == 1000
            assert ask(url, path="/api/v1/requests/A4").json["actor"] == "counter/web"
        with web(config, "--cert", str(auditor[0]), "--key", str(auditor[1])) as url:
            assert put(url, "A5", credit).status == 403
            assert ask(url, path="/api/v1/accounts/main").json["balance"] == 1000
            told = ask(url, path="/api/v1/me").json
            assert (told["identity"], told["roles"], "credit" in told["may"]) == ("eve", ["auditor"], False)
            if chromium() is not None:
                with visit(request.getfixturevalue("chrome"), url) as (page, seen):
                    page.get_by_role("button", name="Use this account").click()
                    page.locator("#lines tr").nth(1).wait_for()
                    assert not page.locator("#send").is_visible(), "what it may not is not offered"
                    seen.check()
