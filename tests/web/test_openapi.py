"""/openapi.json says what the code does: every operation, every outcome, and what real answers look like."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from atm.client import Client, new_request_id
from atm.identity import Role
from atm.ledger.commands import Command, Outcome
from atm.permissions import PERMITTED
from atm.web.api import COMMANDS
from tests.web.asked import Answer, ask, put

NewAccount = Callable[..., str]


@pytest.fixture(scope="module")
def told(url: str) -> Any:
    return ask(url, path="/openapi.json").json


def schema_of(told: Any, path: str, method: str, answer: Answer) -> Any:
    """Return the schema that the description has for an answer."""
    described = told["paths"][f"/api/v1{path}"][method]["responses"][str(answer.status)]
    return described["content"][answer.headers["content-type"].partition(";")[0]]["schema"]


def check(told: Any, schema: Any, value: Any) -> None:
    """Fail unless the value is as the schema says."""
    Draft202012Validator({**schema, "components": told["components"]}).validate(value)


def test_it_has_every_operation_but_those_of_administrators(told: Any) -> None:
    body = told["paths"]["/api/v1/requests/{id}"]["put"]["requestBody"]["content"]["application/json"]
    mapping = body["schema"]["discriminator"]["mapping"]
    every = {kind.__struct_config__.tag for kind in get_args(Command)}
    assert set(mapping) == {op for op in every if PERMITTED[str(op)] != {Role.ADMIN}}
    for op, ref in mapping.items():
        schema = told["components"]["schemas"][ref.rpartition("/")[2]]
        assert schema["properties"]["op"] == {"enum": [op]}
        assert set(schema["properties"]) == {"op", *COMMANDS[op].__struct_fields__} - {"id", "end_user"}
        assert "It needs the role" in schema["description"]


def test_it_has_every_outcome(told: Any) -> None:
    assert told["components"]["schemas"]["Outcome"]["enum"] == [str(outcome) for outcome in Outcome]


def test_all_its_references_lead_somewhere_and_its_schemas_are_schemas(told: Any) -> None:
    def refs(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [ref for each in value.values() for ref in refs(each)]
        return [ref for each in value for ref in refs(each)] if isinstance(value, list) else []

    schemas = told["components"]["schemas"]
    assert {ref.removeprefix("#/components/schemas/") for ref in refs(told)} <= set(schemas)
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


def test_real_answers_are_as_it_says(told: Any, url: str, client: Client, new_account: NewAccount) -> None:
    account, other = new_account(100), new_account()
    client.set_pin(other, "1234").check()
    requests: list[dict[str, Any]] = [
        {"op": "credit", "account": account, "amount": 10_00, "code": 7, "text": "Wages"},
        {"op": "debit", "account": account, "all": True},
        {"op": "debit", "account": account, "amount": 5},
        {"op": "credit", "account": account, "amount": 10_00},
        {"op": "transfer", "account": account, "target": other, "amount": 5},
        {"op": "batch", "legs": [{"account": account, "target": other, "amount": 1}]},
        {"op": "hold", "account": account, "amount": 5, "expires_ms": 60_000},
        {"op": "login", "account": other, "pin": "0000"},
        {"op": "freeze", "account": other},
        {"op": "set_ceiling", "account": account, "amount": 5_000_00},
        {"op": "open", "account": account},
        {"op": "credit", "account": "nobody", "amount": 1},
        {"op": "credit", "account": account, "amount": 0},
    ]
    put_schema = told["paths"]["/api/v1/requests/{id}"]["put"]["requestBody"]["content"]["application/json"]
    answers = []
    for request in requests:
        answer = put(url, new_request_id(), request)
        check(told, schema_of(told, "/requests/{id}", "put", answer), answer.json)
        if answer.status == 200:
            check(told, put_schema["schema"], request)
        answers.append(answer)
    assert [answer.status for answer in answers] == [200] * 12 + [400]
    request_id = answers[0].json["id"]
    for path, template in (
        ("/accounts", "/accounts"),
        (f"/accounts/{account}", "/accounts/{name}"),
        (f"/accounts/{other}", "/accounts/{name}"),
        ("/accounts/nobody", "/accounts/{name}"),
        (f"/accounts/{account}/statement?limit=2", "/accounts/{name}/statement"),
        (f"/accounts/{account}/holds", "/accounts/{name}/holds"),
        (f"/requests/{request_id}", "/requests/{id}"),
        ("/requests/none", "/requests/{id}"),
        ("/exceptions", "/exceptions"),
        ("/find?text=wages", "/find"),
        ("/find", "/find"),
        ("/deeds", "/deeds"),
        ("/approvals", "/approvals"),
        ("/status", "/status"),
        ("/health", "/health"),
        ("/me", "/me"),
        ("/currencies", "/currencies"),
    ):
        answer = ask(url, path=f"/api/v1{path}")
        check(told, schema_of(told, template, "get", answer), answer.json)
