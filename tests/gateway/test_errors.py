"""What goes wrong, and how it is said: a problem that names the field and the rule."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from events.session import WORDS
from events.subjects import SessionId
from gateway import bodies
from gateway.sessions import Word
from tests.gateway.conftest import KEY, Running, logged, serving, settings_for
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads

ONE = SessionId("user", "one")
RULE = "1 to 64 characters of A-Z, a-z, 0-9, _ and -"
SEND = {"sessionId": "user-one", "to": "491701234567", "message": "hello"}


def is_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check the shape that every error has, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body.keys() >= {"type", "title", "status", "detail", "success", "error"}
    assert (body["status"], body["success"]) == (status, False)
    assert body["error"] == body["detail"]
    if status in {429, 503}:
        assert int(answer.headers["retry-after"]) >= 1
        assert body["retryAfter"] >= 1
    for secret in ("Traceback", "127.0.0.1", "localhost", ".py"):
        assert secret not in answer.text
    return body


CREATE = "/api/sessions/create"
MESSAGE = "/api/messages/send"
BAD: dict[str, tuple[str, object, str, str]] = {
    "no user": (CREATE, {"plubotId": "one"}, "userId", "is missing"),
    "no bot": (CREATE, {"userId": "user"}, "plubotId", "is missing"),
    "a dot": (CREATE, {"userId": "a.b", "plubotId": "one"}, "userId", RULE),
    "a star": (CREATE, {"userId": "user", "plubotId": "*"}, "plubotId", RULE),
    "a wildcard": (CREATE, {"userId": ">", "plubotId": "one"}, "userId", RULE),
    "a blank": (CREATE, {"userId": "a b", "plubotId": "one"}, "userId", RULE),
    "a line break": (CREATE, {"userId": "a\n", "plubotId": "one"}, "userId", RULE),
    "nothing": (CREATE, {"userId": "", "plubotId": "one"}, "userId", RULE),
    "65 characters": (CREATE, {"userId": "a" * 65, "plubotId": "one"}, "userId", RULE),
    "not ASCII": (CREATE, {"userId": "é", "plubotId": "one"}, "userId", RULE),
    "null": (CREATE, {"userId": None, "plubotId": "one"}, "userId", "text or a whole number"),
    "true": (CREATE, {"userId": True, "plubotId": "one"}, "userId", "text or a whole number"),
    "a fraction": (CREATE, {"userId": 1.5, "plubotId": "one"}, "userId", "text or a whole number"),
    "a list": (CREATE, {"userId": ["a"], "plubotId": "one"}, "userId", "text or a whole number"),
    "force as words": (
        CREATE,
        {"userId": "a", "plubotId": "b", "forceNew": "perhaps"},
        "forceNew",
        "must be true or false",
    ),
    "a list for a body": (CREATE, [], "The body", "must be a JSON object"),
    "text for a body": (CREATE, "hello", "The body", "must be a JSON object"),
    "null for a body": (CREATE, None, "The body", "is missing"),
    "no recipient": (MESSAGE, {"sessionId": "a-b", "message": "hello"}, "to", "is missing"),
    "a word for a number": (MESSAGE, SEND | {"to": "mother"}, "to", "phone number"),
    "a list for a number": (MESSAGE, SEND | {"to": ["1"]}, "to", "text or a whole number"),
    "no country code": (MESSAGE, SEND | {"to": "0170 1234567"}, "to", "country code"),
    "no text": (MESSAGE, {"sessionId": "a-b", "to": "491701234567"}, "message", "is missing"),
    "an empty text": (MESSAGE, SEND | {"message": ""}, "message", "must not be empty"),
    "a blank text": (MESSAGE, SEND | {"message": " \n"}, "message", "must not be empty"),
    "a number for a text": (MESSAGE, SEND | {"message": 7}, "message", "must be text"),
    "options that are none": (MESSAGE, SEND | {"options": "x"}, "options", "must be an object"),
    "no sender": (MESSAGE, {"to": "491701234567", "message": "x"}, "sessionId", "is missing"),
    "a dot in a session": (MESSAGE, SEND | {"sessionId": "a.b"}, "sessionId", "session id"),
}


@pytest.mark.parametrize(("path", "body", "field", "rule"), BAD.values(), ids=BAD)
async def test_bad_input_names_the_field_and_the_rule(
    alone: Running, path: str, body: object, field: str, rule: str
) -> None:
    answer = await alone.http.post(path, json=body)

    problem = is_problem(answer, 400)
    assert field in problem["detail"]
    assert rule in problem["detail"]


BROKEN = {
    "cut short": b'{"userId": "a"',
    "no JSON": b"userId=a&plubotId=b",
    "not UTF-8": b'{"userId": "\xff\xfe", "plubotId": "b"}',
    "half a surrogate": b'{"userId": "\\ud800", "plubotId": "b"}',
    "deep": b"[" * 100_000,
    "a long number": b'{"userId": ' + b"9" * 10_000 + b', "plubotId": "b"}',
    "empty": b"",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
async def test_a_broken_body_is_bad_input(alone: Running, raw: bytes) -> None:
    said = {"content-type": "application/json"}

    is_problem(await alone.http.post(CREATE, content=raw, headers=said), 400)


async def test_half_a_surrogate_in_a_text_is_bad_input(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    raw = b'{"sessionId": "user-one", "to": "491701234567", "message": "\\ud83d"}'

    is_problem(await http.post(MESSAGE, content=raw), 400)


async def test_json_is_read_whatever_it_is_called(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    for called in ("text/plain;charset=UTF-8", "application/x-www-form-urlencoded"):
        answer = await http.post(
            CREATE,
            content=b'{"userId": "user", "plubotId": "one"}',
            headers={"content-type": called},
        )

        assert answer.status_code == 200


PATHS = {
    "a dot in an id": "/api/sessions/a.b",
    "a wildcard in an id": "/api/sessions/%3E%3E%3E",
    "a blank in an id": "/api/sessions/a%20b",
    "a dot in a user": "/api/sessions/a.b/c",
    "a star in a bot": "/api/qr/a/*",
    "a long id": f"/api/sessions/{'a' * 130}",
    "a broken escape": "/api/sessions/%ff%fe%fd",
    "a status that is none": "/api/sessions?status=asleep",
    "a user that is none": "/api/sessions?userId=a.b",
    "a limit that is none": "/api/messages/user-one/history?limit=many",
    "a limit of nothing": "/api/messages/user-one/history?limit=0",
    "a huge page": "/api/sessions?page=99999999999999999999",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
async def test_a_bad_address_is_bad_input(alone: Running, path: str) -> None:
    is_problem(await alone.http.get(path), 400)


UNKNOWN = (
    ("GET", "/api/sessions/nobody-none"),
    ("GET", "/api/sessions/nobody/none"),
    ("DELETE", "/api/sessions/nobody-none"),
    ("GET", "/api/messages/nobody-none/history"),
    ("GET", "/api/qr/nobody-none"),
    ("GET", "/api/nothing"),
    ("GET", "/console/of-yesterday/app.js"),
    ("GET", "/api/sessions//"),
)


@pytest.mark.parametrize(("method", "path"), UNKNOWN)
async def test_what_is_not_there_is_a_404(alone: Running, method: str, path: str) -> None:
    is_problem(await alone.http.request(method, path), 404)


async def test_a_send_through_nothing_is_a_404(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    is_problem(await http.post(MESSAGE, json=SEND), 404)


async def test_a_route_that_is_named_tells_its_own_methods_alone(alone: Running) -> None:
    answer = await alone.http.request("OPTIONS", "/api/sessions/create")

    is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


async def test_the_wrong_method_is_a_405(alone: Running) -> None:
    answer = await alone.http.put("/api/webhooks/name/dead/id", json={})

    is_problem(answer, 405)
    assert answer.headers["allow"] == "DELETE"


async def test_a_named_part_of_an_address_tells_its_own_methods(alone: Running) -> None:
    # `logout` may be a bot's name as well; that pair's methods are not this route's.
    answer = await alone.http.request("OPTIONS", "/api/sessions/ann-bot/logout")

    is_problem(answer, 405)
    assert answer.headers["allow"] == "POST"


# --- too large --------------------------------------------------------------------


async def test_a_text_too_long_is_a_413(alone: Running) -> None:
    problem = is_problem(await alone.http.post(MESSAGE, json=SEND | {"message": "x" * 65_537}), 413)

    assert "message must be at most 65,536 characters" in problem["detail"]


async def test_the_longest_text_is_sent(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answer = await http.post(MESSAGE, json=SEND | {"message": "\U0001f600" * 65_536})

    assert answer.status_code == 200


async def test_a_body_too_large_is_a_413(alone: Running) -> None:
    is_problem(await alone.http.post(MESSAGE, content=b"x" * 1_000_001), 413)


async def test_a_body_that_does_not_say_its_length_is_counted(alone: Running) -> None:
    async def endless():
        for _ in range(30):
            yield b"x" * 65_536

    is_problem(await alone.http.post(MESSAGE, content=endless()), 413)


# --- away ---------------------------------------------------------------------------


async def test_without_a_broker_everything_that_needs_it_is_a_503(tmp_path: Path) -> None:
    reads = FakeReads()
    async with serving(settings_for("nats://127.0.0.1:9", tmp_path), reads) as running:
        created = await running.http.post(CREATE, json={"userId": "user", "plubotId": "one"})
        asked = await running.http.get("/api/qr/user/one")
        listed = await running.http.get("/api/sessions")

    is_problem(created, 503)
    is_problem(asked, 503)
    assert listed.status_code == 200


async def test_without_redis_everything_that_needs_it_is_a_503(
    http: httpx.AsyncClient, reads: FakeReads
) -> None:
    reads.away = True

    for path in ("/api/sessions", "/api/sessions/user-one", "/api/sessions/stats"):
        is_problem(await http.get(path), 503)
    is_problem(await http.post(CREATE, json={"userId": "user", "plubotId": "one"}), 503)


async def test_a_missing_stream_is_a_503(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.client.jetstream().delete_stream("WA_CMD")

    is_problem(await http.post(CREATE, json={"userId": "user", "plubotId": "one"}), 503)


async def test_a_mistake_of_ours_is_a_500_that_tells_nothing(
    running: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(_: object = None) -> None:
        raise RuntimeError("secret body of user at 10.0.0.7")

    monkeypatch.setattr(running.app.state.parts.reads, "sessions", broken)

    answer = await running.http.get("/api/sessions")

    problem = is_problem(answer, 500)
    assert "secret" not in str(problem)
    told = capsys.readouterr().out
    assert "http.failed" in told
    assert "secret body" not in told


# --- keys ----------------------------------------------------------------------------

KEYS: dict[str, tuple[dict[str, str], int]] = {
    "none": ({}, 401),
    "empty": ({"x-api-key": ""}, 401),
    "wrong": ({"x-api-key": "wrong"}, 401),
    "right": ({"x-api-key": KEY}, 200),
    "bearer": ({"authorization": f"Bearer {KEY}"}, 200),
    "bearer in small letters": ({"authorization": f"bearer {KEY}"}, 200),
    "wrong bearer": ({"authorization": "Bearer wrong"}, 401),
    "another scheme": ({"authorization": f"Basic {KEY}"}, 401),
    "the key beside a user's token": (
        {"x-api-key": KEY, "authorization": "Bearer a-users-token"},
        200,
    ),
    "a wrong key beside the right bearer": (
        {"x-api-key": "wrong", "authorization": f"Bearer {KEY}"},
        401,
    ),
}


@pytest.mark.parametrize(("headers", "status"), KEYS.values(), ids=KEYS)
async def test_who_may_come_in(alone: Running, headers: dict[str, str], status: int) -> None:
    async with httpx.AsyncClient(base_url=alone.url, headers=headers, timeout=40) as http:
        answer = await http.get("/api/sessions")

    assert answer.status_code == status
    if status == 401:
        is_problem(answer, 401)
        assert "www-authenticate" in answer.headers


CLOSED = (
    "/api/sessions",
    "/api/nothing",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/asyncapi.json",
    "/health/other",
    "//health",
)


@pytest.mark.parametrize("path", CLOSED)
async def test_every_other_route_needs_a_key(alone: Running, path: str) -> None:
    async with httpx.AsyncClient(timeout=40) as http:
        assert (await http.get(f"{alone.url}{path}")).status_code == 401


async def test_a_key_in_the_address_does_not_open_the_api(alone: Running) -> None:
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        assert (await http.get(f"/api/sessions?api_key={KEY}")).status_code == 401


async def test_no_key_is_ever_logged(alone: Running, capfd: pytest.CaptureFixture[str]) -> None:
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        await http.get(f"/docs?api_key={KEY}")
        await http.get("/docs?api_key=another-secret")
        await http.get("/api/sessions", headers={"x-api-key": "yet-another-secret"})

    told = await logged(lambda: "".join(capfd.readouterr()), requests=3)
    for secret in (KEY, "another-secret"):
        assert secret not in told


@pytest.mark.parametrize("below", ["numbers/{}", "ids/{}", "chats/{}/messages", "chats/{}/seen"])
async def test_no_number_of_a_path_is_ever_logged(
    alone: Running, capfd: pytest.CaptureFixture[str], below: str
) -> None:
    path = f"/api/sessions/user-one/{below.format('491701234567')}"
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        for headers in ({}, {"x-api-key": KEY}):
            await http.get(path, headers=headers)

    told = await logged(lambda: "".join(capfd.readouterr()), requests=2)
    assert "/api/sessions/user-one/" in told
    assert "4917" not in told


# --- browsers ---------------------------------------------------------------------------

PREFLIGHT = {
    "origin": "https://app.example",
    "access-control-request-method": "DELETE",
    "access-control-request-headers": "x-api-key,idempotency-key",
}


async def test_no_origin_is_allowed_by_default(alone: Running) -> None:
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        answer = await http.options("/api/sessions/user-one", headers=PREFLIGHT)

    assert "access-control-allow-origin" not in answer.headers


REFUSED = {
    "a stranger": ({"origin": "https://evil.example"}, "CORS_ORIGINS"),
    "a method": ({"access-control-request-method": "TRACE"}, "GET, POST, PUT, DELETE"),
    "a private network": ({"access-control-request-private-network": "true"}, "private"),
}


@pytest.mark.parametrize(("wrong", "says"), REFUSED.values(), ids=REFUSED)
async def test_a_refused_preflight_is_a_problem_like_any_other(
    tmp_path: Path, wrong: dict[str, str], says: str
) -> None:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, cors_origins="https://app.example")
    async with (
        serving(settings, FakeReads()) as running,
        httpx.AsyncClient(base_url=running.url, timeout=40) as http,
    ):
        answer = await http.options("/api/sessions", headers=PREFLIGHT | wrong)

    assert says in is_problem(answer, 400)["detail"]
    assert answer.headers["vary"].startswith("Origin")
    allowed = answer.headers.get("access-control-allow-origin")
    assert allowed == (None if "origin" in wrong else "https://app.example")


async def test_an_allowed_origin_may_send_its_key_and_read_the_answer(
    nats_url: str, tmp_path: Path
) -> None:
    settings = settings_for(
        nats_url, tmp_path, cors_origins="https://app.example, https://b.example"
    )
    async with (
        serving(settings, FakeReads()) as running,
        httpx.AsyncClient(base_url=running.url, timeout=40) as http,
    ):
        asked = await http.options("/api/sessions/user-one", headers=PREFLIGHT)
        denied = await http.get("/api/sessions", headers={"origin": "https://app.example"})

    assert asked.status_code == 200
    assert asked.headers["access-control-allow-origin"] == "https://app.example"
    assert "DELETE" in asked.headers["access-control-allow-methods"]
    assert "x-api-key" in asked.headers["access-control-allow-headers"].lower()
    assert denied.status_code == 401
    assert denied.headers["access-control-allow-origin"] == "https://app.example"
    assert "Retry-After" in denied.headers["access-control-expose-headers"]


async def test_the_sandbox_lets_this_machine_in(tmp_path: Path) -> None:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, sandbox_url="https://127.0.0.1:8443")
    async with (
        serving(settings, FakeReads()) as running,
        httpx.AsyncClient(base_url=running.url, timeout=40) as http,
    ):
        near = await http.options(
            "/api/sessions", headers=PREFLIGHT | {"origin": "http://localhost:5173"}
        )
        far = await http.options(
            "/api/sessions", headers=PREFLIGHT | {"origin": "http://localhost.example"}
        )

    assert near.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "access-control-allow-origin" not in far.headers


async def test_a_client_that_hangs_up_leaves_no_error(
    running: Running, node: ScriptedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    await node.registered(ONE)
    _, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = f"POST {CREATE} HTTP/1.1\r\nhost: a\r\nx-api-key: {KEY}\r\ncontent-length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"user')
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await asyncio.sleep(0.1)

    assert "http.failed" not in capsys.readouterr().out


def test_the_words_of_states_are_those_of_the_contract() -> None:
    assert set(get_args(Word)) == set(WORDS.values())


async def test_a_body_that_does_not_come_is_not_waited_for(
    alone: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", alone.port)

    head = f"POST {CREATE} HTTP/1.1\r\nHost: x\r\nx-api-key: {KEY}\r\nContent-Length: 99\r\n\r\n"
    writer.write(head.encode() + b'{"userId": ')
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 30)
    writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"reason":"slow_body"' in answer
