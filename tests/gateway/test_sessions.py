"""Sessions over HTTP: create, show, steer, delete."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import get_args

import httpx
import pytest
from fastapi.routing import iter_route_contexts

from events import live
from events import session_events as e
from events.clock import utc_now
from events.pool import Create, CreateRefused
from events.session_events import Restart, Stop
from events.subjects import SessionId
from gateway import lifecycle
from gateway.commands import STATUS_OF
from projections.views import ProjectionHealth
from tests.gateway.conftest import Running
from tests.gateway.node import IN_A_MINUTE, NUMBER, ScriptedNode
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

ONE = SessionId("user", "one")
PAIR = {"userId": "user", "plubotId": "one"}


async def test_create_answers_at_once_with_a_session(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    answer = await http.post("/api/sessions/create", json=PAIR)

    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert body["status"] in {"initializing", "waiting_qr"}
    assert body["data"]["sessionId"] == "user-one"
    assert (body["data"]["userId"], body["data"]["plubotId"]) == ("user", "one")
    assert body["timestamp"].endswith("Z")
    assert node.commands == [(ONE, Create(bot="one"))]


async def test_ids_may_be_numbers(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    answer = await http.post("/api/sessions/create", json={"userId": 7, "plubotId": 42})

    assert answer.json()["data"]["sessionId"] == "7-42"


@pytest.mark.parametrize("route", ["sessions/create", "sessions/refresh-qr"])
@pytest.mark.parametrize("bot", sorted(lifecycle.RESERVED))
async def test_no_new_bot_gets_a_name_under_which_it_cannot_be_shown(
    http: httpx.AsyncClient, node: ScriptedNode, bot: str, route: str
) -> None:
    answer = await http.post(f"/api/{route}", json={"userId": "user", "plubotId": bot})

    problem = is_problem(answer, 400)
    assert problem["detail"].startswith(
        "plubotId must be none of chats, groups, screenshot, status, timeline"
    )
    assert node.commands == []


async def test_one_that_has_such_a_name_already_is_still_answered(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(SessionId("user", "chats"))

    again = await http.post("/api/sessions/create", json=PAIR | {"plubotId": "chats"})

    assert (again.status_code, again.json()["status"]) == (200, "ready")


def test_the_names_that_no_bot_gets_are_those_of_the_routes(alone: Running) -> None:
    routes = [
        (route.path, route.methods)
        for route in iter_route_contexts(alone.app.routes)
        if route.path is not None
    ]

    below = {
        path.removeprefix("/api/sessions/{id}/")
        for path, methods in routes
        if "GET" in (methods or ()) and path.startswith("/api/sessions/{id}/")
    }

    assert {word for word in below if "/" not in word and "{" not in word} == lifecycle.RESERVED


async def test_a_live_session_is_answered_without_asking_again(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@there")

    answer = await http.post("/api/sessions/create", json=PAIR)

    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["qr"]) == ("waiting_qr", "2@there")
    assert body["qrDataUrl"].startswith("data:image/png;base64,")
    assert body["data"]["qr"] == "2@there"
    assert node.commands == []


async def test_twenty_creates_at_once_make_one_session(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    await http.post("/api/sessions/create", json=PAIR)

    answers = await asyncio.gather(
        *(http.post("/api/sessions/create", json=PAIR) for _ in range(20))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert list(reads.views) == [ONE]
    assert len(node.commands) == 1


REST = {
    "stopped": e.Stopped(reason="command"),
    "logged out": e.LoggedOut(reason="phone"),
    "parked": e.Parked(reason="CONFLICT"),
}


@pytest.mark.parametrize("rest", REST.values(), ids=REST)
async def test_create_starts_a_session_at_rest(
    http: httpx.AsyncClient, node: ScriptedNode, rest: e.Stopped
) -> None:
    await node.ready(ONE)
    await node.event(ONE, rest)
    node.shows_codes = False

    answer = await http.post("/api/sessions/create", json=PAIR)

    assert (answer.status_code, answer.json()["status"]) == (200, "initializing")
    assert node.commands == [(ONE, Create(bot="one"))]


async def test_force_new_starts_over_even_when_ready(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/sessions/create", json=PAIR | {"forceNew": True})

    assert answer.status_code == 200
    assert answer.json()["status"] != "ready"
    assert node.commands == [(ONE, Create(bot="one", fresh=True))]


async def test_initialize_is_create(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    answer = await http.post("/api/sessions/initialize", json=PAIR | {"forceNew": None})

    assert answer.json()["data"]["sessionId"] == "user-one"
    assert node.commands == [(ONE, Create(bot="one"))]


async def test_an_id_that_joins_like_anothers_is_a_conflict(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(SessionId("a-b", "c"))

    answer = await http.post("/api/sessions/create", json={"userId": "a", "plubotId": "b-c"})

    assert answer.status_code == 409
    assert "a-b-c" in answer.json()["detail"]
    assert node.commands == []


async def test_a_pair_whose_id_is_taken_is_not_shown_as_missing(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(SessionId("a-b", "c"))

    shown = await http.get("/api/sessions/a/b-c")
    free = await http.get("/api/sessions/a/b-d")

    assert (shown.status_code, free.status_code) == (409, 404)
    assert shown.json()["detail"] == "The id a-b-c belongs to another session already."


REFUSALS = {
    "a user's limit": ("user_limit", 429),
    "a full pool": ("pool_full", 503),
    "a taken id": ("id_taken", 409),
}


@pytest.mark.parametrize(("reason", "status"), REFUSALS.values(), ids=REFUSALS)
async def test_what_the_pool_refuses_comes_back_as_its_status(
    http: httpx.AsyncClient, node: ScriptedNode, reason: str, status: int
) -> None:
    node.refuse = live.Refused(
        command="", reason=reason, detail="no room", status=status, retry_after=30
    )

    answer = await http.post("/api/sessions/create", json=PAIR)

    assert answer.status_code == status
    assert (answer.json()["reason"], answer.json()["detail"]) == (reason, "No room.")
    assert ("retry-after" in answer.headers) == (status in {429, 503})
    if status in {429, 503}:
        assert answer.headers["retry-after"] == "30"
        assert answer.json()["retryAfter"] == 30_000


def test_every_reason_of_the_log_has_a_status() -> None:
    reasons = get_args(CreateRefused.model_fields["reason"].annotation)

    assert set(reasons) == set(STATUS_OF)


async def test_a_create_that_nobody_takes_is_accepted(
    http: httpx.AsyncClient, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "CREATE_WAIT", 0.1)
    node.mute = True

    answer = await http.post("/api/sessions/create", json=PAIR)

    assert (answer.status_code, answer.json()["status"]) == (202, "initializing")


async def test_a_session_is_seen_by_whoever_created_it_though_the_projection_lags(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    reads.lag = 0.1

    await http.post("/api/sessions/create", json=PAIR)
    answer = await http.get("/api/sessions/user-one")

    assert answer.status_code == 200


async def test_a_session_is_seen_even_when_the_projection_stands_still(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    reads.frozen = True

    created = await http.post("/api/sessions/create", json=PAIR)
    shown = await http.get("/api/sessions/user-one/status")

    assert created.status_code == 200
    assert (shown.status_code, shown.json()["status"]) == (200, "waiting_qr")


async def test_a_session_is_shown_under_its_id_and_under_its_pair(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    by_id = (await http.get("/api/sessions/user-one")).json()["data"]
    by_pair = (await http.get("/api/sessions/user/one")).json()["data"]

    assert by_id["metrics"].keys() >= {
        *("messagesReceived", "messagesSent", "reconnections", "uptime", "lastError")
    }
    by_id["metrics"].pop("uptime")
    by_pair["metrics"].pop("uptime")
    assert by_id == by_pair
    assert by_id.keys() >= {
        *("sessionId", "userId", "plubotId", "status", "isReady", "isAuthenticated"),
        *("createdAt", "updatedAt", "lastActivity", "qr", "qrDataUrl", "connectionState"),
        *("phoneNumber", "pushName", "error"),
    }
    assert (by_id["status"], by_id["phoneNumber"]) == ("ready", NUMBER)


async def test_the_short_form(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    body = (await http.get("/api/sessions/user-one/status")).json()

    assert body | {"timestamp": "", "lastActivity": ""} == {
        "success": True,
        "timestamp": "",
        "exists": True,
        "sessionId": "user-one",
        "status": "ready",
        "state": "ready",
        "phoneNumber": NUMBER,
        "lastActivity": "",
        "isReady": True,
        "isAuthenticated": True,
        "needsReconnection": False,
    }


async def test_the_short_form_of_nothing(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    answer = await http.get("/api/sessions/nobody-none/status")

    assert answer.status_code == 404
    body = answer.json()
    assert (body["success"], body["exists"], body["status"]) == (False, False, "not_found")


async def test_a_crash_shows_no_inner_address(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    detail = "ws://127.0.0.1:41234/devtools at /srv/data/profiles/user-one refused"
    await node.event(ONE, e.Crashed(reason="page_gone", detail=detail))

    data = (await http.get("/api/sessions/user-one")).json()["data"]

    assert data["error"] == "… at … refused"
    assert data["metrics"]["lastError"] == data["error"]


async def test_the_list_filters_by_state_and_user(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.registered(SessionId("user", "two"))
    await node.registered(SessionId("other", "one"))

    everyone = (await http.get("/api/sessions")).json()
    of_user = (await http.get("/api/sessions", params={"userId": "user"})).json()
    ready = (await http.get("/api/sessions", params={"status": "ready"})).json()
    page = (await http.get("/api/sessions", params={"limit": 2, "page": 2})).json()

    assert everyone["total"] == 3
    assert {s["sessionId"] for s in of_user["sessions"]} == {"user-one", "user-two"}
    assert [s["sessionId"] for s in ready["sessions"]] == ["user-one"]
    assert (len(page["sessions"]), page["total"]) == (1, 3)
    assert page["pagination"] == {"page": 2, "limit": 2, "total": 3, "pages": 2, "hasMore": False}


async def test_statistics_count_what_there_is(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)
    await node.registered(SessionId("user", "two"))

    body = (await http.get("/api/sessions/stats")).json()

    assert (body["total"], body["byUser"]) == (2, {"user": 2})
    assert body["byStatus"] == {"ready": 1, "initializing": 1}
    assert body["breakers"] == {"closed": 4, "open": 0, "half_open": 0}


async def test_disconnect_rests_the_session(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/sessions/user-one/disconnect", json={})

    assert (answer.status_code, answer.json()["status"]) == (200, "stopped")
    assert node.commands == [(ONE, Stop())]


async def test_reconnect_starts_anew(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/sessions/user-one/reconnect")

    assert (answer.status_code, answer.json()["status"]) == (200, "initializing")
    assert node.commands == [(ONE, Restart())]


async def test_logout_unlinks(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answer = await http.post("/api/sessions/user-one/logout", json={})

    assert (answer.status_code, answer.json()["status"]) == (200, "logged_out")


async def test_delete_forgets_everything(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    deleted = await http.delete("/api/sessions/user-one")
    shown = await http.get("/api/sessions/user-one")
    listed = await http.get("/api/sessions")
    again = await http.delete("/api/sessions/user-one")

    assert (deleted.status_code, deleted.json()["success"]) == (200, True)
    assert (shown.status_code, again.status_code) == (404, 404)
    assert listed.json()["total"] == 0


async def test_a_deleted_session_is_gone_though_the_projection_lags(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.ready(ONE)
    reads.lag = 0.5

    await http.delete("/api/sessions/user-one")

    assert (await http.get("/api/sessions/user-one")).status_code == 404
    assert (await http.get("/api/sessions")).json()["total"] == 0


async def test_what_the_session_refuses_comes_back_as_its_status(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.refuse = live.Refused(
        command="", reason="suspended", detail="the breaker is open", status=503, retry_after=12.3
    )

    answer = await http.post("/api/sessions/user-one/reconnect")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "13")
    assert answer.json()["retryAfter"] == 12_300


async def test_a_command_that_takes_long_is_accepted(
    http: httpx.AsyncClient, node: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "TELL_WAIT", 0.1)
    await node.ready(ONE)
    node.mute = True

    answer = await http.post("/api/sessions/user-one/logout")

    assert (answer.status_code, answer.json()["status"]) == (202, "ready")


STEER = ("reconnect", "disconnect", "logout", "refresh-qr")


@pytest.mark.parametrize("verb", STEER)
async def test_an_unknown_session_cannot_be_steered(
    http: httpx.AsyncClient, node: ScriptedNode, verb: str
) -> None:
    answer = await http.post(f"/api/sessions/nobody-none/{verb}", json={})

    assert answer.status_code == 404
    assert node.commands == []


NEEDY = {
    "stopped": (e.Stopped(reason="command"), True),
    "offline": (e.Offline(reason="TIMEOUT", deadline=utc_now() + IN_A_MINUTE), False),
}


@pytest.mark.parametrize(("event", "needs"), NEEDY.values(), ids=NEEDY)
async def test_a_session_says_whether_it_waits_for_a_person(
    http: httpx.AsyncClient, node: ScriptedNode, event: e.Stopped, needs: bool
) -> None:
    await node.ready(ONE)
    await node.event(ONE, event)

    assert (await http.get("/api/sessions/user-one/status")).json()["needsReconnection"] is needs


async def test_uptime_counts_from_ready(running: Running, node: ScriptedNode) -> None:
    await node.ready(ONE)
    view = node.reads.views[ONE]
    earlier = utc_now() - timedelta(seconds=90)
    node.reads.views[ONE] = view.model_copy(update={"ready_since": earlier})

    data = (await running.http.get("/api/sessions/user-one")).json()["data"]

    assert 89 <= data["metrics"]["uptime"] <= 95


async def test_an_id_that_passes_to_another_pair_leads_to_that_one(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    first, second = SessionId("a-b", "c"), SessionId("a", "b-c")
    await node.ready(first)
    shown = await http.get("/api/sessions/a-b-c")
    await http.delete("/api/sessions/a-b-c")
    await node.ready(second)

    again = await http.get("/api/sessions/a-b-c")

    assert shown.json()["data"]["plubotId"] == "c"
    assert again.json()["data"]["plubotId"] == "b-c"


@pytest.mark.parametrize(
    ("position", "lag", "status"),
    [(0, 120, 503), (500, 5_000, 503), (500, 3, 404), (0, 0, 404), (500, None, 404)],
    ids=["flushed", "far behind", "a moment behind", "nothing happened ever", "the log is away"],
)
async def test_models_that_are_built_anew_do_not_say_that_there_is_no_session(
    http: httpx.AsyncClient, reads: FakeReads, position: int, lag: int | None, status: int
) -> None:
    reads.projections = [
        ProjectionHealth(
            projection="sessions", position=position, lag=lag, updated=None, stopped=None
        )
    ]

    shown = await http.get("/api/sessions/user-one/status")
    send = {"sessionId": "user-one", "to": NUMBER, "message": "hi"}
    sent = await http.post("/api/messages/send", json=send)

    assert (shown.status_code, sent.status_code) == (status, status)
    assert ("retry-after" in sent.headers) is (status == 503)
