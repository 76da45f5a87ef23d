"""Two gateway processes before one service: it does not matter which of them is asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import socketio

from events.subjects import SessionId
from tests.gateway.conftest import KEY
from tests.gateway.whole import whole
from tests.services import free_port

SESSION = SessionId("ada", "shop")
NUMBER = "491709876543"


@contextlib.asynccontextmanager
async def another(
    nats_url: str, redis_port: int, home: Path, **variables: str
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway in a process of its own."""
    port = free_port()
    told = {"NATS_URL": nats_url, "REDIS_PORT": str(redis_port), "DATA_DIR": str(home)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env=os.environ | told | {"PORT": str(port), "API_KEY": KEY, "NODE": "other"} | variables,
        stderr=asyncio.subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(base_url=base, headers={"x-api-key": KEY}, timeout=40) as http:
            async with asyncio.timeout(60):
                while not await _is_ready(http):
                    await asyncio.sleep(0.05)
            yield http
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/health/ready")).is_success
    except httpx.HTTPError:
        return False


async def _send(http: httpx.AsyncClient, text: str, key: str) -> httpx.Response:
    body = {"sessionId": SESSION.joined, "to": "491701234567", "message": text}
    return await http.post("/api/messages/send", json=body, headers={"Idempotency-Key": key})


async def test_what_happens_at_one_is_seen_counted_and_remembered_at_the_other(
    nats_url: str, redis_port: int, tmp_path: Path
) -> None:
    async with (
        whole(nats_url, redis_port, tmp_path, sends_per_minute=3) as service,
        another(nats_url, redis_port, tmp_path, SENDS_PER_MINUTE="3") as there,
    ):
        here = service.gateway.http
        async with _in_room(str(there.base_url)) as heard:
            await service.link(SESSION, NUMBER)
            await _told(heard, "session-ready")

        sent = [await _send(http, "hello", f"k{n}") for n, http in enumerate((here, there, here))]
        again = await _send(there, "hello", "k0")
        refused = await _send(there, "hello", "k9")

    assert [answer.status_code for answer in sent] == [200, 200, 200]
    assert {"qr-update", "session-ready"} <= set(heard)
    assert again.json()["messageId"] == sent[0].json()["messageId"]
    assert (refused.status_code, refused.json()["limit"]) == (429, "messages")
    handed_over = service.launcher.whatsapp.account(NUMBER).handed_over
    assert (len(handed_over), max(handed_over.values())) == (3, 1)


@contextlib.asynccontextmanager
async def _in_room(url: str) -> AsyncIterator[list[str]]:
    """Join the session's room over Socket.IO; collect the names of what it tells."""
    heard: list[str] = []
    client = socketio.AsyncClient(reconnection=False)

    async def hear(event: str, *_: object) -> None:
        heard.append(event)

    client.on("*", hear)
    await client.connect(url, transports=["websocket"], auth={"token": KEY})
    try:
        await client.call("join-session", SESSION.joined)
        yield heard
    finally:
        await client.disconnect()


async def _told(heard: list[str], event: str) -> None:
    async with asyncio.timeout(60):
        while event not in heard:
            await asyncio.sleep(0.02)
