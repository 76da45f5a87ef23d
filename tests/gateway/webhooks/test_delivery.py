"""Webhooks as their receivers see them: everything, in order, signed, through what goes wrong."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from pathlib import Path

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.gateway.conftest import Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.webhooks.receiver import Got, Receiver, fails, hangs, receiving, takes
from tests.gateway.webhooks.world import (
    ONE,
    OTHERS,
    QUICK,
    TWO,
    hook,
    scripted,
    shown,
    write,
)
from tests.services import NatsServer

# What comes


async def test_an_event_comes_as_on_every_door_and_signed(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    secret = (await hook(running.http, receiver))["secret"]

    position = await node.message(ONE, received("hello"))
    await receiver.until(1)

    got = receiver.taken[0]
    assert got.frame.keys() == {"id", "position", "timestamp", "event", "session", "payload"}
    assert (got.frame["event"], got.frame["session"]) == ("message-received", "user-one")
    assert got.frame["position"] == position
    assert got.frame["id"] == got.id
    assert got.text == "hello"
    assert Webhook(secret).verify(got.body, got.headers) == got.frame
    expected = hmac.new(secret.encode(), got.body, hashlib.sha512).hexdigest()
    assert got.headers["X-Webhook-Hmac"] == expected
    assert got.headers["Content-Type"] == "application/json"


async def test_only_what_was_asked_for_comes(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver, events=["session-ready"], session="user-two")

    await node.ready(ONE)
    await write(node, TWO, "no")
    await node.ready(TWO)
    await receiver.when(lambda: len(receiver.taken) == 1)

    assert [(g.frame["event"], g.frame["session"]) for g in receiver.taken] == [
        ("session-ready", "user-two")
    ]


async def test_every_event_comes_once_under_its_first_name(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver, events=["*"])

    await node.ready(ONE)
    await write(node, ONE, "last")
    await receiver.when(
        lambda: receiver.taken[-1:] != [] and "message" in receiver.taken[-1].frame["event"]
    )

    names = [got.frame["event"] for got in receiver.taken]
    assert names[-2:] == ["session-ready", "message-received"]
    assert len({got.id for got in receiver.taken}) == len(receiver.taken)


async def test_what_was_before_the_endpoint_does_not_come(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await write(node, ONE, "before")

    await hook(running.http, receiver)
    await write(node, ONE, "after")
    await receiver.until(1)

    assert receiver.texts == ["after"]


async def test_what_a_user_has_no_part_in_does_not_come(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    answer = await running.http.put(
        "/api/webhooks/mine",
        params={"userId": "user"},
        json={"url": receiver.url, "events": ["*"]},
    )
    assert answer.status_code == 200, answer.text

    await write(node, OTHERS, "not mine")
    await write(node, ONE, "mine")
    await receiver.until(1)

    assert receiver.texts == ["mine"]


async def test_nothing_comes_after_the_endpoint_was_deleted(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver)
    async with receiving() as witness:
        await hook(running.http, witness, "witness")
        await running.http.delete("/api/webhooks/crm")

        await write(node, ONE, "after")
        await witness.until(1)

    assert receiver.got == []


# What goes wrong


async def test_what_failed_comes_again_under_the_same_id_and_in_order(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    calls: list[str] = []

    def at_the_third(got: Got) -> web.Response:
        calls.append(got.id)
        return takes(got) if calls.count(got.id) == 3 else fails(got)

    receiver.answers = at_the_third
    await hook(running.http, receiver)

    await write(node, ONE, *range(4))
    await receiver.until(4)

    assert receiver.texts == ["0", "1", "2", "3"]
    assert calls == [event for event in dict.fromkeys(calls) for _ in range(3)]
    assert len({(got.id, got.body) for got in receiver.got}) == 4


async def test_a_session_that_fails_holds_up_no_other(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = lambda got: fails(got) if got.frame["session"] == "user-one" else takes(got)
    await hook(running.http, receiver)

    await write(node, ONE, "held up")
    await write(node, TWO, *range(10))
    await receiver.until(10)
    receiver.answers = takes
    await receiver.until(11)

    assert receiver.texts == [*map(str, range(10)), "held up"]


@pytest.mark.parametrize("running", [{"webhook_timeout": 0.3}], indirect=True)
async def test_one_that_hangs_holds_up_no_other_endpoint_and_is_given_up(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = hangs
    await hook(running.http, receiver)
    async with receiving() as other:
        await hook(running.http, other, "other")

        await write(node, ONE, *range(5))
        await other.until(5)
        await receiver.when(lambda: len(receiver.got) >= 2)
    receiver.answers = takes
    await receiver.until(5)

    assert receiver.texts == ["0", "1", "2", "3", "4"]
    assert len(receiver.taken) == 5


async def test_one_that_restarts_gets_everything(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver)
    await write(node, ONE, *range(5))
    await receiver.until(5)

    await receiver.stop()
    await write(node, ONE, *range(5, 10))
    await write(node, TWO, *range(10, 15))
    await receiver.start()
    await receiver.until(15)

    assert [text for text in receiver.texts if int(text) < 10] == [str(n) for n in range(10)]
    assert [text for text in receiver.texts if int(text) >= 10] == [str(n) for n in range(10, 15)]


async def test_a_redirect_is_not_followed(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    async with receiving() as elsewhere:
        receiver.answers = lambda _: web.Response(status=302, headers={"Location": elsewhere.url})
        await hook(running.http, receiver)

        await write(node, ONE, "stay")
        await receiver.when(lambda: len(receiver.got) >= 2)

        assert elsewhere.got == []
    assert (await shown(running))["totals"]["delivered"] == 0


async def test_an_answer_without_end_is_cut_and_counts(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = lambda _: web.Response(body=b"x" * 5_000_000)
    await hook(running.http, receiver)

    await write(node, ONE, "a", "b")
    await receiver.until(2)

    assert len(receiver.got) == 2


async def test_an_address_that_may_not_be_called_is_not(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    """What was allowed when the endpoint was made may not be any more."""
    async with serving(settings_for(nats_url, tmp_path, **QUICK), reads) as open_to_loopback:
        await until_ready(open_to_loopback)
        await hook(open_to_loopback.http, receiver)
    closed = QUICK | {"webhook_allow_private": ""}

    async with serving(settings_for(nats_url, tmp_path, **closed), reads) as running:
        await until_ready(running)
        await write(node, ONE, "inside")
        async with asyncio.timeout(20):
            while not (failing := (await shown(running))["failing"]):
                await asyncio.sleep(0.02)

    assert "may call" in failing[0]["lastError"]
    assert receiver.got == []


async def test_a_changed_url_is_tried_at_once(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = lambda _: web.Response(status=503, headers={"Retry-After": "3600"})
    running.app.state.parts.webhooks._settings = running.app.state.parts.settings.model_copy(
        update={"webhook_backoff_max": 3_600, "webhook_backoff_first": 3_600}
    )
    await hook(running.http, receiver)
    await write(node, ONE, *range(3))
    await receiver.when(lambda: len(receiver.got) == 1)

    async with receiving() as mended:
        await hook(running.http, mended)
        await mended.until(3)

        assert mended.texts == ["0", "1", "2"]


async def test_what_was_deleted_from_the_log_comes_no_more(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = fails
    await hook(running.http, receiver)
    await write(node, ONE, "deleted")
    await receiver.when(lambda: len(receiver.got) >= 1)

    await node.client.jetstream().purge_stream("WA_EVT", subject="wa.evt.message.user.one.>")
    receiver.answers = takes
    await write(node, ONE, "kept")
    await receiver.until(1)

    assert receiver.texts[-1] == "kept"


# What is shown


async def test_deliveries_are_shown_with_what_became_of_them(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    receiver.answers = lambda got: fails(got) if got.text == "bad" else takes(got)
    await hook(running.http, receiver)
    await write(node, ONE, "good")
    await write(node, TWO, "bad")

    async with asyncio.timeout(20):
        while True:
            body = (await running.http.get("/api/webhooks/crm/deliveries")).json()
            told = {one["session"]: one for one in body["deliveries"]}
            if len(told) == 2 and told["user-two"]["attempts"] >= 2:
                break
            await asyncio.sleep(0.02)

    good, bad = told["user-one"], told["user-two"]
    assert (good["status"], good["httpStatus"], good["attempts"]) == ("delivered", 200, 1)
    assert (bad["status"], bad["httpStatus"], bad["lastError"]) == ("failing", 500, "HTTP 500")
    failing = (await shown(running))["failing"]
    assert [lane["session"] for lane in failing] == ["user-two"]
    statistics = running.app.state.parts.webhooks.statistics
    assert (statistics.delivers, statistics.endpoints, statistics.delivered) == (True, 1, 1)
    assert (statistics.failing, statistics.waiting) == (1, 1)


# Secrets


async def test_a_new_secret_signs_beside_the_old_one(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    old = (await hook(running.http, receiver))["secret"]
    new = "whsec_" + "bmV3" * 8

    changed = await hook(running.http, receiver, secret=new)
    await write(node, ONE, "hello")
    await receiver.until(1)

    got = receiver.taken[0]
    assert changed["secret"] is None
    assert Webhook(old).verify(got.body, got.headers)
    assert Webhook(new).verify(got.body, got.headers)


async def test_a_secret_of_any_form_signs(
    running: Running, node: ScriptedNode, receiver: Receiver
) -> None:
    await hook(running.http, receiver, secret="correct-horse")

    await write(node, ONE, "hello")
    await receiver.until(1)

    got = receiver.taken[0]
    assert Webhook(b"correct-horse").verify(got.body, got.headers)


# Restarts


async def test_a_gateway_that_starts_again_goes_on_where_it_was(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    async with serving(settings_for(nats_url, tmp_path, **QUICK), reads) as first:
        await until_ready(first)
        await hook(first.http, receiver)
        await write(node, ONE, *range(5))
        await receiver.until(5)
        receiver.answers = lambda got: (
            fails(got) if got.frame["session"] == "user-two" else takes(got)
        )
        await write(node, TWO, *range(100, 103))
        await receiver.when(lambda: any(got.text == "100" for got in receiver.got))
    await write(node, ONE, *range(5, 10))
    await write(node, TWO, 103)
    receiver.answers = takes

    async with serving(settings_for(nats_url, tmp_path, **QUICK), reads) as second:
        await until_ready(second)
        await receiver.until(14)

    assert [t for t in receiver.texts if int(t) < 100] == [str(n) for n in range(10)]
    assert [t for t in receiver.texts if int(t) >= 100] == ["100", "101", "102", "103"]
    assert len(receiver.taken) == 14, "what was recorded came again"


async def test_nats_that_is_killed_loses_nothing(
    own_nats: NatsServer, reads: FakeReads, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_for(own_nats.url, tmp_path, **QUICK)
    async with (
        scripted(own_nats.url, tmp_path, reads) as node,
        serving(settings, reads) as running,
    ):
        await until_ready(running)
        await hook(running.http, receiver)
        await write(node, ONE, *range(10))
        await receiver.until(5)

        own_nats.kill()
        await asyncio.to_thread(own_nats.start)
        async with asyncio.timeout(20):
            while not node.client.is_connected:
                await asyncio.sleep(0.05)
        await write(node, ONE, *range(10, 20))
        await receiver.until(20)

    assert receiver.texts == [str(number) for number in range(20)]
