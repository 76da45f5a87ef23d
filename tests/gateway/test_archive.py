"""Messages of a session, searched and exported."""

from __future__ import annotations

import csv
import json
from io import StringIO

import httpx
import pytest

from events.subjects import SessionId
from gateway import archive
from tests.gateway.node import ScriptedNode, received

ONE, TWO = SessionId("user", "one"), SessionId("user", "two")
PLACE = "/api/sessions/user-one/messages"
BODIES = ["Hello", "two\nlines, and ü 🙂", '=HYPERLINK("http://evil")', "hello again", "bye"]


@pytest.fixture
async def said(node: ScriptedNode, monkeypatch: pytest.MonkeyPatch) -> ScriptedNode:
    """Five messages in one session, in pages of two, and one elsewhere."""
    monkeypatch.setattr(archive, "PAGE", 2)
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
    assert (both["total"], both["nextBefore"]) == (2, None)
    assert [m["body"] for m in first["messages"] + second["messages"]] == ["hello again", "Hello"]
    assert nothing["messages"] == []


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
