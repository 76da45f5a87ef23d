"""What a session knows of its sends: begun once, receipts forward only, memory bounded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from events.message import (
    SEEN,
    Delivered,
    Expired,
    Failed,
    MessageEvent,
    Outbox,
    Played,
    Read,
    Received,
    Send,
    Sending,
    Sent,
    Stage,
    Unresolved,
    outcome_word,
)

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CHAT = "491701234567@c.us"


def send(message: str = "m1", patience: float = 3600) -> Send:
    deadline = NOW + timedelta(seconds=patience)
    return Send(message=message, to=CHAT, body="hello", deadline=deadline)


def sending(message: str = "m1", wa_id: str = "W1") -> Sending:
    return Sending(message=message, wa_id=wa_id, to=CHAT, body="hello")


def sent(message: str = "m1", wa_id: str = "W1", ack: int = 1) -> Sent:
    return Sent(message=message, wa_id=wa_id, key=f"true_{wa_id}", chat=CHAT, ack=ack, at=NOW)


def failed(message: str = "m1") -> Failed:
    return Failed(message=message, to=CHAT, reason="rejected")


def expired(message: str = "m1") -> Expired:
    return Expired(message=message, to=CHAT, deadline=NOW)


def unresolved(message: str = "m1", wa_id: str = "W1") -> Unresolved:
    return Unresolved(message=message, to=CHAT, wa_id=wa_id, reason="not_ready_in_time")


def received(wa_id: str, after: float = 0, from_me: bool = False) -> Received:
    at = NOW + timedelta(seconds=after)
    return Received(
        wa_id=wa_id, key=wa_id, chat=CHAT, sender=CHAT, body="hi", at=at, from_me=from_me
    )


def outbox(*events: MessageEvent) -> Outbox:
    box = Outbox()
    for event in events:
        box.apply(event, NOW)
    return box


# --- begin ------------------------------------------------------------------------------


def test_a_new_send_begins_with_an_intent_under_the_id_we_chose() -> None:
    assert Outbox().begin(send(), "W1", NOW) == sending()


@pytest.mark.parametrize(("patience", "late"), [(1, False), (0.001, False), (0, True), (-1, True)])
def test_a_send_past_its_deadline_is_never_begun(patience: float, late: bool) -> None:
    decision = Outbox().begin(send(patience=patience), "W1", NOW)

    assert isinstance(decision, Expired if late else Sending)


KNOWN: dict[str, tuple[MessageEvent, ...]] = {
    "sending": (sending(),),
    "sent": (sending(), sent()),
    "failed": (sending(), failed()),
    "expired": (expired(),),
    "unresolved": (sending(), unresolved()),
}


@pytest.mark.parametrize("word", KNOWN)
def test_a_send_that_is_known_is_not_begun_again_even_past_its_deadline(word: str) -> None:
    box = outbox(*KNOWN[word])

    assert box.begin(send(), "W2", NOW) is None
    assert box.begin(send(patience=-1), "W2", NOW) is None


STAGES = """
sending     sending     queued       unfinished
sent        sent        sent         -
failed      failed      failed       -
expired     expired     expired      -
unresolved  unresolved  unresolved   -
"""


@pytest.mark.parametrize("row", STAGES.strip().splitlines())
def test_a_delivery_stands_where_its_last_event_says(row: str) -> None:
    known, stage, word, unfinished = row.split()
    box = outbox(*KNOWN[known])

    delivery = box.delivery("m1")

    assert delivery is not None
    assert delivery.stage is Stage(stage)
    assert outcome_word(delivery.stage) == word
    assert bool(box.unfinished()) == (unfinished != "-")
    assert box.version == len(KNOWN[known])


def test_unfinished_sends_come_oldest_first() -> None:
    box = outbox(sending("a", "1"), sending("b", "2"), sending("c", "3"), sent("b", "2"))

    assert [delivery.message for delivery in box.unfinished()] == ["a", "c"]


def test_an_echo_turns_unresolved_into_sent() -> None:
    box = outbox(sending(), unresolved(), sent())

    delivery = box.of_wa_id("W1")

    assert delivery is not None
    assert (delivery.stage, delivery.to) == (Stage.SENT, CHAT)
    assert (box.sent, box.failed) == (1, 0)


# --- receipts -----------------------------------------------------------------------------

ACKS = """
held  told  leaves
1     1     -
1     2     delivered
1     3     read
1     4     played
2     2     -
3     2     -
3     4     played
4     3     -
1     0     -
1     -1    -
1     5     -
"""


@pytest.mark.parametrize("row", ACKS.strip().splitlines()[1:])
def test_receipts_only_go_forward(row: str) -> None:
    held, told, leaves = row.split()
    box = outbox(sending(), sent(ack=int(held)))

    receipts = box.acked("W1", CHAT, int(told))

    assert [receipt.kind for receipt in receipts] == ([] if leaves == "-" else [leaves])
    assert all(receipt.message == "m1" for receipt in receipts)


@given(st.lists(st.integers(-1, 6), max_size=30))
@settings(deadline=None, derandomize=True)
def test_whatever_order_acks_come_in_each_receipt_is_told_once_and_in_order(
    acks: list[int],
) -> None:
    box = outbox(sending(), sent())
    told: list[str] = []

    for ack in acks:
        for receipt in box.acked("W1", CHAT, ack):
            box.apply(receipt, NOW)
            told.append(receipt.kind)

    assert told == [kind for kind in ("delivered", "read", "played") if kind in told]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize("word", ["sending", "failed", "expired", "unresolved"])
def test_only_what_was_sent_gets_receipts(word: str) -> None:
    assert outbox(*KNOWN[word]).acked("W1", CHAT, 3) == []


def test_messages_of_others_get_no_receipts() -> None:
    assert outbox(received("IN")).acked("IN", CHAT, 3) == []


def test_a_send_with_a_higher_ack_was_read_already() -> None:
    box = outbox(sending(), sent(ack=3))

    assert box.acked("W1", CHAT, 2) == []


# --- what was seen -------------------------------------------------------------------------


def test_our_own_message_is_known_by_its_id_from_the_intent_on() -> None:
    box = outbox(sending())

    assert not box.is_new("W1")
    assert box.is_new("W2")


def test_a_message_is_new_until_it_is_recorded() -> None:
    box = Outbox()
    assert box.is_new("IN")

    box.apply(received("IN"), NOW)

    assert not box.is_new("IN")


def test_the_watermark_is_the_newest_message_and_never_falls() -> None:
    box = outbox(received("a", 10), received("b", 5))
    assert box.watermark == NOW + timedelta(seconds=10)

    box.apply(received("c", 11, from_me=True), NOW)

    assert box.watermark == NOW + timedelta(seconds=11)


def test_our_own_sends_do_not_move_the_watermark() -> None:
    assert outbox(sending(), sent()).watermark is None


def test_what_the_owner_wrote_on_the_phone_is_not_counted_as_received() -> None:
    box = outbox(received("a"), received("b", from_me=True), sending(), sent(), expired("m2"))

    assert (box.received, box.sent, box.failed, box.version) == (1, 1, 1, 5)


# --- memory --------------------------------------------------------------------------------


def hourly(*ends: Callable[[int], MessageEvent], hours: int = 6) -> Outbox:
    """An outbox to which something is sent every hour, and settled at once."""
    box = Outbox()
    for n in range(hours):
        at = NOW + timedelta(hours=n)
        box.apply(sending(f"m{n}", f"W{n}"), at)
        box.apply(ends[n % len(ends)](n), at)
    return box


ENDS: tuple[Callable[[int], MessageEvent], ...] = (
    lambda n: sent(f"m{n}", f"W{n}"),
    lambda n: failed(f"m{n}"),
    lambda n: expired(f"m{n}"),
    lambda n: unresolved(f"m{n}", f"W{n}"),
)


def test_sends_that_ended_before_a_time_are_forgotten_with_their_ids_and_no_others() -> None:
    box = hourly(*ENDS)

    box.forget(NOW + timedelta(hours=4))

    assert list(box.deliveries) == ["m4", "m5"]
    assert set(box.by_wa_id) == {"W4", "W5"}


def test_what_counts_is_when_a_send_ended_not_when_it_began() -> None:
    box = outbox(sending("slow", "W"), sending("quick", "Q"), sent("quick", "Q"))
    box.apply(sent("slow", "W"), NOW + timedelta(hours=3))

    box.forget(NOW + timedelta(hours=2))

    assert list(box.deliveries) == ["slow"]


def test_unfinished_sends_are_never_forgotten() -> None:
    box = outbox(sending("first", "W"), sending("second", "X"), sent("second", "X"))

    box.forget(NOW + timedelta(days=30))

    assert [delivery.message for delivery in box.unfinished()] == ["first"]
    assert not box.is_new("W")
    assert box.is_new("X")


def test_a_refused_send_is_still_known_by_its_id() -> None:
    box = outbox(sending(), failed())

    assert not box.is_new("W1")
    delivery = box.delivery("m1")
    assert delivery is not None
    assert delivery.wa_id == "W1"


def test_seen_messages_are_bounded_too() -> None:
    box = outbox(*(received(f"IN{n}") for n in range(SEEN + 10)))

    assert len(box.seen) == SEEN
    assert next(iter(box.seen)) == "IN10"
    assert box.received == SEEN + 10


EVENTS = st.builds(
    lambda make, n: make(n),
    st.sampled_from(
        (
            lambda n: sending(f"m{n}", f"W{n}"),
            lambda n: sent(f"m{n}", f"W{n}"),
            lambda n: failed(f"m{n}"),
            lambda n: expired(f"m{n}"),
            lambda n: unresolved(f"m{n}", f"W{n}"),
            lambda n: received(f"IN{n}", n),
            lambda n: Delivered(wa_id=f"W{n}", chat=CHAT),
            lambda n: Read(wa_id=f"W{n}", chat=CHAT),
            lambda n: Played(wa_id=f"W{n}", chat=CHAT),
        )
    ),
    st.integers(0, 20),
)


@given(st.lists(EVENTS, max_size=80))
@settings(deadline=None, derandomize=True)
def test_no_sequence_of_events_breaks_the_books(events: list[MessageEvent]) -> None:
    box = Outbox()

    for minute, event in enumerate(events):
        at = NOW + timedelta(minutes=minute)
        box.apply(event, at)
        box.forget(at - timedelta(minutes=4))
        finished = [d for d in box.deliveries.values() if d.stage is not Stage.SENDING]
        assert len(finished) <= 5
        for wa_id, message in box.by_wa_id.items():
            assert box.deliveries[message].wa_id == wa_id

    assert box.version == len(events)
