"""API keys: made, listed, revoked, and known while NATS is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from events.clock import utc_now
from events.connection import connect
from events.streams import declare
from gateway import keyring
from gateway.wire import instant
from tests import services
from tests.gateway.conftest import (
    KEY,
    Running,
    key_for,
    serving,
    settings_for,
    until_ready,
)
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

WELL_FORMED = f"wak_{'0' * 16}_{'x' * 43}"


async def opens(running: Running, key: str) -> int:
    """Ask for what needs a key and nothing else."""
    answer = await running.http.get("/openapi.json", headers={"x-api-key": key})
    return answer.status_code


async def test_the_secret_is_shown_once(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    body = {"name": " desk ", "userId": 7, "scopes": ["send", "read"]}

    made = await http.post("/api/keys", json=body)
    listed = await http.get("/api/keys")

    secret, shown = made.json()["key"], made.json()["data"]
    assert made.headers["cache-control"] == "no-store"
    assert (shown["name"], shown["userId"], shown["admin"]) == ("desk", "7", False)
    assert shown["scopes"] == ["read", "send"]
    assert listed.json()["keys"] == [shown]
    assert secret not in listed.text


async def test_the_bucket_holds_no_secret(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    key = await key_for(http, None)

    entry = await node.client.jetstream().get_msg("KV_wa_keys", seq=1)

    assert key.split("_", 2)[2].encode() not in (entry.data or b"")


async def test_a_revoked_key_opens_nothing(running: Running, node: ScriptedNode) -> None:
    key = await key_for(running.http, None)
    before = await opens(running, key)
    key_id = (await running.http.get("/api/keys")).json()["keys"][0]["id"]

    revoked = await running.http.delete(f"/api/keys/{key_id}")
    again = await running.http.delete(f"/api/keys/{key_id}")

    assert (before, revoked.status_code, await opens(running, key)) == (200, 200, 401)
    assert is_problem(again, 404)["reason"] == "no_key"
    assert (await running.http.get("/api/keys")).json()["keys"] == []


async def test_a_key_is_worth_nothing_with_another_secret(
    running: Running, node: ScriptedNode
) -> None:
    key = await key_for(running.http, None)

    assert await opens(running, key[:-1] + ("A" if key[-1] != "A" else "B")) == 401


async def test_an_expired_key_says_so(
    running: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = utc_now() + timedelta(hours=1)
    body = {"name": "short", "expiresAt": instant(end)}
    key = (await running.http.post("/api/keys", json=body)).json()["key"]
    monkeypatch.setattr(keyring, "utc_now", lambda: end + timedelta(seconds=1))

    answer = await running.http.get("/openapi.json", headers={"x-api-key": key})

    assert is_problem(answer, 401)["reason"] == "key_expired"


BAD = {
    "no name": {},
    "an empty name": {"name": " "},
    "a line in a name": {"name": "a\nb"},
    "a scope that is none": {"name": "a", "scopes": ["own"]},
    "no scope at all": {"name": "a", "scopes": []},
    "a user that is none": {"name": "a", "userId": "a.b"},
    "a time that is past": {"name": "a", "expiresAt": "2020-01-01T00:00:00Z"},
    "a time of nowhere": {"name": "a", "expiresAt": "2999-01-01T00:00:00"},
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_a_key_that_makes_no_sense_is_not_made(
    alone: Running, body: dict[str, object]
) -> None:
    is_problem(await alone.http.post("/api/keys", json=body), 400)


async def test_the_route_beside_the_keys_is_not_taken_for_a_key(http: httpx.AsyncClient) -> None:
    answer = await http.delete("/api/keys/own")

    is_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"


async def test_an_admin_key_makes_keys_only_if_it_may_manage(
    running: Running, node: ScriptedNode
) -> None:
    reader, manager = [await key_for(running.http, None, s) for s in ("read", "manage")]  # type: ignore[arg-type]

    answers = [
        await running.http.post("/api/keys", json={"name": "x"}, headers={"x-api-key": key})
        for key in (reader, manager)
    ]

    assert [answer.status_code for answer in answers] == [403, 200]


# --- several gateways, and a broker that goes away --------------------------------------------


@pytest.fixture
async def pair(
    own_nats: services.NatsServer, tmp_path: Path
) -> AsyncIterator[tuple[Running, Running]]:
    """Two gateways on one broker that may be killed."""
    settings = settings_for(own_nats.url, tmp_path)
    client = await connect(settings, "node", name="declarer", patience=5)
    await declare(client.jetstream(), settings)
    await client.close()
    async with serving(settings, FakeReads()) as one, serving(settings, FakeReads()) as other:
        await until_ready(one)
        await until_ready(other)
        yield one, other


async def until(running: Running, key: str, status: int) -> None:
    """Wait until a gateway answers a key so."""
    async with asyncio.timeout(60):
        while await opens(running, key) != status:
            await asyncio.sleep(0.05)


async def test_every_gateway_knows_a_new_key_and_hears_of_its_end(
    pair: tuple[Running, Running],
) -> None:
    one, other = pair
    key = await key_for(one.http, None)
    at_once = await opens(other, key)
    key_id = key.split("_")[1]

    await one.http.delete(f"/api/keys/{key_id}")

    assert at_once == 200
    await until(other, key, 401)


async def test_while_nats_is_away_what_is_known_is_known_and_the_rest_is_no_401(
    pair: tuple[Running, Running], own_nats: services.NatsServer
) -> None:
    one, other = pair
    key = await key_for(one.http, None)
    await until(other, key, 200)
    own_nats.kill()
    async with asyncio.timeout(60):
        while one.app.state.parts.broker.connected or other.app.state.parts.broker.connected:
            await asyncio.sleep(0.02)

    assert [await opens(running, key) for running in pair] == [200, 200]
    assert await opens(one, WELL_FORMED) == 503
    assert await opens(one, "no key of ours") == 401
    assert await opens(one, KEY) == 200

    own_nats.start()
    await until_ready(one)
    await until_ready(other)
    await until(one, WELL_FORMED, 401)
    answer = await one.http.delete(f"/api/keys/{key.split('_')[1]}")
    assert answer.status_code == 200
    await until(other, key, 401)
