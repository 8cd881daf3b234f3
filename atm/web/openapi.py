"""/openapi.json: the API for programs (OpenAPI 3.1), made from the classes of requests and answers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from atm.checkout import command_here
from atm.client import Receipt
from atm.client.cluster_health import DEGRADED, HEALTHY, UNAVAILABLE
from atm.client.receipt import JournalPage, kind_of
from atm.ledger.commands import Command, JournalPosting, Outcome
from atm.permissions import requirement
from atm.version import RELEASE
from atm.web.answers import PROBLEMS, UNKNOWN, answer
from atm.web.api import COMMANDS, NOT_IN_A_BODY, RESOURCES, Resource

Schema = dict[str, Any]
REFS = "#/components/schemas/{name}"
PROBLEMS_OF_A_READ = ("bad_request", "not_allowed", "not_found", "wrong_host", "internal", "unavailable")
PROBLEMS_OF_A_COMMAND = (
    "bad_request",
    "not_allowed",
    "too_slow",
    "too_large",
    "not_json",
    "wrong_host",
    "internal",
    "unavailable",
)


async def get_description(_request: Request) -> Response:
    """Serve it."""
    return answer(description())


@cache
def description() -> Schema:
    """Return the whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "The bank over HTTP",
            "version": RELEASE,
            "description": "Amounts are whole numbers of minor units. docs/http.md has examples.",
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/v1/requests/{id}": {**_path_of(RESOURCES_BY_PATH["/requests/{id}"]), "put": _put()},
            **{
                f"/api/v1{resource.path}": _path_of(resource)
                for resource in RESOURCES
                if resource.path != "/requests/{id}"
            },
            "/api/v1/status": {"get": _get("How the servers are doing.", _json({"$ref": _ref("Status")}))},
            "/api/v1/health": {
                "get": _get("Whether the servers are well, and why not.", _json({"$ref": _ref("Health")})),
            },
            "/api/v1/me": {
                "get": _get("Who the web server is to the bank.", _json({"$ref": _ref("Me")})),
            },
            "/api/v1/currencies": {
                "get": _get("Decimals of currencies.", _json({"$ref": _ref("Currencies")})),
            },
            "/api/v1/events": {"get": _events()},
            "/api/v1/cluster/events": {"get": _cluster_events()},
            "/api/v1/cluster/recording": {"post": _recording()},
            "/api/v1/cluster/faults": {
                "get": _get("Which servers can be changed here.", _json({"$ref": _ref("Faults")})),
                "post": _fault(),
            },
        },
        "components": {"schemas": _components()},
    }


RESOURCES_BY_PATH: Mapping[str, Resource] = {resource.path: resource for resource in RESOURCES}


def _ref(name: str) -> str:
    return REFS.format(name=name)


def _json(schema: Schema, media_type: str = "application/json") -> Schema:
    return {media_type: {"schema": schema}}


# -- what is asked -----------------------------------------------------------------------------------------


def _put() -> Schema:
    ref = {op: _ref(kind.__name__) for op, kind in COMMANDS.items()}
    body = {
        "oneOf": [{"$ref": each} for each in ref.values()],
        "discriminator": {"propertyName": "op", "mapping": ref},
    }
    return {
        "operationId": "put_request",
        "summary": "Carry out a command once, however often it is put under this id.",
        "parameters": [_parameter("id", "path", REQUEST_ID, required=True)],
        "requestBody": {"required": True, "content": _json(body)},
        "responses": {
            "200": {"description": "What the bank decided: see `outcome`.", "content": _json(RECEIPT)},
            "202": {
                "description": "It may or may not be done: put the same again.",
                "headers": {"Retry-After": {"schema": {"type": "integer"}}},
                "content": _json({"$ref": _ref("Unknown")}),
            },
            **_problems(PROBLEMS_OF_A_COMMAND),
        },
    }


def _path_of(resource: Resource) -> Schema:
    ok = kind_of(resource.read)
    return {
        "get": {
            "operationId": "get_" + re.sub(r"\W+", "_", resource.path).strip("_"),
            "summary": resource.does,
            "parameters": [
                *(
                    _parameter(name, "path", _field_schema(resource.read, field), required=True)
                    for name, field in resource.in_path.items()
                ),
                *_query_parameters(resource),
            ],
            "responses": {
                "200": {
                    "description": inspect.getdoc(ok) or "",
                    "content": _json(RECEIPT if ok.__name__ == "Found" else {"$ref": _ref(ok.__name__)}),
                },
                **_problems(PROBLEMS_OF_A_READ),
            },
        }
    }


def _query_parameters(resource: Resource) -> list[Schema]:
    taken = {*NOT_IN_A_BODY, *resource.in_path.values()}
    return [
        _parameter(field.name, "query", _field_schema(resource.read, field.name), required=field.required)
        for field in msgspec.structs.fields(resource.read)
        if field.name not in taken
    ]


def _parameter(name: str, place: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"name": name, "in": place, "required": required, "schema": schema}


def _get(summary: str, content: Schema) -> Schema:
    return {
        "summary": summary,
        "responses": {
            "200": {"description": summary, "content": content},
            **_problems(("not_allowed", "wrong_host", "internal", "unavailable")),
        },
    }


def _events() -> Schema:
    return {
        "operationId": "get_events",
        "summary": "Postings as server-sent events: `id` is the cursor, `data` a posting in JSON.",
        "parameters": [
            _parameter("Last-Event-ID", "header", {"type": "string"}),
            _parameter("after", "query", {"type": "string"}),
            _parameter("from_index", "query", {"type": "integer", "minimum": 0}),
            _parameter("account", "query", {"type": "array", "items": {"type": "string"}}),
        ],
        "responses": {
            "200": {"description": "The stream.", "content": _json({"type": "string"}, "text/event-stream")},
            **_problems(("bad_request", "not_allowed", "other_bank", "wrong_host", "unavailable")),
        },
    }


def _cluster_events() -> Schema:
    return {
        "operationId": "get_cluster_events",
        "summary": "What happens in the servers, as server-sent events.",
        "description": "`begin`: what follows is from the beginning of what is kept. `happened`: `data` is a "
        "Happened. `status`: a Status, once a second. `gap`: pieces before the next one are not kept any "
        "more. `id` is the cursor.",
        "parameters": [_parameter("Last-Event-ID", "header", {"type": "string"})],
        "responses": {
            "200": {"description": "The stream.", "content": _json({"type": "string"}, "text/event-stream")},
            **_problems(("not_allowed", "wrong_host", "busy")),
        },
    }


def _recording() -> Schema:
    return {
        "operationId": "post_recording",
        "summary": "Read a file of a flight recorder: its events by time, each with its sentence.",
        "requestBody": {"required": True, "content": _json({"type": "string"}, "application/x-ndjson")},
        "responses": {
            "200": {"description": "The events.", "content": _json({"$ref": _ref("Recording")})},
            **_problems(("bad_request", "too_slow", "too_large", "wrong_host")),
        },
    }


def _fault() -> Schema:
    return {
        "operationId": "post_fault",
        "summary": f"Kill, pause, resume or start a server, where {command_here('run')} --web started it.",
        "requestBody": {"required": True, "content": _json({"$ref": _ref("Fault")})},
        "responses": {
            "200": {"description": "The states after it.", "content": _json({"$ref": _ref("Faults")})},
            **_problems(("bad_request", "not_allowed", "too_slow", "too_large", "not_json", "wrong_host")),
        },
    }


def _problems(codes: tuple[str, ...]) -> Schema:
    content = _json({"$ref": _ref("Problem")}, "application/problem+json")
    titles: dict[str, list[str]] = {}
    for code in codes:
        titles.setdefault(str(PROBLEMS[code].status), []).append(f"`{code}`: {PROBLEMS[code].title}.")
    return {status: {"description": " ".join(lines), "content": content} for status, lines in titles.items()}


# -- schemas -----------------------------------------------------------------------------------------------

RECEIPT: Schema = {"$ref": REFS.format(name="Receipt")}
REQUEST_ID: Schema = {"type": "string", "pattern": "^[!-~]{1,64}$"}


@cache
def _components() -> Schema:
    answers = {kind_of(resource.read) for resource in RESOURCES} | {Receipt, JournalPage}
    kinds: list[type] = [*COMMANDS.values(), *answers, JournalPosting]
    _, components = msgspec.json.schema_components(kinds, ref_template=REFS)
    for kind in COMMANDS.values():
        _describe_command(components[kind.__name__], kind)
    schemas = {name: _portable(schema) for name, schema in sorted(components.items())}
    schemas["Outcome"]["enum"] = [str(outcome) for outcome in Outcome]
    return schemas | _own_schemas()


def _describe_command(schema: Schema, kind: type[Command]) -> None:
    """Leave out what has another place, and say who may do it."""
    for name in ("id", "end_user"):
        schema["properties"].pop(name, None)
    schema["required"] = [name for name in schema.get("required", ()) if name not in ("id", "end_user")]
    op = kind.__struct_config__.tag
    schema["description"] = f"{inspect.getdoc(kind)}\n\nIt needs {requirement(str(op))}."


def _field_schema(kind: type[msgspec.Struct], name: str) -> Schema:
    field = next(each for each in msgspec.structs.fields(kind) if each.name == name)
    (schema,), _ = msgspec.json.schema_components([field.type], ref_template=REFS)
    portable: Schema = _portable(schema)
    return portable


def _portable(schema: Any) -> Any:
    r"""Return a schema with the patterns of JSON: `\Z`, the end of a text, is `$` there."""
    if isinstance(schema, dict):
        return {
            name: value.replace(r"\Z", "$")
            if name == "pattern" and isinstance(value, str)
            else _portable(value)
            for name, value in schema.items()
        }
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    return schema


def _own_schemas() -> Schema:
    text, whole = {"type": "string"}, {"type": "integer"}
    status = {"available": {"type": "boolean"}, "nodes": {"type": "array", "items": {"type": "object"}}}
    return {
        "Unknown": _object({"id": REQUEST_ID, "outcome": {"const": UNKNOWN}, "detail": text}),
        "Problem": {
            **_object(
                {
                    "type": text,
                    "title": text,
                    "status": whole,
                    "code": {"enum": sorted(PROBLEMS)},
                    "detail": text,
                }
            ),
            "description": "Nothing was done where `done` is false.",
        },
        "Status": _object(status),
        "Health": _object(
            {
                **status,
                "health": {"enum": [HEALTHY, DEGRADED, UNAVAILABLE]},
                "message": text,
                "reasons": {"type": "array", "items": text},
                "alarms": {"type": "array", "items": text},
            }
        ),
        "Me": _object(
            {
                "identity": text,
                "roles": {"type": "array", "items": text},
                "may": {"type": "array", "items": text},
                "release": text,
                "pages": {"type": "array", "items": _object({"path": text, "title": text})},
            }
        ),
        "NodeEvent": {
            **_object(
                {
                    "wall_us": whole,
                    "text": text,
                    "number": whole,
                    "at_us": whole,
                    "node": text,
                    "kind": text,
                }
            ),
            "description": "An event (docs/events.md), when it was (since 1970), and its sentence.",
        },
        "Happened": _object(
            {
                "events": {"type": "array", "items": {"$ref": _ref("NodeEvent")}},
                "silent": {"type": "object", "additionalProperties": text},
                "missed": {"type": "object", "additionalProperties": whole},
                "left_out": whole,
                "wall_us": whole,
            }
        ),
        "Recording": _object(
            {
                "events": {"type": "array", "items": {"$ref": _ref("NodeEvent")}},
                "nodes": {"type": "array", "items": {"type": "object"}},
            }
        ),
        "Fault": _object({"node": text, "fault": {"enum": ["kill", "pause", "resume", "start"]}}),
        "Faults": _object(
            {
                "available": {"type": "boolean"},
                "servers": {
                    "type": "object",
                    "additionalProperties": {"enum": ["running", "paused", "stopped"]},
                },
            }
        ),
        "Currencies": _object(
            {"first": whole, "decimals": {"type": "object", "additionalProperties": whole}}
        ),
    }


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


assert len(COMMANDS) < len(get_args(Command))  # what only administrators may do is left out
