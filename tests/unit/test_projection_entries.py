"""Message events as entries of a history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events import codec
from events import content as c
from events import message as m
from events.log import Stored
from events.subjects import SessionId
from projections import facts
from projections.entries import step
from projections.facts import Fact, Stuck

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ADA = SessionId("ada", "shop")
DAY = timedelta(days=1)


def fact(event: Any) -> Any:
    return Fact(ADA, 7, 3, T0, T0 + timedelta(seconds=1), None, event)


SENT = m.Sent(message="mine", wa_id="W", key="k", chat="1@lid", ack=0, at=T0)


def test_one_send_is_one_entry_from_intent_to_receipt() -> None:
    sending = m.Sending(message="mine", wa_id="W", to="1@c.us", body="b")
    read = m.Read(wa_id="W", chat="1@lid", message="mine")

    entries = {step(fact(event), DAY)["entry"] for event in (sending, SENT, read)}

    assert entries == {"o:mine"}


def test_what_came_in_goes_by_the_id_of_whatsapp_and_never_meets_ours() -> None:
    came = m.Received(wa_id="mine", key="k", chat="1@c.us", sender="1@c.us", body="b", at=T0)

    assert step(fact(came), DAY)["entry"] == "i:mine"


def test_sent_is_at_least_one_tick() -> None:
    assert step(fact(SENT), DAY)["ack"] == 1


PICTURE = c.Media(kind="image", object="o", mime="image/png", size=3, sha256="0" * 64, name="a")
PLACE = c.Location(latitude=52.5, longitude=13.4)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (PICTURE, "image"),
        (PICTURE.model_copy(update={"kind": "voice"}), "ptt"),
        (PLACE, "location"),
        (c.Contact(name="Ada", phone="491701234567@c.us"), "vcard"),
        (c.Reaction(target="W", emoji=""), "reaction"),
        (c.Deletion(target="W"), "revoked"),
        (None, None),
    ],
)
def test_what_a_send_carries_goes_by_the_word_of_whatsapp(
    content: c.Content | None, word: str | None
) -> None:
    sending = m.Sending(message="mine", wa_id="W", to="1@c.us", body="b", content=content)

    assert step(fact(sending), DAY)["set"].get("type") == word


def test_a_file_is_kept_from_the_time_its_message_was_stored() -> None:
    kept = c.Kept(mime="image/png", object="o", size=3, sha256="0" * 64, name="a")
    came = m.Received(
        wa_id="W", key="k", chat="1@c.us", sender="1@c.us", body="", at=T0, media=kept
    )
    sending = m.Sending(message="mine", wa_id="W", to="1@c.us", body="", content=PICTURE)

    for fields in (step(fact(came), DAY)["first"], step(fact(sending), DAY)["set"]):
        assert c.Kept.model_validate_json(str(fields["media"])) == kept
        assert fields["media_at"] == (T0 + timedelta(seconds=1)).isoformat()


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (SENT, "sent"),
        (m.Failed(message="x", to="1@c.us", reason="r"), "failed"),
        (m.Expired(message="x", to="1@c.us", deadline=T0), "failed"),
        (m.Unresolved(message="x", to="1@c.us", wa_id="W", reason="r"), None),
        (m.Delivered(wa_id="W", chat="1@c.us", message="x"), None),
    ],
    ids=["sent", "failed", "expired", "unresolved", "receipt"],
)
def test_each_outcome_counts_as_the_owner_counts_it(event: Any, counts: str | None) -> None:
    outbox = m.Outbox()
    outbox.apply(event, T0)

    assert step(fact(event), DAY).get("counts") == counts
    assert (outbox.sent, outbox.failed) == (int(counts == "sent"), int(counts == "failed"))


@pytest.mark.parametrize("from_me", [True, False], ids=["typed on the phone", "came in"])
def test_what_the_owner_typed_on_the_phone_is_no_received_message(from_me: bool) -> None:
    came = m.Received(
        wa_id="w", key="k", chat="1@c.us", sender="1@c.us", body="b", at=T0, from_me=from_me
    )

    done = step(fact(came), DAY)

    assert done["first"]["direction"] == ("out" if from_me else "in")
    assert done.get("counts") == (None if from_me else "received")
    assert "author" not in done["first"]


def test_an_entry_expires_with_the_event_in_the_log() -> None:
    assert step(fact(SENT), DAY)["expires"] == round((T0.timestamp() + 86_401) * 1_000)


@pytest.mark.parametrize(
    ("subject", "raw", "why"),
    [
        ("wa.evt.message.ada.shop.sent", b"{", "not a CloudEvent"),
        ("wa.evt.message.ada.sent", b"{}", "not a session's subject"),
        ("wa.evt.message.ada.b@d.sent", b"{}", "plubotId must be"),
        ("wa.evt.message.ada.shop.ready", "session", "not a message event"),
        ("wa.evt.message.ada.shop.sent", "unnumbered", "no version"),
    ],
    ids=["no json", "short subject", "bad token", "wrong family", "no version"],
)
def test_what_cannot_be_placed_is_stuck_and_its_content_not_told(
    subject: str, raw: bytes | str, why: str
) -> None:
    from events.session_events import Stopped

    if isinstance(raw, str):
        payload = Stopped(reason="hush") if raw == "session" else SENT
        version = 1 if raw == "session" else None
        sealed = codec.seal(payload, subject="ada.shop", source="t", at=T0, version=version)
        raw = codec.encode(sealed)

    with pytest.raises(Stuck) as stuck:
        facts.message_fact(Stored(9, subject, T0, raw))

    assert stuck.value.position == 9
    assert why in stuck.value.reason
    assert "hush" not in stuck.value.reason
