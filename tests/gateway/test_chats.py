"""Looking into a session over HTTP: what the owner says is shown, and so is its no."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from events import codec
from events.asks import Question
from events.subjects import SessionId, asks
from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode

ONE = SessionId("user", "one")
AT = "2026-01-01T12:00:00+00:00"
ALICE, LID = "15557654321@c.us", "915557654321@lid"
MESSAGE = {
    "wa_id": "3A01",
    "key": f"false_{ALICE}_3A01",
    "chat": ALICE,
    "sender": ALICE,
    "author": None,
    "from_me": False,
    "kind": "chat",
    "body": "hi",
    "at": AT,
    "ack": 1,
}
ANSWERS: dict[str, Any] = {
    "chats": [{"id": ALICE, "name": "Alice", "unread": 2, "group": False, "at": AT}],
    "messages": [MESSAGE],
    "check-number": {"exists": True, "id": ALICE},
    "seen": {"seen": True},
    "typing": {"typing": True},
    "groups": [{"id": "1203630001@g.us", "name": "Friends", "members": [ALICE]}],
    "addresses": {"phone": ALICE, "lid": LID},
}
ROUTES = {
    "chats": ("GET", "chats"),
    "messages": ("GET", f"chats/{ALICE}/messages?limit=5"),
    "check-number": ("GET", "numbers/+1 555 765 4321"),
    "seen": ("POST", f"chats/{ALICE}/seen"),
    "typing": ("POST", f"chats/{ALICE}/typing"),
    "groups": ("GET", "groups"),
    "addresses": ("GET", f"ids/{LID}"),
}


class Owner:
    """Answers as the owner of a session does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Question]] = []
        self.refuses: bytes | None = None

    async def answer(self, message: Any) -> None:
        query = message.subject.rsplit(".", 1)[-1]
        self.asked.append((query, Question.model_validate_json(message.data)))
        await message.respond(self.refuses or codec.answer(ANSWERS[query]))


@pytest.fixture
async def owner(node: ScriptedNode, running: Running) -> Owner:
    """A ready session with somebody who answers for it."""
    owner = Owner()
    await node.client.subscribe(asks(ONE), cb=owner.answer)
    await node.client.flush()
    await node.ready(ONE)
    return owner


async def call(http: httpx.AsyncClient, query: str) -> httpx.Response:
    method, path = ROUTES[query]
    body = {"json": {"typing": True}} if query == "typing" else {}
    return await http.request(method, f"/api/sessions/user-one/{path}", **body)


SHOWN: dict[str, dict[str, object]] = {
    "chats": {"total": 1, "chats": [
        {"id": ALICE, "name": "Alice", "unreadCount": 2, "isGroup": False,
         "timestamp": "2026-01-01T12:00:00.000Z"}]},
    "messages": {"chatId": ALICE, "total": 1},
    "check-number": {"number": "15557654321", "exists": True, "id": ALICE},
    "seen": {"chatId": ALICE},
    "typing": {"chatId": ALICE},
    "groups": {"groups": [{"id": "1203630001@g.us", "name": "Friends", "members": [ALICE]}]},
    "addresses": {"id": LID, "phone": ALICE, "lid": LID},
}  # fmt: skip


async def test_what_the_owner_says_is_shown(http: httpx.AsyncClient, owner: Owner) -> None:
    answers = {query: await call(http, query) for query in ROUTES}

    for query, answer in answers.items():
        body = answer.json()
        assert (answer.status_code, body["success"]) == (200, True), body
        assert {name: body[name] for name in SHOWN[query]} == SHOWN[query]
        assert body["sessionId"] == "user-one"
    assert [asked for asked, _ in owner.asked] == list(ROUTES)


async def test_a_message_is_shown_with_its_sender(http: httpx.AsyncClient, owner: Owner) -> None:
    [message] = (await call(http, "messages")).json()["messages"]

    assert (message["from"], message["messageId"], message["body"]) == (ALICE, "3A01", "hi")
    assert owner.asked[0][1].limit == 5


async def test_ids_reach_the_owner_in_whatsapps_form(http: httpx.AsyncClient, owner: Owner) -> None:
    await call(http, "check-number")
    await http.post("/api/sessions/user-one/chats/15557654321/typing", json={"typing": False})

    assert owner.asked[0][1].number == ALICE
    assert (owner.asked[1][1].chat, owner.asked[1][1].typing) == (ALICE, False)


async def test_nobody_who_answers_is_a_503(http: httpx.AsyncClient, node: ScriptedNode) -> None:
    await node.ready(ONE)

    answers = [await call(http, query) for query in ROUTES]

    for answer in answers:
        assert (answer.status_code, answer.json()["reason"]) == (503, "no_owner")
        assert answer.headers["Retry-After"]


async def test_a_session_that_is_not_ready_is_a_409(http: httpx.AsyncClient, owner: Owner) -> None:
    owner.refuses = codec.answer_error("not_ready", "the session is reconnecting", 409)

    answers = [await call(http, query) for query in ROUTES]

    assert [(a.status_code, a.json()["reason"]) for a in answers] == [(409, "not_ready")] * 7


async def test_a_session_nobody_knows_is_a_404(alone: Running) -> None:
    answers = [await call(alone.http, query) for query in ROUTES]

    assert [(a.status_code, a.json()["exists"]) for a in answers] == [(404, False)] * 7


async def test_what_is_no_id_is_a_400(alone: Running) -> None:
    paths = ["chats/0170/messages", "numbers/none", "ids/1203630001@g.us", "chats/x@c.us/messages"]

    answers = [await alone.http.get(f"/api/sessions/user-one/{path}") for path in paths]

    assert [answer.status_code for answer in answers] == [400] * 4


async def test_an_answer_that_makes_no_sense_is_a_503(
    http: httpx.AsyncClient, owner: Owner
) -> None:
    owner.refuses = codec.answer({"chats": "none"})

    answer = await call(http, "chats")

    assert (answer.status_code, answer.json()["reason"]) == (503, "bad_answer")
