"""`Idempotency-Key` on every POST: the first outcome again, and nothing done twice."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path

import httpx
import pytest

from events import live
from events.clock import utc_now
from events.message import Failed
from events.session_events import RefreshQr, Restart
from events.subjects import SessionId
from gateway import idempotency, remembered
from gateway.broker import BrokerAway
from gateway.remembered import Claim, Record, Remembered, Secret
from tests.gateway.conftest import KEY, Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

ONE = SessionId("user", "one")
PAIR = {"userId": "user", "plubotId": "one"}
SEND = {"sessionId": "user-one", "to": "491701234567", "message": "hello"}
ONCE = {"Idempotency-Key": "order-7"}
RECONNECT = "/api/sessions/user-one/reconnect"


async def test_the_first_outcome_is_given_again_and_nothing_is_done_twice(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    first = await http.post(RECONNECT, headers=ONCE)
    again = await http.post(RECONNECT, headers=ONCE)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert [command for _, command in node.commands] == [Restart()]


async def test_a_key_belongs_to_its_route(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    await http.post(RECONNECT, headers=ONCE)
    other = await http.post("/api/sessions/user-one/disconnect", headers=ONCE)

    assert "idempotency-replayed" not in other.headers
    assert len(node.commands) == 2


async def test_another_key_does_it_again(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    await http.post(RECONNECT, headers=ONCE)
    await http.post(RECONNECT, headers={"Idempotency-Key": "order-8"})

    assert len(node.commands) == 2


async def test_the_same_key_for_the_same_body_written_otherwise_is_the_same_request(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    said = ONCE | {"content-type": "application/json"}
    bodies = (json.dumps(SEND), json.dumps(dict(reversed(SEND.items())), separators=(",", ":")))

    first, again = [
        await http.post("/api/messages/send", content=body, headers=said) for body in bodies
    ]

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json()["messageId"] == first.json()["messageId"]
    assert sum(node.sends.values()) == 1


@pytest.mark.parametrize("path", ["/api/sessions/create", "/api/messages/send"])
async def test_the_same_key_for_another_body_is_a_422(
    http: httpx.AsyncClient, node: ScriptedNode, path: str
) -> None:
    await node.ready(ONE)
    body = PAIR | SEND

    first = await http.post(path, json=body, headers=ONCE)
    other = await http.post(path, json=body | {"plubotId": "x", "message": "x"}, headers=ONCE)

    assert first.status_code == 200
    problem = is_problem(other, 422)
    assert problem["reason"] == "key_reused"
    assert sum(node.sends.values()) <= 1


async def test_a_second_request_beside_the_first_is_a_409(
    http: httpx.AsyncClient, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembered, "RENEW", 0.1)
    await node.registered(ONE)
    node.mute = True
    asked = asyncio.create_task(http.post("/api/sessions/user-one/refresh-qr", headers=ONCE))
    while not node.commands:
        await asyncio.sleep(0.01)

    beside = await http.post("/api/sessions/user-one/refresh-qr", headers=ONCE)

    problem = is_problem(beside, 409)
    assert problem["reason"] == "under_way"
    assert beside.headers["retry-after"] == "1"
    await node.notice(ONE, live.Qr(code="2@new", attempt=1, expires=utc_now()))
    assert (await asked).json()["qr"] == "2@new"
    assert [command for _, command in node.commands] == [RefreshQr()]


async def test_a_send_whose_gateway_died_goes_on_under_its_key(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "PATIENCE", 0.1)
    await node.ready(ONE)
    body = json.dumps(SEND).encode()
    secret = Secret.of(KEY, "POST /api/messages/send?", ONCE["Idempotency-Key"])
    dead = Remembered(running.app.state.parts.broker)
    await dead.begin(secret, idempotency.digest(body))

    answers = [
        await running.http.post("/api/messages/send", content=body, headers=ONCE) for _ in "12"
    ]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert list(node.sends.values()) == [1]


async def test_what_did_nothing_frees_the_key(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.registered(ONE)
    early = await http.post(RECONNECT.replace("one", "two"), headers=ONCE)
    wrong = await http.post("/api/sessions/create", json={"userId": "a.b"}, headers=ONCE)

    await node.ready(SessionId("user", "two"))
    late = await http.post(RECONNECT.replace("one", "two"), headers=ONCE)
    right = await http.post("/api/sessions/create", json=PAIR, headers=ONCE)

    assert (early.status_code, late.status_code) == (404, 200)
    assert (wrong.status_code, right.status_code) == (400, 200)


async def test_a_send_that_failed_for_good_keeps_its_key(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.outcome = lambda send: Failed(message=send.message, to=send.to, reason="rejected")

    answers = [await http.post("/api/messages/send", json=SEND, headers=ONCE) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [422, 422]
    assert answers[0].json()["reason"] == answers[1].json()["reason"] == "rejected"
    assert node.sends == {"order-7": 1}


async def test_a_queued_send_is_told_anew_when_it_is_sent(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    given = node.outcome
    node.outcome = lambda _: None
    first = await http.post("/api/messages/send", json=SEND, headers=ONCE)
    (_, send), *_ = node.commands
    await node.message(ONE, given(send))

    again = await http.post("/api/messages/send", json=SEND, headers=ONCE)

    assert (first.status_code, first.json()["status"]) == (202, "queued")
    assert (again.status_code, again.json()["status"]) == (200, "sent")
    assert node.sends == {"order-7": 1}


async def test_another_gateway_knows_the_outcome(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    await node.ready(ONE)
    first = await http.post(RECONNECT, headers=ONCE)

    async with serving(settings_for(nats_url, tmp_path), reads) as other:
        await until_ready(other)
        again = await other.http.post(RECONNECT, headers=ONCE)

    assert again.content == first.content
    assert len(node.commands) == 1


EMPTY = hashlib.sha256(b"").hexdigest()


async def test_the_request_of_a_gateway_that_died_is_carried_out_by_another(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    dead = Remembered(running.app.state.parts.broker)
    await dead.begin(Secret.of(KEY, f"POST {RECONNECT}?", "order-7"), EMPTY)
    monkeypatch.setattr(remembered, "ABANDONED", 0.1)

    answers = [await running.http.post(RECONNECT, headers=ONCE) for _ in "12"]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[1].headers["idempotency-replayed"] == "true"
    assert [command for _, command in node.commands] == [Restart()]


async def test_of_many_that_ask_after_a_death_one_carries_the_request_out(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)
    dead = Remembered(running.app.state.parts.broker)
    await dead.begin(Secret.of(KEY, f"POST {RECONNECT}?", "order-7"), EMPTY)
    monkeypatch.setattr(remembered, "ABANDONED", 0.1)

    answers = await asyncio.gather(*(running.http.post(RECONNECT, headers=ONCE) for _ in range(5)))

    assert {answer.status_code for answer in answers} <= {200, 409}
    assert [command for _, command in node.commands] == [Restart()]


async def test_one_that_was_taken_for_dead_keeps_no_outcome(running: Running) -> None:
    memory = Remembered(running.app.state.parts.broker)
    secret = Secret.of(KEY, f"POST {RECONNECT}?", "order-7")
    frozen = await memory.begin(secret, EMPTY)
    held = await memory.look(secret)
    assert isinstance(frozen, Claim)
    assert held is not None

    other = await memory.take_over(secret, EMPTY, held)
    still = await memory.renew(frozen)
    await memory.finish(frozen, None, remembered.Told(status=200, headers=[], body=b"late"))

    assert other is not None
    assert not still
    now = await memory.look(secret)
    assert now is not None
    assert (now.record.by, now.record.stage) == (other.id, "begun")


async def test_a_write_that_landed_unheard_does_not_lose_the_claim(running: Running) -> None:
    memory = Remembered(running.app.state.parts.broker)
    secret = Secret.of(KEY, f"POST {RECONNECT}?", "order-7")
    claim = await memory.begin(secret, EMPTY)
    assert isinstance(claim, Claim)
    heard = claim.revision
    await memory.renew(claim)
    claim.revision = heard

    await memory.finish(claim, None, remembered.Told(status=200, headers=[], body=b"done"))

    held = await memory.look(secret)
    assert held is not None
    assert held.record.stage == "done"


async def test_nothing_that_is_kept_can_be_read(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@secret")

    created = await http.post("/api/sessions/create", json=PAIR, headers=ONCE)

    assert created.json()["qr"] == "2@secret"
    kept = await node.client.jetstream().get_last_msg("KV_wa_idem", "$KV.wa_idem.>")

    assert kept.data
    for secret in (b"order-7", b"user", b"2@secret", KEY.encode(), b"waiting"):
        assert secret not in kept.data
        assert secret not in (kept.subject or "").encode()


ODD = {
    "empty": [("Idempotency-Key", "")],
    "too long": [("Idempotency-Key", "x" * 256)],
    "not ASCII": [("Idempotency-Key", "№7".encode())],
    "a tab": [("Idempotency-Key", "a\tb")],
    "two of them": [("Idempotency-Key", "a"), ("Idempotency-Key", "b")],
}


@pytest.mark.parametrize("headers", ODD.values(), ids=ODD)
async def test_an_odd_key_is_bad_input(
    alone: Running, headers: list[tuple[str, str | bytes]]
) -> None:
    encoded = [(n, v.encode() if isinstance(v, str) else v) for n, v in headers]

    answer = await alone.http.post(RECONNECT, headers=[(n.encode(), v) for n, v in encoded])

    problem = is_problem(answer, 400)
    assert "Idempotency-Key must" in problem["detail"]


async def test_without_a_broker_a_key_cannot_be_kept(alone: Running) -> None:
    is_problem(await alone.http.post("/api/sessions/create", json=PAIR, headers=ONCE), 503)


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    http: httpx.AsyncClient, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    await node.ready(ONE)

    async def away(*_: object) -> None:
        raise BrokerAway

    monkeypatch.setattr(Remembered, "finish", away)

    assert (await http.post(RECONNECT, headers=ONCE)).status_code == 200


async def test_a_body_too_large_is_a_413_with_a_key_too(alone: Running) -> None:
    async def endless():
        for _ in range(30):
            yield b"x" * 65_536

    is_problem(await alone.http.post(RECONNECT, content=endless(), headers=ONCE), 413)


def test_the_record_of_one_caller_is_no_place_of_anothers() -> None:
    one = Secret.of("key-1", "POST /a?", "order-7")

    for other in (
        Secret.of("key-2", "POST /a?", "order-7"),
        Secret.of("key-1", "POST /b?", "order-7"),
        Secret.of("key-1", "POST /a?", "order-8"),
    ):
        assert one.place != other.place
        assert one.seal != other.seal


def test_a_record_keeps_any_bytes() -> None:
    told = remembered.Told(status=200, headers=[("a", "b")], body=bytes(range(256)))
    record = Record(fingerprint="f", at=utc_now(), told=told)

    assert Record.model_validate_json(record.model_dump_json()) == record
