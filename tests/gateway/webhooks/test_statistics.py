"""What health tells of webhooks: figures, and which trouble somebody should look at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode
from tests.gateway.webhooks.receiver import Receiver, fails
from tests.gateway.webhooks.world import ONE, TWO, hook, write

Json = dict[str, Any]


@pytest.fixture(autouse=True)
def _looks_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.health.FRESH", -1)


async def until(running: Running, holds: Callable[[Json], bool]) -> Json:
    """Ask for health, as anybody may, until it tells of something."""
    async with httpx.AsyncClient(base_url=running.url) as http, asyncio.timeout(20):
        while not holds(body := (await http.get("/health?detailed=true")).json()):
            await asyncio.sleep(0.02)
    return body


async def test_what_was_delivered_is_counted(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver)

    await write(node, ONE, 1, 2)
    await receiver.until(2)
    body = await until(running, lambda body: body["webhooks"]["delivered"] == 2)

    assert body["webhooks"] == {
        "delivers": True,
        "endpoints": 1,
        "waiting": 0,
        "failing": 0,
        "delivered": 2,
        "failures": 0,
        "dead": 0,
        "gone": 0,
        "replies": 0,
    }
    assert not any("webhooks" in told for told in body["recommendations"])


async def test_an_endpoint_that_fails_is_told_with_what_to_do_and_is_no_illness_of_ours(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = fails
    await hook(running.http, receiver)

    await write(node, ONE, 1)
    await write(node, TWO, 2, 3)
    await until(running, lambda body: body["webhooks"]["waiting"] == 3)
    body = await until(running, lambda body: body["webhooks"]["failing"] == 2)

    assert body["webhooks"]["waiting"] == 3
    assert body["webhooks"]["failures"] >= 2
    assert body["status"] == "healthy"
    [told] = [told for told in body["recommendations"] if told.startswith("webhooks: ")]
    assert "events of 2 sessions" in told
    assert "GET /api/webhooks" in told
    assert receiver.url not in str(body)
