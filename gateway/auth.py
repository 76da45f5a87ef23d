"""Who may call: one admin key today, checked on every route but the three health ones.

A key is looked at in one place, before any route is: what is not named here as
open is closed. Keys of single tenants will be told apart here as well, and a
known key that may not do something is then the 403 of the contract.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from events.settings import Settings
from gateway.keyfile import kept
from gateway.problems import Problem

OPEN = frozenset({"/socket.io/", "/health", "/health/live", "/health/ready"})
KEY_IN_QUERY = frozenset({"/api/events", "/socket.io/", "/ws", "/docs", "/openapi.json"})
"""Where a browser cannot send a header, `?api_key=` will do."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a key belongs to; `user` is None for an admin key, which sees everyone's sessions."""

    user: str | None = None


def admin_key(settings: Settings) -> str:
    """Return `API_KEY`, or the key in its file, which is made if it is not there."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    return kept(settings.api_key_file, lambda: secrets.token_urlsafe(32))


class Keys:
    """The keys there are: one, of the admin."""

    def __init__(self, first: str) -> None:
        self._digest = _digest(first)

    async def caller(self, key: str) -> Caller:
        """Tell whose key this is; raises Problem 401."""
        # Digests are of one length, so the time taken tells nothing of the key.
        if not hmac.compare_digest(_digest(key), self._digest):
            raise Problem(401, "unknown_key", "This API key is not known.")
        return Caller()


class Auth:
    """ASGI middleware that lets nobody in without a key."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or _is_open(scope):
            await self._app(scope, receive, send)
            return
        try:
            scope.setdefault("state", {})["caller"] = await self._caller(scope)
        except Problem as problem:
            await refuse(problem, scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> Caller:
        key = key_of(scope)
        if key is None:
            raise Problem(401, "no_key", "An API key is needed: send it as x-api-key.")
        return await self._keys.caller(key)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the handshake of a WebSocket, with a problem."""
    response = problem.response()
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    await receive()  # websocket.connect
    start = {"status": response.status_code, "headers": response.raw_headers}
    await send({"type": "websocket.http.response.start", **start})
    await send({"type": "websocket.http.response.body", "body": response.body})


def _is_open(scope: Scope) -> bool:
    return scope["path"] in OPEN


def key_of(scope: Scope) -> str | None:
    """Return the key that came with a request, if one did."""
    headers = Headers(scope=scope)
    # Where both headers come, this one decides: clients send their own user's
    # token in the other.
    key = headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if scope["path"] in KEY_IN_QUERY:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("api_key", [""])[0]
        return given or None
    return None


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
