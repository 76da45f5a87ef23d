"""The gate: every request shows its key here, before its route and before its body.

What a route needs stands beside the route (`gateway/callers.py`); what is open to
all says so, and what says nothing is open to nobody. The first admin key is made here.
"""

from __future__ import annotations

import secrets
from urllib.parse import parse_qs

from fastapi.routing import RouteContext, iter_route_contexts
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from events.keyfile import kept
from events.settings import Settings
from gateway.callers import ANY_KEY, Caller, Need, need_of
from gateway.keyring import Keyring
from gateway.problems import Problem

KEY_IN_QUERY = frozenset(
    {"/api/events", "/socket.io/", "/ws", "/docs", "/openapi.json", "/asyncapi.json"}
)
"""Where a browser cannot send a header, `?api_key=` will do."""


def admin_key(settings: Settings) -> str:
    """Return `API_KEY`, or the key in its file, which is made if it is not there."""
    if settings.api_key is not None:
        return settings.api_key.get_secret_value()
    return kept(settings.api_key_file, lambda: secrets.token_urlsafe(32))


class Auth:
    """ASGI middleware: nobody passes without the key that the route needs."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring
        self._routes: list[RouteContext] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        try:
            need = self._need(scope)
            if need.key:
                caller = await self._caller(scope)
                need.met_by(caller)
                scope.setdefault("state", {})["caller"] = caller
        except Problem as problem:
            await refuse(problem, scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _need(self, scope: Scope) -> Need:
        """Tell what the route of a request needs. Looked at first, so that no body is read."""
        if not self._routes:
            self._routes = list(iter_route_contexts(scope["app"].routes))
        for route in self._routes:
            match: Match = route.matches(scope)[0]
            if match is Match.FULL:
                need = need_of(route)
                if need is None:
                    raise Problem(403, "undeclared", "This route does not say who may use it.")
                return need
        # No such route, or not with this method: that is for those with a key to know.
        return ANY_KEY

    async def _caller(self, scope: Scope) -> Caller:
        key = key_of(scope)
        if key is None:
            raise Problem(401, "no_key", "An API key is needed: send it as x-api-key.")
        return await self._keyring.caller(key)


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
