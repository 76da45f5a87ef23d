"""Breakers over HTTP: one list, and everything that counts them says the same."""

from __future__ import annotations

import httpx

from events.breaker import BreakerState
from events.clock import utc_now
from events.session_events import OperationsPaused, Reset
from events.subjects import SessionId
from gateway.wire import instant
from projections.views import BreakerView, NodeView
from tests.gateway.conftest import key_for
from tests.gateway.node import IN_A_MINUTE, ScriptedNode
from tests.gateway.reads import FakeReads

ONE, TWO = SessionId("user", "one"), SessionId("user", "two")


async def test_every_breaker_is_listed_with_what_it_waits_for(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    until = utc_now() + IN_A_MINUTE
    await node.suspended(ONE)
    await node.ready(TWO)
    await node.event(TWO, OperationsPaused(failures=3, rejected=2, until=until))
    tripped = BreakerView(state=BreakerState.OPEN, failures=5, rejected=9, next_attempt=until)
    reads.pools = [
        NodeView(node="n1", launches=tripped, position=1),
        NodeView(node="ended", launches=None, position=2),
    ]

    body = (await http.get("/api/breakers")).json()

    told = [
        (b["type"], b["sessionId"] or b["node"], b["state"], b["failures"], b["threshold"])
        for b in body["breakers"]
    ]
    assert told == [
        ("session", "user-one", "open", 6, 6),
        ("page", "user-one", "closed", 0, 3),
        ("session", "user-two", "closed", 0, 6),
        ("page", "user-two", "open", 3, 3),
        ("node", "n1", "open", 5, 5),
    ]
    assert [b["rejected"] for b in body["breakers"]] == [0, 0, 0, 2, 9]
    assert body["breakers"][3]["nextAttempt"] == instant(until)
    assert (body["total"], body["open"]) == (5, 3)


async def test_health_statistics_and_metrics_count_what_the_list_shows(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.suspended(ONE)
    tripped = BreakerView(state=BreakerState.HALF_OPEN, failures=5)
    reads.pools = [NodeView(node="n1", launches=tripped, position=1)]

    counted = {"closed": 1, "open": 1, "half_open": 1}

    assert (await http.get("/api/sessions/stats")).json()["breakers"] == counted
    check = (await http.get("/health")).json()["checks"]["circuitBreakers"]
    assert (check["healthy"], check["metrics"]) == (False, counted)
    numbers = (await http.get("/metrics")).text
    kinds = {"closed": "page", "open": "session", "half_open": "node"}
    lines = [f'wa_breakers{{breaker="{kind}",state="{word}"}} 1.0' for word, kind in kinds.items()]
    assert [line in numbers for line in lines] == [True] * 3


async def test_a_users_key_is_shown_the_breakers_of_that_users_sessions(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.suspended(ONE)
    await node.ready(SessionId("another", "bot"))
    reads.pools = [NodeView(node="n1", launches=BreakerView(), position=1)]
    key = await key_for(http, ONE.user)

    body = (await http.get("/api/breakers", headers={"x-api-key": key})).json()

    assert {breaker["sessionId"] for breaker in body["breakers"]} == {ONE.joined}


async def test_a_suspended_session_is_started_at_once_when_its_breaker_is_reset(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.suspended(ONE)

    answer = await http.post("/api/sessions/user-one/reset-breaker", json={})

    assert answer.status_code == 200
    assert node.commands == [(ONE, Reset())]


async def test_a_session_whose_breakers_are_closed_is_let_be(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/sessions/user-one/reset-breaker", json={})

    assert (answer.status_code, answer.json()["status"]) == (200, "ready")
    assert node.commands == []


async def test_a_breaker_of_a_session_that_is_not_there_is_not_found(
    http: httpx.AsyncClient,
) -> None:
    answer = await http.post("/api/sessions/nobody-here/reset-breaker", json={})

    assert answer.status_code == 404
