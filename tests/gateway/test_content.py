"""More than text over HTTP: what reaches the queue and the object store, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from events import codec, content
from events.media import JetStreamMedia, incoming
from events.message import Send
from events.subjects import SessionId, ask
from gateway.uploads import type_of
from tests.gateway.conftest import serving, settings_for, until_ready
from tests.gateway.node import ScriptedNode
from tests.gateway.reads import FakeReads

ONE = SessionId("user", "one")
TO, CHAT = "+49 170 1234567", "491701234567@c.us"
PNG = b"\x89PNG\r\n\x1a\n" + os.urandom(200_000)
MEDIA = "/api/sessions/user-one/messages/media"


def last_send(node: ScriptedNode) -> Send:
    command = node.commands[-1][1]
    assert isinstance(command, Send)
    return command


async def test_what_is_no_text_reaches_the_queue(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    bodies: dict[str, tuple[dict[str, object], content.Content | None]] = {
        "location": (
            {"latitude": 52.5, "longitude": 13.4, "name": "Bar"},
            content.Location(latitude=52.5, longitude=13.4, name="Bar"),
        ),
        "contact": (
            {"name": "Ada", "phone": "+49 170 7654321"},
            content.Contact(name="Ada", phone="491707654321@c.us"),
        ),
        "reaction": (
            {"messageId": "3EB0A1", "emoji": "👍"},
            content.Reaction(target="3EB0A1", emoji="👍"),
        ),
        "delete": ({"messageId": "3EB0A1"}, content.Deletion(target="3EB0A1")),
        "reply": ({"messageId": "3EB0A1", "message": "two"}, None),
    }

    for word, (body, wanted) in bodies.items():
        answer = await http.post(f"/api/sessions/user-one/messages/{word}", json={"to": TO} | body)

        assert answer.status_code == 200, answer.text
        assert answer.json()["data"]["status"] == "sent"
        sent = last_send(node)
        assert (sent.to, sent.content) == (CHAT, wanted)
    assert (sent.body, sent.quoted) == ("two", "3EB0A1")


async def test_a_file_goes_into_the_object_store_and_its_reference_into_the_queue(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)

    answer = await http.post(
        MEDIA,
        data={"to": TO, "caption": "look"},
        files={"file": ("../../x.png", PNG, "application/octet-stream")},
        headers={"Idempotency-Key": "once"},
    )

    assert answer.status_code == 200, answer.text
    sent = last_send(node)
    assert isinstance(sent.content, content.Media)
    assert (sent.body, sent.content.kind, sent.content.mime) == ("look", "image", "image/png")
    assert (sent.content.name, sent.content.size) == ("x.png", len(PNG))
    assert sent.content.sha256 == hashlib.sha256(PNG).hexdigest()
    held = await JetStreamMedia(node.client.jetstream).get(sent.content.object)
    assert await held.whole() == PNG


@pytest.mark.parametrize(
    ("name", "body", "mime", "status"),
    [
        ("a.html", b"<script>", "text/html", 400),
        ("a.png", b"MZ\x90\x00 a program", "image/png", 400),
        ("a.txt", b"", "text/plain", 400),
        ("big.pdf", b"%PDF-" + bytes(17 * 1_048_576), "application/pdf", 413),
    ],
    ids=["type", "disguise", "empty", "size"],
)
async def test_a_file_that_may_not_be_sent_is_refused(
    http: httpx.AsyncClient, node: ScriptedNode, name: str, body: bytes, mime: str, status: int
) -> None:
    await node.ready(ONE)

    answer = await http.post(MEDIA, data={"to": TO}, files={"file": (name, body, mime)})

    assert answer.status_code == status, answer.text
    assert not any(isinstance(command, Send) for _, command in node.commands)


async def test_a_file_that_came_is_given_out_to_be_saved(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    store = JetStreamMedia(node.client.jetstream)
    await store.put(incoming(ONE, "3A01"), PNG, "text/html", 'B"ild ä.png')

    answers = [
        await http.get(f"/api/sessions/user-one/media/{word}")
        for word in ("3A01", f"false_{CHAT}_3A01")
    ]

    for answer in answers:
        assert (answer.status_code, answer.content) == (200, PNG)
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-disposition"] == (
            "attachment; filename*=UTF-8''B%22ild%20%C3%A4.png"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]


async def test_a_file_that_was_not_kept_is_fetched_by_the_owner_or_said_to_be_gone(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    store = JetStreamMedia(node.client.jetstream)
    reason: list[str] = []

    async def fetch(message: Any) -> None:
        name = incoming(ONE, "3A02")
        if not reason:
            await store.put(name, PNG, "image/png", None)
        kept = content.Kept(
            mime="image/png", object=None if reason else name, reason=reason[0] if reason else None
        )
        await message.respond(codec.answer(kept.model_dump(mode="json")))

    await node.client.subscribe(ask(ONE, "media"), cb=fetch)
    await node.client.flush()

    fetched = await http.get("/api/sessions/user-one/media/3A02")
    reason.append("not_found")
    gone = await http.get("/api/sessions/user-one/media/3A03")

    assert (fetched.status_code, fetched.content) == (200, PNG)
    assert (gone.status_code, gone.json()["reason"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("head", "told", "mime"),
    [
        (b"%PDF-1.4", "image/png", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n", None, "image/png"),
        (b"OggS", "audio/ogg; codecs=opus", "audio/ogg"),
        (b"OggS" + bytes(24) + b"OpusHead", "audio/ogg", "audio/ogg; codecs=opus"),
        (b"\0\0\0 ftypM4A ", "audio/mp4", "audio/mp4"),
        (b"PK\x03\x04", "application/zip", "application/zip"),
        (b"?", None, "application/octet-stream"),
    ],
)
def test_the_first_bytes_go_before_what_is_said(head: bytes, told: str | None, mime: str) -> None:
    assert type_of(head, told) == mime


FILE = "/api/sessions/user-one/messages/file"


async def test_a_file_in_base64_goes_out_like_an_uploaded_one(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    # Larger than any other body may be.
    large = PNG + os.urandom(1_048_576)

    answer = await http.post(
        FILE,
        json={
            "to": TO,
            "base64": base64.b64encode(large).decode(),
            "filename": "../x.png",
            "mimetype": "application/pdf",
            "caption": "look",
        },
        headers={"Idempotency-Key": "once"},
    )

    assert answer.status_code == 200, answer.text
    sent = last_send(node)
    assert isinstance(sent.content, content.Media)
    assert (sent.body, sent.content.mime, sent.content.name) == ("look", "image/png", "x.png")
    held = await JetStreamMedia(node.client.jetstream).get(sent.content.object)
    assert await held.whole() == large


async def test_a_file_by_url_goes_out_and_is_fetched_once_for_a_key(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    await node.ready(ONE)
    settings = settings_for(nats_url, tmp_path, webhook_allow_private="127.0.0.1/32")
    asked = 0

    async def picture(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(body=PNG, content_type="text/plain")

    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/a.png", picture)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/a.png"
    async with serving(settings, reads) as running:
        await until_ready(running)
        answers = [
            await running.http.post(
                FILE, json={"to": TO, "url": url}, headers={"Idempotency-Key": "once"}
            )
            for _ in range(2)
        ]
    await runner.cleanup()

    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    assert asked == 1, "what was sent is not fetched again"
    sent = last_send(node)
    assert isinstance(sent.content, content.Media)
    assert (sent.content.mime, sent.content.name) == ("image/png", "a.png")
    assert sent.content.sha256 == hashlib.sha256(PNG).hexdigest()


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({}, 400, "bad_input"),
        ({"base64": "eA==", "url": "https://example.org"}, 400, "bad_input"),
        ({"base64": "not base64!"}, 400, "bad_input"),
        ({"base64": "TVqQAA=="}, 400, "media_type"),
        ({"base64": "A" * 4 * (6 * 1_048_576)}, 413, "too_large"),
        ({"url": "http://10.0.0.1/a"}, 400, "bad_input"),
        ({"url": "file:///etc/passwd"}, 400, "bad_input"),
    ],
    ids=["neither", "both", "no base64", "type", "size", "private", "no http"],
)
async def test_a_json_file_that_may_not_be_sent_is_refused(
    http: httpx.AsyncClient, node: ScriptedNode, body: dict[str, str], status: int, reason: str
) -> None:
    await node.ready(ONE)

    answer = await http.post(FILE, json={"to": TO} | body)

    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == reason
    assert not any(isinstance(command, Send) for _, command in node.commands)


async def test_a_file_that_could_not_be_fetched_may_be_tried_again_under_its_key(
    node: ScriptedNode, reads: FakeReads, nats_url: str, tmp_path: Path
) -> None:
    await node.ready(ONE)
    settings = settings_for(nats_url, tmp_path, webhook_allow_private="127.0.0.1/32")
    answers = iter((web.Response(status=503), web.Response(body=PNG, content_type="image/png")))

    async def picture(_: web.Request) -> web.Response:
        return next(answers)

    runner = web.AppRunner(web.Application())
    runner.app.router.add_get("/a.png", picture)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    body = {"to": TO, "url": f"http://127.0.0.1:{runner.addresses[0][1]}/a.png"}
    async with serving(settings, reads) as running:
        await until_ready(running)
        once = {"Idempotency-Key": "once"}
        early = await running.http.post(FILE, json=body, headers=once)
        late = await running.http.post(FILE, json=body, headers=once)
    await runner.cleanup()

    assert (early.status_code, early.json()["reason"]) == (422, "url_failed")
    assert late.status_code == 200, late.text
    assert list(node.sends.values()) == [1]
