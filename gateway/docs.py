"""The OpenAPI document, and a page that shows it.

The page is made here and needs nothing but itself: FastAPI's own loads Swagger
from a CDN, and a service that is self-hosted should have its manual offline.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from gateway.answers import errors
from gateway.callers import ANY_KEY, need_of, needs

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
    return whole


@needs(ANY_KEY)
async def openapi(request: Request) -> Response:
    """Give the document."""
    return JSONResponse(document(request.app))


@needs(ANY_KEY)
async def page(request: Request) -> Response:
    """Show the document."""
    # Nothing may be loaded from anywhere, and no script runs: a text from the
    # document could not do anything even if it tried.
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return HTMLResponse(render(document(request.app)), headers={"Content-Security-Policy": policy})


def render(whole: Schema) -> str:
    """Write the document as one HTML page."""
    routes = [
        (path, method, operation)
        for path, operations in whole["paths"].items()
        for method, operation in operations.items()
    ]
    listed = "".join(
        f'<li><a href="#{_anchor(path, method)}"><b>{method.upper()}</b> {escape(path)}</a> '
        f"{escape(operation.get('summary', ''))}</li>"
        for path, method, operation in routes
    )
    shown = "".join(_route(*route) for route in routes)
    schemas = "".join(
        f"<details><summary>{escape(name)}</summary>{_code(schema)}</details>"
        for name, schema in whole["components"]["schemas"].items()
    )
    title = escape(whole["info"]["title"])
    about = escape(whole["info"]["description"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f'<h1>{title}</h1><p>{about}</p><p>The same for machines: <a href="openapi.json">'
        f'openapi.json</a>; what goes over NATS: <a href="asyncapi.json">asyncapi.json</a></p>'
        f"<ul>{listed}</ul>{shown}<h2>Schemas</h2>{schemas}</html>"
    )


def _route(path: str, method: str, operation: Schema) -> str:
    fields = "".join(
        f"<tr><td>{escape(field['name'])}</td><td>{field['in']}</td>"
        f"<td>{'yes' if field.get('required') else 'no'}</td>"
        f"<td>{escape(field.get('description', ''))}</td></tr>"
        for field in operation.get("parameters", [])
    )
    table = f"<table><tr><th>Name<th>In<th>Needed<th>Says</tr>{fields}</table>" if fields else ""
    bodies = "".join(
        _code(example)
        for media in operation.get("requestBody", {}).get("content", {}).values()
        for example in media.get("schema", {}).get("examples", []) or media.get("examples", [])
    )
    answers = "".join(_answer(status, answer) for status, answer in operation["responses"].items())
    return (
        f'<section id="{_anchor(path, method)}"><h2><b>{method.upper()}</b> {escape(path)}</h2>'
        f"<p>{escape(operation.get('description', operation.get('summary', '')))}</p>"
        f"{table}{f'<h3>Body</h3>{bodies}' if bodies else ''}<h3>Answers</h3>{answers}</section>"
    )


def _answer(status: str, answer: Schema) -> str:
    shown = "".join(
        _code(media.get("example", media.get("schema", {})))
        for media in answer.get("content", {}).values()
    )
    says = escape(answer.get("description", ""))
    return f"<details><summary>{status} {says}</summary>{shown}</details>"


def _anchor(path: str, method: str) -> str:
    return escape(f"{method}{path}".replace("/", "-").replace("{", "").replace("}", ""))


def _code(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"


STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem;
color:#1c2b26;background:#fbfcfa}
h2{font:600 1.1rem ui-monospace,monospace;border-top:1px solid #cdd8d2;padding-top:1.2rem}
h2 b,li b{color:#0b6b4f}a{color:inherit}ul{list-style:none;padding:0}
li{font-family:ui-monospace,monospace;font-size:.85rem}
h3{font-size:.9rem;margin-bottom:.3rem}summary{cursor:pointer}
pre{background:#eef3f0;padding:.7rem;overflow-x:auto;font-size:.8rem}
table{border-collapse:collapse;font-size:.9rem}td,th{text-align:left;padding:.2rem .8rem .2rem 0}
@media(prefers-color-scheme:dark){body{background:#101714;color:#dbe6e0}
pre{background:#1a2420}h2 b,li b{color:#5fcfa5}h2{border-color:#2c3a34}}
"""
