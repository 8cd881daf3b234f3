"""`bin/admin sbom`: what is installed with the bank, as a list that programs read (CycloneDX 1.6, JSON)."""

from __future__ import annotations

import argparse
import json
import platform
import re
import ssl
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata

import apsw

from atm.admin.task import DONE, Task
from atm.version import RELEASE

OWN_NAME = "atm-raft"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Component = dict[str, object]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing."""


def run(task: Task) -> int:
    """Print the list; it is JSON, with and without `--json`."""
    print(json.dumps(bill_of_materials(), indent=None if task.as_json else 2), flush=True)
    return DONE


def bill_of_materials() -> dict[str, object]:
    """Return the list: every distribution of this Python, and the libraries in C that matter."""
    packages: dict[str, metadata.Distribution] = {}
    for found in metadata.distributions():
        packages.setdefault(_normalized(found.name), found)  # the first of a name is the one that is imported
    needed = _needed(packages)
    packages.pop(OWN_NAME, None)
    components = [_package(name, packages[name], needed=name in needed) for name in sorted(packages)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "component": {
                "type": "application",
                "bom-ref": OWN_NAME,
                "name": OWN_NAME,
                "version": RELEASE,
            },
        },
        "components": components + list(_inside()),
    }


def _needed(packages: dict[str, metadata.Distribution]) -> set[str]:
    """Return the packages without which the bank does not run, by the metadata of what is installed."""
    needed: set[str] = set()
    unseen = [OWN_NAME]
    while unseen:
        name = unseen.pop()
        if name in needed or name not in packages:
            continue
        needed.add(name)
        for requirement in packages[name].requires or ():
            match = NAME.match(requirement)
            if match is not None and "extra ==" not in requirement:
                unseen.append(_normalized(match[0]))
    return needed


def _package(name: str, found: metadata.Distribution, *, needed: bool) -> Component:
    purl = f"pkg:pypi/{name}@{found.version}"
    component: Component = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": found.version,
        "purl": purl,
        "scope": "required" if needed else "optional",
    }
    if "License-Expression" in found.metadata:
        component["licenses"] = [{"expression": found.metadata["License-Expression"]}]
    return component


def _inside() -> Iterator[Component]:
    """Yield what no package's version tells of."""
    yield _library("platform", "python", platform.python_version())
    yield _library("library", "sqlite", apsw.sqlite_lib_version())
    yield _library("library", "openssl", ".".join(map(str, ssl.OPENSSL_VERSION_INFO[:3])))
    yield _library("operating-system", sys.platform, platform.release())


def _library(kind: str, name: str, version: str) -> Component:
    purl = f"pkg:generic/{name}@{version}"
    return {
        "type": kind,
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "scope": "required",
    }


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
