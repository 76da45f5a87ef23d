"""Health tells the truth: real servers and a real browser are stopped, named, and come back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.faults.processes import kill
from tests.faults.site import Site, a_site

pytestmark = [
    pytest.mark.services,
    pytest.mark.browser,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

PATIENCE = 90.0
"""Seconds until something hangs. How long it really takes is printed, and is a few."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A service with one linked session, whose browser is not back before it was missed."""
    home: Path = tmp_path_factory.mktemp("health")
    async with a_site(home, 1, BACKOFF_FIRST="6", HEALTH_INTERVAL="1") as running:
        yield running


async def report(site: Site, wanted: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
    """Ask for the details until they are as wanted."""

    async def there() -> dict[str, Any] | None:
        with contextlib.suppress(httpx.HTTPError):
            told: dict[str, Any] = (await site.http.get("/health?detailed=true")).json()
            return told if wanted(told) else None
        return None

    found = await site.until(there, PATIENCE, what, pause=0.1)
    assert found is not None
    return found


async def stop_redis(site: Site) -> None:
    site.parts["redis"].kill()


async def start_redis(site: Site) -> None:
    site.parts["redis"].start()


async def stop_nats(site: Site) -> None:
    site.parts["nats"].kill()


async def start_nats(site: Site) -> None:
    site.parts["nats"].start()


async def stop_browser(site: Site) -> None:
    [browser] = site.browsers(None)
    kill(browser)


async def nothing(_: Site) -> None:
    """The node starts the browser again by itself."""


Act = Callable[[Site], Awaitable[None]]


@pytest.mark.parametrize(
    ("stop", "start", "check", "status", "message", "advice"),
    [
        (stop_redis, start_redis, "redis", "unhealthy", "Redis does not answer", "REDIS_HOST"),
        (stop_nats, start_nats, "nats", "unhealthy", "NATS does not answer", "NATS_URL"),
        (stop_browser, nothing, "reconnection", "degraded", "its browser", "node's log"),
    ],
    ids=["redis", "nats", "browser"],
)
async def test_what_is_stopped_is_named_soon_and_well_again_afterwards(
    site: Site, stop: Act, start: Act, check: str, status: str, message: str, advice: str
) -> None:
    await report(site, lambda told: told["status"] == "healthy", "healthy at first")

    began = time.monotonic()
    await stop(site)
    told = await report(site, lambda told: not told["checks"][check]["healthy"], f"{check} named")
    took = time.monotonic() - began
    await start(site)
    after = await report(site, lambda told: told["status"] == "healthy", "well again")
    print(f"{check}: named after {took:.1f} s, well after {time.monotonic() - began:.1f} s")

    assert told["status"] == status
    assert message in told["checks"][check]["message"]
    assert any(line.startswith(f"{check}: ") and advice in line for line in told["recommendations"])
    assert any(check in past["ill"] for past in after["history"])
