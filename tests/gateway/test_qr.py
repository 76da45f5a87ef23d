"""QR codes over HTTP."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from events import codec, live
from events import session_events as e
from events.asks import AskError
from events.clock import utc_now
from events.pool import Create
from events.session_events import RefreshQr
from events.subjects import SessionId, ask
from gateway import codes
from tests.gateway.conftest import logged
from tests.gateway.node import IN_A_MINUTE, NUMBER, ScriptedNode
from tests.gateway.reads import FakeReads

ONE = SessionId("user", "one")
PAIR = {"userId": "user", "plubotId": "one"}
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codes, "WAIT", 0.2)


async def test_a_code_that_is_there_is_given(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@there")

    for path in ("/api/qr/user/one", "/api/qr/user-one"):
        answer = await http.get(path)

        assert answer.status_code == 200
        body = answer.json()
        assert (body["success"], body["status"], body["attempt"]) == (True, "waiting_qr", 1)
        assert body["qr"] == body["qrCode"] == "2@there"
        assert body["qrDataUrl"].startswith("data:image/png;base64,")
        assert body["expiresAt"].endswith("Z")
        assert answer.headers["cache-control"] == "no-store"


async def test_a_code_to_type_is_given_and_never_logged(
    http: httpx.AsyncClient, node: ScriptedNode, capsys: pytest.CaptureFixture[str]
) -> None:
    await node.registered(ONE)
    typed = codec.answer({"code": "WZYX1234", "expires": "2026-01-01T12:00:00+00:00"})
    asked = await node.owner(ONE, "pairing-code", typed)

    answer = await http.post(
        "/api/sessions/user-one/pairing-code", json={"phoneNumber": "+49 170 1234567"}
    )

    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["sessionId"], body["code"]) == (True, "user-one", "WZYX1234")
    assert body["expiresAt"] == "2026-01-01T12:00:00.000Z"
    assert answer.headers["cache-control"] == "no-store"
    assert [question.number for question in asked] == ["491701234567"]
    told = await logged(lambda: capsys.readouterr().out)
    assert "WZYX1234" not in told
    assert "1701234567" not in told


@pytest.mark.parametrize("number", ["491701234567", 491701234567, 491701234567.0])
async def test_a_phone_number_may_be_a_whole_number(
    http: httpx.AsyncClient, node: ScriptedNode, number: object
) -> None:
    await node.registered(ONE)
    asked = await node.owner(ONE, "pairing-code", codec.answer({"code": "A", "expires": None}))

    answer = await http.post("/api/sessions/user-one/pairing-code", json={"phoneNumber": number})

    assert answer.status_code == 200, answer.text
    assert [question.number for question in asked] == ["491701234567"]


async def test_no_code_is_typed_where_nobody_waits_for_a_phone(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    no = codec.answer_error("not_pairing", "the session is ready; it waits for no phone", 409)
    await node.owner(ONE, "pairing-code", no)

    answer = await http.post(
        "/api/sessions/user-one/pairing-code", json={"phoneNumber": "491701234567"}
    )

    assert (answer.status_code, answer.json()["reason"]) == (409, "not_pairing")


@pytest.mark.parametrize(
    "number", ["", "anna", "0170 1234567", "120363000000000000@g.us", True, None, ["49"]]
)
async def test_what_is_no_phone_number_gets_no_code(
    http: httpx.AsyncClient, node: ScriptedNode, number: object
) -> None:
    await node.registered(ONE)

    answer = await http.post("/api/sessions/user-one/pairing-code", json={"phoneNumber": number})

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("phoneNumber must be a phone number")


async def test_asking_for_a_code_starts_the_session(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    answer = await http.get("/api/qr/user/one")

    assert answer.status_code == 200
    assert answer.json()["qr"].startswith("2@")
    assert node.commands == [(ONE, Create(bot="one"))]


async def test_the_next_code_is_waited_for(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)

    asking = asyncio.create_task(http.get("/api/qr/user/one"))
    await asyncio.sleep(0.1)
    await node.pairing(ONE, "2@later")

    assert (await asking).json()["qr"] == "2@later"


async def test_the_picture_comes_on_request(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE)

    answer = await http.get("/api/qr/user-one", headers={"accept": "image/png"})

    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(PNG)


async def test_a_linked_session_has_no_code(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    body = (await http.get("/api/qr/user/one")).json()

    assert (body["success"], body["status"], body["phoneNumber"]) == (True, "ready", NUMBER)


async def test_a_session_that_becomes_ready_meanwhile_needs_no_code(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)

    asking = asyncio.create_task(http.get("/api/qr/user/one"))
    await asyncio.sleep(0.1)
    await node.ready(ONE)

    assert (await asking).json()["status"] == "ready"


@pytest.mark.usefixtures("briefly")
async def test_no_code_in_time_is_a_408(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.registered(ONE)

    answer = await http.get("/api/qr/user/one")

    assert answer.status_code == 408
    assert answer.json()["success"] is False


@pytest.mark.usefixtures("briefly")
async def test_an_old_code_is_not_given_for_a_new_start(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@old")
    await node.event(ONE, e.Crashed(reason="page_gone", detail=""))

    body = (await http.get("/api/sessions/user-one")).json()

    assert reads.codes
    assert body["data"]["qr"] is None


async def test_an_unknown_id_is_not_split_into_a_pair(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    answer = await http.get("/api/qr/user-one")

    assert answer.status_code == 404
    assert node.commands == []


async def test_a_stopped_session_with_its_link_is_not_started_by_asking(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    await node.event(ONE, e.Stopped(reason="command"))

    answer = await http.get("/api/qr/user/one")

    assert answer.status_code == 409
    assert node.commands == []


async def test_a_suspended_session_says_when_to_come_back(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.event(
        ONE,
        e.Crashed(reason="page_gone", detail=""),
        e.Suspended(failures=6, until=utc_now() + IN_A_MINUTE),
    )

    answer = await http.get("/api/qr/user/one")

    assert answer.status_code == 503
    assert 50 <= int(answer.headers["retry-after"]) <= 60


async def test_the_owner_is_asked_when_redis_lost_the_code(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, code=None)
    expires = (utc_now() + IN_A_MINUTE).isoformat()

    async def owner(message) -> None:
        await message.respond(
            codec.answer({"code": "2@from-the-page", "attempt": 1, "expires": expires})
        )

    await node.client.subscribe(ask(ONE, "qr"), cb=owner)
    await node.client.flush()

    assert (await http.get("/api/qr/user/one")).json()["qr"] == "2@from-the-page"


async def test_an_owner_that_says_no_is_waited_out(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, code=None)
    no = AskError(reason="no_code", detail="no code yet", status=409)

    async def owner(message) -> None:
        await message.respond(codec.answer_error(no.reason, no.detail, no.status))
        code = live.Qr(code="2@fresh", attempt=2, expires=utc_now() + IN_A_MINUTE)
        await node.notice(ONE, code)

    await node.client.subscribe(ask(ONE, "qr"), cb=owner)
    await node.client.flush()

    assert (await http.get("/api/qr/user/one")).json()["qr"] == "2@fresh"


@pytest.mark.parametrize("by_pair", [True, False], ids=["by pair", "by id"])
async def test_refresh_brings_another_code(
    http: httpx.AsyncClient, node: ScriptedNode, by_pair: bool
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE, "2@code-1")

    if by_pair:
        answer = await http.post("/api/sessions/refresh-qr", json=PAIR)
    else:
        answer = await http.post("/api/sessions/user-one/refresh-qr", json={})

    body = answer.json()
    assert answer.status_code == 200
    assert (body["success"], body["status"], body["qr"]) == (True, "waiting_qr", "2@code-2")
    assert body["qrDataUrl"].startswith("data:image/png;base64,")
    assert body["data"]["qr"] == "2@code-2"
    assert node.commands == [(ONE, RefreshQr())]


async def test_refresh_of_nothing_creates(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    answer = await http.post("/api/sessions/refresh-qr", json=PAIR)

    assert answer.status_code == 200
    assert answer.json()["qr"].startswith("2@")
    assert node.commands == [(ONE, Create(bot="one"))]


async def test_refresh_of_a_linked_session_is_refused(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    node.refuse = live.Refused(command="", reason="linked", detail="it is linked", status=409)

    answer = await http.post("/api/sessions/user-one/refresh-qr", json={})

    assert answer.status_code == 409


@pytest.mark.usefixtures("briefly")
async def test_a_refresh_without_a_new_code_is_a_408(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.registered(ONE)
    await node.starting(ONE)
    await node.pairing(ONE)
    node.mute = True

    answer = await http.post("/api/sessions/user-one/refresh-qr", json={})

    assert answer.status_code == 408
