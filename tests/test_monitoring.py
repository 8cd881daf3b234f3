"""docs/metrics.md, the alert rules and the dashboard name what the servers tell, and nothing else."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atm.server.group.guards import ALARMS
from atm.server.group.leaderships import STEP_DOWNS
from atm.server.group.publisher import PEPPER_MISSING
from atm.server.metrics.node_metrics import METRICS
from tests.support.metrics import monitored, panel_expressions

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = (PROMETHEUS / "atm.rules.yml").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "atm.json").read_text(encoding="utf-8"))
PROMTOOL = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: .ci/run installs it")


def promtool(*arguments: str | Path) -> str:
    assert PROMTOOL is not None
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_page_has_the_table_of_the_metrics() -> None:
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+) \| .* \| (.+?) \| .* \|$", PAGE, re.MULTILINE)
    assert [(name, (kind, told)) for name, kind, told in rows] == list(METRICS.items())


def test_the_page_lists_the_values_of_labels_that_are_our_own() -> None:
    for value in (*ALARMS, PEPPER_MISSING, *STEP_DOWNS.values()):
        assert f"`{value}`" in PAGE


def test_names_are_as_prometheus_wants_them() -> None:
    for name, (kind, told) in METRICS.items():
        assert (kind == "counter") == name.endswith("_total"), name
        assert not name.endswith(("_ms", "_us", "_mb")), "base units: seconds and bytes"
        assert told.endswith("."), told


def test_what_is_monitored_is_told() -> None:
    assert monitored() - METRICS.keys() == {"up"}, "`up` is Prometheus' own"


def test_every_metric_of_a_server_is_on_the_dashboard() -> None:
    on_it = " ".join(panel_expressions(DASHBOARD))
    unseen = {name for name in METRICS if re.search(rf"\b{name}(_bucket|_count)?\b", on_it) is None}
    assert not unseen


def test_every_alert_says_what_to_do_and_where_there_is_more() -> None:
    alerts = re.split(r"\n      - alert: ", RULES)[1:]
    names = [alert.split("\n", 1)[0] for alert in alerts]
    assert len(set(names)) == len(names) == int(re.search(r"\| (\d+) alerts\.", PAGE)[1])  # type: ignore[index]
    for alert in alerts:
        assert re.search(r"severity: (critical|warning)\}", alert), alert
        assert re.search(r'summary: ".+\."', alert), alert
        assert re.search(r'action: ".+\."', alert), alert
        [runbook] = re.findall(r"runbook: (\S+)", alert)
        page, _, heading = runbook.partition("#")
        text = (ROOT / page).read_text(encoding="utf-8")
        assert not heading or heading in _anchors(text), runbook


def _anchors(text: str) -> Iterator[str]:
    for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        yield re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-")


def test_panels_have_a_title_a_sentence_and_the_data_source_that_was_chosen() -> None:
    panels: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}", "an import asks for it"
        for target in panel["targets"]:
            assert 'job="$job"' in target["expr"], target


@needs_promtool
def test_promtool_accepts_the_rules_and_the_example() -> None:
    assert "SUCCESS" in promtool("check", "rules", PROMETHEUS / "atm.rules.yml")
    promtool("check", "config", PROMETHEUS / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("cases", ["atm.rules_test.yml", "atm.rules_days_test.yml"])
def test_the_alerts_fire_when_they_should(cases: str) -> None:
    assert "SUCCESS" in promtool("test", "rules", PROMETHEUS / cases)


@needs_promtool
def test_promtool_accepts_the_expressions_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$job", "atm")}
        for number, expression in enumerate(panel_expressions(DASHBOARD))
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))  # JSON is YAML
    assert f"{len(rules)} rules found" in promtool("check", "rules", path)
