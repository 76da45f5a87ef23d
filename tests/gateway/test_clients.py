"""How client programs spell what they send: nothing of it is any business of theirs to change."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import httpx
import pytest

from events.subjects import SessionId
from tests.gateway.conftest import KEY, Running, serving, settings_for
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.sockets import connect
from tests.gateway.test_errors import is_problem

ONE = SessionId("user", "one")
PAIR = {"userId": "user", "plubotId": "one"}
CREATE = "/api/sessions/create"
PAGE = "https://app.example"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON;charset=UTF8"]
)
async def test_json_may_say_in_which_letters_it_is_written(
    http: httpx.AsyncClient, node: ScriptedNode, kind: str
) -> None:
    body = json.dumps(PAIR | {"extra": "é"}, ensure_ascii=False).encode()

    answer = await http.post(CREATE, content=body, headers={"content-type": kind})

    assert answer.status_code == 200, answer.text


async def test_json_may_begin_with_a_byte_order_mark(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    answer = await http.post(CREATE, content=b"\xef\xbb\xbf" + json.dumps(PAIR).encode())

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b'{"reason": "night"}'])
async def test_what_needs_no_body_takes_any(
    http: httpx.AsyncClient, node: ScriptedNode, body: bytes
) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/sessions/user-one/disconnect", content=body)

    assert (answer.status_code, answer.json()["status"]) == (200, "stopped"), answer.text


async def test_a_slash_at_the_end_changes_nothing(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    for path in (
        "/api/sessions/",
        "/api/sessions/user-one/",
        "/api/sessions/user/one/",
        "/health/",
    ):
        assert (await http.get(path)).status_code == 200, path
    sent = await http.post(
        "/api/messages/send/", json={"sessionId": "user-one", "to": "491701234567", "message": "x"}
    )
    assert sent.status_code == 200


@pytest.mark.parametrize(
    "path", ["/api/sessions/", "/api/messages/send/", "/socket.io", "/metrics/"]
)
async def test_a_slash_at_the_end_opens_nothing(alone: Running, path: str) -> None:
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        answer = await http.get(path)

    # Socket.IO asks for the key itself, once it is spoken.
    assert answer.status_code == (400 if path == "/socket.io" else 401)


async def test_a_slash_at_the_end_is_counted_like_none(tmp_path: Path) -> None:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, sends_per_minute=60)
    async with serving(settings, FakeReads()) as running:
        answer = await running.http.post("/api/messages/send/", json={})

    assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (400, "60")


async def test_socketio_may_leave_its_slash_out(running: Running, node: ScriptedNode) -> None:
    opened = await running.http.get("/socket.io?EIO=4&transport=polling")

    assert opened.status_code == 200
    assert '"sid"' in opened.text


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/api/sessions", "/api/sessions/user-one", "/metrics"]
)
async def test_a_head_is_a_get_without_its_body(
    http: httpx.AsyncClient, node: ScriptedNode, path: str
) -> None:
    await node.ready(ONE)

    whole = await http.get(path)
    head = await http.head(path)

    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]


async def test_a_stream_has_no_head(alone: Running) -> None:
    assert (await alone.http.head("/api/events")).status_code == 405


@pytest.mark.parametrize("path", ["/api/qr/user/one", "/api/qr/user-one"])
async def test_a_code_has_no_head_because_to_get_one_starts_its_session(
    http: httpx.AsyncClient, node: ScriptedNode, path: str
) -> None:
    await node.registered(ONE)

    head = await http.head(path)

    assert head.status_code == 405
    assert head.headers["allow"] == "GET"
    assert node.commands == []


async def test_parameters_without_a_value_are_none(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    answer = await http.get("/api/sessions?status=&userId=")

    assert (answer.status_code, answer.json()["total"]) == (200, 1)


async def test_a_body_that_is_packed_is_refused_unopened(alone: Running) -> None:
    body = gzip.compress(json.dumps(PAIR).encode())

    problem = is_problem(
        await alone.http.post(CREATE, content=body, headers={"content-encoding": "gzip"}), 415
    )

    assert "Content-Encoding" in problem["detail"]


async def test_a_client_that_asks_first_whether_it_may_go_on_is_told_so(
    running: Running, node: ScriptedNode
) -> None:
    body = json.dumps(PAIR).encode()
    head = (
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nExpect: 100-continue\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)

    writer.write(head.encode())
    asked = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.write(body)
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    writer.close()

    assert asked.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_one_that_asks_first_and_has_too_much_sends_none_of_it(alone: Running) -> None:
    head = (
        f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nExpect: 100-continue\r\n"
        f"Content-Length: 5000000\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.port)

    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_connection_is_kept_for_the_next_request(
    running: Running, node: ScriptedNode
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    ask = f"GET /api/sessions/stats HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\n\r\n".encode()

    for _ in range(3):
        writer.write(ask)
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        length = int(told.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        assert told.startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_pages_may_send_what_their_tools_add_and_cookies_that_open_nothing(
    tmp_path: Path,
) -> None:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, cors_origins=PAGE)
    asked = {
        "origin": PAGE,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key, x-requested-with, traceparent",
    }
    async with (
        serving(settings, FakeReads()) as running,
        httpx.AsyncClient(base_url=running.url, headers={"origin": PAGE}, timeout=40) as http,
    ):
        before = await http.options(CREATE, headers=asked)
        refused = await http.get("/api/sessions", headers={"cookie": "session=1"})

    assert before.status_code == 200
    assert "x-requested-with" in before.headers["access-control-allow-headers"]
    assert before.headers["access-control-allow-credentials"] == "true"
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == PAGE


async def test_where_every_page_may_call_none_may_bring_cookies(tmp_path: Path) -> None:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, cors_origins="*")
    async with serving(settings, FakeReads()) as running:
        answer = await running.http.get("/api/sessions", headers={"origin": PAGE})

    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


async def test_the_live_feed_goes_on_from_the_position_of_an_answer(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    shown = await running.http.get("/api/sessions/user-one")
    history = await running.http.get("/api/messages/user-one/history")
    place = int(shown.headers["x-position"])

    position = await node.message(ONE, received("meanwhile"))
    later = await running.http.get("/api/messages/user-one/history")
    socket = await connect(running, session="user-one", since=place)
    _, missed = await socket.frames(2)
    await socket.close()

    assert "x-position" not in history.headers
    assert (missed["event"], missed["position"]) == ("message-received", position)
    assert later.headers["x-position"] == str(position)
