"""The wire contract, a row for each row of it: what clients send, and the fields they read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from events.subjects import SessionId
from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode

ONE = SessionId("user", "one")
PAIR = {"userId": "user", "plubotId": "one"}
TEXT = {"to": "+49 170 1234567", "message": "hello", "options": {"linkPreview": False}}
CREATED = {"success", "status", "qr", "qrDataUrl", "data", "timestamp"}
STATUS = {
    *("success", "exists", "status", "phoneNumber", "lastActivity"),
    *("isReady", "isAuthenticated", "needsReconnection"),
}
CODE = {"success", "qr", "qrCode", "qrDataUrl", "status", "attempt", "expiresAt"}
SENT = {"success", "messageId", "commandId", "status", "timestamp", "ack"}
SESSION = {
    *("sessionId", "userId", "plubotId", "status", "isReady", "isAuthenticated", "createdAt"),
    *("updatedAt", "lastActivity", "qr", "qrDataUrl", "connectionState", "phoneNumber"),
    *("pushName", "error", "metrics"),
}
HEALTH = {"healthy", "status", "timestamp", "uptime", "checks"}

Given = Callable[[ScriptedNode], Awaitable[None]]


async def nothing(_: ScriptedNode) -> None:
    """Nobody has a session."""


async def ready(node: ScriptedNode) -> None:
    """One session, linked and ready."""
    await node.ready(ONE)


async def pairing(node: ScriptedNode) -> None:
    """One session that shows a code."""
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE)


@dataclass(frozen=True)
class Row:
    """A request in a world, and what comes back."""

    given: Given
    method: str
    path: str
    fields: set[str]
    body: object = None
    status: int = 200
    says: dict[str, object] = field(default_factory=dict[str, object])


ROWS = {
    "create": Row(nothing, "POST", "/api/sessions/create", CREATED, PAIR),
    "create with numbers": Row(
        nothing, "POST", "/api/sessions/create", CREATED, {"userId": 7, "plubotId": 8}
    ),
    "create again": Row(
        ready, "POST", "/api/sessions/create", CREATED, PAIR, says={"status": "ready"}
    ),
    "create anew": Row(ready, "POST", "/api/sessions/create", CREATED, PAIR | {"forceNew": True}),
    "initialize": Row(nothing, "POST", "/api/sessions/initialize", CREATED, PAIR),
    "list": Row(
        ready,
        *("GET", "/api/sessions?status=ready&userId=user"),
        {"sessions", "total", "pagination", "timestamp"},
        says={"total": 1},
    ),
    "list of nobody": Row(
        ready, "GET", "/api/sessions?userId=nobody", {"sessions"}, says={"total": 0}
    ),
    "show": Row(ready, "GET", "/api/sessions/user-one", {"success", "data"}),
    "show a pair": Row(ready, "GET", "/api/sessions/user/one", {"success", "data"}),
    "status": Row(ready, "GET", "/api/sessions/user-one/status", STATUS, says={"isReady": True}),
    "status of nothing": Row(
        nothing,
        *("GET", "/api/sessions/user-one/status"),
        {"error"},
        status=404,
        says={"success": False, "exists": False, "status": "not_found"},
    ),
    "stats": Row(
        ready, "GET", "/api/sessions/stats", {"byUser", "byStatus", "averageUptime", "breakers"}
    ),
    "refresh": Row(pairing, "POST", "/api/sessions/user-one/refresh-qr", CREATED, {}),
    "refresh a pair": Row(pairing, "POST", "/api/sessions/refresh-qr", CREATED, PAIR),
    "reconnect": Row(ready, "POST", "/api/sessions/user-one/reconnect", {"success", "status"}, {}),
    "disconnect": Row(
        *(ready, "POST", "/api/sessions/user-one/disconnect", {"success"}, {}),
        says={"status": "stopped"},
    ),
    "logout": Row(
        *(ready, "POST", "/api/sessions/user-one/logout", {"success"}, {}),
        says={"status": "logged_out"},
    ),
    "delete": Row(ready, "DELETE", "/api/sessions/user-one", {"success"}),
    "code": Row(pairing, "GET", "/api/qr/user-one", CODE, says={"status": "waiting_qr"}),
    "code of a pair": Row(pairing, "GET", "/api/qr/user/one", CODE),
    "code of a new session": Row(nothing, "GET", "/api/qr/user/one", CODE),
    "code of a linked one": Row(
        ready, "GET", "/api/qr/user/one", {"success", "phoneNumber"}, says={"status": "ready"}
    ),
    "send": Row(
        *(ready, "POST", "/api/messages/send", SENT, TEXT | {"sessionId": "user-one"}),
        says={"status": "sent", "success": True},
    ),
    "send for a user": Row(
        *(ready, "POST", "/api/messages/send", SENT, TEXT | {"userId": "user"}),
        says={"sessionId": "user-one"},
    ),
    "send through": Row(
        ready, "POST", "/api/sessions/user-one/messages", {"success", "data"}, TEXT
    ),
    "send without a link": Row(
        *(pairing, "POST", "/api/messages/send", {"error"}, TEXT | {"sessionId": "user-one"}),
        status=409,
    ),
    "history": Row(ready, "GET", "/api/messages/user-one/history?limit=50", {"messages"}),
    "health": Row(nothing, "GET", "/health", HEALTH),
    "health in detail": Row(
        *(nothing, "GET", "/health?detailed=true"),
        HEALTH | {"current", "history", "statistics", "webhooks", "recommendations"},
    ),
    "alive": Row(nothing, "GET", "/health/live", {"status"}),
    "ready": Row(nothing, "GET", "/health/ready", {"status"}),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_a_row_of_the_contract(running: Running, node: ScriptedNode, row: Row) -> None:
    await row.given(node)

    answer = await running.http.request(row.method, row.path, json=row.body)

    assert answer.status_code == row.status, answer.text
    body = answer.json()
    assert body.keys() >= row.fields
    assert {name: body[name] for name in row.says} == row.says
    for session in [body.get("data"), *body.get("sessions", [])]:
        if isinstance(session, dict) and "plubotId" in session:
            assert session.keys() >= SESSION


BROWSER = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


@pytest.mark.parametrize("path", ["/health/live", "/api/sessions", "/api/nothing", "/docs"])
async def test_every_answer_tells_browsers_to_keep_and_show_nothing(
    alone: Running, path: str
) -> None:
    answer = await alone.http.get(path)

    assert {name: answer.headers.get(name) for name in BROWSER} == BROWSER
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_refusal_at_the_door_tells_them_too(alone: Running) -> None:
    answer = await alone.http.get("/api/sessions", headers={"x-api-key": "wrong"})

    assert answer.status_code == 401
    assert {name: answer.headers.get(name) for name in BROWSER} == BROWSER
