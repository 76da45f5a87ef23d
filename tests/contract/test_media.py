"""What every object store does: the dictionary of the tests, and JetStream."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import AsyncIterator

import pytest

from events.connection import connect
from events.media import JetStreamMedia, MediaAway, MediaGone, MediaStore, incoming, outgoing
from events.settings import Settings
from events.streams import declare
from events.subjects import SessionId
from tests.fakes.media import FakeMedia

ANN, ANNA = SessionId("ann", "bot"), SessionId("ann", "bot2")


@pytest.fixture(params=["fake", pytest.param("jetstream", marks=pytest.mark.services)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[MediaStore]:
    if request.param == "fake":
        yield FakeMedia()
        return
    server = request.getfixturevalue("own_nats")
    settings = Settings(nats_url=server.url, _env_file=None)
    client = await connect(settings, "node", name="test", patience=30)
    await declare(client.jetstream(), settings)
    yield JetStreamMedia(client.jetstream)
    await client.close()


@pytest.mark.parametrize("size", [0, 1, 131_072, 400_000])
async def test_what_is_kept_comes_back_byte_for_byte(store: MediaStore, size: int) -> None:
    content, name = os.urandom(size), outgoing(ANN)

    told = await store.put(name, content, "image/png", "Bild ä 😀.png")
    held = await store.get(name)

    for found in (told, held):
        assert (found.mime, found.name, found.size) == ("image/png", "Bild ä 😀.png", size)
        assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert await held.whole() == content


async def test_a_file_on_disk_is_kept_as_bytes_are(store: MediaStore) -> None:
    content, name = os.urandom(300_000), outgoing(ANN)

    await store.put(name, io.BytesIO(content), "audio/ogg", None)

    held = await store.get(name)
    assert held.name is None
    assert await held.whole() == content


async def test_what_is_kept_twice_is_the_last_one(store: MediaStore) -> None:
    name = incoming(ANN, "3EB0")
    await store.put(name, b"first", "text/plain", None)

    await store.put(name, b"second", "text/plain", None)

    assert await (await store.get(name)).whole() == b"second"


async def test_what_was_never_kept_is_gone(store: MediaStore) -> None:
    with pytest.raises(MediaGone):
        await store.get(incoming(ANN, "never"))


async def test_a_session_is_forgotten_and_no_other(store: MediaStore) -> None:
    mine, other = incoming(ANN, "1"), incoming(ANNA, "1")
    for name in (mine, other):
        await store.put(name, b"x", "text/plain", None)

    await store.forget(await store.names(ANN))

    with pytest.raises(MediaGone):
        await store.get(mine)
    assert await (await store.get(other)).whole() == b"x"
    await store.forget(await store.names(ANN))


async def test_a_store_that_is_away_says_so() -> None:
    store = FakeMedia(away=True)

    with pytest.raises(MediaAway):
        await store.get("x")
