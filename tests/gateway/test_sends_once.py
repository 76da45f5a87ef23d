"""One key, one message: whichever gateway is asked, however late, whoever is away meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from events import live
from events import session_events as e
from events.clock import utc_now
from events.subjects import SessionId
from gateway import idempotency, remembered
from gateway.remembered import Claim, Remembered, Secret
from tests.gateway.conftest import KEY, Running, scripted, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, sent
from tests.gateway.reads import FakeReads

ONE, TWO = SessionId("user", "one"), SessionId("user", "two")
SEND = "/api/messages/send"
FOR_USER = {"userId": "user", "to": "491701234567", "message": "hello"}
TEXT = {"sessionId": "user-one", "to": "491701234567", "message": "hello"}
ONCE = {"Idempotency-Key": "order-7"}


@pytest.fixture
async def impatient(
    nats_url: str, tmp_path: Path, reads: FakeReads
) -> AsyncIterator[tuple[ScriptedNode, Running, Running]]:
    """A node and two gateways, whose queue forgets soon what it has seen."""
    settings = settings_for(nats_url, tmp_path, send_wait=1.5, dedupe_window=1)
    async with (
        scripted(settings, reads) as node,
        serving(settings, reads) as first,
        serving(settings, reads) as second,
    ):
        await until_ready(first)
        await until_ready(second)
        await node.ready(ONE)
        await node.ready(TWO)
        yield node, first, second


async def test_what_waits_in_one_session_is_not_sent_through_another(
    impatient: tuple[ScriptedNode, Running, Running],
) -> None:
    node, first, second = impatient
    node.outcome = lambda _: None
    waits = await first.http.post(SEND, json=FOR_USER, headers=ONCE)
    chosen = waits.json()["sessionId"]
    away = ONE if chosen == ONE.joined else TWO
    await node.event(away, e.Offline(reason="TIMEOUT", deadline=utc_now()))
    await until(second, chosen, "disconnected")
    node.outcome = sent

    again = await second.http.post(SEND, json=FOR_USER, headers=ONCE)

    assert (waits.status_code, again.status_code) == (202, 202)
    assert again.json()["sessionId"] == chosen
    assert node.sends == {"order-7": 1}


async def test_a_key_is_known_when_history_and_queue_have_forgotten_it(
    impatient: tuple[ScriptedNode, Running, Running], reads: FakeReads
) -> None:
    node, first, second = impatient
    answers = [await first.http.post(SEND, json=TEXT, headers=ONCE)]
    reads.messages[ONE].clear()
    await asyncio.sleep(1.5)

    answers += [await door.http.post(SEND, json=TEXT, headers=ONCE) for door in (first, second)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.json()["messageId"] for answer in answers}) == 1
    assert node.sends == {"order-7": 1}


async def test_what_was_queued_is_told_as_queued_when_nothing_else_is_known_of_it(
    impatient: tuple[ScriptedNode, Running, Running], reads: FakeReads
) -> None:
    node, first, second = impatient
    node.outcome = lambda _: None
    before = await first.http.post(SEND, json=TEXT, headers=ONCE)
    reads.messages.clear()
    await asyncio.sleep(1.5)
    node.outcome = sent

    after = await second.http.post(SEND, json=TEXT, headers=ONCE)

    assert (before.status_code, after.status_code) == (202, 202)
    assert after.json()["commandId"] == before.json()["commandId"]
    assert node.sends == {"order-7": 1}


async def test_what_was_handed_over_is_accepted_though_redis_is_away_then(
    impatient: tuple[ScriptedNode, Running, Running], reads: FakeReads
) -> None:
    node, first, _ = impatient

    def goes_away(_: object) -> None:
        reads.away = True

    node.outcome = goes_away

    answer = await first.http.post(SEND, json=TEXT)

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_a_refusal_binds_a_key_to_no_session(
    impatient: tuple[ScriptedNode, Running, Running],
) -> None:
    node, first, _ = impatient
    node.refuse = live.Refused(
        command="", reason="breaker_open", detail="not now", status=503, retry_after=1
    )
    refused = await first.http.post(SEND, json=FOR_USER, headers=ONCE)
    node.refuse = None
    (asked, _), *_ = node.commands
    await node.event(asked, e.Stopped(reason="command"))
    await until(first, asked.joined, "stopped")

    again = await first.http.post(SEND, json=FOR_USER, headers=ONCE)

    assert (refused.status_code, again.status_code) == (503, 200)
    assert again.json()["sessionId"] != asked.joined


async def test_a_send_goes_on_where_its_gateway_died(
    impatient: tuple[ScriptedNode, Running, Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, first, _ = impatient
    monkeypatch.setattr(remembered, "ABANDONED", 0.2)
    body = json.dumps(FOR_USER).encode()
    dead = Remembered(first.app.state.parts.broker)
    claim = await dead.begin(Secret.of(KEY, f"POST {SEND}?", "order-7"), idempotency.digest(body))
    assert isinstance(claim, Claim)
    claim.session = TWO.dotted
    await dead.renew(claim)

    answer = await first.http.post(SEND, content=body, headers=ONCE)

    assert (answer.status_code, answer.json()["sessionId"]) == (200, TWO.joined)
    assert node.sends == {"order-7": 1}


async def test_nobody_leaves_a_record_without_a_key_to_the_service(
    impatient: tuple[ScriptedNode, Running, Running],
) -> None:
    node, first, _ = impatient
    polling = "/socket.io/?EIO=4&transport=polling"
    async with httpx.AsyncClient(base_url=first.url) as nobody:
        answers = [await nobody.post(polling, content=b"x", headers=ONCE) for _ in "123"]

    held = await node.client.jetstream().stream_info("KV_wa_idem")
    assert {answer.status_code for answer in answers} == {400}
    assert held.state.last_seq == 0


async def until(gateway: Running, session: str, word: str) -> None:
    """Wait until a gateway shows a session in a state."""

    async def shown() -> Any:
        return (await gateway.http.get(f"/api/sessions/{session}/status")).json()["status"]

    async with asyncio.timeout(5):
        while await shown() != word:
            await asyncio.sleep(0.02)
