"""Health and the manual."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from events import codec
from events.clock import utc_now
from events.connection import connect
from events.streams import declare
from events.subjects import SessionId, ask
from gateway import docs
from gateway.checks import CHECKS
from gateway.checks.finding import Check, Finding, Look
from gateway.health import Health
from gateway.health_history import History, Past
from gateway.quotas import family_of
from projections.views import ProjectionHealth
from tests import services
from tests.gateway.conftest import KEY, Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.services import redis_cluster

ONE = SessionId("user", "one")
NAMES = {
    *("redis", "nats", "sessionPool", "circuitBreakers", "websocket"),
    *("sessions", "system", "persistence", "reconnection", "projections"),
}


async def owner_of(node: ScriptedNode, session: SessionId) -> None:
    """Answer questions to a session, as its owner does."""

    async def answer(message: Any) -> None:
        await message.respond(codec.answer_error("no_code", "no code", 409))

    await node.client.subscribe(ask(session, "qr"), cb=answer)
    await node.client.flush()


async def test_all_is_well(running: Running, node: ScriptedNode) -> None:
    async with httpx.AsyncClient(base_url=running.url, timeout=40) as http:
        answer = await http.get("/health")

    body = answer.json()
    assert (answer.status_code, body["status"], body["healthy"]) == (200, "healthy", True), body
    assert body["checks"].keys() == NAMES
    for check in body["checks"].values():
        assert check.keys() == {"healthy", "message", "metrics", "duration"}
    assert body["checks"]["persistence"]["metrics"]["WA_EVT"]["messages"] == 0
    assert "127.0.0.1" not in answer.text


async def test_details_come_with_history_and_what_to_do(
    running: Running, node: ScriptedNode
) -> None:
    async with httpx.AsyncClient(base_url=running.url, timeout=40) as http:
        body = (await http.get("/health?detailed=true")).json()

    assert body["current"]["status"] == body["status"]
    assert len(body["history"]) == 1
    assert body["statistics"].keys() == {
        *("healthyPercentage", "averageDuration", "totalChecks", "failureCount")
    }
    assert body["recommendations"] == []


async def test_without_redis_it_is_unhealthy_and_says_what_to_do(
    running: Running, reads: FakeReads
) -> None:
    reads.away = True

    async with httpx.AsyncClient(base_url=running.url, timeout=40) as http:
        answer = await http.get("/health?detailed=true")
        live = await http.get("/health/live")
        ready = await http.get("/health/ready")

    body = answer.json()
    assert (answer.status_code, body["status"]) == (503, "unhealthy")
    assert body["checks"]["redis"]["healthy"] is False
    assert any("REDIS_HOST" in told for told in body["recommendations"])
    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json()["checks"] == {"nats": True, "redis": False}


async def redis_is(running: Running, *, healthy: bool) -> dict[str, Any]:
    """Wait until health says so of Redis: what was found a moment ago is told again."""
    while True:
        found = (await running.http.get("/health")).json()["checks"]["redis"]
        if found["healthy"] is healthy:
            return found


async def test_a_server_of_a_cluster_that_is_away_is_named_by_its_slots_and_no_address(
    tmp_path: Path,
) -> None:
    with redis_cluster(tmp_path) as cluster:
        settings = settings_for("nats://127.0.0.1:9", tmp_path, redis_url=cluster.url)
        async with serving(settings, None) as running:
            there = await redis_is(running, healthy=True)
            cluster.masters[1].pause()
            away = await redis_is(running, healthy=False)

    assert (there["healthy"], there["metrics"]["kind"]) == (True, "cluster")
    assert away["healthy"] is False
    assert away["message"] == (
        "Redis does not answer: 1 of 3 servers of the cluster, slots 5461-10922"
    )
    assert not any(str(server.port) in json.dumps(away) for server in cluster.masters)


async def test_without_nats_it_is_unhealthy(tmp_path: Path) -> None:
    async with serving(settings_for("nats://127.0.0.1:9", tmp_path), FakeReads()) as running:
        answer = await running.http.get("/health")
        ready = await running.http.get("/health/ready")

    assert (answer.status_code, ready.status_code) == (503, 503)
    assert (answer.headers["retry-after"], ready.headers["retry-after"]) == ("2", "2")
    assert answer.json()["checks"]["nats"]["healthy"] is False
    assert answer.json()["checks"]["redis"]["healthy"] is True


async def test_a_broker_that_was_frozen_is_heard_again_at_once(
    own_nats: services.NatsServer, reads: FakeReads, tmp_path: Path
) -> None:
    settings = settings_for(own_nats.url, tmp_path)
    client = await connect(settings, "node", name="test", patience=30)
    await declare(client.jetstream(), settings)
    async with serving(settings, reads) as running:
        await until_ready(running)

        own_nats.pause()
        frozen = (await running.http.get("/health")).json()
        own_nats.resume()
        heard = await running.app.state.parts.broker.jetstream.stream_info("WA_EVT")

    await client.close()
    assert frozen["checks"]["nats"]["healthy"] is False
    assert heard.config.name == "WA_EVT"


async def test_a_missing_stream_is_unhealthy(running: Running, node: ScriptedNode) -> None:
    await node.client.jetstream().delete_stream("WA_EVT")

    body = (await running.http.get("/health")).json()

    assert body["status"] == "unhealthy"
    assert body["checks"]["persistence"]["message"] == "A stream is missing"


async def test_a_stopped_projection_degrades(running: Running, reads: FakeReads) -> None:
    reads.projections = [
        ProjectionHealth(
            projection="sessions", position=7, lag=3, updated=utc_now(), stopped="event 8: bad"
        )
    ]

    answer = await running.http.get("/health?detailed=true")

    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "degraded")
    assert body["checks"]["projections"]["healthy"] is False
    assert any("wa rebuild" in told for told in body["recommendations"])


async def test_an_open_breaker_degrades(running: Running, node: ScriptedNode) -> None:
    await node.suspended(ONE)

    body = (await running.http.get("/health")).json()

    assert body["status"] == "degraded"
    assert body["checks"]["circuitBreakers"]["metrics"]["open"] == 1


async def test_a_session_whose_owner_is_silent_degrades(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    body = (await running.http.get("/health")).json()

    assert body["checks"]["sessionPool"]["metrics"]["ownerAnswers"] is False
    assert body["status"] == "degraded"


async def test_an_owner_that_answers_with_a_no_is_there(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await owner_of(node, ONE)

    body = (await running.http.get("/health")).json()

    assert body["checks"]["sessionPool"]["metrics"]["ownerAnswers"] is True
    assert body["status"] == "healthy"


async def never(_: Look) -> Finding:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)
            raise


async def broken(_: Look) -> Finding:
    raise RuntimeError("ws://10.0.0.7/secret")


async def fine(_: Look) -> Finding:
    return Finding(True, "fine")


def health_of(running: Running, **checks: Check) -> Health:
    return Health(running.app.state.parts, History(None), checks)


async def test_a_check_that_hangs_does_not_hang_health(tmp_path: Path) -> None:
    settings = settings_for("nats://127.0.0.1:9", tmp_path, health_timeout=0.05)
    async with serving(settings, FakeReads()) as running:
        health = health_of(running, fine=fine, hangs=never, broken=broken)

        report = await asyncio.wait_for(health.report(), 1)

    assert report.checks["fine"]["healthy"] is True
    assert report.checks["hangs"]["message"] == "No answer in time"
    assert report.checks["broken"]["message"] == "The check itself failed"
    assert "10.0.0.7" not in json.dumps(report.body)


async def test_the_last_ten_reports_are_shown(alone: Running) -> None:
    history = History(None)
    for number in range(12):
        history.remember(Past(timestamp=str(number), status="degraded", duration=3.0))
    health = Health(alone.app.state.parts, history, {"fine": fine})

    body = await health.details()

    assert [past["timestamp"] for past in body["history"][:2]] == ["3", "4"]
    assert len(body["history"]) == 10
    assert body["statistics"]["totalChecks"] == 13
    assert body["statistics"]["failureCount"] == 12
    assert body["statistics"]["healthyPercentage"] == 7.69


async def test_who_asks_again_and_again_does_not_push_the_past_out(
    alone: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.health.FRESH", -1)
    health = health_of(alone, fine=fine)

    for _ in range(5):
        await health.report()

    assert (await health.details())["statistics"]["totalChecks"] == 1


async def test_a_change_is_remembered_at_once(
    alone: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.health.FRESH", -1)
    well = True

    async def sometimes(_: Look) -> Finding:
        return Finding(well, "as it is")

    health = health_of(alone, redis=sometimes)
    await health.report()
    well = False
    await health.report()
    well = True
    body = await health.details()

    assert [past["status"] for past in body["history"]] == ["healthy", "unhealthy", "healthy"]
    assert body["history"][1]["ill"] == ("redis",)


async def test_on_its_interval_health_looks_by_itself(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_url, tmp_path, health_interval=0.01)
    async with serving(settings, reads) as running:
        async with asyncio.timeout(10):
            while len(running.app.state.health.chronicle.reports) < 2:
                await asyncio.sleep(0.01)


async def test_a_report_is_given_again_for_a_moment(alone: Running) -> None:
    asked = 0

    async def counted(_: Look) -> Finding:
        nonlocal asked
        asked += 1
        return Finding(True, "fine")

    health = health_of(alone, counted=counted)
    await asyncio.gather(*(health.report() for _ in range(20)))

    assert asked == 1


def test_the_contract_names_every_check() -> None:
    assert set(CHECKS) == NAMES


# --- the manual ------------------------------------------------------------------------


async def test_the_manual_is_for_machines_and_people(alone: Running) -> None:
    whole = (await alone.http.get("/openapi.json")).json()
    page = await alone.http.get("/docs")

    assert whole["openapi"].startswith("3.")
    assert page.headers["content-type"].startswith("text/html")
    for path in whole["paths"]:
        assert path in page.text


async def test_the_manual_opens_in_a_browser(alone: Running) -> None:
    async with httpx.AsyncClient(base_url=alone.url, timeout=40) as http:
        answer = await http.get(f"/docs?api_key={KEY}")

    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for elsewhere in ('src="', 'href="http', "<script", "<link", "@import", "url("):
        assert elsewhere not in answer.text


ROUTES = {
    ("post", "/api/sessions/create"),
    ("post", "/api/sessions/initialize"),
    ("get", "/api/sessions"),
    ("get", "/api/sessions/{id}"),
    ("get", "/api/sessions/{userId}/{plubotId}"),
    ("get", "/api/sessions/{id}/status"),
    ("get", "/api/sessions/stats"),
    ("post", "/api/sessions/{id}/refresh-qr"),
    ("post", "/api/sessions/refresh-qr"),
    ("post", "/api/sessions/{id}/reconnect"),
    ("post", "/api/sessions/{id}/disconnect"),
    ("post", "/api/sessions/{id}/logout"),
    ("delete", "/api/sessions/{id}"),
    ("get", "/api/qr/{userId}/{plubotId}"),
    ("get", "/api/qr/{id}"),
    ("post", "/api/messages/send"),
    ("post", "/api/sessions/{id}/messages"),
    ("get", "/api/messages/{id}/history"),
    ("get", "/health"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/metrics"),
}


async def test_the_manual_names_every_route_of_the_contract_with_its_errors(
    alone: Running,
) -> None:
    whole = docs.document(alone.app)
    told = {(method, path) for path, held in whole["paths"].items() for method in held}

    assert told >= ROUTES
    for method, path in told:
        operation = whole["paths"][path][method]
        assert operation["summary"]
        if path.startswith("/api"):
            assert {"401", "403", "503"} <= operation["responses"].keys()
            assert operation["security"]
        if method == "post" and "requestBody" in operation:
            content = operation["requestBody"]["content"]
            form = {"schema": {}, "examples": "multipart/form-data" in content}
            media = content.get("application/json", form)
            assert media["schema"].get("examples") or media.get("examples"), path
    assert "HTTPValidationError" not in json.dumps(whole)


async def test_the_manual_names_the_headers_that_no_route_sets_by_itself(alone: Running) -> None:
    whole = docs.document(alone.app)

    for path, held in whole["paths"].items():
        for method, operation in held.items():
            answers = operation["responses"]
            limited = {"X-RateLimit-Limit", "X-RateLimit-Reset", "RateLimit"}
            for status, answer in answers.items():
                headers = answer.get("headers", {}).keys()
                assert ("Retry-After" in headers) == (status in {"429", "503"}), path
                assert (headers >= limited) == bool(family_of(method.upper(), path)), path
            if method == "post":
                names = [field["name"] for field in operation["parameters"]]
                assert names.count("Idempotency-Key") == 1, path
                assert answers.keys() >= {"409", "422"}, path


async def test_every_reference_of_the_manual_leads_somewhere(alone: Running) -> None:
    whole = docs.document(alone.app)

    for reference in _references(whole):
        place: Any = whole
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []
