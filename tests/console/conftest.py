"""The console in a real browser, on a service whose phones and browsers are fake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests.console.person import Person, a_person
from tests.gateway.conftest import UNLIMITED
from tests.gateway.webhooks.receiver import Receiver
from tests.gateway.whole import Whole, whole

Stage = Callable[..., AbstractAsyncContextManager[Whole]]
"""Runs a service with these settings until the end of the block."""


@pytest.fixture
def stage(nats_url: str, redis_port: int, tmp_path: Path) -> Stage:
    @asynccontextmanager
    async def built(**settings: object) -> AsyncIterator[Whole]:
        given = UNLIMITED | {"memory_interval": 0.2} | settings
        async with whole(nats_url, redis_port, tmp_path / "data", **given) as service:
            # People look at the times of messages.
            service.launcher.whatsapp.now = lambda: datetime.now(UTC)
            yield service

    return built


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Person]:
    """A browser with somebody before it."""
    async with a_person() as somebody:
        yield somebody


@pytest_asyncio.fixture(loop_scope="module")
async def person(browser: Person) -> AsyncIterator[Person]:
    """A person at a browser. When the test is over, the browser has nothing to complain of."""
    yield browser
    complaints, strangers = await browser.trouble()
    assert complaints == [], "the browser complained, of the policy or of a script"
    assert strangers == [], "another host was asked for something"


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[Receiver]:
    """A server for webhooks."""
    made = Receiver()
    await made.start()
    yield made
    await made.stop()
