"""The OpenAPI document: what FastAPI reads off the routes, and what holds for all of them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from gateway.answers import errors
from gateway.callers import need_of
from gateway.quotas import family_of

DESCRIPTION = """\
Sessions of WhatsApp Web over HTTP. Every route but the health ones needs an API key, as
`x-api-key` or as `Authorization: Bearer` (the first decides if both come). A key has scopes
(read, send, manage; each route names its own), and a user's key reaches that user's sessions
only: naming another user is a 403, the id of another's session a 404. Errors are
`application/problem+json`; 429 and 503 say when to come back. Live events come by three
doors: `/ws?session=<id|*>&events=<name,…|*>&since=<position>` (WebSocket, one JSON text
frame each), `/api/events` with the same query (server-sent events), and Socket.IO.
"""

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457, with `success`, `error` and, for 429 and 503, `retryAfter` in ms.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "success", "error"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "success": {"const": False},
        "error": {"type": "string"},
        "reason": {"type": "string", "description": "A stable word."},
        "retryAfter": {"type": "integer", "description": "Milliseconds."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "rule": {"type": "string"}},
            },
        },
    },
}

Schema = dict[str, Any]

_BAD_INPUT: Schema = {"400": errors(400)[400]}
_JSON = "application/problem+json"


def _saying(status: int, detail: str) -> Schema:
    """Describe an error with an example of its own."""
    told = errors(status)[status]
    media = told["content"][_JSON]
    example = media["example"] | {"detail": detail, "error": detail}
    return told | {"content": {_JSON: media | {"example": example}}}


_OF_KEYS: Schema = {
    "409": _saying(409, "The first request with this Idempotency-Key is still under way."),
    "422": _saying(422, "This Idempotency-Key came with another request before."),
}


def _header(kind: str, about: str, example: str | int) -> Schema:
    return {"description": about, "schema": {"type": kind}, "example": example}


RATE_HEADERS: Schema = {
    "X-RateLimit-Limit": _header("integer", "Places in the longest window.", 60),
    "X-RateLimit-Remaining": _header("integer", "Places that are left in it.", 59),
    "X-RateLimit-Reset": _header(
        "integer", "When its oldest place is free again, in seconds of the epoch.", 1_893_456_000
    ),
    "RateLimit-Policy": _header(
        "string", "Every window, after the IETF draft.", '"messages";q=60;w=60'
    ),
    "RateLimit": _header("string", "What is left of every window.", '"messages";r=59;t=60'),
}
"""On every answer of a limited route, as long as its limit is not 0."""

RETRY_AFTER = _header("integer", "Seconds until it is worth asking again.", 2)

IDEMPOTENCY_KEY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key gives the first outcome again and does nothing twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]*$"},
}


def document(app: FastAPI) -> Schema:
    """Return the OpenAPI document."""
    if app.openapi_schema is None:
        app.openapi_schema = _document(app)
    return app.openapi_schema


def _document(app: FastAPI) -> Schema:
    whole: Schema = FastAPI.openapi(app)
    whole["info"]["description"] = DESCRIPTION
    parts: Schema = whole.setdefault("components", {})
    schemas: Schema = parts.setdefault("schemas", {})
    schemas["Problem"] = PROBLEM
    # What FastAPI thinks it answers to bad input; here that is a 400 with a problem.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    parts["headers"] = RATE_HEADERS | {"Retry-After": RETRY_AFTER}
    parts["securitySchemes"] = {
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
        "bearer": {"type": "http", "scheme": "bearer"},
    }
    needed = {
        (route.path_format, method.lower()): need_of(route)
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
    }
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            need = needed[path, method]
            if need is not None and need.key:
                # OpenAPI 3.1 lets roles stand here for schemes that know no scopes.
                scopes = [] if need.scope is None else [need.scope]
                operation["security"] = [{"key": scopes}, {"bearer": scopes}]
            told = operation["responses"].get("422", {}).get("content", {})
            if "application/json" in told:
                del operation["responses"]["422"]
                operation["responses"] |= {
                    status: said
                    for status, said in _BAD_INPUT.items()
                    if status not in operation["responses"]
                }
            _tell_headers(operation, method.upper(), path)
    return whole


def _tell_headers(operation: Schema, method: str, path: str) -> None:
    """Name the headers that no route sets by itself: the layers in front of it do."""
    if method == "POST":
        fields: list[Schema] = operation.setdefault("parameters", [])
        if not any(field["name"] == IDEMPOTENCY_KEY["name"] for field in fields):
            fields.append(IDEMPOTENCY_KEY)
        for status, said in _OF_KEYS.items():
            operation["responses"].setdefault(status, said)
    limited = RATE_HEADERS if family_of(method, path) else {}
    for status, answer in operation["responses"].items():
        names = [*limited, *(["Retry-After"] if status in {"429", "503"} else [])]
        if names:
            told = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
            # Not in place: routes share their descriptions of errors.
            headers = {**answer.get("headers", {}), **told}
            operation["responses"][status] = {**answer, "headers": headers}
