"""Files by URL: what is fetched, and all that is refused, from a server on this machine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from events.settings import Settings
from gateway.addresses import Guarded, Reachable
from gateway.downloads import CONNECTIONS, EACH, Downloads
from gateway.problems import Problem

MB = 1_048_576
PNG = b"\x89PNG\r\n\x1a\n" + os.urandom(2 * MB)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPEN = "127.0.0.1/32"


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=PNG, content_type="image/png")


OVER = web.AppKey("over", asyncio.Event)
"""Set when the test is over: a handler that waited for ever would outlive its server."""


async def hang(request: web.Request) -> web.Response:
    await request.app[OVER].wait()
    return web.Response()


async def trickle(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(PNG[:100])
    await request.app[OVER].wait()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(MB))


async def claims(request: web.Request) -> web.StreamResponse:
    """Claim a length that is too large, and send nothing of it."""
    response = web.StreamResponse(headers={"Content-Length": str(4 * MB)})
    await response.prepare(request)
    await request.app[OVER].wait()
    return response


async def break_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half")
    assert request.transport is not None
    request.transport.close()
    return response


async def zipped(_: web.Request) -> web.Response:
    return web.Response(body=b"x", headers={"Content-Encoding": "gzip"})


def to(place: str) -> Handler:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": place})

    return redirect


HANDLERS: dict[str, Handler] = {
    "a view.png": picture,
    "hang": hang,
    "trickle": trickle,
    "endless": endless,
    "claims": claims,
    "break": break_off,
    "zipped": zipped,
    "near": to("/a%20view.png"),
    "loop": to("/loop"),
    "private": to("http://10.0.0.1/secret"),
    "metadata": to("http://169.254.169.254/latest/meta-data"),
    "named": to("http://inside.test/secret"),
    "file": to("file:///etc/passwd"),
}


@asynccontextmanager
async def site() -> AsyncIterator[int]:
    """Serve the handlers; yields the port."""
    app = web.Application()
    app[OVER] = asyncio.Event()
    for path, handler in HANDLERS.items():
        app.router.add_get(f"/{path}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    try:
        yield runner.addresses[0][1]
    finally:
        app[OVER].set()
        await runner.cleanup()


def downloads(tmp_path: Path, **more: Any) -> Downloads:
    """Fetch at most 3 MB, from one address of this machine."""
    given = {"data_dir": tmp_path, "media_max_mb": 3, "webhook_allow_private": OPEN} | more
    settings = Settings.model_validate(given)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1"] if host == "inside.test" else [host]

    return Downloads(settings, Guarded(Reachable.by(settings), resolve))


@pytest.mark.parametrize("path", ["a%20view.png", "near"], ids=["direct", "redirect"])
async def test_a_file_is_fetched_byte_for_byte(tmp_path: Path, path: str) -> None:
    async with site() as port:
        found = await downloads(tmp_path).fetch(f"http://127.0.0.1:{port}/{path}", "ann")

    assert await found.read() == PNG
    assert (found.filename, found.content_type) == ("a view.png", "image/png")
    assert found.size == len(PNG)
    await found.close()


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("nothing", 422, "url_failed"),
        ("break", 422, "url_failed"),
        ("zipped", 422, "url_failed"),
        ("loop", 422, "url_failed"),
        ("endless", 413, "too_large"),
        ("claims", 413, "too_large"),
        ("private", 422, "url_forbidden"),
        ("metadata", 422, "url_forbidden"),
        ("named", 422, "url_forbidden"),
        ("file", 422, "url_forbidden"),
    ],
)
async def test_what_cannot_be_had_is_named(
    tmp_path: Path, path: str, status: int, reason: str
) -> None:
    async with site() as port:
        with pytest.raises(Problem) as refused:
            await downloads(tmp_path).fetch(f"http://127.0.0.1:{port}/{path}", "ann")

    assert (refused.value.status_code, refused.value.reason) == (status, reason)


@pytest.mark.parametrize("path", ["hang", "trickle"])
async def test_a_server_that_keeps_us_waiting_is_a_504(tmp_path: Path, path: str) -> None:
    async with site() as port:
        with pytest.raises(Problem) as refused:
            await downloads(tmp_path, media_timeout=0.3).fetch(
                f"http://127.0.0.1:{port}/{path}", "ann"
            )

    assert (refused.value.status_code, refused.value.reason) == (504, "url_timeout")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/a",
        "http://user:secret@example.org/a",
        "http://127.0.0.1/a",
        "http://[::ffff:10.0.0.1]/a",
        "http://localhost/a",
        "http:///a",
    ],
)
async def test_a_url_that_is_not_to_be_fetched_is_a_400(tmp_path: Path, url: str) -> None:
    with pytest.raises(Problem) as refused:
        await downloads(tmp_path, webhook_allow_private="").fetch(url, "ann")

    assert refused.value.status_code == 400


async def test_a_name_that_leads_inside_is_not_fetched_whatever_it_said_before(
    tmp_path: Path,
) -> None:
    told = iter([["93.184.215.14"], ["127.0.0.1"]])
    settings = Settings.model_validate({"data_dir": tmp_path})
    looked_up: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        looked_up.append(host)
        return next(told)

    await rebinding("rebinding.test", 80)
    async with site() as port:
        fetching = Downloads(settings, Guarded(Reachable.by(settings), rebinding))
        with pytest.raises(Problem) as refused:
            await fetching.fetch(f"http://rebinding.test:{port}/a%20view.png", "ann")

    assert refused.value.reason == "url_forbidden"
    assert looked_up == ["rebinding.test"] * 2, "looked up once for the connection, and not again"


async def test_one_users_slow_urls_are_nobody_elses(tmp_path: Path) -> None:
    fetching = downloads(tmp_path)
    async with site() as port:
        slow = [
            asyncio.create_task(fetching.fetch(f"http://127.0.0.1:{port}/hang", "eve"))
            for _ in range(CONNECTIONS + EACH)
        ]
        await asyncio.sleep(0.2)

        # Long before any of the slow ones is given up.
        async with asyncio.timeout(5):
            found = await fetching.fetch(f"http://127.0.0.1:{port}/a%20view.png", "ann")

        assert found.size == len(PNG)
        for one in slow:
            one.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
    assert not fetching._turns._own


async def test_a_file_whose_turn_does_not_come_may_be_tried_again(tmp_path: Path) -> None:
    fetching = downloads(tmp_path, media_timeout=0.3)
    async with site() as port, AsyncExitStack() as turns:
        for _ in range(EACH):
            await turns.enter_async_context(fetching._turns.turn("ann", 1))

        with pytest.raises(Problem) as refused:
            await fetching.fetch(f"http://127.0.0.1:{port}/a%20view.png", "ann")

    assert (refused.value.status_code, refused.value.retry_after) == (503, 1)
