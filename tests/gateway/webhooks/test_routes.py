"""Webhooks over HTTP: what can be put, what is shown, and what never is."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from standardwebhooks import Webhook

from events.subjects import SessionId
from gateway.webhooks.endpoint import Name
from tests.gateway.conftest import Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

PUT = {"url": "https://example.org/hook", "events": ["message-received"]}


async def test_one_that_is_put_is_shown_without_its_secret(
    http: httpx.AsyncClient,
) -> None:
    put = await http.put("/api/webhooks/crm", json=PUT | {"session": "user-one"})
    shown = await http.get("/api/webhooks/crm")
    listed = await http.get("/api/webhooks")

    body = put.json()
    assert (put.status_code, body["success"]) == (200, True)
    assert put.headers["cache-control"] == "no-store"
    assert Webhook(body["secret"])
    assert body["data"]["name"] == "crm"
    assert body["data"].items() >= (PUT | {"session": "user-one", "userId": None}).items()
    assert shown.json()["data"] == body["data"]
    assert shown.json()["secret"] is None
    assert listed.json()["webhooks"] == [body["data"]]
    assert body["secret"] not in shown.text + listed.text


async def test_a_secret_is_made_once_and_stays(http: httpx.AsyncClient) -> None:
    first = await http.put("/api/webhooks/crm", json=PUT)
    again = await http.put("/api/webhooks/crm", json=PUT | {"events": ["*"]})

    assert first.json()["secret"].startswith("whsec_")
    assert again.json()["secret"] is None
    assert again.json()["data"]["events"] == ["*"]
    assert again.json()["data"]["createdAt"] == first.json()["data"]["createdAt"]


async def test_all_and_nothing_are_said_as_at_the_other_doors(http: httpx.AsyncClient) -> None:
    words = {"events": "*", "session": "*", "secret": ""}

    put = await http.put("/api/webhooks/crm", json=PUT | words)

    assert put.json()["data"].items() >= {"events": ["*"], "session": None}.items()
    assert put.json()["secret"].startswith("whsec_")


async def test_a_secret_does_not_lie_in_the_bucket_as_it_is(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await http.put("/api/webhooks/crm", json=PUT | {"secret": "correct-horse"})

    held = await node.client.jetstream().get_last_msg("KV_wa_hooks", "$KV.wa_hooks.endpoint.>")

    assert b"horse" not in (held.data or b"")
    assert b"example.org" in (held.data or b"")


async def test_one_that_is_deleted_is_gone(http: httpx.AsyncClient) -> None:
    await http.put("/api/webhooks/crm", json=PUT)

    deleted = await http.delete("/api/webhooks/crm")

    assert deleted.status_code == 200
    is_problem(await http.get("/api/webhooks/crm"), 404)
    is_problem(await http.delete("/api/webhooks/crm"), 404)
    assert (await http.get("/api/webhooks")).json()["total"] == 0


async def test_the_marks_of_deleted_ones_do_not_stay_for_ever(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await http.put("/api/webhooks/crm", json=PUT)
    await http.delete("/api/webhooks/crm")

    for family in ("endpoint", "progress"):
        mark = await node.client.jetstream().get_last_msg("KV_wa_hooks", f"$KV.wa_hooks.{family}.>")
        assert not mark.data
        assert (mark.headers or {})["Nats-TTL"] == "86400s"


async def test_endpoints_of_users_and_admins_may_bear_the_same_name(
    http: httpx.AsyncClient,
) -> None:
    mine, others = {"userId": "ann"}, {"userId": "bob"}
    await http.put("/api/webhooks/crm", json=PUT)
    await http.put("/api/webhooks/crm", json=PUT | {"events": ["session-ready"]}, params=mine)

    of_ann = await http.get("/api/webhooks/crm", params=mine)
    of_all = await http.get("/api/webhooks")
    listed = await http.get("/api/webhooks", params=mine)

    assert of_ann.json()["data"]["userId"] == "ann"
    assert of_ann.json()["data"]["events"] == ["session-ready"]
    assert (of_all.json()["total"], listed.json()["total"]) == (2, 1)
    is_problem(await http.get("/api/webhooks/crm", params=others), 404)


def test_no_user_can_be_called_so_that_an_admins_endpoint_is_theirs() -> None:
    keys = {Name(None, "crm").key, Name("admin", "crm").key, Name("user", "crm").key}

    assert len(keys) == 3


BAD: dict[str, tuple[dict[str, object], str]] = {
    "no URL": ({"events": ["*"]}, "url is missing"),
    "no events": ({"url": PUT["url"]}, "events is missing"),
    "an empty list": (PUT | {"events": []}, "events"),
    "an event that there is not": (PUT | {"events": ["message.any"]}, "message-received"),
    "a code": (PUT | {"events": ["qr-update"]}, "events.0 must be * or one of"),
    "a number for an event": (PUT | {"events": [7]}, "events.0"),
    "an object for an event": (PUT | {"events": [{}]}, "events.0 must be * or one of"),
    "a file": (PUT | {"url": "file:///etc/passwd"}, "url must be a URL with http or https"),
    "a number for a URL": (PUT | {"url": 7}, "url must be text"),
    "loopback": (PUT | {"url": "http://127.0.0.1/"}, "url must be a public address"),
    "mapped loopback": (PUT | {"url": "http://[::ffff:127.0.0.1]/"}, "public address"),
    "a short secret": (PUT | {"secret": "short"}, "secret must be 8 to 256"),
    "a secret that is no base64": (PUT | {"secret": "whsec_!!"}, "secret must be"),
    "a session that is no id": (PUT | {"session": "a.b"}, "session must be a session id"),
}


@pytest.mark.parametrize(("body", "rule"), BAD.values(), ids=BAD)
async def test_what_cannot_be_put_says_which_rule_it_breaks(
    alone: Running, body: dict[str, object], rule: str
) -> None:
    answer = await alone.http.put("/api/webhooks/crm", json=body)

    assert answer.status_code == 400, answer.text
    assert rule in answer.json()["detail"]


async def test_a_name_is_a_token(alone: Running) -> None:
    answer = await alone.http.put("/api/webhooks/a.b", json=PUT)

    assert "name must be 1 to 64 characters" in is_problem(answer, 400)["detail"]


async def test_without_a_broker_it_is_away(alone: Running) -> None:
    is_problem(await alone.http.put("/api/webhooks/crm", json=PUT), 503)
    is_problem(await alone.http.get("/api/webhooks"), 503)


async def test_no_more_than_allowed_however_many_are_put_at_once(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    settings = settings_for(nats_url, tmp_path, webhooks_per_user=3)
    async with serving(settings, reads) as running:
        await until_ready(running)

        answers = await asyncio.gather(
            *(running.http.put(f"/api/webhooks/{number}", json=PUT) for number in range(6))
        )
        again = await running.http.put("/api/webhooks/another", json=PUT)
        of_another = await running.http.put("/api/webhooks/0", json=PUT, params={"userId": "ann"})
        listed = await running.http.get("/api/webhooks")

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(200) <= 3
    assert set(statuses) <= {200, 409, 503}
    assert of_another.status_code == 200
    if statuses.count(200) == 3:
        assert "delete one first" in is_problem(again, 409)["detail"]
    assert listed.json()["total"] <= 3 + 1


async def test_a_wrong_key_is_said_and_nothing_is_posted_unsigned(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    allowed = {"webhook_allow_private": "true", "webhook_backoff_first": 0.05}
    async with serving(settings_for(nats_url, tmp_path / "a", **allowed), reads) as first:
        await until_ready(first)
        body = {"url": "http://127.0.0.1:9/", "events": ["*"]}
        await first.http.put("/api/webhooks/crm", json=body)
    async with serving(settings_for(nats_url, tmp_path / "b", **allowed), reads) as second:
        await until_ready(second)

        await node.ready(SessionId("user", "one"))
        async with asyncio.timeout(20):
            while not (
                failing := (await second.http.get("/api/webhooks/crm")).json()["data"]["failing"]
            ):
                await asyncio.sleep(0.05)

    assert "set WEBHOOK_KEY to that key" in failing[0]["lastError"]
