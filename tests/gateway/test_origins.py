"""Which pages of the web may call, on every door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.origins import Origins
from tests.gateway.conftest import KEY, Running, serving, settings_for
from tests.gateway.reads import FakeReads
from tests.gateway.sockets import Rejected, connect

GOOD, BAD = "https://app.example", "https://evil.example"
HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
WEBSOCKETS = {"the plain one": "/ws", "Socket.IO": "/socket.io/"}


@pytest.fixture
async def open_to_one(tmp_path: Path) -> AsyncIterator[Running]:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, cors_origins=f" {GOOD} ,")
    async with serving(settings, FakeReads()) as running:
        yield running


async def knock(running: Running, path: str, origin: str) -> int | None:
    """Open a WebSocket as a page does; return the status of a refusal."""
    headers = {"x-api-key": KEY, "origin": origin}
    query = {"EIO": 4, "transport": "websocket"} if path == "/socket.io/" else {}
    try:
        await connect(running, headers, path, **query)
    except Rejected as rejected:
        return rejected.status
    return None


@pytest.mark.parametrize("path", WEBSOCKETS.values(), ids=WEBSOCKETS)
async def test_a_page_of_another_origin_opens_no_websocket(alone: Running, path: str) -> None:
    assert await knock(alone, path, BAD) == 403


@pytest.mark.parametrize("path", WEBSOCKETS.values(), ids=WEBSOCKETS)
async def test_a_page_that_is_listed_and_one_of_our_own_do(open_to_one: Running, path: str) -> None:
    # Without a broker the plain one is let in and then told so.
    let_in = {"/ws": 503, "/socket.io/": None}[path]

    assert await knock(open_to_one, path, GOOD) == let_in
    assert await knock(open_to_one, path, open_to_one.url) == let_in
    assert await knock(open_to_one, path, BAD) == 403


async def test_polling_can_be_read_by_listed_pages_only(
    alone: Running, open_to_one: Running
) -> None:
    allowed = "access-control-allow-origin"

    closed = await alone.http.get(HANDSHAKE, headers={"origin": GOOD})
    good = await open_to_one.http.get(HANDSHAKE, headers={"origin": GOOD})
    bad = await open_to_one.http.get(HANDSHAKE, headers={"origin": BAD})

    assert allowed not in closed.headers
    assert good.headers.get_list(allowed) == [GOOD]
    assert allowed not in bad.headers


async def test_a_listed_page_may_ask_before_it_polls(open_to_one: Running) -> None:
    asked = {
        "origin": GOOD,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-api-key",
    }

    answer = await open_to_one.http.options(HANDSHAKE, headers=asked)

    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == GOOD


def test_the_sandbox_lets_in_pages_of_this_machine(tmp_path: Path) -> None:
    settings = settings_for("nats://a", tmp_path, sandbox_url="https://127.0.0.1:4000")
    origins = Origins.of(settings)

    assert origins.allow("http://localhost:5173")
    assert not origins.allow("http://localhost.evil.example")
    assert not origins.allow(BAD)
