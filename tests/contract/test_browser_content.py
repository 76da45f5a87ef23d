"""What every browser does with more than text, the fake of the tests and Chromium alike."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.browser.protocol import MessageSeen, NotSent, PageRefused, PageTimeout, Parcel
from events.content import Contact, Content, Deletion, Location, Media, MediaKind, Reaction
from tests.browser.simulated import simulator_url  # noqa: F401  # a fixture
from tests.browser.world import ALICE, BOB, World, chromium_world, fake_world
from tests.fakes.browser import new_id

# pyppeteer's connection still names its loop to websockets.
pytestmark = pytest.mark.filterwarnings("ignore:remove loop argument:DeprecationWarning")

TO_ALICE = f"{ALICE}@c.us"
MB = 1_048_576


@pytest.fixture(params=["fake", pytest.param("chromium", marks=pytest.mark.browser)])
def where(request: pytest.FixtureRequest) -> str | None:
    """Where WhatsApp is: nowhere but in memory, or at a URL."""
    return request.getfixturevalue("simulator_url") if request.param == "chromium" else None


@pytest.fixture
async def world(where: str | None, tmp_path: Path) -> AsyncIterator[World]:
    """Both worlds, one after the other."""
    async with chromium_world(tmp_path, where) if where else fake_world(tmp_path) as world:
        yield world


def file(kind: MediaKind, content: bytes, mime: str, name: str | None = None) -> Media:
    digest = hashlib.sha256(content).hexdigest()
    return Media(kind=kind, object="o", mime=mime, size=len(content), sha256=digest, name=name)


async def test_a_place_and_a_contact_go_out_under_the_ids_we_chose(world: World) -> None:
    page = await world.linked()
    contents: dict[str, Content] = {
        "location": Location(latitude=52.5, longitude=13.4, name="Bar", address="A 1"),
        "vcard": Contact(name="Bob", phone=f"{BOB}@c.us"),
    }

    for kind, content in contents.items():
        wa_id = new_id()
        sent = await page.browser.send(TO_ALICE, Parcel("", content), wa_id)

        assert (sent.wa_id, sent.kind, sent.ack >= 1) == (wa_id, kind, True)
        assert sent.key == f"true_{TO_ALICE}_{wa_id}"
        assert (await world.held(wa_id)).kind == kind


async def test_a_reply_names_the_message_it_answers(world: World) -> None:
    page = await world.linked()
    asked = await world.incoming(ALICE, "how much?")
    question = await page.seen.next(MessageSeen, lambda m: m.wa_id == asked)

    for quoted in (asked, question.key):
        wa_id = new_id()
        sent = await page.browser.send(TO_ALICE, Parcel("two", quoted=quoted), wa_id)

        assert sent.body == "two"
        assert (await world.held(wa_id)).body == "two"


async def test_a_reaction_can_be_given_twice_and_taken_back(world: World) -> None:
    page = await world.linked()
    theirs = await world.incoming(ALICE, "hi")
    await page.seen.next(MessageSeen, lambda m: m.wa_id == theirs)
    wa_id = new_id()

    for _ in range(2):
        given = await page.browser.send(
            TO_ALICE, Parcel("", Reaction(target=theirs, emoji="👍")), wa_id
        )

    assert (given.wa_id, given.ack >= 1) == (wa_id, True)
    assert given.key == f"false_{TO_ALICE}_{theirs}"
    assert await world.reaction(theirs) == "👍"
    await page.browser.send(TO_ALICE, Parcel("", Reaction(target=theirs, emoji="")), new_id())
    assert await world.reaction(theirs) == ""


async def test_a_message_of_ours_can_be_deleted_twice_and_is_deleted_once(world: World) -> None:
    page = await world.linked()
    ours = new_id()
    await page.browser.send_text(TO_ALICE, "oops", ours)

    for _ in range(2):
        gone = await page.browser.send(TO_ALICE, Parcel("", Deletion(target=ours)), new_id())

    assert gone.ack >= 1
    assert (await world.held(ours)).kind == "revoked"
    assert (await world.held(ours)).body == ""


async def test_a_message_of_theirs_cannot_be_deleted(world: World) -> None:
    page = await world.linked()
    theirs = await world.incoming(ALICE, "hi")
    await page.seen.next(MessageSeen, lambda m: m.wa_id == theirs)

    with pytest.raises(NotSent) as refused:
        await page.browser.send(TO_ALICE, Parcel("", Deletion(target=theirs)), new_id())

    assert refused.value.reason == "cannot_delete"
    assert (await world.held(theirs)).body == "hi"


@pytest.mark.parametrize(
    "parcel",
    [
        Parcel("", Reaction(target="3EB0NEVER", emoji="👍")),
        Parcel("", Deletion(target="3EB0NEVER")),
        Parcel("two", quoted="3EB0NEVER"),
        Parcel("two", quoted=f"false_{TO_ALICE}_3EB0NEVER"),
    ],
    ids=["reaction", "deletion", "reply", "reply by key"],
)
async def test_what_is_about_a_message_nobody_has_is_refused_for_good(
    world: World, parcel: Parcel
) -> None:
    page = await world.linked()
    await page.browser.send_text(TO_ALICE, "hello", new_id())

    with pytest.raises(NotSent) as refused:
        await page.browser.send(TO_ALICE, parcel, new_id())

    assert refused.value.reason == "message_not_found"


FILES: list[tuple[MediaKind, str, str, str | None]] = [
    ("image", "image", "image/png", "a picture.png"),
    ("document", "document", "application/pdf", "Rechnung ä.pdf"),
    ("voice", "ptt", "audio/ogg", None),
    ("audio", "audio", "audio/mpeg", "song.mp3"),
    ("video", "video", "video/mp4", "clip.mp4"),
]


async def test_files_go_out_byte_for_byte_under_the_ids_we_chose(world: World) -> None:
    page = await world.linked()

    for kind, word, mime, name in FILES:
        content, wa_id = os.urandom(50_000), new_id()
        media = file(kind, content, mime, name)
        sent = await page.browser.send(TO_ALICE, Parcel("look", media, None, content), wa_id)

        assert (sent.wa_id, sent.kind, sent.body) == (wa_id, word, "look")
        assert sent.ack >= 1
        assert sent.media
        assert (sent.media.mime, sent.media.sha256) == (mime, media.sha256)
        held = await world.held(wa_id)
        assert (held.kind, held.body) == (word, "look")
        assert held.content == content
        assert (await page.browser.fetch_media(sent.key, MB)).content == content


async def test_a_file_of_many_parts_goes_out_whole(world: World) -> None:
    page = await world.linked()
    content, wa_id = os.urandom(3 * MB + 17), new_id()
    media = file("document", content, "application/zip", "all.zip")

    sent = await page.browser.send(TO_ALICE, Parcel("", media, None, content), wa_id)

    assert (await world.held(wa_id)).content == content
    assert (await page.browser.fetch_media(sent.key, 4 * MB)).content == content


async def test_the_same_file_sent_twice_under_one_id_reaches_whatsapp_once(world: World) -> None:
    page = await world.linked()
    content, wa_id = b"%PDF-1.4 once", new_id()
    parcel = Parcel("", file("document", content, "application/pdf", "a.pdf"), None, content)

    first = await page.browser.send(TO_ALICE, parcel, wa_id)
    second = await page.browser.send(TO_ALICE, parcel, wa_id)

    assert first.key == second.key
    assert await world.repeats() == {}


async def test_a_file_without_an_acknowledgement_is_unknown_and_can_be_looked_up(
    world: World,
) -> None:
    page = await world.linked()
    content, wa_id = b"%PDF-1.4 perhaps", new_id()
    parcel = Parcel("", file("document", content, "application/pdf", "a.pdf"), None, content)
    await world.withhold_acks()

    with pytest.raises(PageTimeout):
        await page.browser.send(TO_ALICE, parcel, wa_id)
    found = await page.browser.find_message(TO_ALICE, wa_id)

    assert found
    assert (found.ack, found.kind) == (0, "document")


async def test_a_file_that_comes_is_described_and_can_be_fetched(world: World) -> None:
    page = await world.linked()
    content = os.urandom(2 * MB + 5)

    wa_id = await world.incoming_media(
        ALICE, "image", content, "image/jpeg", "../../x.jpg", "a holiday"
    )

    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    assert (seen.kind, seen.body) == ("image", "a holiday")
    assert seen.media
    assert (seen.media.mime, seen.media.name) == ("image/jpeg", "../../x.jpg")
    assert (seen.media.size, seen.media.sha256) == (
        len(content),
        hashlib.sha256(content).hexdigest(),
    )
    for message in (seen.key, wa_id):
        fetched = await page.browser.fetch_media(message, 4 * MB)
        assert (fetched.mime, fetched.name) == ("image/jpeg", "../../x.jpg")
        assert fetched.content == content


async def test_a_file_that_is_too_large_is_not_fetched(world: World) -> None:
    page = await world.linked()
    wa_id = await world.incoming_media(ALICE, "document", b"12345", "text/plain", "a.txt")
    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)

    with pytest.raises(PageRefused) as refused:
        await page.browser.fetch_media(seen.key, 4)

    assert refused.value.code == "too_large"


async def test_a_file_that_whatsapp_has_no_more_is_told(world: World) -> None:
    page = await world.linked()
    wa_id = await world.incoming_media(ALICE, "document", b"12345", "text/plain", "a.txt")
    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)
    await world.lose_media()

    with pytest.raises(PageRefused) as refused:
        await page.browser.fetch_media(seen.key, MB)

    assert refused.value.code == "not_found"


async def test_a_text_has_no_file(world: World) -> None:
    page = await world.linked()
    wa_id = await world.incoming(ALICE, "hi")

    seen = await page.seen.next(MessageSeen, lambda m: m.wa_id == wa_id)

    assert seen.media is None
