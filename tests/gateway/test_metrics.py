"""Metrics: what they count, and what they must not name."""

from __future__ import annotations

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families

from events import codec, live, subjects
from events import session_events as e
from events.clock import utc_now
from events.log import Guard
from events.pool import LaunchesPaused
from events.subjects import SessionId
from gateway.instruments import Instruments
from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads

ONE = SessionId("user", "one")

Samples = dict[tuple[str, ...], float]


def read(text: str) -> Samples:
    """Read samples by name and the values of their labels, in the order of the labels' names."""
    return {
        (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(http: httpx.AsyncClient) -> Samples:
    return read((await http.get("/metrics")).text)


async def until(http: httpx.AsyncClient, *wanted: tuple[str, ...]) -> Samples:
    """Scrape until all of these are there and not 0."""
    async with asyncio.timeout(20):
        while True:
            found = await scrape(http)
            if all(found.get(one) for one in wanted):
                return found
            await asyncio.sleep(0.02)


async def test_requests_are_counted_by_route_and_name_nobody(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await running.http.get("/api/sessions/user-one")
    await running.http.get("/api/sessions/nobody-none")
    await running.http.request("BREW", "/api/sessions/user-one")

    answer = await running.http.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    samples = read(answer.text)
    route = "/api/sessions/{id}"
    assert samples["wa_http_requests_total", "GET", route, "200"] == 1
    assert samples["wa_http_requests_total", "GET", route, "404"] == 1
    assert samples["wa_http_request_duration_seconds_count", "GET", route] == 2
    assert samples["wa_sessions", "ready", "ready"] == 1
    assert samples["wa_up", "nats"] == samples["wa_up", "redis"] == 1
    for secret in ("user-one", "nobody", "BREW", "_created"):
        assert secret not in answer.text


async def test_sessions_transitions_are_counted_and_timed(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.event(ONE, e.Crashed(reason="browser_exited", detail=""))
    await node.event(ONE, e.Queued(reason="backoff_elapsed"))
    await node.starting(ONE)
    await node.ready(ONE)

    found = await until(running.http, ("wa_session_reconnections_total",))

    assert found["wa_session_transitions_total", "ready", "backing_off"] == 1
    assert found["wa_session_transitions_total", "unknown", "registered"] == 1
    assert found["wa_session_state_seconds_count", "ready"] == 1
    assert found["wa_session_start_seconds_count",] == 2
    assert found["wa_session_crashes_total", "browser_exited"] == 1
    assert found["wa_event_handling_seconds_count", "session", "ready"] == 2
    assert found["wa_event_append_seconds_count", "session"] > 8
    assert found["wa_event_lag_seconds_count",] > 8


async def test_a_reason_that_nobody_knows_makes_no_label(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.event(ONE, e.Crashed(reason="something never heard of", detail=""))

    await until(running.http, ("wa_session_crashes_total", "other"))


async def append_of_pool(node: ScriptedNode, event: LaunchesPaused) -> None:
    """Append an event of the node's pool."""
    family = subjects.pool_family("node-1")
    envelope = codec.seal(event, subject="node-1", source="wa/node/node-1", at=utc_now())
    guard = Guard(family, await node.log.tail(family))
    await node.log.append(subjects.pool_event("node-1", event.kind), envelope, guard)


async def test_breakers_are_counted_by_kind(running: Running, node: ScriptedNode) -> None:
    await node.suspended(ONE)
    paused = LaunchesPaused(reason="unreachable", failures=5, retry_in=30, rejected=0)
    await append_of_pool(node, paused)

    found = await until(
        running.http,
        ("wa_breaker_transitions_total", "session", "open"),
        ("wa_breaker_transitions_total", "node", "open"),
    )

    assert found["wa_breakers", "session", "open"] == 1
    assert found["wa_breakers", "page", "closed"] == 1


async def test_a_send_is_timed_in_every_stage(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    node.intends = True
    body = {"sessionId": "user-one", "to": "491701234567", "message": "hello"}
    sent = await running.http.post("/api/messages/send", json=body)
    await node.message(ONE, received())

    found = await until(
        running.http,
        ("wa_messages_total", "in", "received"),
        ("wa_send_stage_seconds_count", "answer"),
    )

    assert sent.json()["status"] == "sent"
    assert found["wa_messages_total", "out", "sent"] == 1
    assert found["wa_sends_total", "sent"] == 1
    assert found["wa_send_duration_seconds_count", "sent"] == 1
    for stage in ("request", "command", "inbox", "append_sending", "page", "append_sent"):
        assert found["wa_send_stage_seconds_count", stage] == 1, stage
    assert found["wa_send_stage_seconds_sum", "page"] < 40


async def test_what_a_browser_takes_is_shown_while_it_runs(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.notice(ONE, live.Usage(memory_mb=300, cpu=0.5, mailbox=2))
    found = await until(running.http, ("wa_session_memory_bytes", "user-one"))
    await node.event(ONE, e.Stopped(reason="command"))

    after = await scrape(running.http)

    assert found["wa_session_memory_bytes", "user-one"] == 300 * 1_048_576
    assert found["wa_session_cpu_cores", "user-one"] == 0.5
    assert found["wa_session_mailbox_messages", "user-one"] == 2
    assert ("wa_session_memory_bytes", "user-one") not in after


async def test_metrics_are_json_on_request(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answer = await running.http.get("/metrics", headers={"accept": "application/json"})

    assert answer.json()["byStatus"] == {"ready": 1}
    assert answer.json()["browsers"] == {"measured": 0, "memory": 0, "cpu": 0}


async def test_metrics_without_redis_say_so(running: Running, reads: FakeReads) -> None:
    reads.away = True

    answer = await running.http.get("/metrics")

    assert answer.status_code == 200
    assert 'wa_up{service="redis"} 0.0' in answer.text
    assert "wa_sessions{" not in answer.text


def test_each_gateway_counts_for_itself() -> None:
    one, other = Instruments(), Instruments()

    one.began()
    one.served("GET", "/x", 200, 0.1)

    assert one.registry.get_sample_value("wa_http_requests_in_progress") == 0
    labels = {"method": "GET", "route": "/x", "status": "200"}
    assert one.registry.get_sample_value("wa_http_requests_total", labels) == 1
    assert other.registry.get_sample_value("wa_http_requests_total", labels) is None
