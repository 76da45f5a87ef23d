"""Dead letters: what is given up, what is too much to wait, and delivering it again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web

from tests.gateway.conftest import Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.webhooks.receiver import Got, Receiver, fails, takes
from tests.gateway.webhooks.world import ONE, QUICK, dead, hook, until_dead, write


@pytest.mark.parametrize("running", [{"webhook_waiting": 5}], indirect=True)
async def test_what_is_too_much_to_wait_is_a_dead_letter_the_oldest_first(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = fails
    await hook(running.http, receiver)
    await write(node, ONE, 0)
    await receiver.when(lambda: len(receiver.got) >= 2)

    await write(node, ONE, *range(1, 9))
    letters = await until_dead(running, 4)
    receiver.answers = takes
    await receiver.until(5)

    assert [letter["reason"] for letter in letters] == ["overflow"] * 4
    assert receiver.texts == ["4", "5", "6", "7", "8"]
    positions = [letter["position"] for letter in letters]
    assert positions == sorted(positions)


@pytest.mark.parametrize("running", [{"webhook_waiting": 5}], indirect=True)
@pytest.mark.parametrize("status", [200, 500], ids=["slow", "failing"])
async def test_no_more_wait_than_may_whether_the_endpoint_is_slow_or_fails(
    running: Running, node: ScriptedNode, receiver: Receiver, status: int
) -> None:
    answered = asyncio.Event()

    async def late(_: Got) -> web.Response:
        await answered.wait()
        return web.Response(status=status)

    receiver.answers = late
    await hook(running.http, receiver)
    await write(node, ONE, *range(20))
    webhooks = running.app.state.parts.webhooks
    await receiver.when(lambda: webhooks.statistics.waiting == 20)
    receiver.answers = takes
    answered.set()
    await receiver.until(5 + (status == 200))
    letters = await dead(running)

    # One that was taken waits no more; the oldest of the others are too many.
    assert receiver.texts == [*(["0"] if status == 200 else []), *map(str, range(15, 20))]
    assert [letter["reason"] for letter in letters] == ["overflow"] * (20 - len(receiver.texts))


async def test_what_is_too_much_after_a_restart_is_a_dead_letter_as_well(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for(nats_url, tmp_path, **QUICK, webhook_waiting=5)
    receiver.answers = fails
    async with serving(settings, reads) as first:
        await until_ready(first)
        await hook(first.http, receiver)
        await write(node, ONE, 0)
        await receiver.when(lambda: len(receiver.got) >= 2)
    await write(node, ONE, *range(1, 13))

    async with serving(settings, reads) as second:
        await until_ready(second)
        letters = await until_dead(second, 8)
        receiver.answers = takes
        await receiver.until(5)

    assert [letter["reason"] for letter in letters] == ["overflow"] * 8
    assert receiver.texts == [str(number) for number in range(8, 13)]


@pytest.mark.parametrize("running", [{"webhook_retry_hours": 0.3 / 3_600}], indirect=True)
async def test_what_no_try_delivered_in_time_is_a_dead_letter_and_can_be_redriven(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = fails
    await hook(running.http, receiver)
    await write(node, ONE, *range(3))
    letters = await until_dead(running, 3)
    assert {letter["reason"] for letter in letters} == {"gave_up"}
    assert letters[0]["attempts"] >= 2
    assert letters[0]["lastError"] == "HTTP 500"

    still = await running.http.post("/api/webhooks/crm/redrive")
    receiver.answers = takes
    one = await running.http.post(f"/api/webhooks/crm/dead/{letters[1]['id']}/redrive")
    rest = await running.http.post("/api/webhooks/crm/redrive")

    assert [r["outcome"] for r in still.json()["results"]] == ["failed", "left", "left"]
    assert (one.json()["delivered"], rest.json()["delivered"]) == (1, 2)
    assert receiver.texts == ["1", "0", "2"]
    assert [got.id for got in receiver.taken] == [letters[n]["eventId"] for n in (1, 0, 2)]
    assert await dead(running) == []


@pytest.mark.parametrize("running", [{"webhook_retry_hours": 0.1 / 3_600}], indirect=True)
async def test_dead_letters_can_be_thrown_away(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = fails
    await hook(running.http, receiver)
    await write(node, ONE, *range(3))
    letters = await until_dead(running, 3)

    one = await running.http.delete(f"/api/webhooks/crm/dead/{letters[0]['id']}")
    again = await running.http.delete(f"/api/webhooks/crm/dead/{letters[0]['id']}")
    left = await dead(running)
    rest = await running.http.delete("/api/webhooks/crm/dead")

    assert (one.status_code, again.status_code, rest.status_code) == (200, 404, 200)
    assert [letter["id"] for letter in left] == [letters[1]["id"], letters[2]["id"]]
    assert await dead(running) == []


@pytest.mark.parametrize("running", [{"webhook_retry_hours": 0.1 / 3_600}], indirect=True)
async def test_a_dead_letter_of_another_endpoint_is_not_found(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = fails
    await hook(running.http, receiver)
    await write(node, ONE, 0)
    letters = await until_dead(running, 1)
    await hook(running.http, receiver, "other")

    answer = await running.http.post(f"/api/webhooks/other/dead/{letters[0]['id']}/redrive")

    assert answer.status_code == 404
