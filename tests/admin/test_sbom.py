"""bin/admin sbom: complete, and in the form that programs expect."""

from __future__ import annotations

import json
import re
from importlib import metadata
from typing import Any

import apsw
import pytest

from atm.admin.main import main
from atm.version import RELEASE

SCOPES = {"required", "optional"}
TYPES = {"library", "platform", "operating-system"}


@pytest.fixture
def bill(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["sbom"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_it_has_the_form_of_cyclonedx(bill: dict[str, Any]) -> None:
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", bill["metadata"]["timestamp"])
    assert bill["metadata"]["component"] | {"bom-ref": ""} == {
        "type": "application",
        "bom-ref": "",
        "name": "atm-raft",
        "version": RELEASE,
    }
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(set(references)) == len(references)
    for each in bill["components"]:
        assert set(each) <= {"type", "bom-ref", "name", "version", "purl", "scope", "licenses"}
        assert each["type"] in TYPES
        assert each["scope"] in SCOPES
        assert each["version"]
        assert each["purl"].endswith(f"/{each['name']}@{each['version']}")


def test_all_that_is_installed_is_in_it_with_its_version(bill: dict[str, Any]) -> None:
    listed = {each["name"]: each["version"] for each in bill["components"]}
    for found in metadata.distributions():
        name = re.sub(r"[-_.]+", "-", found.name).lower()
        if name != "atm-raft":
            assert listed[name] == metadata.version(found.name)
    assert listed["sqlite"] == apsw.sqlite_lib_version(), "it is inside of apsw"
    assert {"python", "openssl"} <= set(listed)


def test_what_the_bank_does_not_run_without_is_told_from_what_only_tests_need(bill: dict[str, Any]) -> None:
    scopes = {each["name"]: each["scope"] for each in bill["components"]}
    for name in ("apsw", "msgspec", "platformdirs", "prompt-toolkit", "tabulate", "wcwidth"):
        assert scopes[name] == "required", name
    for name in ("pytest", "hypothesis", "cryptography"):
        assert scopes[name] == "optional", name


def test_with_json_it_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sbom", "--json"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
