"""Dead letters: what is given up, what is too much to wait, and delivering it again."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode
from tests.gateway.webhooks.receiver import Got, Receiver, fails, takes
from tests.gateway.webhooks.world import ONE, dead, hook, until_dead, write


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
async def test_a_burst_is_no_reason_to_bury_where_nothing_fails(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver)

    await write(node, ONE, *range(60))
    await receiver.until(60)

    assert receiver.texts == [str(number) for number in range(60)]
    assert await dead(running) == []


@pytest.mark.parametrize("running", [{"webhook_waiting": 5}], indirect=True)
async def test_a_burst_that_meets_a_failure_keeps_the_newest(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    holding = asyncio.Event()

    def late(got: Got) -> web.Response | None:
        return None if not holding.is_set() else fails(got)

    receiver.answers = late
    await hook(running.http, receiver)
    await write(node, ONE, *range(40))
    await receiver.when(lambda: receiver.under_way == 1)
    holding.set()
    await receiver.stop()
    receiver.answers = takes
    letters = await until_dead(running, 35)
    await receiver.start()
    await receiver.until(5)

    assert len(letters) == 35
    assert receiver.texts == [str(number) for number in range(35, 40)]


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
