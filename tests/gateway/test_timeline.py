"""The story of a session over HTTP."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx

from events import session_events as e
from events.clock import utc_now
from events.subjects import SessionId
from tests.gateway.node import ScriptedNode

ONE = SessionId("user", "one")


async def test_it_tells_what_led_to_where_a_session_stands(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.event(
        ONE,
        e.Crashed(reason="page_hung", detail="the page did not answer in time"),
        e.BackingOff(attempt=1, max_attempts=5, delay=10, until=utc_now() + timedelta(seconds=10)),
    )

    answer = await http.get("/api/sessions/user-one/timeline")

    assert answer.status_code == 200
    body = answer.json()
    assert body["why"][0].startswith("Reconnecting since ")
    assert "its page stopped answering; attempt 1 of 5 at " in body["why"][0]
    *_, crash, plan = body["story"]
    assert (crash["type"], plan["type"]) == ("crashed", "backing_off")
    assert plan["causes"] == [crash["id"]]
    shown = (await http.get("/api/sessions/user-one")).json()["data"]
    told = body["session"]
    for field in ("status", "state", "reason", "error", "createdAt", "updatedAt", "phoneNumber"):
        assert told[field] == shown[field]


async def test_any_moment_can_be_asked_for_in_both_spellings(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    then = utc_now()
    await asyncio.sleep(0.01)  # A moment is no finer than a millisecond.
    await node.event(ONE, e.Stopped(reason="command"))

    for moment in (then.isoformat(), str(int(then.timestamp() * 1000) + 1)):
        body = (await http.get("/api/sessions/user-one/timeline", params={"at": moment})).json()
        assert body["session"]["status"] == "ready"
        assert body["story"][-1]["type"] == "ready"
    before = (then - timedelta(days=1)).isoformat()
    body = (await http.get("/api/sessions/user-one/timeline", params={"at": before})).json()
    assert (body["session"], body["story"]) == (None, [])
    assert body["why"] == ["There is no such session."]


async def test_a_long_story_is_read_in_pages(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    whole = (await http.get("/api/sessions/user-one/timeline")).json()["story"]

    paged: list[object] = []
    asked: dict[str, int] = {"limit": 2}
    while True:
        body = (await http.get("/api/sessions/user-one/timeline", params=asked)).json()
        paged = body["story"] + paged
        if body["nextBefore"] is None:
            break
        asked["before"] = body["nextBefore"]

    assert paged == whole


async def test_a_moment_that_is_none_is_refused_with_its_name(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    for moment in ("yesterday", "2026-01-31T12:00", "0.5", "-1", "9" * 15):
        answer = await http.get("/api/sessions/user-one/timeline", params={"at": moment})

        assert answer.status_code == 400
        assert "at" in answer.json()["detail"]
