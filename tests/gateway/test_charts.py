"""What charts are drawn from, pictures of pages, and what a key may do."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import httpx

from events import codec, live
from events.log import Stored
from events.message import Sending, Sent
from events.subjects import SessionId
from gateway.browsers import REMEMBERED
from gateway.frames import Told
from gateway.trends import STEP, STEPS, Trends
from tests.gateway.conftest import Running, key_for
from tests.gateway.node import ScriptedNode, received
from tests.gateway.test_errors import is_problem

ANN, BOB = SessionId("ann", "bot"), SessionId("bob", "bot")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PNG = b"\x89PNG\r\n\x1a\n"


def trends_of(*events: tuple[SessionId, object, float], now: float = 0.0) -> Trends:
    """Feed events with their seconds after noon, on a clock that stands at `now`."""
    trends = Trends(lambda: NOON + timedelta(seconds=now))
    for position, (session, payload, seconds) in enumerate(events, 1):
        at = NOON + timedelta(seconds=seconds)
        sealed = codec.seal(payload, subject=session.dotted, source="test", at=at, version=position)
        stored = Stored(position, "wa.evt.message.x", at, codec.encode(sealed))
        trends.take(stored, Told(session, sealed, payload, position))
    return trends


def sending(message: str) -> Sending:
    return Sending(message=message, wa_id="3EB0", to="1@c.us", body="hi")


def sent(message: str) -> Sent:
    return Sent(message=message, wa_id="3EB0", key="k", chat="1@c.us", ack=1, at=NOON)


def test_messages_are_counted_in_the_step_in_which_they_were_stored() -> None:
    trends = trends_of(
        (ANN, received(), 0), (ANN, received(), 3), (ANN, received(), STEP), now=STEP
    )

    told = trends.of(None)

    assert told.received[-2:] == [2, 1]
    assert len(told.received) == len(told.latency_most) == STEPS


def test_a_send_takes_from_its_intent_to_its_acknowledgement() -> None:
    trends = trends_of((ANN, sending("m"), 0), (ANN, sent("m"), 0.25), now=1)

    told = trends.of(None)

    assert (told.sent[-1], told.latency_half[-1], told.latency_most[-1]) == (1, 0.25, 0.25)
    assert told.latency_half[-2] is None


def test_a_user_is_told_of_that_user_only() -> None:
    trends = trends_of((ANN, received(), 0), (BOB, received(), 0), (BOB, received(), 0))

    assert [sum(trends.of(user).received) for user in ("ann", "bob", "carl", None)] == [1, 2, 0, 3]


def test_what_is_older_than_half_an_hour_is_forgotten() -> None:
    trends = trends_of((ANN, received(), 0), now=STEP * STEPS)

    assert sum(trends.of(None).received) == 0


def test_the_lag_is_the_longest_of_the_last_minute() -> None:
    trends = trends_of((ANN, received(), -3), (ANN, received(), -1))

    assert trends.of(None).lag == 3


async def test_the_route_of_the_trends_is_asked_by_whom_it_concerns(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ANN)
    await node.message(ANN, received())
    theirs = {"x-api-key": await key_for(running.http, "bob")}

    mine = (await running.http.get("/api/trends")).json()
    other = (await running.http.get("/api/trends", headers=theirs)).json()

    assert (sum(mine["received"]), sum(other["received"])) == (1, 0)


async def test_what_a_browser_took_is_told_over_time(
    http: httpx.AsyncClient, running: Running, node: ScriptedNode
) -> None:
    await node.ready(ANN)

    for megabytes in range(REMEMBERED + 1):
        await node.notice(ANN, live.Usage(memory_mb=megabytes, cpu=0.5))
    samples = []
    while not samples or samples[-1]["memory"] != REMEMBERED * 1_048_576:
        samples = (await http.get("/api/sessions/ann-bot/usage")).json()["samples"]

    assert len(samples) == REMEMBERED
    assert samples[0]["memory"] == 1_048_576
    assert samples[0]["at"] <= samples[-1]["at"]


async def test_a_picture_of_the_page_is_given_to_those_who_may_link(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ANN)
    await node.owner(ANN, "screenshot", codec.answer({"png": base64.b64encode(PNG).decode()}))
    reader = {"x-api-key": await key_for(running.http, "ann", "read")}

    shown = await running.http.get("/api/sessions/ann-bot/screenshot")
    refused = await running.http.get("/api/sessions/ann-bot/screenshot", headers=reader)

    assert (shown.status_code, shown.content) == (200, PNG)
    assert shown.headers["content-type"] == "image/png"
    assert shown.headers["cache-control"] == "no-store"
    is_problem(refused, 403)


async def test_a_picture_that_is_none_is_not_shown(running: Running, node: ScriptedNode) -> None:
    await node.ready(ANN)
    await node.owner(ANN, "screenshot", codec.answer({"png": "no base64!"}))

    is_problem(await running.http.get("/api/sessions/ann-bot/screenshot"), 503)


async def test_a_key_is_told_what_it_may(running: Running) -> None:
    key = await key_for(running.http, "ann", "read", "send")

    first = (await running.http.get("/api/keys/own")).json()
    other = (await running.http.get("/api/keys/own", headers={"x-api-key": key})).json()

    assert (first["admin"], first["userId"]) == (True, None)
    assert (other["admin"], other["userId"], other["scopes"]) == (False, "ann", ["read", "send"])


async def test_a_session_says_since_when_and_when_it_is_tried_again(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.suspended(ANN)

    held = (await http.get("/api/sessions/ann-bot")).json()["data"]

    assert held["state"] == "suspended"
    assert held["since"] == held["updatedAt"]
    assert held["nextAttempt"] > held["since"]
