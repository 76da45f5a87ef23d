"""What clients are told of the file of a message, in the history and on the live feed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from events.clock import utc_now
from events.content import Kept
from events.media import JetStreamMedia, incoming, outgoing
from events.message import Received
from events.subjects import SessionId
from tests.gateway import sockets
from tests.gateway.conftest import Running
from tests.gateway.node import ScriptedNode, received
from tests.gateway.reads import FakeReads

ONE = SessionId("user", "one")
PNG = b"\x89PNG\r\n\x1a\n and more"
KEPT = Kept(mime="image/png", name="a view.png", size=len(PNG), object=incoming(ONE, "3A01"))
TOLD = {
    "type": "image",
    "mimetype": "image/png",
    "filename": "a view.png",
    "size": len(PNG),
    "caption": "look",
    "mediaUrl": "/api/sessions/user-one/media/3A01",
}
TEXT = dict.fromkeys(("mimetype", "filename", "size", "caption", "mediaUrl")) | {"type": "chat"}


def picture(kept: Kept) -> Received:
    return received("look", "3A01").model_copy(update={"type": "image", "media": kept})


def told_of(message: dict[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in TOLD}


async def shown(http: httpx.AsyncClient) -> dict[str, Any]:
    """What the history says of the newest message's file."""
    return told_of((await http.get("/api/messages/user-one/history")).json()["messages"][0])


async def test_the_history_tells_of_a_file_and_where_it_is(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    store = JetStreamMedia(node.client.jetstream)
    await store.put(incoming(ONE, "3A01"), PNG, "image/png", "a view.png")
    await node.message(ONE, picture(KEPT))

    with_file = await shown(http)
    given = await http.get(with_file["mediaUrl"])
    await node.message(ONE, received("a text"))
    without = await shown(http)

    assert with_file == TOLD
    assert (given.content, given.headers["content-type"]) == (PNG, "image/png")
    assert without == TEXT


async def test_a_file_that_is_not_kept_any_more_has_no_address(
    http: httpx.AsyncClient, node: ScriptedNode, reads: FakeReads
) -> None:
    await node.ready(ONE)
    await node.message(ONE, picture(KEPT))
    [(key, view)] = reads.messages[ONE].items()

    week_ago = utc_now() - timedelta(days=7)
    reads.messages[ONE][key] = view.model_copy(update={"media_at": week_ago})
    expired = await shown(http)
    await node.message(ONE, picture(KEPT.model_copy(update={"object": None, "reason": "timeout"})))
    never_kept = await shown(http)

    assert expired == never_kept == TOLD | {"mediaUrl": None}


async def test_a_file_of_ours_is_given_out_without_asking_anybody(
    http: httpx.AsyncClient, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    store = JetStreamMedia(node.client.jetstream)
    name = outgoing(ONE)
    await store.put(name, PNG, "image/png", None)

    given = await http.get(f"/api/sessions/user-one/media/{name.rpartition('/')[2]}")

    assert (given.status_code, given.content) == (200, PNG)


async def test_the_live_feed_tells_of_a_file_as_the_history_does(
    running: Running, node: ScriptedNode
) -> None:
    await node.ready(ONE)
    socket = await sockets.connect(running, session="user-one", events="message-received")
    await node.message(ONE, picture(KEPT))
    await node.message(ONE, received("a text"))

    with_file, without = [frame["payload"]["message"] for frame in await socket.frames(2)]

    assert told_of(with_file) == TOLD
    assert told_of(without) == TEXT
    await socket.close()
