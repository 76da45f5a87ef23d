"""The main job, end to end, on real Chromium, NATS and Redis; only WhatsApp is simulated."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from websockets.client import connect

from events import codec
from events.session import Session, evolve
from tests.e2e.service import FRIEND, NUMBER, Service, a_service, events_of

pytestmark = [pytest.mark.services, pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with a_service(tmp_path) as service:
        yield service


async def test_create_scan_ready_send_receive_on_every_door(service: Service) -> None:
    ops = await service.nats("ops")
    heard: list[str] = []

    async def hear(message: Any) -> None:
        heard.append(message.subject)

    await ops.subscribe("wa.evt.message.>", cb=hear)

    await service.link()
    answer = await service.send("ann-bot", "hello")

    assert answer.status_code == 200, answer.text
    sent = answer.json()
    assert (sent["success"], sent["status"]) == (True, "sent")
    [on_the_phone] = [m for m in await service.phone.sent(NUMBER) if m.body == "hello"]
    assert on_the_phone.id in sent["messageId"]
    assert await service.phone.repeats(NUMBER) == 0

    await service.phone.incoming(number=NUMBER, sender=FRIEND, body="hi there")

    async def received() -> bool:
        return any(m["body"] == "hi there" for m in await service.history("ann-bot"))

    await service.until(received, 5, "received")
    await service.until(
        lambda: asyncio.sleep(0, any(s.endswith(".received") for s in heard)), 5, "heard"
    )
    await ops.close()


async def test_a_stopped_service_comes_back_linked_with_its_history(service: Service) -> None:
    await service.link()
    await service.send("ann-bot", "before")
    await service.until(lambda: _has(service, "before", "read"), 10, "read")
    before = await service.history("ann-bot")

    assert await service.stop() == 0
    await service.start()
    status = await service.until_status("ann-bot", "ready")

    assert status["isReady"] is True
    assert await service.history("ann-bot") == before
    assert len(await service.phone.devices(NUMBER)) == 1


async def test_read_models_are_the_same_after_a_flush_and_a_rebuild(service: Service) -> None:
    await service.link()
    # A snapshot of the profile is an event of the session, and would come in between.
    await service.until(lambda: _is_saved(service), 30, "saved before the flush")
    await service.send("ann-bot", "one")
    await service.phone.incoming(number=NUMBER, sender=FRIEND, body="two")
    await service.until(lambda: _has(service, "two"), 5, "received before the flush")
    await service.until(lambda: _has(service, "one", "read"), 10, "read before the flush")
    before = await _answers(service)

    note = service.note
    client = redis.asyncio.Redis(
        host=note["redis_host"], port=note["redis_port"], password=note["redis_password"]
    )
    await client.flushall()
    await client.aclose()
    rebuilt = await asyncio.create_subprocess_exec(
        ".venv/bin/wa",
        "rebuild",
        env={
            "DATA_DIR": str(service.data),
            "SANDBOX_URL": service.simulator.url,
            "PATH": "/usr/bin",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await rebuilt.communicate()

    assert rebuilt.returncode == 0, output.decode()

    async def healed() -> bool:
        checks = (await service.http.get("/health")).json()["checks"]
        return bool(checks["projections"]["healthy"]) and await _has(service, "one", "read")

    await service.until(healed, 30, "projections healed")
    assert await _answers(service) == before


async def _is_saved(service: Service) -> bool:
    return any(e["type"] == "wa.session.profile_saved.v1" for e in await events_of(service))


async def _has(service: Service, body: str, status: str | None = None) -> bool:
    found = [m for m in await service.history("ann-bot") if m["body"] == body]
    return any(status in {None, m["status"]} for m in found)


async def _answers(service: Service) -> dict[str, Any]:
    """Everything the read models tell of a session, but what counts the time."""
    session = (await service.http.get("/api/sessions/ann-bot")).json()
    session["data"]["metrics"].pop("uptime", None)
    listed = (await service.http.get("/api/sessions")).json()
    return {
        "session": session.get("data"),
        "status": {**await service.status("ann-bot"), "timestamp": "the answer's own"},
        "total": listed["total"],
        "history": await service.history("ann-bot"),
    }


async def test_every_event_is_a_cloudevent_and_follows_the_legal_transitions(
    service: Service,
) -> None:
    await service.link()
    await service.send("ann-bot", "hello")
    await service.phone.incoming(number=NUMBER, sender=FRIEND, body="hi")
    await service.until(lambda: _has(service, "hi"), 5, "received")
    await service.http.post("/api/sessions/ann-bot/disconnect", json={})
    await service.until_status("ann-bot", "stopped")

    events = await events_of(service)

    for event in events:
        JSONFormat().read(CloudEvent, _raw(event))
    versions: Counter[tuple[str, str]] = Counter()
    state = Session()
    for event in events:
        envelope = codec.decode(_raw(event))
        payload = codec.payload_of(envelope)
        key = (event["type"].split(".")[1], envelope.subject)
        versions[key] += 1
        assert envelope.version == versions[key], event
        if key == ("session", "ann.bot"):
            state = evolve(state, payload, envelope.time)  # type: ignore[arg-type]
    assert state.word == "stopped"


def _raw(event: dict[str, Any]) -> bytes:
    return json.dumps({k: v for k, v in event.items() if k not in {"place", "position"}}).encode()


async def test_the_websocket_resumes_without_a_hole(service: Service) -> None:
    await service.link()
    base = str(service.note["gateway_url"]).replace("http", "ws")
    url = f"{base}/ws?session=ann-bot&api_key={service.key}"
    seen: list[dict[str, Any]] = []

    async def read(since: int | None, count: int) -> None:
        place = f"{url}&since={since}" if since is not None else url
        async with connect(place) as socket:
            while len([f for f in seen if f["event"] == "message-received"]) < count:
                frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
                seen.append(frame)

    first = asyncio.create_task(read(None, 1))
    await asyncio.sleep(0.3)
    await service.phone.incoming(number=NUMBER, sender=FRIEND, body="one")
    await asyncio.wait_for(first, 15)
    position = max(f["position"] for f in seen if f["position"])
    for body in ("two", "three"):
        await service.phone.incoming(number=NUMBER, sender=FRIEND, body=body)
    await asyncio.wait_for(read(position, 3), 15)

    received = [f["payload"]["message"]["body"] for f in seen if f["event"] == "message-received"]
    assert received == ["one", "two", "three"]
