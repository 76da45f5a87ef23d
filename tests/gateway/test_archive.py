"""Messages of a session, searched and exported."""

from __future__ import annotations

import csv
import json
from io import StringIO

import httpx
import pytest

from events.clock import utc_now
from events.message import Delivered, Read, Sending, Sent
from events.session import State
from events.subjects import SessionId
from gateway import archive, recall
from gateway.directory import placeholder
from gateway.outcomes import Head
from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads
from tests.gateway.test_errors import is_problem

ONE, TWO = SessionId("user", "one"), SessionId("user", "two")
PLACE = "/api/sessions/user-one/messages"
CHAT, NOW = "491701111111@c.us", utc_now()
BODIES = ["Hello", "two\nlines, and ü 🙂", '=HYPERLINK("http://evil")', "hello again", "bye"]


@pytest.fixture
async def said(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> ScriptedNode:
    """Five messages in one session, read two at a time, and one elsewhere."""
    monkeypatch.setattr(recall, "PAGE", 2)
    monkeypatch.setattr(recall, "STRETCH", 2)
    await node.ready(ONE)
    await node.ready(TWO)
    for number, body in enumerate(BODIES):
        await node.message(ONE, received(body, f"3A0{number}"))
    await node.message(TWO, received("hello from elsewhere"))
    return node


async def test_a_text_is_found_whatever_its_case_newest_first_in_pages(
    http: httpx.AsyncClient, said: ScriptedNode
) -> None:
    both = (await http.get(f"{PLACE}/search", params={"q": "HELLO"})).json()
    first = (await http.get(f"{PLACE}/search", params={"q": "hello", "limit": 1})).json()
    older = {"q": "hello", "limit": 1, "before": first["nextBefore"]}
    second = (await http.get(f"{PLACE}/search", params=older)).json()
    nothing = (await http.get(f"{PLACE}/search", params={"q": "never said"})).json()

    assert [m["body"] for m in both["messages"]] == ["hello again", "Hello"]
    assert (both["total"], both["nextBefore"], both["complete"]) == (2, None, True)
    assert [m["body"] for m in first["messages"] + second["messages"]] == ["hello again", "Hello"]
    assert (nothing["messages"], nothing["complete"]) == ([], True)


async def test_a_search_that_takes_too_long_says_how_far_it_came(
    http: httpx.AsyncClient, said: ScriptedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "PATIENCE", -1)
    found: list[str] = []
    asked: dict[str, object] = {"q": "hello"}
    answers = 0

    while True:
        body = (await http.get(f"{PLACE}/search", params=asked)).json()
        found += [message["body"] for message in body["messages"]]
        answers += 1
        if body["complete"]:
            break
        asked["before"] = body["nextBefore"]

    assert body["nextBefore"] is None
    assert answers > 1
    assert found == ["hello again", "Hello"]


async def test_what_redis_does_not_hold_any_more_is_found_and_exported(
    http: httpx.AsyncClient, said: ScriptedNode
) -> None:
    said.reads.messages[ONE].clear()

    found = (await http.get(f"{PLACE}/search", params={"q": "bye"})).json()["messages"]
    lines = (await http.get(f"{PLACE}/export")).text.splitlines()

    assert [message["messageId"] for message in found] == ["3A04"]
    assert [json.loads(line)["body"] for line in lines] == BODIES


async def test_what_became_of_a_message_is_told_with_it(
    http: httpx.AsyncClient, said: ScriptedNode
) -> None:
    intent = Sending(message="m-1", wa_id="3EB0A", to=CHAT, body="hello, you")
    await said.message(ONE, intent)
    await said.message(ONE, received("in between", "3A10"))
    await said.message(ONE, Sent(message="m-1", wa_id="3EB0A", key="k", chat=CHAT, ack=1, at=NOW))
    await said.message(ONE, Read(message="m-1", wa_id="3EB0A", chat=CHAT))
    await said.message(ONE, Delivered(message="m-1", wa_id="3EB0A", chat=CHAT))

    found = (await http.get(f"{PLACE}/search", params={"q": "you"})).json()["messages"]
    lines = (await http.get(f"{PLACE}/export")).text.splitlines()

    [told] = [line for line in map(json.loads, lines) if line["commandKey"] == "m-1"]
    assert (told["status"], told["ack"], told["body"]) == ("read", 3, "hello, you")
    assert found == [told]


async def test_without_a_broker_an_export_does_not_begin(alone: Running, reads: FakeReads) -> None:
    reads.views[ONE] = placeholder(ONE, Head(1, State.READY, NOW))

    is_problem(await alone.http.get(f"{PLACE}/export"), 503)
    is_problem(await alone.http.get(f"{PLACE}/search", params={"q": "x"}), 503)


async def test_the_export_holds_each_message_once_and_in_order(
    http: httpx.AsyncClient, said: ScriptedNode
) -> None:
    answer = await http.get(f"{PLACE}/export")
    history = (await http.get("/api/messages/user-one/history")).json()["messages"]

    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [line["body"] for line in lines] == BODIES
    assert lines == history[::-1]


async def test_the_export_as_a_table_says_the_same_and_runs_nothing(
    http: httpx.AsyncClient, said: ScriptedNode
) -> None:
    answer = await http.get(f"{PLACE}/export", params={"format": "csv"})

    rows = list(csv.DictReader(StringIO(answer.content.decode(), newline="")))
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert [row["body"] for row in rows] == [f"'{b}" if b.startswith("=") else b for b in BODIES]
    assert [row["messageId"] for row in rows] == [f"3A0{n}" for n in range(len(BODIES))]
    assert {row["from"] for row in rows} == {"491701111111@c.us"}
    assert {row["fromMe"] for row in rows} == {"false"}


@pytest.mark.parametrize("path", ["search", "search?q=", "export?format=xml"])
async def test_what_was_not_asked_properly_is_a_400(
    http: httpx.AsyncClient, said: ScriptedNode, path: str
) -> None:
    assert (await http.get(f"{PLACE}/{path}")).status_code == 400
