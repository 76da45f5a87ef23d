"""Who may do what, on every route there is: walked, so that a new one cannot be forgotten."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import RouteContext, iter_route_contexts

from events.settings import Settings
from events.subjects import SessionId
from gateway import docs
from gateway.app import create_app
from gateway.callers import SCOPES, need_of
from tests.gateway import sockets
from tests.gateway.conftest import KEY, Running, key_for
from tests.gateway.node import ScriptedNode, received
from tests.gateway.test_errors import is_problem

MINE = SessionId("acme", "bot")
THEIRS = SessionId("globex", "shop")
NOBODYS = SessionId("nobody", "none")
SAID = "what globex was told"


def shown(route: RouteContext) -> str:
    """The route's path as the document writes it: `{id}`, not `{id:key}`."""
    return re.sub(r":\w+(?=})", "", route.path or "")


PLACE = tempfile.TemporaryDirectory()
APP = create_app(Settings(data_dir=Path(PLACE.name)), KEY)
ROUTES: dict[str, RouteContext] = {
    f"{'/'.join(sorted(route.methods or {'WS'}))} {shown(route)}": route
    for route in iter_route_contexts(APP.routes)
}
CLOSED = {name: route for name, route in ROUTES.items() if (need := need_of(route)) and need.key}
SCOPED = {
    name: (route, need.scope)
    for name, route in CLOSED.items()
    if (need := need_of(route)) and need.scope
}
FOR_ADMINS = {
    name: route for name, route in CLOSED.items() if (need := need_of(route)) and need.admin
}

WORDS = {"chat": "491701111111@c.us", "number": "491701111111", "contact": "491701111111@c.us"}
"""What else stands in paths; any word will do where no other is needed."""


FILE = object()
"""Stands for a body that is a form with a file."""
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Call:
    """A request as the document describes it, made about one session."""

    method: str
    path: str
    names: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict)

    async def made(self, http: httpx.AsyncClient, key: str) -> httpx.Response:
        headers = {"x-api-key": key}
        if self.body is FILE:
            form = {"data": {"to": "491701111111"}, "files": {"file": ("a.png", PNG)}}
            return await http.request(self.method, self.path, headers=headers, **form)
        return await http.request(
            self.method, self.path, headers=headers, json=self.body, params=self.query
        )


def path_of(route: RouteContext, session: SessionId = THEIRS) -> str:
    """Fill in a route's path."""
    return fill(route.path or "", session)


def fill(path: str, session: SessionId) -> str:
    words = WORDS | {"userId": session.user, "plubotId": session.bot}
    if path.startswith("/api/webhooks"):
        words["id"] = "1"
    elif not path.startswith("/api/keys"):
        words["id"] = session.joined
    return re.sub(r"{(\w+)(:\w+)?}", lambda name: words.get(name[1], "0123456789abcdef"), path)


def about(value: Any, session: SessionId) -> Any:
    """Have an example of a body speak of a session."""
    match value:
        case dict():
            names = {
                "userId": session.user,
                "plubotId": session.bot,
                "sessionId": session.joined,
                "session": session.joined,
            }
            return {k: names[k] if k in names else about(v, session) for k, v in value.items()}
        case list():
            return [about(one, session) for one in value]
        case _:
            return value


def calls(session: SessionId) -> Iterator[Call]:
    """Describe a request for each operation and each way in which it may name a session."""
    whole = docs.document(APP)
    for path, operations in whole["paths"].items():
        for method, operation in operations.items():
            if not operation.get("security") or f"{method.upper()} {path}" in FOR_ADMINS:
                continue
            if "text/event-stream" in operation["responses"]["200"].get("content", {}):
                continue  # It never ends: see the live feed below.
            filled = fill(path, session)
            named = "user" if "{userId}" in path else "session" if "{id}" in path else ""
            asked = [p for p in operation.get("parameters", []) if p["in"] == "query"]
            fields = {p["name"] for p in asked}
            needed = {p["name"]: "a" for p in asked if p.get("required")}
            yield from (
                Call(method, filled, named or named_in(body), body, needed)
                for body in bodies(operation, session)
            )
            if "userId" in fields:
                yield Call(method, filled, "user", query={"userId": session.user})
            if "session" in fields:
                yield Call(method, filled, "session", query={"session": session.joined})


def bodies(operation: Any, session: SessionId) -> list[Any]:
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        return [FILE]
    media = content.values()
    shown = [e for m in media for e in m.get("schema", {}).get("examples", m.get("examples", []))]
    assert shown or not media, "a body without an example cannot be tried"
    return [about(body, session) for body in shown] or [None]


def named_in(body: Any) -> str:
    """Tell how a body names a session: its user (which decides), its id, or not at all."""
    if not isinstance(body, dict):
        return ""
    return "user" if "userId" in body else "session" if {"sessionId", "session"} & set(body) else ""


@pytest.fixture
async def two(node: ScriptedNode) -> ScriptedNode:
    """Two tenants with a ready session and a message each."""
    for session in (MINE, THEIRS):
        await node.ready(session)
    await node.message(THEIRS, received(SAID))
    return node


# --- what routes say ------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_every_route_says_what_it_needs(route: RouteContext) -> None:
    assert need_of(route) is not None, "put @needs(...) on it: see gateway/callers.py"


def test_only_health_and_the_console_s_empty_pages_are_open_to_all() -> None:
    health = {"GET /health", "GET /health/live", "GET /health/ready"}
    console = {"GET /", "GET /console/{digest}/{name}"}
    # Socket.IO asks for the key in its own handshake.
    assert set(ROUTES) - set(CLOSED) == health | console | {"WS /socket.io"}


def test_every_route_that_needs_a_scope_says_so_in_the_document() -> None:
    whole = docs.document(APP)

    for route, scope in SCOPED.values():
        for method in route.methods or ():
            told = whole["paths"][route.path_format][method.lower()]["security"]
            assert told == [{"key": [scope]}, {"bearer": [scope]}]


# --- no key, and a key that may not ---------------------------------------------------------


async def test_no_route_opens_without_a_key(alone: Running) -> None:
    del alone.http.headers["x-api-key"]

    for name, route in CLOSED.items():
        if route.methods is None:
            with pytest.raises(sockets.Rejected) as rejected:
                await sockets.connect(alone, headers={})
            assert rejected.value.status == 401, name
            continue
        for method in route.methods - {"HEAD"}:
            is_problem(await alone.http.request(method, path_of(route)), 401)


async def test_no_route_opens_to_a_key_that_lacks_its_scope(running: Running) -> None:
    for name, (route, scope) in SCOPED.items():
        key = await key_for(running.http, None, *(SCOPES - {scope}))

        if route.methods is None:
            with pytest.raises(sockets.Rejected) as rejected:
                await sockets.connect(running, headers={"x-api-key": key})
            assert rejected.value.status == 403, name
            continue
        for method in route.methods:
            call = Call(method, path_of(route), "")
            problem = is_problem(await call.made(running.http, key), 403)
            assert scope in problem["detail"], name


async def test_what_is_for_admins_is_for_no_user(running: Running) -> None:
    key = await key_for(running.http, MINE.user)

    for route in FOR_ADMINS.values():
        for method in route.methods or ():
            answer = await Call(method, path_of(route), "").made(running.http, key)
            assert is_problem(answer, 403)["reason"] == "admins_only"


# --- another user's sessions ------------------------------------------------------------------


async def test_no_route_touches_or_shows_another_users_session(
    running: Running, two: ScriptedNode
) -> None:
    """A user that is named is a 403; a session's id is a 404; a list leaves it out."""
    key = await key_for(running.http, MINE.user)
    tried = 0

    for call in calls(THEIRS):
        answer = await call.made(running.http, key)

        match call.names:
            case "user":
                assert answer.status_code == 403, (call, answer.text)
            case "session":
                assert answer.status_code == 404, (call, answer.text)
            case _:
                assert answer.status_code < 500, (call, answer.text)
        for secret in (SAID, '"globex"', "globex-shop"):
            assert secret not in answer.text or call.names == "session", (call, answer.text)
        assert SAID not in answer.text
        tried += 1

    assert tried > 20
    assert [session for session, _ in two.commands if session != MINE] == []


async def test_another_users_session_is_answered_like_one_that_does_not_exist(
    running: Running, two: ScriptedNode
) -> None:
    key = await key_for(running.http, MINE.user)

    for theirs, nobodys in zip(calls(THEIRS), calls(NOBODYS), strict=True):
        if theirs.names != "session":
            continue
        one, other = [await call.made(running.http, key) for call in (theirs, nobodys)]

        assert one.status_code == other.status_code, theirs
        assert one.json() == about_them(other), theirs


def about_them(answer: httpx.Response) -> Any:
    """Read an answer about nobody's session as if it were about theirs."""
    return httpx.Response(200, text=answer.text.replace(NOBODYS.joined, THEIRS.joined)).json()


async def test_a_user_reaches_its_own_sessions(running: Running, two: ScriptedNode) -> None:
    key = await key_for(running.http, MINE.user)
    send = {"to": "491701234567", "message": "hello"}

    async with httpx.AsyncClient(
        base_url=running.url, headers={"x-api-key": key}, timeout=40
    ) as http:
        listed = await http.get("/api/sessions")
        shown = await http.get(f"/api/sessions/{MINE.user}/{MINE.bot}")
        stats = await http.get("/api/sessions/stats")
        sent = await http.post("/api/messages/send", json=send | {"userId": MINE.user})
        by_whoever_calls = await http.post("/api/messages/send", json=send)
        rested = await http.post(f"/api/sessions/{MINE.joined}/disconnect")

    assert [s["sessionId"] for s in listed.json()["sessions"]] == [MINE.joined]
    assert stats.json()["byUser"] == {MINE.user: 1}
    answers = (shown, sent, by_whoever_calls, rested)
    assert [answer.status_code for answer in answers] == [200] * 4


async def test_a_user_and_an_id_that_do_not_agree_are_refused(
    running: Running, two: ScriptedNode
) -> None:
    key = await key_for(running.http, MINE.user)
    body = {"sessionId": MINE.joined, "userId": THEIRS.user, "to": "491701234567", "message": "x"}

    answer = await Call("POST", "/api/messages/send", "", body).made(running.http, key)

    assert is_problem(answer, 403)["reason"] == "not_yours"


# --- the live feed ----------------------------------------------------------------------------


async def test_a_user_hears_its_own_sessions_only(running: Running, two: ScriptedNode) -> None:
    key = await key_for(running.http, MINE.user)
    socket = await sockets.connect(running, headers={"x-api-key": key}, session="*", since=0)
    await two.message(THEIRS, received("still theirs"))
    await two.message(MINE, received("the last"))

    frames = [await socket.frame()]
    while frames[-1]["payload"].get("message", {}).get("body") != "the last":
        frames.append(await socket.frame())

    assert {frame["session"] for frame in frames} == {MINE.joined}
    await socket.close()


async def test_a_stream_is_fenced_like_a_socket(running: Running, two: ScriptedNode) -> None:
    key = await key_for(running.http, MINE.user)
    await two.message(MINE, received("the last"))
    told = ""

    asked = running.http.stream("GET", "/api/events?since=0", headers={"x-api-key": key})
    async with asked as answer, asyncio.timeout(30):
        async for text in answer.aiter_text():
            told += text
            if "the last" in told:
                break

    assert MINE.joined in told
    assert THEIRS.joined not in told
    assert SAID not in told


async def test_anothers_session_is_silent(running: Running, two: ScriptedNode) -> None:
    key = await key_for(running.http, MINE.user)
    theirs, nobodys = [
        await sockets.connect(running, headers={"x-api-key": key}, session=session.joined)
        for session in (THEIRS, NOBODYS)
    ]
    await two.message(THEIRS, received("still theirs"))

    first, second = await theirs.frame(), await nobodys.frame()

    assert first["payload"].keys() == second["payload"].keys()
    assert first["payload"]["state"] == second["payload"]["state"]
    assert await theirs.quiet()
    await theirs.close()
    await nobodys.close()
