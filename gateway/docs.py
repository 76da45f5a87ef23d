"""The page that shows the OpenAPI document.

It is made here and needs nothing but itself: FastAPI's own loads Swagger
from a CDN, and a service that is self-hosted should have its manual offline.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from gateway.callers import ANY_KEY, needs
from gateway.openapi import document

Schema = dict[str, Any]


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
