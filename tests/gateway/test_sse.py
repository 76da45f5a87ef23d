"""Server-sent events: what a browser's EventSource gets, and with what it comes back."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from events.clock import utc_now
from events.live import Qr
from events.session_events import Pairing
from gateway import frames, sse
from tests.gateway.conftest import KEY, Running
from tests.gateway.node import IN_A_MINUTE, ScriptedNode, received
from tests.gateway.streams import watching
from tests.gateway.test_websocket import BAD, ONE, TWO


async def test_the_state_comes_first_and_then_events_with_their_position_as_the_id(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    async with watching(running, session="user-one") as stream:
        state = await stream.event()
        position = await node.message(ONE, received("hello"))
        event = await stream.event()

    assert (state.name, state.data["payload"]["state"]) == ("state-change", "ready")
    assert (event.name, event.last_id) == ("message-received", str(position))
    assert event.data["position"] == position
    assert event.data["payload"]["message"]["body"] == "hello"
    assert set(event.data) == {"id", "position", "timestamp", "event", "session", "payload"}


async def test_no_proxy_keeps_it_back_and_a_browser_knows_when_to_return(
    running: Running, node: ScriptedNode
) -> None:
    async with watching(running, session="user-one") as stream:
        await stream.event()

        assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.response.headers["x-accel-buffering"] == "no"
        assert stream.response.headers["cache-control"].startswith("no-cache")
        assert stream.retry == sse.RETRY


async def test_a_code_leaves_the_last_id_as_it_was(running: Running, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    async with watching(running, session="user-one", events="state-change,qr-update") as stream:
        await stream.event()

        # One after the other: the code comes by another road than the event.
        soon = utc_now() + IN_A_MINUTE
        await node.event(ONE, Pairing(attempt=1, expires=soon))
        change = await stream.event()
        await node.notice(ONE, Qr(code="2@code", attempt=1, expires=soon))
        code = await stream.event()

    assert (change.name, change.last_id) == ("state-change", str(change.data["position"]))
    assert (code.name, code.data["position"]) == ("qr-update", None)
    assert code.last_id == change.last_id


async def test_the_last_id_of_a_browser_resumes_whatever_its_address_says(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    wanted = {"session": "user-one", "events": "message-received"}
    first = await node.message(ONE, received("1"))
    async with watching(running, since=first - 1, **wanted) as stream:
        seen = await stream.event()
    for number in range(2, 6):
        await node.message(ONE, received(str(number)))

    last = {"Last-Event-ID": seen.last_id}
    async with watching(running, headers=last, since=first - 1, **wanted) as stream:
        await node.message(ONE, received("6"))
        again = await stream.events(5)

    assert [event.data["payload"]["message"]["body"] for event in again] == list("23456")


@pytest.mark.parametrize("name", ["lastEventId", "Last-Event-ID"])
async def test_a_library_that_cannot_set_the_header_resumes_by_its_address(
    running: Running, node: ScriptedNode, name: str
) -> None:
    await node.ready(ONE)
    first = await node.message(ONE, received("1"))
    await node.message(ONE, received("2"))

    wanted = {"session": "user-one", "events": "message-received, message-ack", "_": "17"}
    async with watching(running, since=first - 1, **wanted, **{name: first}) as stream:
        again = await stream.event()

    assert again.data["payload"]["message"]["body"] == "2"


async def test_a_browser_that_is_cut_before_its_first_event_misses_nothing(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    wanted = {"session": "user-one", "events": "message-received"}
    async with watching(running, **wanted) as stream:
        while not stream.last_id:
            with pytest.raises(TimeoutError):
                await stream.event(timeout=0.1)
    await node.message(ONE, received("while it was away"))

    async with watching(running, headers={"Last-Event-ID": stream.last_id}, **wanted) as stream:
        event = await stream.event()

    assert event.data["payload"]["message"]["body"] == "while it was away"


async def test_other_sessions_are_not_told_on_a_stream(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.ready(TWO)
    async with watching(running, session="user-one") as stream:
        await stream.event()

        await node.message(TWO, received("not for one"))
        await node.message(ONE, received("for one"))

        assert (await stream.event()).data["payload"]["message"]["body"] == "for one"


async def test_a_quiet_stream_beats(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "BEAT", 0.01)
    await node.ready(ONE)

    async with watching(running, session="user-one", events="message-received") as stream:
        waiting = asyncio.create_task(stream.event())
        while len(stream.comments) < 2:
            await asyncio.sleep(0.01)
        await node.message(ONE, received())

        assert (await waiting).name == "message-received"


async def test_a_reader_that_does_not_keep_up_is_told_so_and_dropped(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    feed = running.app.state.parts.feed
    monkeypatch.setattr(feed, "_waiting", 5)
    async with watching(running, session="user-one") as slow:
        await slow.event()
        line = next(iter(feed._lines["user-one"]))

        for number in range(6):
            line.put(frames.gap("user-one", number, None, "made up"))
        told = await slow.event()

        assert (told.name, told.data["payload"]["reason"]) == ("dropped", "too_slow")
        assert told.data["payload"]["since"] == int(slow.last_id)
        with pytest.raises(StopAsyncIteration):
            await slow.event()
        assert (feed.watching, feed.dropped) == (0, 1)


async def test_a_stream_ends_when_the_gateway_does(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    async with watching(running, session="user-one") as stream:
        await stream.event()

        running.app.state.parts.feed.end()

        assert (await stream.event()).data["payload"]["reason"] == "restart"
        with pytest.raises(StopAsyncIteration):
            await stream.event()


async def test_a_reader_that_goes_is_forgotten(running: Running, node: ScriptedNode) -> None:
    async with watching(running, session="user-one") as stream:
        await stream.event()
        assert running.app.state.parts.feed.watching == 1

    async with asyncio.timeout(5):
        while running.app.state.parts.feed.watching:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("query", BAD.values(), ids=BAD)
async def test_a_bad_question_is_refused(alone: Running, query: dict[str, str]) -> None:
    answer = await alone.http.get("/api/events", params=query)

    assert answer.status_code == 400
    assert answer.json()["success"] is False


async def test_a_last_id_that_is_no_position_is_refused(alone: Running) -> None:
    answer = await alone.http.get("/api/events", headers={"Last-Event-ID": "qr"})

    assert answer.status_code == 400
    assert "Last-Event-ID" in answer.json()["error"]


async def test_without_a_broker_a_stream_is_refused_as_away(alone: Running) -> None:
    answer = await alone.http.get("/api/events")

    assert answer.status_code == 503
    assert answer.json()["retryAfter"] > 0


async def test_an_event_source_gives_its_key_in_the_address(
    running: Running, node: ScriptedNode
) -> None:
    async with httpx.AsyncClient(base_url=running.url, timeout=40) as browser:
        closed = await browser.get("/api/events")
        query = {"session": "user-one", "api_key": KEY}
        async with browser.stream("GET", "/api/events", params=query) as response:
            opened = response.status_code

    assert (closed.status_code, opened) == (401, 200)
