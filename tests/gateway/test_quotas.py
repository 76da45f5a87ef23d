"""Quotas over HTTP: what is refused, what it says, and what is free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from events.clock import utc_now
from events.message import Sent
from events.subjects import SessionId
from gateway import codes, quotas, windows
from gateway.quotas import family_of
from tests.gateway.conftest import Running, serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

ONE = SessionId("user", "one")
PAIR = {"userId": "user", "plubotId": "one"}
SEND = {"sessionId": "user-one", "to": "491701234567", "message": "hello"}
# Long bursts: none of them passes while a test runs on a busy machine.
QUOTAS = {
    "sessions_per_minute": 10,
    "sends_per_minute": 60,
    "qr_per_5_minutes": 5,
    "redis_host": "127.0.0.1",
}


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for Redis however busy the machine is."""
    monkeypatch.setattr(windows, "DEADLINE", 30.0)


@pytest.fixture
async def limited(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, redis_port: int
) -> AsyncIterator[Running]:
    """A gateway with the quotas of the contract but for the bursts."""
    settings = settings_for(nats_url, tmp_path, redis_port=redis_port, **QUOTAS)
    async with serving(settings, reads) as made:
        await until_ready(made)
        yield made


async def test_the_eleventh_create_of_a_minute_is_refused(
    limited: Running, node: ScriptedNode
) -> None:
    answers = [await limited.http.post("/api/sessions/create", json=PAIR) for _ in range(11)]

    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers]
    assert left == [*range(9, -1, -1), 0]
    problem = is_problem(answers[-1], 429)
    assert problem["reason"] == "rate_limited"
    assert 0 < problem["retryAfter"] <= 60_000
    assert "sessions" in problem["detail"]


async def test_what_was_let_through_and_what_not_is_a_metric(
    limited: Running, node: ScriptedNode
) -> None:
    for _ in range(11):
        await limited.http.post("/api/sessions/create", json=PAIR)

    told = (await limited.http.get("/metrics")).text

    for limit, decision, count in (
        ("sessions", "allowed", 10),
        ("sessions", "refused", 1),
        ("messages", "refused", 0),
    ):
        labels = f'decision="{decision}",limit="{limit}"'
        assert f"wa_rate_limit_decisions_total{{{labels}}} {count}.0" in told


async def test_fifty_clients_at_two_gateways_send_exactly_the_quota(
    limited: Running,
    node: ScriptedNode,
    reads: FakeReads,
    nats_url: str,
    tmp_path: Path,
    redis_port: int,
) -> None:
    await node.ready(ONE)
    settings = settings_for(nats_url, tmp_path, redis_port=redis_port, **QUOTAS)
    async with serving(settings, reads) as second:
        await until_ready(second)

        answers = await asyncio.gather(
            *(
                gateway.http.post("/api/messages/send", json=SEND)
                for _ in range(50)
                for gateway in (limited, second)
            )
        )

    told = [answer.status_code for answer in answers]
    assert (told.count(429), len(told)) == (40, 100)
    while sum(node.sends.values()) < 60:
        await asyncio.sleep(0.01)
    assert set(told) <= {200, 202, 429}
    left = [int(a.headers["x-ratelimit-remaining"]) for a in answers if a.status_code < 300]
    assert sorted(left) == list(range(60))


async def test_the_burst_is_refused_before_the_minute_and_costs_nothing_of_it(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, redis_port: int
) -> None:
    settings = settings_for(
        nats_url, tmp_path, redis_port=redis_port, **QUOTAS, sessions_per_second=1
    )
    async with serving(settings, reads) as running:
        answers = await asyncio.gather(
            *(running.http.post("/api/sessions/create", json=PAIR) for _ in range(20))
        )

    refused = [answer for answer in answers if answer.status_code == 429]
    allowed = len(answers) - len(refused)
    assert refused
    for answer in refused:
        assert answer.headers["x-ratelimit-remaining"] == "0"
        assert '"sessions-burst";r=0;t=1' in answer.headers["ratelimit"]
        assert answer.headers["retry-after"] == "1"
    left = min(
        int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0]) for answer in answers
    )
    assert left == 10 - allowed


async def test_the_headers_tell_each_window(limited: Running, node: ScriptedNode) -> None:
    before = time.time()

    headers = (await limited.http.post("/api/sessions/create", json=PAIR)).headers

    assert headers["x-ratelimit-limit"] == "10"
    assert headers["x-ratelimit-remaining"] == "9"
    assert before + 59 <= int(headers["x-ratelimit-reset"]) <= time.time() + 61
    assert headers["ratelimit-policy"] == '"sessions";q=10;w=60'
    assert headers["ratelimit"].startswith('"sessions";r=9;t=')


REFUSED = {
    "bad input": ("POST", "/api/sessions/create", {"userId": "a.b"}, 400),
    "broken JSON": ("POST", "/api/messages/send", None, 400),
    "an unknown session": ("POST", "/api/messages/send", SEND, 404),
    "a session in no state": ("POST", "/api/sessions/user-two/messages", SEND, 409),
    "an unknown code": ("GET", "/api/qr/nobody-none", None, 404),
    "no such session to refresh": ("POST", "/api/sessions/user-none/refresh-qr", {}, 404),
}


@pytest.mark.parametrize(("method", "path", "body", "status"), REFUSED.values(), ids=REFUSED)
async def test_every_answer_of_a_limited_route_tells_the_figures(
    limited: Running, node: ScriptedNode, method: str, path: str, body: object, status: int
) -> None:
    await node.registered(SessionId("user", "two"))
    await node.starting(SessionId("user", "two"))
    await node.pairing(SessionId("user", "two"))

    answer = await limited.http.request(method, path, json=body)

    is_problem(answer, status)
    for name in ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "ratelimit"):
        assert name in answer.headers


async def test_no_key_no_figures_of_anybody(limited: Running) -> None:
    async with httpx.AsyncClient(base_url=limited.url, timeout=40) as http:
        answer = await http.post("/api/sessions/create", json=PAIR)

    assert answer.status_code == 401
    assert answer.headers["x-ratelimit-remaining"] == "10"


FREE = (
    ("GET", "/api/sessions"),
    ("GET", "/api/sessions/user-one"),
    ("GET", "/api/sessions/user-one/status"),
    ("POST", "/api/sessions/user-one/disconnect"),
    ("POST", "/api/sessions/user-one/logout"),
    ("DELETE", "/api/sessions/user-one"),
)


@pytest.mark.parametrize(("method", "path"), FREE)
async def test_what_only_shows_or_ends_is_not_limited(
    limited: Running, node: ScriptedNode, method: str, path: str
) -> None:
    await node.ready(ONE)

    answer = await limited.http.request(method, path)

    assert answer.status_code == 200
    assert "x-ratelimit-limit" not in answer.headers


async def test_reading_a_code_is_free_and_a_new_one_is_not(
    limited: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes, "WAIT", 0.3)
    started = await limited.http.get("/api/qr/user/one")
    read = [await limited.http.get(f"/api/qr/user{dash}one") for dash in "/-/-/-"]
    fresh = [
        await limited.http.post("/api/sessions/refresh-qr", json=PAIR),
        await limited.http.post("/api/sessions/user-one/refresh-qr", json={}),
    ]

    left = [int(a.headers["x-ratelimit-remaining"]) for a in [started, *read, *fresh]]
    assert left == [4] * 7 + [3, 2]


async def test_the_sixth_new_code_is_refused(limited: Running, node: ScriptedNode) -> None:
    await node.registered(ONE)
    for _ in range(5):
        await limited.app.state.parts.quotas.take("qr", "user")

    is_problem(await limited.http.post("/api/sessions/user-one/refresh-qr"), 429)
    is_problem(await limited.http.get("/api/qr/user/another"), 429)

    assert node.commands == []


async def test_a_repeat_that_is_answered_from_memory_costs_nothing(
    limited: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    once = {"Idempotency-Key": "order-7"}
    path = "/api/sessions/user-one/reconnect"

    sends = [
        await limited.http.post("/api/messages/send", json=SEND, headers=once) for _ in range(4)
    ]
    starts = [await limited.http.post(path, headers=once) for _ in range(4)]

    assert {a.headers["x-ratelimit-remaining"] for a in sends} == {"59"}
    assert {a.headers["x-ratelimit-remaining"] for a in starts} == {"9"}


async def test_repeats_at_the_same_time_cost_one(limited: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    once = {"Idempotency-Key": "order-7"}

    await asyncio.gather(
        *(limited.http.post("/api/messages/send", json=SEND, headers=once) for _ in range(8))
    )

    levels = await limited.app.state.parts.quotas.look("messages", "user")
    assert [level.taken for level in levels] == [1]


async def test_a_quota_of_nothing_is_no_limit(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    answer = await http.post("/api/sessions/create", json=PAIR)

    assert "x-ratelimit-limit" not in answer.headers


async def test_statistics_count_what_was_let_through(limited: Running, node: ScriptedNode) -> None:
    for _ in range(12):
        await limited.http.post("/api/sessions/create", json=PAIR)

    shown = (await limited.http.get("/api/sessions/stats")).json()["rateLimits"]
    json = {"accept": "application/json"}
    same = (await limited.http.get("/metrics", headers=json)).json()["rateLimits"]

    assert shown == same
    assert (shown["allowed"], shown["blocked"], shown["activeUsers"]) == (10, 2, 1)
    assert shown["keeper"] == "redis"


# --- without Redis ----------------------------------------------------------------------

FALLBACKS = {
    "each counts alone": ("local", [200, 200, 429], "memory"),
    "nobody may": ("refuse", [503, 503, 503], "nobody"),
    "everybody may": ("allow", [200, 200, 200], "nobody"),
}


@pytest.mark.parametrize(("fallback", "statuses", "keeper"), FALLBACKS.values(), ids=FALLBACKS)
async def test_without_redis_it_goes_on_as_configured(
    node: ScriptedNode,
    reads: FakeReads,
    nats_url: str,
    tmp_path: Path,
    fallback: str,
    statuses: list[int],
    keeper: str,
) -> None:
    settings = settings_for(
        *(nats_url, tmp_path), redis_port=1, sessions_per_minute=2, rate_limit_fallback=fallback
    )
    async with serving(settings, reads) as running:
        await until_ready(running)
        answers = [await running.http.post("/api/sessions/create", json=PAIR) for _ in range(3)]
        check = (await running.http.get("/health")).json()["checks"]["redis"]

    assert [answer.status_code for answer in answers] == statuses
    assert answers[0].headers["x-ratelimit-limit"] == "2"
    assert check["metrics"]["rateLimits"] == keeper


async def test_redis_counts_again_when_it_is_back(
    limited: Running, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quotas, "SULK", 0.0)
    kept = limited.app.state.parts.quotas
    shared, kept._shared = kept._shared, _Nowhere()
    await limited.http.post("/api/sessions/create", json=PAIR)
    without = kept.keeper

    kept._shared = shared
    await limited.http.post("/api/sessions/create", json=PAIR)

    assert (without, kept.keeper) == ("memory", "redis")


class _Nowhere:
    async def take(self, *_: object) -> None:
        raise quotas.WindowsAway

    async def close(self) -> None: ...


# --- strangers ----------------------------------------------------------------------------


@pytest.fixture
async def shy(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path, redis_port: int
) -> AsyncIterator[Running]:
    """A gateway whose users may write to two strangers a day."""
    more = QUOTAS | {"new_chats_per_day": 2}
    settings = settings_for(nats_url, tmp_path, redis_port=redis_port, **more)
    async with serving(settings, reads) as made:
        await until_ready(made)
        await node.ready(ONE)
        yield made


async def test_the_third_stranger_of_a_day_is_refused_and_costs_no_message(
    shy: Running, node: ScriptedNode
) -> None:
    numbers = ["491701111110", "491701111112", "491701111113", "491701111110"]

    answers = [await shy.http.post("/api/messages/send", json=SEND | {"to": to}) for to in numbers]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 200]
    problem = is_problem(answers[2], 429)
    assert problem["reason"] == "new_chats"
    assert 0 < int(answers[2].headers["retry-after"]) <= 86_400
    assert '"new-chats";r=0' in answers[2].headers["ratelimit"]
    assert answers[3].headers["x-ratelimit-remaining"] == "57"


async def test_who_wrote_first_is_no_stranger(shy: Running, node: ScriptedNode) -> None:
    await node.message(ONE, received("hello"))

    answer = await shy.http.post("/api/messages/send", json=SEND | {"to": "491701111111"})

    assert "new-chats" not in answer.headers["ratelimit"]


async def test_whom_we_wrote_to_is_no_stranger(shy: Running, node: ScriptedNode) -> None:
    chat = "491701234567@c.us"
    await node.message(
        ONE, Sent(message="m", wa_id="3EB0", key="k", chat=chat, ack=1, at=utc_now())
    )

    answer = await shy.http.post("/api/messages/send", json=SEND)

    assert "new-chats" not in answer.headers["ratelimit"]


async def test_a_group_is_no_stranger(shy: Running, node: ScriptedNode) -> None:
    answer = await shy.http.post("/api/messages/send", json=SEND | {"to": "4917011-12345@g.us"})

    assert answer.status_code == 200
    assert "new-chats" not in answer.headers["ratelimit"]


async def test_strangers_of_a_user_count_whichever_session_writes(
    shy: Running, node: ScriptedNode
) -> None:
    await node.ready(SessionId("user", "two"))
    by_user = {"userId": "user", "message": "hello"}

    answers = [
        await shy.http.post("/api/messages/send", json=SEND),
        await shy.http.post("/api/sessions/user-two/messages", json=SEND | {"to": "491701111112"}),
        await shy.http.post("/api/messages/send", json=by_user | {"to": "491701111113"}),
        await shy.http.post("/api/messages/send", json=by_user | {"to": "491701111112"}),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 200]


ROUTES = {
    ("POST", "/api/sessions/create"): "sessions",
    ("POST", "/api/sessions/initialize"): "sessions",
    ("POST", "/api/sessions/a-b/reconnect"): "sessions",
    ("POST", "/api/messages/send"): "messages",
    ("POST", "/api/sessions/a-b/messages"): "messages",
    ("POST", "/api/sessions/refresh-qr"): "qr",
    ("POST", "/api/sessions/a-b/refresh-qr"): "qr",
    ("POST", "/api/sessions/a-b/pairing-code"): "qr",
    ("GET", "/api/qr/a/b"): "qr",
    ("GET", "/api/qr/a-b"): "qr",
    ("GET", "/api/sessions"): None,
    ("POST", "/api/sessions/a-b/disconnect"): None,
    ("DELETE", "/api/sessions/a-b"): None,
    ("GET", "/health"): None,
}


def test_each_limited_route_has_its_kind() -> None:
    assert {route: family_of(*route) for route in ROUTES} == ROUTES
