"""Thousands of requests that nobody honest makes: none may hurt, and none is our fault."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from events.subjects import SessionId
from gateway import bodies, codes, lifecycle
from tests.gateway.conftest import KEY, Running
from tests.gateway.whole import whole

ONE = SessionId("user-1", "bot-1")

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

NAMES = (
    "../../etc/passwd",
    "..%2f..%2fx",
    "a.b",
    "*",
    ">",
    "wa.evt.>",
    "$JS.API.INFO",
    "",
    " ",
    "\r\nx-injected: 1",
    "\x00",
    "a" * 65,
    "a" * 20_000,
    "'; DROP TABLE sessions; --",
    "<script>alert(1)</script>",
    "\u202egnp.exe",
    "😀" * 50,
    "user-1",
    "__proto__",
    "{{7*7}}",
    "%s%n",
    "-1",
    "9" * 400,
)
THINGS: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    2**70,
    0.1,
    [],
    {},
    [[]],
    {"$gt": ""},
    {"__proto__": {"admin": True}},
    "\ud800",
    "\x00",
    *NAMES,
)
FIELDS = (
    *("userId", "plubotId", "sessionId", "to", "message", "options", "forceNew", "phoneNumber"),
    *("url", "events", "secret", "name", "scopes", "user", "typing", "type", "mimetype", "data"),
    *("filename", "caption", "latitude", "longitude", "quoted", "emoji", "x" * 3_000),
)
TYPES = (
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data",
    "multipart/form-data; boundary=x",
    "application/xml",
    "image/png",
    "",
    "application/json\x0b",
)
HEADERS = (
    ("Idempotency-Key", "x" * 5_000),
    ("Idempotency-Key", "é"),
    ("Idempotency-Key", "once"),
    ("Accept", "image/png"),
    ("Accept", "*/*;q=9"),
    ("Content-Encoding", "gzip"),
    ("Content-Encoding", "br"),
    ("Last-Event-ID", "-1"),
    ("Last-Event-ID", "x"),
    ("Range", "bytes=9-1"),
    ("Origin", "null"),
    ("Host", "evil.example"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("Authorization", "Bearer " + "a" * 9_000),
    ("Cookie", "io=" + "a" * 3_000),
    ("Expect", "100-continue"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "h2c"),
)
ENDINGS = frozenset({"logout", "disconnect", "reconnect", "reset-breaker"})
"""Ends of paths that take the session away, of which the others are to have their answers."""

BOMB = gzip.compress(b"[" * 10_000_000)


@dataclass(frozen=True)
class Route:
    """A method and a path of the document, with the names of its parameters."""

    method: str
    path: str
    query: tuple[str, ...]


def routes(document: dict[str, Any]) -> list[Route]:
    """Every route the service tells of, and doors that the document does not describe."""
    told = [
        Route(
            method.upper(),
            path,
            tuple(p["name"] for p in operation.get("parameters", ()) if p["in"] == "query"),
        )
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    polling = ("EIO", "transport", "sid", "t")
    doors = [
        Route("GET", "/ws", ("session", "events", "since", "api_key")),
        Route("GET", "/socket.io/", polling),
        Route("POST", "/socket.io/", polling),
    ]
    return told + doors


def hostile(dice: random.Random, route: Route) -> bytes:
    """Write one request."""
    path = route.path
    ends = route.method == "DELETE" or path.rpartition("/")[2] in ENDINGS
    good = "user-2-bot-2" if ends else "user-1-bot-1"
    while "{" in path:
        before, _, rest = path.partition("{")
        _, _, after = rest.partition("}")
        # A good name half of the time, or nobody would get past the first check.
        name = dice.choice((good, "user-1", dice.choice(NAMES), dice.choice(NAMES)))
        path = before + quote(name, safe=dice.choice(("", "/", "."))) + after
    asked = [
        f"{name}={quote(str(dice.choice(THINGS)), errors='replace')}"
        for name in route.query
        if dice.random() < 0.5
    ]
    target = path + ("?" + "&".join(asked) if asked else "")
    body, kind = _body(dice)
    method = route.method if dice.random() < 0.8 else dice.choice(("PATCH", "TRACE", "HEAD"))
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: localhost",
        f"x-api-key: {KEY if dice.random() < 0.9 else dice.choice(('', 'wrong', 'a' * 9_000))}",
        "Connection: close",
    ]
    if body or dice.random() < 0.2:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    if dice.random() < 0.4:
        name, value = dice.choice(HEADERS)
        lines.append(f"{name}: {value}")
    return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body


def _body(dice: random.Random) -> tuple[bytes, str]:
    kind = "application/json" if dice.random() < 0.7 else dice.choice(TYPES)
    match dice.randrange(8):
        case 0:
            return b"", kind
        case 1:
            return dice.randbytes(dice.randrange(2_000)), kind
        case 2:
            return b"[" * dice.choice((100, 100_000)), kind
        case 3:
            return BOMB, kind
        case 4:
            named = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../x"\r\n'
            return named + b"\r\n" + dice.randbytes(500) + b"\r\n--x--\r\n", TYPES[5]
        case _:
            fields = {dice.choice(FIELDS): dice.choice(THINGS) for _ in range(dice.randrange(1, 6))}
            good = {"userId": "user-1", "plubotId": "bot-1", "to": "491701234567"}
            return json.dumps(good | fields if dice.random() < 0.5 else fields).encode(), kind


async def status_of(port: int, request: bytes) -> tuple[int, bytes]:
    """Send bytes and read the status, and what a failure says; 0 where the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        line = await asyncio.wait_for(reader.readline(), 60)
        status = int(line.split()[1]) if line.startswith(b"HTTP/1.1 ") else 0
        return status, await reader.read(4_000) if status >= 500 else b""
    except (ConnectionError, asyncio.LimitOverrunError):
        return 0, b""
    finally:
        writer.close()


async def attack(gateway: Running, seed: int, count: int) -> Counter[int]:
    """Make so many hostile requests, eight at a time, and count the answers."""
    document = (await gateway.http.get("/openapi.json")).json()
    everything = routes(document)
    dice = random.Random(seed)
    requests = iter([hostile(dice, dice.choice(everything)) for _ in range(count)])
    answers: Counter[int] = Counter()

    async def one() -> None:
        for request in requests:
            status, said = await status_of(gateway.port, request)
            answers[status] += 1
            assert status < 500, (status, said, request[:600])

    await asyncio.gather(*(one() for _ in range(8)))
    return answers


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "PATIENCE", 1)
    monkeypatch.setattr(codes, "WAIT", 0.2)
    monkeypatch.setattr(lifecycle, "TELL_WAIT", 0.5)


@pytest.mark.parametrize(
    "count", [400, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3_000)])]
)
async def test_hostile_requests_are_refused_and_the_service_stays_healthy(
    count: int, nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with whole(nats_url, redis_port, tmp_path, send_wait=0.2) as service:
        await service.link(ONE, "15550001111")

        answers = await attack(service.gateway, seed=1, count=count)

        print(f"{count} hostile requests: {dict(sorted(answers.items()))}")
        assert answers[400] > count / 10
        health: httpx.Response = await service.gateway.http.get("/health")
        assert health.is_success, health.text
        pair = {"userId": "somebody", "plubotId": "new"}
        created = await service.gateway.http.post("/api/sessions/create", json=pair)
        assert created.is_success, created.text
