"""More than text through one session: sent once, received with its file or the reason."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from actors.browser.protocol import MediaSeen
from actors.memory import Cost
from events.content import Content, Deletion, Location, Media, Reaction
from events.envelope import Envelope
from events.message import Send
from events.session_events import Delete
from events.subjects import SessionId
from tests.actors.world import FRIEND, NUMBER, World, a_world

ANN = SessionId("ann", "bot")
PDF = b"%PDF-1.4 a small file"
DIGEST = hashlib.sha256(PDF).hexdigest()
ABOUT = MediaSeen("application/pdf", "../../etc/passwd.pdf", len(PDF), DIGEST)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as world:
        yield world


def send(world: World, message: str, content: Content, **more: str) -> Envelope:
    deadline = world.clock.now() + timedelta(hours=1)
    command = Send(message=message, to=FRIEND, content=content, deadline=deadline, **more)
    return world.wire.send(ANN, command)


def a_file(world: World) -> Media:
    world.media.objects["ann.bot/out/1"] = (PDF, "application/pdf", "a.pdf")
    return Media(
        kind="document",
        object="ann.bot/out/1",
        mime="application/pdf",
        size=len(PDF),
        sha256=DIGEST,
        name="a.pdf",
    )


def incoming(world: World, body: str = "", **more: object) -> str:
    message = world.whatsapp.deliver(NUMBER, FRIEND, body, **more)  # type: ignore[arg-type]
    return message.wa_id


def incoming_file(world: World, content: bytes | None = PDF) -> str:
    return incoming(world, "see", kind="document", media=ABOUT, content=content)


def sent_in_the_end(world: World) -> None:
    """Bring what was put back again, and let time pass, until it is sent."""

    def again() -> list[Envelope]:
        world.wire.redeliver(ANN)
        world.advance(1)
        return world.envelopes(ANN, "sent")

    world.until(again)


async def test_a_mistake_of_ours_neither_keeps_the_pages_breaker_half_open_nor_its_browser_busy(
    tmp_path: Path,
) -> None:
    with a_world(tmp_path, page_breaker_failures=1, session_memory_mb=800) as world:
        await asyncio.to_thread(world.linked, ANN)
        # A page that hangs before it has told everything is started anew.
        await asyncio.to_thread(world.until, lambda: world.wire.ears[ANN].is_open)
        world.browser(ANN).hang()
        await world.wire.ask(ANN, "chats")
        await asyncio.to_thread(world.wait_for, ANN, "operations_paused")
        world.browser(ANN).release()
        world.media.mistake = LookupError("a mistake of ours")

        await asyncio.to_thread(world.advance, world.settings.page_breaker_reset)
        send(world, "m1", a_file(world))
        await asyncio.to_thread(world.until, lambda: world.wire.settled[-1].word == "later")
        world.media.mistake = None

        await asyncio.to_thread(sent_in_the_end, world)
        assert [k for k in world.kinds(ANN) if "operations" in k] == [
            "session.operations_paused",
            "session.operations_probed",
            "session.operations_resumed",
        ]
        world.machine.costs = Cost(memory_mb=900, cpu_seconds=2.0)
        await asyncio.to_thread(
            world.until, lambda: world.advance(20) or len(world.envelopes(ANN, "queued")) == 2
        )
        await asyncio.to_thread(world.wait_for, ANN, "ready", 2)


def received(world: World) -> list[dict[str, object]]:
    return [envelope.data for envelope in world.envelopes(ANN, "received")]


def test_a_file_reaches_whatsapp_from_the_object_store(world: World) -> None:
    world.linked(ANN)

    send(world, "m1", a_file(world), body="look")

    world.wait_for(ANN, "sent")
    [sending] = world.envelopes(ANN, "sending")
    wa_id = str(sending.data["wa_id"])
    assert sending.data["content"]["object"] == "ann.bot/out/1"  # type: ignore[index]
    account = world.whatsapp.account(NUMBER)
    assert account.media[wa_id] == PDF
    assert [m.body for m in account.chat(FRIEND).messages.values()] == ["look"]


@pytest.mark.parametrize("outcome", ["accepted_silently", "accepted_crash", "lost", "lost_crash"])
def test_a_file_whose_send_was_cut_off_reaches_whatsapp_once(world: World, outcome: str) -> None:
    world.linked(ANN)
    world.whatsapp.sends.append(outcome)

    send(world, "m1", a_file(world))

    sent_in_the_end(world)
    account = world.whatsapp.account(NUMBER)
    [sending] = world.envelopes(ANN, "sending")
    assert account.handed_over == {sending.data["wa_id"]: 1}
    assert account.media == {sending.data["wa_id"]: PDF}


def test_a_file_that_expired_before_it_could_be_sent_fails_for_good(world: World) -> None:
    world.linked(ANN)
    media = a_file(world)
    world.media.objects.clear()

    send(world, "m1", media)

    world.wait_for(ANN, "failed")
    assert world.envelopes(ANN, "failed")[0].data["reason"] == "media_gone"


def test_a_file_waits_for_an_object_store_that_is_away(world: World) -> None:
    world.linked(ANN)
    world.media.away = True
    send(world, "m1", a_file(world))
    world.wait_for(ANN, "sending")

    world.media.away = False

    sent_in_the_end(world)


def test_a_place_is_sent_with_its_content_in_the_intent(world: World) -> None:
    world.linked(ANN)

    send(world, "m1", Location(latitude=52.5, longitude=13.4, name="Bar"))

    world.wait_for(ANN, "sent")
    assert world.envelopes(ANN, "sending")[0].data["content"]["name"] == "Bar"  # type: ignore[index]


@pytest.mark.parametrize("outcome", ["accepted_silently", "lost"])
def test_a_reaction_whose_answer_was_lost_is_given_again(world: World, outcome: str) -> None:
    world.linked(ANN)
    target = incoming(world, "hi")
    world.wait_for(ANN, "received")
    world.whatsapp.sends.append(outcome)

    send(world, "m1", Reaction(target=target, emoji="👍"))

    sent_in_the_end(world)
    assert world.whatsapp.account(NUMBER).reactions == {target: "👍"}
    assert target in str(world.envelopes(ANN, "sent")[0].data["key"])


def test_a_deletion_of_what_is_not_there_fails_with_a_word(world: World) -> None:
    world.linked(ANN)

    send(world, "m1", Deletion(target="3EB0NEVER"))

    world.wait_for(ANN, "failed")
    assert world.envelopes(ANN, "failed")[0].data["reason"] == "message_not_found"


# --- receiving ------------------------------------------------------------------------


def test_a_file_that_comes_is_kept_and_named(world: World) -> None:
    world.linked(ANN)

    wa_id = incoming_file(world)

    world.wait_for(ANN, "received")
    [message] = received(world)
    assert message["media"] == {
        "mime": "application/pdf",
        "name": "passwd.pdf",
        "size": len(PDF),
        "sha256": DIGEST,
        "object": f"ann.bot/in/{wa_id}",
        "reason": None,
    }
    assert world.media.objects[f"ann.bot/in/{wa_id}"] == (PDF, "application/pdf", "passwd.pdf")


def test_a_file_that_cannot_be_kept_is_received_with_the_reason(tmp_path: Path) -> None:
    with a_world(tmp_path, media_max_mb=1) as world:
        world.linked(ANN)
        incoming_file(world, content=None)
        world.wait_for(ANN, "received", 1)

        huge = MediaSeen("video/mp4", None, 2_000_000, None)
        incoming(world, kind="video", media=huge, content=b"x")
        world.wait_for(ANN, "received", 2)

        world.media.away = True
        incoming_file(world)
        world.wait_for(ANN, "received", 3)

        told = [message["media"] for message in received(world)]
        assert [media["reason"] for media in told] == ["not_found", "too_large", "store_away"]  # type: ignore[index]
        assert [media["object"] for media in told] == [None] * 3  # type: ignore[index]
        assert told[0]["sha256"] == DIGEST  # type: ignore[index]


def test_what_comes_after_a_file_waits_for_it_and_a_crash_loses_neither(world: World) -> None:
    world.linked(ANN)
    browser = world.browser(ANN)
    world.until(lambda: "messages_since" in browser.calls)
    browser.hold()
    file = incoming_file(world)
    text = incoming(world, "after it")
    world.advance(0)
    assert received(world) == []

    browser.crash()

    world.until(lambda: world.advance(5) or len(received(world)) == 2)
    assert [message["wa_id"] for message in received(world)] == [file, text]
    assert received(world)[0]["media"]["object"]  # type: ignore[index]


def test_files_that_came_during_an_outage_are_kept_afterwards(world: World) -> None:
    world.linked(ANN)
    world.browser(ANN).drop()
    world.wait_for(ANN, "offline")
    wa_id = incoming_file(world)

    world.browser(ANN).reconnect()

    world.wait_for(ANN, "received")
    assert received(world)[0]["media"]["object"] == f"ann.bot/in/{wa_id}"  # type: ignore[index]


async def test_a_file_that_was_not_kept_can_be_asked_for_later(world: World) -> None:
    await asyncio.to_thread(world.linked, ANN)
    world.media.away = True
    wa_id = await asyncio.to_thread(incoming_file, world)
    await asyncio.to_thread(world.wait_for, ANN, "received")
    world.media.away = False

    answer = await world.wire.ask(ANN, "media", message=wa_id)

    assert isinstance(answer.data, dict)
    assert answer.data["object"] == f"ann.bot/in/{wa_id}"
    assert world.media.objects[f"ann.bot/in/{wa_id}"][0] == PDF


def test_what_a_tenant_deletes_takes_its_files_along(world: World) -> None:
    world.linked(ANN)
    incoming_file(world)
    world.wait_for(ANN, "received")
    world.media.objects["ann.other/in/1"] = (b"x", "text/plain", None)

    world.wire.command(ANN, Delete())

    world.until(lambda: list(world.media.objects) == ["ann.other/in/1"])
