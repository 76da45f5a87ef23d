"""Sending over HTTP: what each state answers, once per key, and what came of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from events import live
from events import session_events as e
from events.clock import utc_now
from events.connection import connect
from events.message import Expired, Failed, Send, Unresolved
from events.session_events import SessionEvent
from events.streams import declare
from events.subjects import SessionId
from gateway.sending import message_key
from tests.gateway.conftest import serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, received, sent
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

ONE = SessionId("user", "one")
TWO = SessionId("user", "two")
TEXT = {"sessionId": "user-one", "to": "+49 170 1234567", "message": "hello"}


async def test_a_ready_session_sends_at_once(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/messages/send", json=TEXT)

    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["status"], body["ack"]) == (True, "sent", 1)
    assert body["messageId"].startswith("3EB0")
    assert body["commandId"]
    assert body["timestamp"].endswith("Z")
    (session, command), *_ = node.commands
    assert isinstance(command, Send)
    assert (session, command.to, command.body) == (ONE, "491701234567@c.us", "hello")


async def test_the_other_route_wraps_its_answer(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    answer = await http.post(
        "/api/sessions/user-one/messages", json={"to": 491701234567, "message": "hello"}
    )

    body = answer.json()
    assert (answer.status_code, body["success"], body["data"]["status"]) == (200, True, "sent")
    assert body["data"]["messageId"]


SOON = utc_now() + timedelta(hours=2)
FAILS = e.Crashed(reason="page_gone", detail="")
STATES: dict[str, tuple[list[SessionEvent], int]] = {
    "registered": ([], 202),
    "queued": ([e.Queued(reason="create")], 202),
    "starting": ([e.Queued(reason="create"), e.Starting(attempt=1, deadline=SOON)], 202),
    "pairing": (
        [
            e.Queued(reason="create"),
            e.Starting(attempt=1, deadline=SOON),
            e.Pairing(attempt=1, expires=SOON),
        ],
        409,
    ),
    "authenticated": (
        [
            e.Queued(reason="create"),
            e.Starting(attempt=1, deadline=SOON),
            e.Authenticated(deadline=SOON),
        ],
        202,
    ),
    "ready": ([], 200),
    "offline": ([e.Offline(reason="TIMEOUT", deadline=SOON)], 202),
    "backing off": ([FAILS], 202),
    "suspended": ([FAILS, e.Suspended(failures=6, until=SOON)], 503),
    "parked": ([e.Parked(reason="CONFLICT")], 409),
    "resting": (
        [
            e.Queued(reason="create"),
            e.Starting(attempt=1, deadline=SOON),
            e.Pairing(attempt=1, expires=SOON),
            e.Rested(reason="qr_exhausted"),
        ],
        409,
    ),
    "blocked": ([e.Blocked(reason="TOS_BLOCK")], 409),
    "stopped": ([e.Stopped(reason="command")], 409),
    "logged out": ([e.LoggedOut(reason="phone")], 409),
    "removed": ([e.Removed()], 404),
}
UNLINKED = {"registered", "queued", "starting", "pairing", "authenticated", "resting"}


@pytest.mark.parametrize("state", STATES)
async def test_what_a_send_answers_in_each_state(
    http: httpx.AsyncClient, node: ScriptedNode, state: str
) -> None:
    events, status = STATES[state]
    if state in UNLINKED:
        await node.event(ONE, e.Registered(user="user", bot="one"))
    else:
        await node.ready(ONE)
    await node.event(ONE, *events)
    node.outcome = sent if state == "ready" else lambda _: None

    answer = await http.post("/api/messages/send", json=TEXT)

    assert answer.status_code == status, answer.text
    assert answer.json()["success"] is (status < 300)
    if status == 202:
        assert (answer.json()["status"], answer.json()["messageId"]) == ("queued", None)
    if status == 503:
        assert 3_600 < int(answer.headers["retry-after"]) <= 7_200
        assert 3_600_000 < answer.json()["retryAfter"] <= 7_200_000
    if status >= 400:
        assert node.commands == []


async def test_an_outcome_that_does_not_come_in_time_is_a_202(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.outcome = lambda _: None

    answer = await http.post("/api/messages/send", json=TEXT)

    assert (answer.status_code, answer.json()["status"]) == (202, "queued")


async def test_a_number_that_is_not_on_whatsapp_is_bad_input(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.outcome = lambda send: Failed(message=send.message, to=send.to, reason="not_on_whatsapp")

    answer = await http.post("/api/messages/send", json=TEXT)

    assert (answer.status_code, answer.json()["reason"]) == (422, "not_on_whatsapp")
    assert answer.json()["commandId"]


async def test_an_expired_send_is_a_conflict(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    node.outcome = lambda send: Expired(message=send.message, to=send.to, deadline=send.deadline)

    answer = await http.post("/api/messages/send", json=TEXT)

    assert (answer.status_code, answer.json()["reason"]) == (409, "expired")


async def test_what_could_not_be_told_is_neither_success_nor_failure(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.outcome = lambda send: Unresolved(
        message=send.message, to=send.to, wa_id="3EB0", reason="page_gone"
    )

    answer = await http.post("/api/messages/send", json=TEXT)

    assert (answer.status_code, answer.json()["status"]) == (202, "unresolved")


async def test_a_refusal_comes_back_as_its_status(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.refuse = live.Refused(
        command="", reason="breaker", detail="the page is in trouble", status=503, retry_after=7
    )

    answer = await http.post("/api/messages/send", json=TEXT)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")


# --- once per key -----------------------------------------------------------------


async def test_the_same_key_sends_once(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    once = {"Idempotency-Key": "order-7"}

    first = await http.post("/api/messages/send", json=TEXT, headers=once)
    again = await http.post("/api/messages/send", json=TEXT, headers=once)

    assert node.sends == {"order-7": 1}
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()


async def test_the_same_key_at_the_same_time_sends_once(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    once = {"Idempotency-Key": "order-7"}

    answers = await asyncio.gather(
        *(http.post("/api/messages/send", json=TEXT, headers=once) for _ in range(10))
    )

    assert node.sends == {"order-7": 1}
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["messageId"] for answer in answers}) == 1


async def test_the_same_key_of_a_message_that_waits_is_still_waiting(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    node.outcome = lambda _: None
    once = {"Idempotency-Key": "order-7"}

    first = await http.post("/api/messages/send", json=TEXT, headers=once)
    again = await http.post("/api/messages/send", json=TEXT, headers=once)

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["commandId"] == again.json()["commandId"]
    assert node.sends == {"order-7": 1}


async def test_the_same_key_of_a_failure_fails_the_same_way(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.outcome = lambda send: Failed(message=send.message, to=send.to, reason="rejected")
    once = {"Idempotency-Key": "order-7"}

    first = await http.post("/api/messages/send", json=TEXT, headers=once)
    again = await http.post("/api/messages/send", json=TEXT, headers=once)

    assert (first.status_code, again.status_code) == (422, 422)
    assert node.sends == {"order-7": 1}


async def test_the_outcome_is_told_even_if_the_session_cannot_send_any_more(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    once = {"Idempotency-Key": "order-7"}
    first = await http.post("/api/messages/send", json=TEXT, headers=once)
    await node.event(ONE, e.Stopped(reason="command"))

    again = await http.post("/api/messages/send", json=TEXT, headers=once)

    assert again.json() == first.json()


async def test_two_sends_without_a_key_are_two_messages(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    await http.post("/api/messages/send", json=TEXT)
    await http.post("/api/messages/send", json=TEXT)

    assert sorted(node.sends.values()) == [1, 1]


KEYS = {
    "an order number": ("order-7", "order-7"),
    "a uuid": ("2f1c6a52-7f0e-4b0e-9f2a-000000000000",) * 2,
    "blanks": ("order 7", None),
    "a subject": ("wa.evt.>", None),
    "too long": ("x" * 500, None),
    "not ASCII": ("Bestellung №7", None),
}


@pytest.mark.parametrize(("given", "kept"), KEYS.values(), ids=KEYS)
def test_a_key_that_does_not_fit_is_hashed(given: str, kept: str | None) -> None:
    key = message_key(given)

    assert key == kept if kept else key.startswith("sha256:")
    assert len(key) <= 128
    assert message_key(given) == key


def test_no_key_is_a_new_key() -> None:
    assert message_key(None) != message_key(None)


# --- for a user ---------------------------------------------------------------------

FOR_USER = {"userId": "user", "to": "491701234567", "message": "hello"}


async def test_a_users_ready_session_is_chosen(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.ready(TWO)

    answer = await http.post("/api/messages/send", json=FOR_USER)

    assert (answer.status_code, answer.json()["sessionId"]) == (200, "user-two")


async def test_a_session_left_empty_is_one_not_named(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    sent = await http.post("/api/messages/send", json=FOR_USER | {"sessionId": ""})
    alone = await http.post("/api/messages/send", json=FOR_USER | {"sessionId": "", "userId": ""})

    assert (sent.status_code, sent.json()["sessionId"]) == (200, "user-one")
    assert is_problem(alone, 400)["detail"].startswith("sessionId is missing")


async def test_the_least_loaded_one_is_chosen(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.ready(TWO)
    node.outcome = lambda _: None

    answers = await asyncio.gather(
        *(http.post("/api/messages/send", json=FOR_USER) for _ in range(4))
    )

    chosen = [answer.json()["sessionId"] for answer in answers]
    assert sorted(chosen) == ["user-one", "user-one", "user-two", "user-two"]


async def test_the_same_key_goes_through_the_same_session(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.ready(TWO)
    once = {"Idempotency-Key": "order-7"}

    answers = await asyncio.gather(
        *(http.post("/api/messages/send", json=FOR_USER, headers=once) for _ in range(6))
    )

    assert len({answer.json()["sessionId"] for answer in answers}) == 1
    assert node.sends == {"order-7": 1}


async def test_a_user_without_a_ready_session_is_a_conflict(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)

    assert (await http.post("/api/messages/send", json=FOR_USER)).status_code == 409


async def test_a_user_without_sessions_is_not_found(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    assert (await http.post("/api/messages/send", json=FOR_USER)).status_code == 404


# --- a full inbox ---------------------------------------------------------------------


async def test_a_full_inbox_is_a_429(nats_url: str, reads: FakeReads, tmp_path: Path) -> None:
    settings = settings_for(nats_url, tmp_path, max_pending_sends=2)
    client = await connect(settings, "node", name="scripted-node", patience=30)
    await declare(client.jetstream(), settings)
    node = ScriptedNode(client, reads)
    await node.registered(ONE)
    async with serving(settings, reads) as running:
        await until_ready(running)

        answers = [await running.http.post("/api/messages/send", json=TEXT) for _ in range(3)]
    await client.close()

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    full = answers[-1]
    assert full.json()["reason"] == "inbox_full"
    assert int(full.headers["retry-after"]) * 1000 == full.json()["retryAfter"]


# --- history --------------------------------------------------------------------------


async def _history(http: httpx.AsyncClient, count: int) -> dict[str, Any]:
    """Read a history once it has so many messages: a send is answered before it is projected."""
    while True:
        body = (await http.get("/api/messages/user-one/history")).json()
        if len(body["messages"]) >= count:
            return body
        await asyncio.sleep(0.01)


async def test_history_is_newest_first(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    for number in range(3):
        await node.message(ONE, received(str(number)))
    await http.post("/api/messages/send", json=TEXT)

    body = await _history(http, 4)

    assert body["success"] is True
    assert [m["direction"] for m in body["messages"]] == ["out", "in", "in", "in"]
    assert [m["body"] for m in body["messages"][1:]] == ["2", "1", "0"]
    newest = body["messages"][0]
    assert (newest["fromMe"], newest["status"], newest["ack"]) == (True, "sent", 1)
    assert body["messages"][1]["from"] == "491701111111@c.us"


async def test_history_pages_back(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    for number in range(5):
        await node.message(ONE, received(str(number)))

    first = (await http.get("/api/messages/user-one/history?limit=3")).json()
    second = (
        await http.get(
            f"/api/messages/user-one/history?limit=3&before={first['nextBefore']}",
        )
    ).json()

    assert [m["body"] for m in first["messages"] + second["messages"]] == ["4", "3", "2", "1", "0"]
    assert second["nextBefore"] is None


async def test_the_id_of_a_send_is_the_id_of_its_history(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    told = (await http.post("/api/messages/send", json=TEXT)).json()
    held = (await _history(http, 1))["messages"][0]

    assert held["messageId"] == told["messageId"]
