"""`bin/ledger verify`: audits every ledger, compares them, and says whether the books are right."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from tabulate import tabulate

from atm.checkout import command_here
from atm.client import new_request_id
from atm.client.connection import NotTrusted
from atm.client.each_node import ask_each
from atm.command_line import printable
from atm.config import Cluster, EngineConfig
from atm.ledger.audit.auditing import applied_index, audit, problem_lines
from atm.ledger.audit.findings import INDEXES_MAX, Findings
from atm.ledger.audit.read_only import DamagedLedger
from atm.office.comparison import Comparison, compare
from atm.office.lanes import copied_lanes
from atm.tls.of_cluster import client_credentials
from atm.wire.client_messages import ErrorReply, Status, StatusReply, Verify, VerifyReply

STATUS_S = 2.0
CLEAN, PROBLEMS, INCOMPLETE = 0, 1, 3


class AuditReport(Struct, frozen=True, kw_only=True):
    """What is printed: the findings of each ledger, why others have none, and the comparison."""

    verdict: str
    ledgers: dict[str, Findings]
    missing: dict[str, str]
    comparison: Comparison


def verify_files(paths: Sequence[Path]) -> AuditReport:
    """Audit ledger files, in use or not; raise `NoLedger`."""
    at = _indexes([_applied_index(path) for path in paths])
    return _report({str(path): audit(path, at) for path in paths}, {})


def verify_cluster(cluster: Cluster, seconds: float) -> AuditReport:
    """Let all nodes audit themselves at once; wait up to `seconds` for each."""
    nodes = cluster.nodes
    missing: dict[str, str] = {}
    credentials = client_credentials(cluster)
    distrust: dict[str, NotTrusted] = {}
    statuses = ask_each(nodes.values(), Status(id=new_request_id()), STATUS_S, credentials, distrust)
    reached: dict[str, int] = {}
    for name, status in statuses.items():
        if isinstance(status, StatusReply) and status.node == name:
            reached[name] = status.applied_index
        elif name in distrust:
            missing[name] = f"was not audited: {distrust[name]}"
        elif isinstance(status, ErrorReply):
            missing[name] = f"was not audited: {printable(status.message)}"
        else:
            missing[name] = (
                f"does not answer at {nodes[name].client}: does it run? ({command_here('start_node')} {name})"
            )
    asked = [nodes[name] for name in reached]
    request = Verify(id=new_request_id(), at=_indexes(list(reached.values())))
    answers = ask_each(asked, request, seconds, credentials)
    found: dict[str, Findings] = {}
    for name, answer in answers.items():
        if isinstance(answer, VerifyReply) and answer.node == name:
            found[name] = answer.findings
        elif isinstance(answer, ErrorReply):
            missing[name] = f"was not audited: {printable(answer.message)}"
        else:
            missing[name] = f"was not audited: no answer came, and it had {seconds:g} s (see --timeout)"
    return _report(found, missing)


def verify_lanes(engine: EngineConfig) -> AuditReport:
    """Audit the books of a bank on PostgreSQL, lane by lane; raise `EngineFault` or `EngineRefused`."""
    found: dict[str, Findings] = {}
    with copied_lanes(engine) as copies:
        for copy in copies:
            findings = audit(copy.path)
            problems = (*copy.problems, *findings.problems)
            found[f"lane {copy.lane}"] = msgspec.structs.replace(findings, problems=problems)
    clean = not any(findings.problems for findings in found.values())
    comparison = Comparison(differences=[], compared=[], alone=[])
    verdict = "clean" if clean else "problems"
    return AuditReport(verdict=verdict, ledgers=found, missing={}, comparison=comparison)


def exit_code(report: AuditReport) -> int:
    """Return 0 if clean, 1 for a problem, 3 if a node is missing."""
    return {"clean": CLEAN, "problems": PROBLEMS, "incomplete": INCOMPLETE}[report.verdict]


def print_report(report: AuditReport, *, as_json: bool) -> None:
    """Print it for people, or as one JSON object."""
    if as_json:
        print(msgspec.json.encode(report).decode())
        return
    rows = [
        (
            name,
            "?" if found.applied_index is None else found.applied_index,
            found.postings,
            len(found.problems) + found.more_problems,
            f"{found.seconds:.1f}",
        )
        for name, found in report.ledgers.items()
    ]
    if rows:
        print(tabulate(rows, headers=["ledger", "log entry", "postings", "problems", "seconds"]))
    for name, found in report.ledgers.items():
        for line in problem_lines(found):
            print(f"{name}: {line}")
    for line in report.comparison.differences:
        print(line)
    for line in report.comparison.compared:
        print(f"Compared {line}")
    for name in report.comparison.alone:
        print(f"{name}: compared with no other")
    for name, why in report.missing.items():
        print(f"{name} {why}", file=sys.stderr)
    print(_verdict_line(report))


def _verdict_line(report: AuditReport) -> str:
    match report.verdict:
        case "clean":
            return "The books are right"
        case "incomplete":
            return f"What was looked at is right, but not all was: missing {', '.join(_incomplete(report))}"
        case _:
            return "THE BOOKS ARE NOT RIGHT: see docs/ledger.md for what to do"


def _report(found: dict[str, Findings], missing: dict[str, str]) -> AuditReport:
    comparison = compare(found)
    report = AuditReport(verdict="", ledgers=found, missing=missing, comparison=comparison)
    if comparison.differences or any(findings.problems for findings in found.values()):
        verdict = "problems"
    elif _incomplete(report):
        verdict = "incomplete"
    else:
        verdict = "clean"
    return msgspec.structs.replace(report, verdict=verdict)


def _incomplete(report: AuditReport) -> list[str]:
    """Return the ledgers that were not audited, or were compared with no other although there are others."""
    alone = report.comparison.alone if len(report.ledgers) + len(report.missing) > 1 else []
    return [*report.missing, *alone]


def _indexes(applied: Sequence[int | None]) -> tuple[int, ...]:
    """Return the log indexes to compare at: the applied index of each ledger, in rising order."""
    return tuple(sorted({index for index in applied if index is not None})[:INDEXES_MAX])


def _applied_index(path: Path) -> int | None:
    try:
        return applied_index(path)
    except DamagedLedger:
        return None
