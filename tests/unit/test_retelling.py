"""Messages told anew from their events."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from events import codec, subjects
from events import message as m
from events.log import Stored
from events.subjects import SessionId
from projections.retelling import Retelling

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def events(*payloads: Any) -> list[Stored]:
    ada = SessionId("ada", "shop")
    return [
        Stored(
            position=at,
            subject=subjects.message_event(ada, payload.kind),
            stored_at=T0,
            raw=codec.encode(
                codec.seal(payload, subject=ada.dotted, source="wa/node/a", at=T0, version=at)
            ),
        )
        for at, payload in enumerate(payloads, 1)
    ]


def came(number: int) -> m.Received:
    wa_id = f"W{number}"
    return m.Received(wa_id=wa_id, key=wa_id, chat="1@c.us", sender="1@c.us", body=wa_id, at=T0)


SENDING = m.Sending(message="mine", wa_id="S", to="1@c.us", body="hello")
SENT = m.Sent(message="mine", wa_id="S", key="k", chat="1@lid", ack=1, at=T0)


def test_no_more_than_so_many_are_held_and_the_oldest_goes_first() -> None:
    retelling = Retelling(2)

    out = [retelling.take(event) for event in events(came(1), came(2), came(3), came(4))]

    assert [view.body if view else None for view in out] == [None, None, "W1", "W2"]
    assert [view.body for view in retelling.rest()] == ["W3", "W4"]


def test_a_tick_never_goes_back_and_takes_a_doubt_away() -> None:
    retelling = Retelling(2)
    doubt = m.Unresolved(message="mine", to="1@c.us", wa_id="S", reason="page_gone")
    receipts = [
        m.Read(wa_id="S", chat="c", message="mine"),
        m.Delivered(wa_id="S", chat="c", message="mine"),
    ]

    for event in events(SENDING, doubt, SENT, *receipts):
        assert retelling.take(event) is None
    [told] = retelling.rest()

    assert (told.status, told.ack, told.reason, told.key) == ("read", 3, None, "k")
    assert (told.body, told.chat, told.position) == ("hello", "1@c.us", 1)


def test_what_has_lost_its_beginning_is_left_out() -> None:
    retelling = Retelling(2)

    for event in events(SENT, m.Read(wa_id="S", chat="c", message="mine")):
        retelling.take(event)

    assert list(retelling.rest()) == []
